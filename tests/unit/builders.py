"""Helpers to drive the pure core by its inputs, with a clock of their own and every answer said by
the test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import orjson

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt, DeadLetter, Effects
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline, Rules
from consumer.core.rows.by_task import go_by_task
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task

EPSILON = 1e-6


def row_of(
    record: Record,
    value: str,
    *,
    key: str = "extended_id",
    size: int = 100,
    rejection: Rejection | None = None,
    **fields: str,
) -> Row:
    """A row as validation makes it; one field ``note`` if none is given."""
    item = {key: value, **(fields or {"note": "x"})}
    return Row(record, key, value, item, tuple(sorted(item)), size, rejection=rejection)


def rows_of(partition: Partition, *values: str, start: int = 0, **fields: Any) -> list[Row]:
    """A record of one row for each value, at offsets from ``start`` on."""
    rows = []
    for offset, value in enumerate(values, start):
        record = Record(partition, offset, b"raw", 100, open=1)
        rows.append(row_of(record, value, **fields))
    return rows


# -- replies -------------------------------------------------------------------------------------


def answered(
    status: int,
    document: Any = None,
    *,
    body: bytes | None = None,
    retry_after: float | None = None,
) -> Response:
    """A whole answer, its body JSON unless bytes are given."""
    text = body if body is not None else orjson.dumps(document) if document is not None else b""
    return Response(status, text, document if isinstance(document, dict) else None, retry_after)


def accepted(
    attempt: Attempt, *, without: Iterable[str] = (), affected: int | None = None
) -> Response:
    """A 200 that confirms every row of the attempt, except those ``without``."""
    left_out = set(without)
    items = {
        item[attempt.data_key]: [name for name in item if name != attempt.data_key]
        for item in attempt.items
        if item[attempt.data_key] not in left_out
    }
    count = len(items) if affected is None else affected
    return answered(
        200, {"total_updates": count, "changes": [], "items": items, "codes_affected": count}
    )


def naming(*errors: dict[str, str]) -> Response:
    """A 400 with these errors."""
    return answered(400, {"errors": list(errors)})


def error_of(value: str, *, field: str = "product", line: str = "") -> dict[str, str]:
    """One error of a 400, as the upload guide shows it."""
    return {"message": f"Invalid {field}", "line": line, "field": field, "key_value": value}


def lost() -> Response:
    """The request was sent, and no answer came."""
    return Response(None, sent=True, error="time-out: no answer within 75 s")


def unsent() -> Response:
    """Not a byte of the request reached the API."""
    return Response(None, sent=False, error="connection refused")


def values(attempt: Attempt) -> list[str]:
    """The key values of an attempt, in its order."""
    return [item[attempt.data_key] for item in attempt.items]


Api = Callable[[Attempt], Response]


class Bench:
    """A pipeline, a clock, and what the pipeline wanted done so far.

    ``open`` holds the attempts that are not answered yet, ``dead_letters`` those not acknowledged.
    Rules default to no rate limit, no linger and no rejection pause, so that a test names what it
    is about.
    """

    def __init__(self, *, seed: int = 1, retry: RetryPolicy | None = None, **rules: Any) -> None:
        settings: dict[str, Any] = {"rate": 0.0, "linger": 0.0, "pause_after_rejections": 0}
        self.rules = Rules(**(settings | rules), retry=retry or RetryPolicy())
        self.pipeline = Pipeline(self.rules, random.Random(seed).random)
        self.now = 1000.0
        self.sent: list[Attempt] = []
        self.open: list[Attempt] = []
        self.dead_letters: list[DeadLetter] = []
        self.buried: list[DeadLetter] = []  #: acknowledged letters
        self.questions: list[Task] = []  #: about tasks, not answered yet
        self.asks = 0
        self.asks_open = 0
        self.me = 200  #: how ``serve`` answers ``GET /me``
        self.notices: list[str] = []
        self._next: dict[Partition, int] = {}

    # -- inputs ----------------------------------------------------------------------------------

    def partition(self, number: int = 0, start: int = 0, committed: int | None = 0) -> Partition:
        """A partition that is assigned now."""
        partition = Partition("events", number, start, committed)
        self.pipeline.add_partition(partition)
        self._next[partition] = start
        return partition

    def read(
        self,
        partition: Partition,
        *keys: str,
        tick: bool = True,
        by_task: bool = False,
        **fields: Any,
    ) -> list[Row]:
        """Records of one row each arrive; ``fields`` as for ``row_of``."""
        records, rows = [], []
        for key in keys:
            offset = self._next[partition]
            record = Record(partition, offset, b"raw", 100, read_at=self.now, open=1)
            self._next[partition] += 1
            records.append(record)
            rows.append(row_of(record, key, **fields))
            if by_task:
                go_by_task(rows[-1])
        self.pipeline.add_records(partition, records, rows, self._next[partition], self.now)
        if tick:
            self.tick()
        return rows

    def tick(self) -> Effects:
        """The time is now."""
        effects = self.pipeline.tick(self.now)
        self.sent += effects.send
        self.open += effects.send
        self.dead_letters += effects.dead_letters
        self.questions += effects.polls
        self.asks += effects.token_check
        self.asks_open += effects.token_check
        self.notices += [notice.text for notice in effects.notices]
        return effects

    def pass_time(self, seconds: float, api: Api | None = None) -> None:
        """Time passes; the pipeline is woken whenever it wants to be.

        With ``api``, everything is answered at once.
        """
        end = self.now + seconds
        while True:
            self.tick()
            if api is not None:
                self.serve(api)
            wakes_at = self.pipeline.wakes_at(self.now)
            if wakes_at is None or wakes_at > end:
                break
            self.now = max(wakes_at, self.now + EPSILON)
        self.now = max(end, self.now)
        self.tick()
        if api is not None:
            self.serve(api)

    def serve(self, api: Api) -> None:
        """Answer every open attempt, letter and question at once, until nothing more is sent at
        this time.
        """
        for _ in range(100_000):
            if self.dead_letters:
                self.acknowledge()
            elif self.open:
                self.answer(self.open[0], api(self.open[0]))
            elif self.asks_open:
                self.answer_me()
            else:
                return
        raise AssertionError("the pipeline sends without end at one moment")

    def answer(self, attempt: Attempt, response: Response, *, tick: bool = True) -> None:
        """An attempt ended; where the reply does not say how long the call took, since the attempt
        was sent.
        """
        self.open.remove(attempt)
        if not response.seconds:
            response = msgspec.structs.replace(response, seconds=self.now - attempt.window.sent_at)
        self.pipeline.on_response(attempt, response, self.now)
        if tick:
            self.tick()

    def accept(self, attempt: Attempt | None = None) -> None:
        """An attempt (the only open one, if none is given) is accepted."""
        if attempt is None:
            (attempt,) = self.open
        self.answer(attempt, accepted(attempt))

    def tell(self, response: Response, task: Task | None = None) -> None:
        """A question about a task (the only open one, if none is given) is answered."""
        if task is None:
            (task,) = self.questions
        self.questions.remove(task)
        self.pipeline.on_task_response(task, response, self.now)
        self.tick()

    def answer_me(self, status: int | None = None) -> None:
        """``GET /me`` is answered."""
        self.asks_open -= 1
        self.pipeline.on_token_check(answered(status or self.me, {}), self.now)
        self.tick()

    def acknowledge(self) -> None:
        """The dead-letter topic has every letter written so far."""
        done, self.dead_letters = self.dead_letters, []
        self.buried += done
        self.pipeline.on_acknowledged([letter.row for letter in done], self.now)
        self.tick()

    # -- what a test looks at --------------------------------------------------------------------

    @property
    def only(self) -> Attempt:
        """The one open attempt."""
        (attempt,) = self.open
        return attempt

    def reasons(self) -> dict[str, str]:
        """Key value → reason of every letter so far, acknowledged or not."""
        return {
            str(letter.row.value): letter.rejection.reason
            for letter in self.buried + self.dead_letters
        }

    def settled(self) -> bool:
        """Return whether nothing is unsettled and every ledger balances."""
        ledgers = [partition.ledger for partition in self.pipeline.partitions]
        return self.pipeline.unsettled == 0 and all(
            ledger.balanced and not ledger.unsettled for ledger in ledgers
        )


def names(prefix: str, count: int) -> list[str]:
    """Distinct key values."""
    return [f"{prefix}{number:03d}" for number in range(count)]


def always(attempt: Attempt) -> Response:
    """An API that accepts everything."""
    return accepted(attempt)


def rejecting(bad: Iterable[str], response: Callable[[Attempt, list[str]], Response]) -> Api:
    """An API that answers windows with a bad row by ``response`` (told the bad values), and accepts
    the others.
    """
    known = set(bad)

    def api(attempt: Attempt) -> Response:
        held = [value for value in values(attempt) if value in known]
        return response(attempt, held) if held else accepted(attempt)

    return api
