"""Fakes of the owner loop's adapters, in simulated time.

The queue of results is the clock: waiting on it lets the time pass and brings what was scheduled
for then.
"""

from __future__ import annotations

import heapq
import queue
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from consumer.core.effects import Attempt, DeadLetter
from consumer.core.model import Event
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline, Rules
from consumer.core.rows.maker import RowMaker
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task
from consumer.loop.intake import Intake
from consumer.loop.ports import WAIT_IDLE_SECONDS, DeadLetterWriter, Result, ScmApi
from consumer.loop.runner import Runner
from consumer.ops.lag_monitor import LagMonitor, Sizing
from tests.unit.builders import accepted, answered, values

STOP_SECONDS = 30.0
REVOKE_SECONDS = 10.0
SESSION_SECONDS = 45.0
COMMIT_INTERVAL = 0.5
#: The simulated clock at the start, and what the wall clock says when that one is at zero, seconds.
BEGIN = 1000.0
EPOCH = 1_700_000_000


class Message:
    """A record as the client gives it."""

    def __init__(self, offset: int, value: bytes | None, epoch: int | None = None) -> None:
        self._offset = offset
        self._value = value
        self._epoch = epoch

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "events"

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return None

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None

    def leader_epoch(self) -> int | None:
        return self._epoch

    def timestamp(self) -> tuple[int, int]:
        return 1, int((EPOCH + BEGIN) * 1000)  # published at the start


class Results(queue.Queue[Result]):
    """The queue of results over a simulated clock: a wait passes the time and does what is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._count += 1
        heapq.heappush(self._due, (self.now + seconds, self._count, do))

    def stand_still(self, seconds: float) -> None:
        """Time passes while the process stands still.

        What was due meanwhile is done when it goes on.
        """
        self.now += seconds
        self._due = [(max(at, self.now), number, do) for at, number, do in sorted(self._due)]

    def get(self, block: bool = True, timeout: float | None = None) -> Result:
        if not block:
            return super().get(block=False)
        assert timeout is not None, "the loop must not wait without a bound"
        assert timeout <= WAIT_IDLE_SECONDS, "a turn waits no longer"
        end = self.now + timeout
        while self.empty() and self._due and self._due[0][0] <= end:
            self.now, _, do = heapq.heappop(self._due)
            do()
        if self.empty():
            self.now = max(self.now, end)
        return super().get(block=False)


class FakeSource:
    """Logs of partitions, read in turn; commits are acknowledged at once unless told otherwise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held: set[Partition] = set()
        self.paused = False
        self.stopped: dict[Partition, str] = {}
        self.awaiting: dict[tuple[str, int], float] = {}
        self.unknown: set[tuple[str, int]] = set()
        self.lasting: list[tuple[float, str]] = []
        self.away: tuple[float, str] | None = None
        self.committing = False
        self.logs: dict[Partition, list[Message]] = {}
        self.polls: list[tuple[float, int]] = []
        self.commits: list[dict[int, int]] = []
        self.on_its_way: list[Commit] = []  #: the commit that was sent last
        self.waited: list[dict[int, int]] = []
        self.refusals = 0  #: of commits that are waited for, to come
        self.pauses: list[tuple[float, bool]] = []
        self.commit_answers: str | None = "at once"  #: at once, never, or an error's text
        self.closed = False
        self.ends: dict[Partition, int] = {}
        self.inside: list[Callable[[], None]] = []  #: callbacks to serve inside the next poll
        self._polling = False

    def subscribe(self) -> None:
        self.world.runner.on_assigned(list(self.logs))

    def poll(self, count: int) -> list[tuple[Partition, list[Any]]]:
        assert not self._polling, "poll is entered again inside a callback"
        self._polling = True
        self.polls.append((self.world.results.now, count))
        callbacks, self.inside = self.inside, []
        for callback in callbacks:
            callback()
        batches: list[tuple[Partition, list[Any]]] = []
        for partition, log in self.logs.items():
            if self.paused or partition in self.held or not partition.owned or count <= 0:
                continue
            batch, log[:] = log[:count], log[count:]
            count -= len(batch)
            if batch:
                batches.append((partition, batch))
        self._polling = False
        return batches

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        (self.held.add if paused else self.held.discard)(partition)

    def pause(self) -> None:
        self.paused = True
        self.pauses.append((self.world.results.now, True))

    def resume(self) -> None:
        self.paused = False
        self.pauses.append((self.world.results.now, False))

    def commit(self, commits: list[Commit]) -> None:
        assert commits, "an empty commit"
        assert not self.committing, "two commits in flight"
        assert all(commit.partition.owned for commit in commits), "a commit of what is not owned"
        self.commits.append({commit.partition.number: commit.offset for commit in commits})
        self.committing, self.on_its_way = True, commits
        if self.commit_answers is not None:
            error = None if self.commit_answers == "at once" else self.commit_answers
            self.inside.append(lambda: self._committed(commits, error))

    def _committed(self, commits: list[Commit], error: str | None) -> None:
        self.committing = False
        self.world.runner.on_committed(commits, error)

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        self.waited.append({commit.partition.number: commit.offset for commit in commits})
        if self.refusals:
            self.refusals -= 1
            self.world.runner.on_committed(commits, "refused")
            return False
        self.world.runner.on_committed(commits, None)
        return True

    def end(self, partition: Partition) -> int | None:
        return self.ends.get(partition)

    def close(self, timeout: float) -> bool:
        self.closed = True
        return True


class World:
    """A runner over fakes; the API answers after ``latency`` by ``api``, or never where that gives
    None.
    """

    def __init__(
        self,
        *,
        until_end: bool = False,
        intake: Intake | None = None,
        session_seconds: float = SESSION_SECONDS,
        **rules: Any,
    ) -> None:
        self.results = Results()
        settings: dict[str, Any] = {"rate": 0.0, "linger": 0.0, "max_rows": 10, "concurrency": 2}
        self.pipeline = Pipeline(Rules(**(settings | rules)), random.Random(1).random)
        self.source = FakeSource(self)
        self.runner = Runner(
            self.pipeline,
            intake or Intake(_decode, RowMaker("extended_id")),
            self.results,
            self.results.clock,
            source=lambda _: self.source,
            api=self.make_api(),
            dead_letters=self.make_dead_letters(),
            commit_interval=COMMIT_INTERVAL,
            stop_seconds=STOP_SECONDS,
            revoke_seconds=REVOKE_SECONDS,
            session_seconds=session_seconds,
            until_end=until_end,
            wall_clock=lambda: EPOCH + self.results.now,
        )
        self.lag = LagMonitor(
            self.pipeline,
            self.source,
            self.results.clock,
            lambda: EPOCH + self.results.now,
            sizing=Sizing(),
        )
        self.latency = 0.1
        self.api: Callable[[Attempt], Response | None] = accepted
        self.sent: list[Attempt] = []
        self.start_by: list[
            tuple[float, float]
        ] = []  #: when each was handed out, and until when it might begin then
        self.leases: list[Callable[[], float]] = []
        self.unanswered: list[Attempt] = []
        self.questions: list[Task] = []
        self.task: Response = answered(
            200, {"state": "complete"}
        )  #: what a question about a task brings
        self.asked: list[float] = []
        self.me: int = 200
        self.dead_letters: list[DeadLetter] = []
        self.acknowledges = True

    def make_api(self) -> ScmApi:
        """Make the API of this world."""
        return FakeApi(self)

    def make_dead_letters(self) -> DeadLetterWriter:
        """Make the writer of this world's dead letters."""
        return FakeLetters(self)

    def partition(self, number: int, *keys: str, committed: int | None = 0) -> Partition:
        """A partition with a record for each key."""
        partition = Partition("events", number, 0, committed)
        self.source.logs[partition] = [message(offset, key) for offset, key in enumerate(keys)]
        return partition

    def start(self) -> None:
        """Subscribe, without running the loop."""
        self.source.subscribe()

    def turn_until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Turn the loop until something holds, at most so much simulated time."""
        end = self.results.now + seconds
        while not done():
            assert self.results.now < end, (
                f"I8: it did not happen within {seconds:g} simulated seconds"
            )
            self.runner.turn()

    def turn_for(self, seconds: float) -> None:
        """Turn the loop for so long."""
        end = self.results.now + seconds
        while self.results.now < end:
            self.runner.turn()

    def sent_values(self) -> list[str]:
        return [value for attempt in self.sent for value in values(attempt)]


@dataclass
class Call:
    subject: Attempt | Task | None


class FakeApi:
    def __init__(self, world: World) -> None:
        self.world = world

    def send(self, attempt: Attempt, start_by: Callable[[], float]) -> None:
        world = self.world
        world.sent.append(attempt)
        world.start_by.append((world.results.now, start_by()))
        world.leases.append(start_by)
        response = world.api(attempt)
        if response is None:
            world.unanswered.append(attempt)
        else:
            world.results.at(world.latency, lambda: world.results.put((Call(attempt), response)))

    def poll_task(self, task: Task) -> None:
        world = self.world
        world.questions.append(task)
        world.results.at(world.latency, lambda: world.results.put((Call(task), world.task)))

    def check_token(self) -> None:
        world = self.world
        world.asked.append(world.results.now)
        world.results.at(
            world.latency, lambda: world.results.put((Call(None), answered(world.me, {})))
        )


class FakeLetters:
    def __init__(self, world: World) -> None:
        self.world = world
        self.trouble: tuple[str, str] | None = None

    def send(self, letter: DeadLetter) -> None:
        world = self.world
        world.dead_letters.append(letter)
        if world.acknowledges:
            world.results.at(0.01, lambda: world.results.put([letter.row]))


def _decode(raw: bytes) -> Event:
    return Event(fields=orjson.loads(raw))


def message(offset: int, key: str) -> Message:
    return Message(offset, orjson.dumps({"extended_id": key, "note": str(offset)}))


def keys_of(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]
