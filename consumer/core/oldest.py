"""The wait of a partition's oldest unsettled record, by name: a query, for people.

It is the record that the committed offset waits for. A record knows nothing of its rows, so one
pass over all unsettled rows finds those of the records that are asked about. Of a record of several
rows the one that holds it up most tells: a row that failed before one that has not been sent, and
rows that wait for others last (``_rank``). Nothing is kept for this on the accepted path; what a
failed request was answered stands in its window (``Window.last_response``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

import msgspec

from consumer.core.acknowledgements import Acknowledgements
from consumer.core.batching.lanes import Lanes
from consumer.core.batching.window import Place, Window
from consumer.core.batching.windows import Windows
from consumer.core.model import Record, Row, Stage
from consumer.core.ordering.claims import Claims
from consumer.core.timers import Timers


class Wait(Enum):
    """The reasons for which a record waits; the values are words of ``/status``."""

    ROWS = "rows"  #: its rows are not made yet: a schema is looked up, or there is no room
    EARLIER_ROW = "earlier_row"  #: a row of its code, of another record, is not settled
    LOST_CALL = "lost_call"  #: that row is done, but a lost call of it may still take effect
    WINDOW = "window"  #: its window fills
    REQUEST = "request"  #: its window is closed, or could be; a request may start
    RESPONSE = "response"  #: its request is in flight
    TASK = "task"  #: the API works on it
    RETRY = "retry"  #: its request failed, and goes again at a time
    UNKNOWN_KEY = "unknown_key"  #: the API does not know its key yet; it goes again at a time
    DEAD_LETTER = "dead_letter"  #: its dead letter is not acknowledged
    RECEIPT = "receipt"  #: its receipt is not acknowledged


class Oldest(msgspec.Struct, frozen=True):
    """The oldest unsettled record of a partition; times in seconds of the owner's clock."""

    record: Record
    waits_for: Wait
    row: Row | None = None  #: the row that holds it up; None: none is made yet
    behind: Record | None = None  #: whose row it waits for
    attempts: int = 0  #: times that the row was sent
    retry_at: float | None = None  #: when it goes again, or need not wait any longer, if known
    last_response: str = ""  #: how its last request failed, in brief; empty: none did
    suspect: bool = False  #: it failed while others were accepted: the fault is its own


class _Held(msgspec.Struct, frozen=True, gc=False):
    """Where a row is."""

    row: Row
    window: Window | None = None
    at: float | None = None  #: of a parked row: until when


class OldestRecords:
    """Looks for the rows of records, where the parts of the core hold them."""

    def __init__(
        self,
        claims: Claims,
        lanes: Lanes,
        windows: Windows,
        timers: Timers,
        acknowledgements: Acknowledgements,
    ) -> None:
        self._claims = claims
        self._lanes = lanes
        self._windows = windows
        self._timers = timers
        self._acknowledgements = acknowledgements

    def describe(self, records: Collection[Record], now: float) -> dict[Record, Oldest]:
        """Return what each of these unsettled records waits for; one pass over all rows."""
        found: dict[Record, _Held] = {}
        if records:
            wanted = frozenset(records)
            for held in self._rows_of(wanted):
                record = held.row.record
                if record not in found or _rank(held) < _rank(found[record]):
                    found[record] = held
        return {
            record: self._described(found[record], now)
            if record in found
            else Oldest(record, Wait.ROWS)
            for record in records
        }

    def _rows_of(self, wanted: Collection[Record]) -> Iterator[_Held]:
        for window in self._windows.live:
            for row in window.rows:
                if row.record in wanted and row.stage == Stage.WINDOWED:
                    yield _Held(row, window)
        for row in self._acknowledgements:
            if row.record in wanted:
                yield _Held(row)
        for row in self._lanes.rows():
            if row.record in wanted:
                yield _Held(row)
        for at, row in self._timers.parked_until():
            if row.record in wanted:
                yield _Held(row, at=at)
        for row in self._claims.waiting():
            if row.record in wanted:
                yield _Held(row)

    def _described(self, held: _Held, now: float) -> Oldest:
        row, window = held.row, held.window
        behind: Record | None = None
        retry_at: float | None = None
        if window is not None:
            waits_for = _of_window(window, now)
            if waits_for is Wait.RETRY:
                retry_at = window.due_at
        elif row.stage == Stage.PARKED:
            waits_for, retry_at = Wait.UNKNOWN_KEY, held.at
        elif row.stage == Stage.DEAD_LETTER:
            waits_for = Wait.DEAD_LETTER
        elif row.stage == Stage.RECEIPT:
            waits_for = Wait.RECEIPT
        elif row.stage == Stage.READY:
            waits_for = Wait.WINDOW
        else:
            waits_for, behind, retry_at = self._of_waiting(row)
        return Oldest(
            row.record,
            waits_for,
            row,
            behind,
            row.attempts,
            retry_at,
            "" if window is None else window.last_response,
            window is not None and window.suspect,
        )

    def _of_waiting(self, row: Row) -> tuple[Wait, Record | None, float | None]:
        holder = self._claims.holder_before(row)
        if not isinstance(holder, Row):
            return Wait.EARLIER_ROW, holder, None
        if holder.stage == Stage.CLAIM_HELD:
            return Wait.LOST_CALL, holder.record, holder.hold_until
        if holder.stage == Stage.DONE:  # revoked in flight: until its response is there
            return Wait.LOST_CALL, holder.record, None
        return Wait.EARLIER_ROW, holder.record, None


def _of_window(window: Window, now: float) -> Wait:
    if window.place is Place.IN_FLIGHT:
        return Wait.RESPONSE
    if window.place is Place.TASK:
        return Wait.TASK
    if window.place is Place.PARKED and window.due_at > now:
        return Wait.RETRY
    return Wait.REQUEST


def _rank(held: _Held) -> int:
    """Return how little a row holds up its record; of several rows the lowest tells."""
    row, window = held.row, held.window
    if window is not None:
        return 0 if window.last_response else 4
    return {
        Stage.PARKED: 1,
        Stage.DEAD_LETTER: 2,
        Stage.RECEIPT: 3,
        Stage.READY: 5,
    }.get(Stage(row.stage), 6)
