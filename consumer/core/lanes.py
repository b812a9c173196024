"""Gathering ready rows, and cutting windows from them: the rows of one request.

Ready rows gather in lanes, one per (data key, field set), over all assigned partitions. A window is cut from a lane
only at the moment when a request can start, so that it is as full as it can be: with requests scarce (ten a
second), rows per request is the cost that counts. A lane is closable when it is full by rows or bytes, when its oldest
row has lingered, or when a row in it is awaited by a later row of its key; for a trial or a probe any lane will do.

The linger counts *sendable time*: time in which a request could have started and nothing was closable. While
requests are scarce it stands still, because waiting costs nothing then and fills windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import nlargest
from itertools import islice

from consumer.core.model import Row, Stage

READY, WINDOWED = Stage.READY, Stage.WINDOWED

#: Older than this many lingers by the wall clock, a row goes before full windows.
PATIENCE_LINGERS = 5.0
#: More bytes than this are not put into one request, whatever the API would take.
MAX_WINDOW_BYTES = 1_000_000

LaneKey = tuple[str, tuple[str, ...], bool, bool]
#: What a window is made of: data key, rows, and why it was closed.
Cut = tuple[str, list[Row], str]


class Lane:
    """Ready rows of one data key and field set, about in the order of their arrival."""

    __slots__ = ("awaited", "by_task", "data_key", "rows", "size")

    def __init__(self, data_key: str, *, by_task: bool) -> None:
        self.data_key = data_key
        self.by_task = by_task
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

    def __len__(self) -> int:
        """Ready rows."""
        return sum(len(lane.rows) for lane in self._lanes.values())

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def fullest(self, count: int) -> list[Lane]:
        """The lanes with the most rows, at most so many."""
        return nlargest(count, self._lanes.values(), key=lambda lane: len(lane.rows))

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
                key = (row.data_key, row.shape, row.suspect, row.by_task)
                lane = lanes.get(key)
                if lane is None:
                    lane = lanes[key] = Lane(row.data_key, by_task=row.by_task)
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
                self._lanes[(row.data_key, row.shape, row.suspect, row.by_task)].awaited += 1

    def pass_time(self, now: float, *, sendable: bool) -> None:
        """Advance the sendable time to ``now``; ``sendable``: whether it goes on running from here."""
        if self._sendable_since is not None:
            self.sendable += max(0.0, now - self._sendable_since)
        self._sendable_since = now if sendable else None

    def next_due(self, now: float, *, tasks: bool = True) -> float | None:
        """When the first lane becomes closable if nothing else happens, seconds; None: only an input can bring that.

        ``tasks``: whether lanes of rows that go asynchronously count.
        """
        due: float | None = None
        for lane in self._lanes.values():
            if lane.by_task and not tasks:
                continue
            first = lane.rows[0]
            at = first.arrived + PATIENCE_LINGERS * self.linger
            if self._sendable_since is not None:
                at = min(at, now + self.linger - (self.sendable - first.ripe))
            due = at if due is None else min(due, at)
        return due

    def cut(self, now: float, *, due_or_not: bool = False, tasks: bool = True) -> Cut | None:
        """The rows of the next window by the rule, or None while no lane is closable.

        By the arrival of the oldest row; a full one first, but only while no other is older than five lingers.
        ``due_or_not``: any lane will do, for a trial or a probe; the reason is then "drain". ``tasks``: whether rows
        that go asynchronously may go now.
        """
        best_full: Lane | None = None
        best_due: tuple[LaneKey, str] | None = None
        full_key: LaneKey | None = None
        due_at = full_at = now + 1.0
        patience = PATIENCE_LINGERS * self.linger
        for key, lane in self._lanes.items():
            if lane.by_task and not tasks:
                continue
            first = lane.rows[0]
            if len(lane.rows) >= self.max_rows or lane.size >= self.max_bytes:
                if best_full is None or first.arrived < full_at:
                    best_full, full_key, full_at = lane, key, first.arrived
            elif (
                due_or_not
                or lane.awaited
                or self.sendable - first.ripe >= self.linger
                or now - first.arrived >= patience
            ) and (best_due is None or first.arrived < due_at):
                best_due, due_at = (key, "drain" if due_or_not else "due"), first.arrived
        if full_key is not None and (best_due is None or full_at <= due_at or now - due_at < patience):
            return self._take(full_key, "full")
        if best_due is not None:
            return self._take(*best_due)
        return None

    def _take(self, key: LaneKey, reason: str) -> Cut:
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
        return lane.data_key, rows, reason

    def limit_bytes(self, rows: list[Row]) -> None:
        """Remember that a request of these rows was too large (413)."""
        if len(rows) > 1:
            self.max_bytes = max(1, min(self.max_bytes, sum(row.size for row in rows) // 2))

    def remove_done(self) -> None:
        """Take out the rows that were released while they waited here."""
        for key, lane in list(self._lanes.items()):
            lane.rows = deque(row for row in lane.rows if row.stage != Stage.DONE)
            lane.size = sum(row.size for row in lane.rows)
            lane.awaited = sum(row.awaited for row in lane.rows)
            if not lane.rows:
                del self._lanes[key]
