"""Grouping ready rows into windows: the rows of one request.

Ready rows gather in lanes, one per (data key, field set), over all assigned partitions. A window is cut from a lane
only at the moment when a request can start, so that it is as full as it can be: with requests scarce (ten a
second), rows per request is the cost that counts. A lane is closable when it is full by rows or bytes, when its oldest
row has lingered, when a row in it is awaited by a later row of its key, or when the consumer drains.

The linger counts *sendable time*: time in which a request could have started and nothing was closable. While
requests are scarce it stands still, because waiting costs nothing then and fills windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice

import msgspec

from consumer.core.model import Row, Stage

READY, WINDOWED = Stage.READY, Stage.WINDOWED

#: Older than this many lingers by the wall clock, a row goes before full windows.
PATIENCE_LINGERS = 5.0
#: More bytes than this are not put into one request, whatever the API would take.
MAX_WINDOW_BYTES = 1_000_000

LaneKey = tuple[str, tuple[str, ...], bool]


class Place(Enum):
    """Where a window is; exactly one of these."""

    NEW = "new"  #: just made; or behind the first part of a bisected window
    QUEUED = "queued"  #: to be sent as soon as the gate lets it
    PARKED = "parked"  #: until ``due_at``
    IN_FLIGHT = "in_flight"
    GONE = "gone"


class Window(msgspec.Struct, eq=False, gc=False):
    """The rows of one request, kept together through its retries."""

    data_key: str
    rows: list[Row]
    reason: str  #: why it was closed: full, due, bytes, drain; or split, rest
    number: int  #: unique in this process
    attempts: int = 0  #: times it was sent; with ``number`` it names an attempt
    failures: int = 0  #: in a row, for the back-off
    faults: int = 0  #: 5xx and time-outs since the first one, while other windows may pass
    passed_mark: int = 0  #: accepted windows of the process at the first of these faults
    failing_since: float = -1.0  #: reading of the passing clock when it, as a single row, first failed; -1: it did not
    refused_at: float = -1.0  #: when it, or the window it is a part of, was last answered 403..406; -1: never
    refusals: int = 0
    trials: int = 0  #: how often it failed as the one window that is tried while uploading is paused
    sent_at: float = 0.0
    place: Place = Place.NEW
    due_at: float = 0.0  #: of a parked window
    rest: Window | None = None  #: the other part of a bisected window, waiting for this one's answer

    def is_in_flight(self, attempt: int) -> bool:
        """Whether the answer to this attempt is awaited."""
        return self.place is Place.IN_FLIGHT and self.attempts == attempt

    @property
    def times_failed(self) -> int:
        """How often it failed in any way since its rows changed last: the order in which windows are tried alone."""
        return self.failures + self.refusals + self.trials

    @property
    def oldest(self) -> float:
        """Arrival of its oldest row, seconds."""
        return min((row.arrived for row in self.rows), default=0.0)

    @property
    def size(self) -> int:
        """About the bytes of its request."""
        return sum(row.size for row in self.rows)


class Lane:
    """Ready rows of one data key and field set, about in the order of their arrival."""

    __slots__ = ("awaited", "data_key", "rows", "size")

    def __init__(self, data_key: str) -> None:
        self.data_key = data_key
        self.rows: deque[Row] = deque()
        self.size = 0
        self.awaited = 0  #: rows in it that later rows wait for


class Lanes:
    """The lanes, and the rule which of them the next window is cut from."""

    def __init__(self, max_rows: int, linger: float) -> None:
        self.max_rows = max_rows
        self.linger = linger
        self.max_bytes = MAX_WINDOW_BYTES
        self.sendable = 0.0  #: seconds of sendable time so far
        self._sendable_since: float | None = None
        self._lanes: dict[LaneKey, Lane] = {}
        self._windows = 0

    def __len__(self) -> int:
        """Ready rows."""
        return sum(len(lane.rows) for lane in self._lanes.values())

    def __bool__(self) -> bool:
        return bool(self._lanes)

    @property
    def full_windows(self) -> int:
        """How many full windows could be cut now."""
        return sum(len(lane.rows) // self.max_rows for lane in self._lanes.values())

    def rows(self) -> Iterator[Row]:
        """All ready rows."""
        for lane in self._lanes.values():
            yield from lane.rows

    def add(self, rows: Iterable[Row]) -> list[Row]:
        """Take in rows that became ready; those that are rejected already, and cannot be sent, are given back."""
        rejected: list[Row] = []
        lanes = self._lanes
        shape: tuple[str, ...] | None = None
        lane: Lane | None = None
        sendable = self.sendable
        for row in rows:
            if row.rejection is not None:
                rejected.append(row)
                continue
            if lane is None or row.shape is not shape or row.data_key != lane.data_key or row.suspect:
                assert row.data_key is not None
                key = (row.data_key, row.shape, row.suspect)
                lane = lanes.get(key)
                if lane is None:
                    lane = lanes[key] = Lane(row.data_key)
                shape = None if row.suspect else row.shape
            queue = lane.rows
            row.stage = READY
            row.ripe = sendable
            if queue and row.arrived < queue[0].arrived:
                # It waited for an earlier row of its key: it is the oldest here, and lingers no longer than the others.
                row.ripe = queue[0].ripe
                queue.appendleft(row)
            else:
                queue.append(row)
            lane.size += row.size
            if row.awaited:
                lane.awaited += 1
        return rejected

    def urge(self, rows: Iterable[Row]) -> None:
        """These rows are awaited from now on; the ready ones among them no longer linger."""
        for row in rows:
            if row.stage == Stage.READY:
                assert row.data_key is not None
                self._lanes[(row.data_key, row.shape, row.suspect)].awaited += 1

    def pass_time(self, now: float, *, sendable: bool) -> None:
        """Advance the sendable time to ``now``; ``sendable``: whether it goes on running from here."""
        if self._sendable_since is not None:
            self.sendable += max(0.0, now - self._sendable_since)
        self._sendable_since = now if sendable else None

    def next_due(self, now: float) -> float | None:
        """When the first lane becomes closable if nothing else happens, seconds; None: only an input can bring that."""
        due: float | None = None
        for lane in self._lanes.values():
            first = lane.rows[0]
            at = first.arrived + PATIENCE_LINGERS * self.linger
            if self._sendable_since is not None:
                at = min(at, now + self.linger - (self.sendable - first.ripe))
            due = at if due is None else min(due, at)
        return due

    def cut(self, now: float, *, drain: bool = False) -> Window | None:
        """The next window by the rule, or None while no lane is closable.

        By the arrival of the oldest row; a full one first, but only while no other is older than five lingers.
        """
        best_full: Lane | None = None
        best_due: tuple[LaneKey, str] | None = None
        full_key: LaneKey | None = None
        due_at = full_at = now + 1.0
        patience = PATIENCE_LINGERS * self.linger
        for key, lane in self._lanes.items():
            first = lane.rows[0]
            if len(lane.rows) >= self.max_rows or lane.size >= self.max_bytes:
                if best_full is None or first.arrived < full_at:
                    best_full, full_key, full_at = lane, key, first.arrived
            elif (
                drain or lane.awaited or self.sendable - first.ripe >= self.linger or now - first.arrived >= patience
            ) and (best_due is None or first.arrived < due_at):
                best_due, due_at = (key, "drain" if drain else "due"), first.arrived
        if full_key is not None and (best_due is None or full_at <= due_at or now - due_at < patience):
            return self._take(full_key, "full")
        if best_due is not None:
            return self._take(*best_due)
        return None

    def _take(self, key: LaneKey, reason: str) -> Window:
        lane = self._lanes[key]
        queue = lane.rows
        rows: list[Row] = []
        size = 0
        for row in islice(queue, self.max_rows):
            size += row.size
            if size > self.max_bytes and rows:
                size -= row.size
                reason = "bytes"
                break
            row.stage = WINDOWED
            rows.append(row)
        for _ in rows:
            queue.popleft()
        if lane.awaited:
            lane.awaited -= sum(row.awaited for row in rows)
        if reason == "full" and len(rows) < self.max_rows:
            reason = "bytes"
        lane.size -= size
        if not queue:
            del self._lanes[key]
        return self.window(lane.data_key, rows, reason)

    def window(self, data_key: str, rows: list[Row], reason: str) -> Window:
        """A window of these rows, numbered."""
        self._windows += 1
        return Window(data_key, rows, reason, self._windows)

    def limit_bytes(self, window: Window) -> None:
        """Remember that a request of this window's size was too large (413)."""
        if len(window.rows) > 1:
            self.max_bytes = max(1, min(self.max_bytes, window.size // 2))

    def remove_done(self) -> None:
        """Take out the rows that were released while they waited here."""
        for key, lane in list(self._lanes.items()):
            lane.rows = deque(row for row in lane.rows if row.stage != Stage.DONE)
            lane.size = sum(row.size for row in lane.rows)
            lane.awaited = sum(row.awaited for row in lane.rows)
            if not lane.rows:
                del self._lanes[key]


#: The share of a window that is tried first when a bad row is sought. When that part passes, the bad row must be in the
#: rest, which is then divided without being sent whole; this share makes both ways cost the same (a Fibonacci
#: search), so that one bad row among 100 is found in at most 12 calls.
FIRST_SHARE = 0.382


def bisect(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The two parts of at least two rows for the search for a bad one."""
    cut = max(1, round(len(rows) * FIRST_SHARE))
    return rows[:cut], rows[cut:]
