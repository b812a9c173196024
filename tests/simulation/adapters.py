"""The simulated upload pool and dead-letter producer: a process's threads to the outside."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any

import orjson

from consumer.core.effects import Attempt
from consumer.core.model import Row
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task
from consumer.loop.ports import Result
from tests.simulation.api import Api
from tests.simulation.api_faults import Answer
from tests.simulation.group_watch import GroupWatch
from tests.simulation.process import Process
from tests.simulation.witness import Call, Tag, Witness

#: How long it takes to be refused a connection, seconds.
CONNECT = 0.01


@dataclass(frozen=True)
class Done:
    """A call that the pool made; ``call`` None: it was not sent, or it was no upload."""

    subject: Attempt | Task | None
    call: Call | None = None


class Results(Queue[Result]):
    """The owner's queue of results: waiting on it lets simulated time pass.

    ``pause``: lets at most so much time pass, less when ``put`` is called. What is taken out is
    told to the witness.
    """

    def __init__(self, process: Process, pause: Callable[[float], None], witness: Witness) -> None:
        self._process = process
        self._pause = pause
        self._witness = witness
        self._items: deque[Result] = deque()

    def put(self, item: Result, block: bool = True, timeout: float | None = None) -> None:
        self._items.append(item)
        self._process.wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Result:
        assert timeout is not None, "the loop must not wait without a bound"
        self._process.step("get")
        if not self._items:
            self._pause(timeout)
        return self._pop()

    def get_nowait(self) -> Result:
        if not self._items:
            self._pause(0.0)
        return self._pop()

    def _pop(self) -> Result:
        if not self._items:
            raise Empty
        result = self._items.popleft()
        if isinstance(result, tuple):
            done, response = result
            if isinstance(done, Done) and done.call is not None:
                self._witness.answered(done.call, response.status, response.document)
            elif isinstance(done.subject, Task):
                self._witness.told_of_task(
                    self._process, done.subject.id, response.status, response.document
                )
        elif isinstance(result, list):
            self._witness.acknowledged(
                self._process,
                [(tag_of_row(self._witness, row), row.record.partition) for row in result],
            )
        return result


@dataclass
class Pace:
    """The pace of a process's threads; shares from 0 to 1, times in seconds."""

    timeout: float = 75.0  #: of a whole call
    start: tuple[float, float] = (0.0, 0.001)  #: until a worker begins a call
    unsent: float = 0.0  #: calls that find no connection
    twice: float = 0.0  #: results that come twice
    refused: bool = False  #: the API refuses all connections


class SimApi:
    """The upload pool: a call a job; what it brings comes through the results."""

    def __init__(
        self,
        process: Process,
        api: Api,
        results: Results,
        rng: random.Random,
        pace: Pace,
        witness: Witness,
        watch: GroupWatch | None = None,
    ) -> None:
        self._watch = watch
        self._process = process
        self._scheduler = process.scheduler
        self._api = api
        self._results = results
        self._rng = rng
        self._pace = pace
        self._witness = witness
        self._calls = 0

    def send(self, attempt: Attempt, start_by: Callable[[], float]) -> None:
        """Let a worker make the call, if it is not too late when it comes to it."""
        self._process.step("send")
        self._started()
        items = [dict(item) for item in attempt.items]
        epochs: list[object] = [row.record.partition for row in attempt.window.rows]
        tags = [
            tag_of_row(self._witness, row, item)
            for item, row in zip(items, attempt.window.rows, strict=True)
        ]
        self._witness.handed(self._process, epochs)
        delay = self._rng.uniform(*self._pace.start)
        self._process.thread(delay, lambda: self._begin(attempt, items, epochs, tags, start_by))
        self._process.step("sent")

    def poll_task(self, task: Task) -> None:
        """Let a worker ask for a task's state."""
        self._process.step("question")
        self._started(small=True)
        began, open_ = self._scheduler.now, [True]

        def end(answer: Answer) -> None:
            if open_:
                open_.clear()
                self._give(Done(task), answer, began)

        if self._pace.refused:
            self._refuse(Done(task))
            return
        self._api.tell(task.id, lambda answer: self._process.thread(0.0, lambda: end(answer)))
        self._process.thread(self._pace.timeout, lambda: end(Answer(None)))

    def check_token(self) -> None:
        """Let a worker call ``GET /me``."""
        self._process.step("ask")
        self._started(small=True)
        if self._pace.refused:
            self._refuse(Done(None))
            return
        self._api.me(
            lambda answer: self._process.thread(0.0, lambda: self._give(Done(None), answer, 0.0))
        )

    def _started(self, *, small: bool = False) -> None:
        if self._watch is not None:
            self._watch.requested(self._process, small=small)

    def _refuse(self, done: Done) -> None:
        """Say that there is no connection to be had."""
        began = self._scheduler.now
        self._process.thread(CONNECT, lambda: self._give(done, Answer(None, sent=False), began))

    def _begin(
        self,
        attempt: Attempt,
        items: list[dict[str, str]],
        epochs: list[object],
        tags: list[Tag],
        start_by: Callable[[], float],
    ) -> None:
        now = self._scheduler.now
        if now > start_by() or self._rng.random() < self._pace.unsent:
            self._give(Done(attempt), Answer(None, sent=False), now)
            return
        if self._pace.refused:
            self._refuse(Done(attempt))
            return
        if self._watch is not None:
            self._watch.uploads(self._process)
        self._calls += 1
        call = Call(
            self._calls,
            self._process,
            attempt.data_key,
            items,
            epochs,
            now,
            tags,
            by_task=attempt.by_task,
        )
        done = Done(attempt, call)
        open_ = [True]

        def end(answer: Answer) -> None:
            if open_:
                open_.clear()
                call.heard = answer.status is not None
                self._give(done, answer, now)

        self._witness.sent(call)
        self._api.upload(call, lambda answer: self._process.thread(0.0, lambda: end(answer)))
        self._process.thread(self._pace.timeout, lambda: end(Answer(None)))

    def _give(self, done: Done, answer: Answer, began: float) -> None:
        document: Any = None
        if answer.status is not None and answer.body:
            try:
                document = orjson.loads(answer.body)
            except orjson.JSONDecodeError:
                document = None
        response = Response(
            answer.status,
            answer.body,
            document if isinstance(document, dict) else None,
            answer.retry_after,
            sent=answer.sent,
            error="" if answer.status is not None else "lost" if answer.sent else "not sent",
            seconds=self._scheduler.now - began,
        )
        self._results.put((done, response))
        if self._rng.random() < self._pace.twice and not isinstance(done.subject, Task):
            self._process.thread(
                self._rng.uniform(0.0, 2.0), lambda: self._results.put((done, response))
            )


def tag_of_row(witness: Witness, row: Row, item: dict[str, str] | None = None) -> Tag:
    """Return the tag of a row; ``item``: as it is sent."""
    why = "" if row.rejection is None else row.rejection.message
    return witness.tag(
        row.record.partition.number,
        row.record.offset,
        row.data_key,
        row.item if item is None else item,
        why,
    )
