"""Batching by size and linger: ready rows gather in lanes, and windows are cut from these.

There is a lane for each (data key, field set), over all assigned partitions. A window is cut from a
lane only at the moment when a request can start, so that it is as full as it can be: with requests
scarce (ten a second), rows per request is the cost that counts. A lane is closable when it is full
by rows or bytes, when its oldest row has lingered, or when a row in it is awaited by a later row of
its key; for a probe any lane will do.

The linger counts *sendable time*: time in which a request could have started and nothing was
closable. While requests are scarce it stands still, because waiting costs nothing then and fills
windows.

Rows that go asynchronously share a lane only with rows of the same data, so there may be as many
lanes as rows. No step looks at all of them: which lane is next, ``lane.Order`` knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappush, nlargest
from itertools import islice

from consumer.core.batching.lane import PATIENCE_LINGERS, Lane, LaneKey, Order, first_valid, oldest
from consumer.core.model import Row, Stage

READY, WINDOWED = Stage.READY, Stage.WINDOWED

#: More bytes than this are not put into one request, whatever the API would take.
MAX_WINDOW_BYTES = 1_000_000
#: After so many seconds without a 413, each accepted request at the limit doubles it: the limit may
#: have gone.
LIMIT_HOLDS_SECONDS = 60.0

#: What a window is made of: data key, rows, and why it was closed.
Cut = tuple[str, list[Row], str]


class Lanes:
    """The lanes, and the rule which of them the next window is cut from."""

    def __init__(self, max_rows: int, linger: float) -> None:
        self.max_rows = max_rows
        self.linger = linger
        self.max_bytes = MAX_WINDOW_BYTES  #: of a request, as far as the API has told
        self._limited_at = 0.0  # when a request was too large last
        self.sendable = 0.0  #: seconds of sendable time so far
        self.full_windows = 0  #: how many full windows could be cut now
        self.full_task_windows = 0  #: of these, those that would go asynchronously
        self._sendable_since: float | None = None
        self._lanes: dict[LaneKey, Lane] = {}
        # Those that go asynchronously apart, as tasks may be full while other requests can start.
        self._orders = {False: Order(), True: Order()}
        self._number = self._serial = 0

    def __len__(self) -> int:
        """Return how many rows are ready."""
        return sum(len(lane.rows) for lane in self._lanes.values())

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def fullest(self, count: int) -> list[Lane]:
        """Return the lanes with the most rows, at most so many."""
        return nlargest(count, self._lanes.values(), key=lambda lane: len(lane.rows))

    def rows(self) -> Iterator[Row]:
        """Yield all ready rows."""
        for lane in self._lanes.values():
            yield from lane.rows

    def add(self, rows: Iterable[Row]) -> list[Row]:
        """Take in rows that became ready; return those that are rejected, which cannot be sent."""
        rejected: list[Row] = []
        lanes = self._lanes
        touched: dict[Lane, None] = {}
        shape: tuple[str, ...] | None = None
        lane: Lane | None = None
        sendable = self.sendable
        for row in rows:
            if row.rejection is not None:
                rejected.append(row)
                continue
            if (
                lane is None
                or row.shape is not shape
                or row.data_key != lane.data_key
                or row.suspect
            ):
                assert row.data_key is not None
                key = (row.data_key, row.shape, row.suspect, row.by_task)
                lane = lanes.get(key)
                if lane is None:
                    self._number += 1
                    lane = lanes[key] = Lane(key, self._number)
                    self._orders[lane.by_task].lanes += 1
                touched[lane] = None
                shape = None if row.suspect else row.shape
            queue = lane.rows
            row.stage = READY
            row.ready_at = sendable
            if queue and row.arrived < queue[0].arrived:
                # It waited for an earlier row of its key: it is the oldest here, and lingers no
                # longer than the others.
                row.ready_at = queue[0].ready_at
                queue.appendleft(row)
            else:
                queue.append(row)
            lane.size += row.size
            if row.awaited:
                lane.awaited += 1
        for lane in touched:
            self._place(lane)
        return rejected

    def expedite(self, rows: Iterable[Row]) -> None:
        """Let ready rows linger no more, as later rows wait for them; others are not here."""
        for row in rows:
            if row.stage == Stage.READY:
                assert row.awaited is True, "a row is expedited that none waits for"
                assert row.data_key is not None
                lane = self._lanes[(row.data_key, row.shape, row.suspect, row.by_task)]
                lane.awaited += 1
                self._place(lane)

    def _place(self, lane: Lane) -> None:
        """Enter a lane that has rows where it belongs now."""
        first, order = lane.rows[0], self._orders[lane.by_task]
        if first is not lane.first:
            self._serial += 1
            lane.first, lane.serial, lane.due, lane.full = first, self._serial, False, False
            heappush(order.by_ready_at, (first.ready_at, lane.number, lane.serial, lane))
            heappush(order.by_arrival, (first.arrived, lane.number, lane.serial, lane))
            order.tidy()
        if lane.awaited:
            order.make_due(lane)
        if not lane.full and (len(lane.rows) >= self.max_rows or lane.size >= self.max_bytes):
            lane.full = True
            heappush(order.full, (first.arrived, lane.number, lane.serial, lane))
        self._count(lane, len(lane.rows) // self.max_rows)

    def _count(self, lane: Lane, windows: int) -> None:
        """Take in that so many full windows can be cut from a lane."""
        self.full_windows += windows - lane.windows
        assert self.full_windows >= 0, "fewer than no full windows"
        if lane.by_task:
            self.full_task_windows += windows - lane.windows
        lane.windows = windows

    def _place_anew(self, lane: Lane) -> None:
        """Enter a changed lane again, its old entries being stale; drop it if it is empty."""
        lane.first, lane.serial = None, 0
        if lane.rows:
            self._place(lane)
        else:
            del self._lanes[lane.key]
            order = self._orders[lane.by_task]
            order.lanes -= 1
            order.tidy()
            self._count(lane, 0)

    def pass_time(self, now: float, *, sendable: bool) -> None:
        """Advance the sendable time to ``now``; ``sendable``: it goes on running from here."""
        if self._sendable_since is not None:
            self.sendable += max(0.0, now - self._sendable_since)
        self._sendable_since = now if sendable else None

    def next_due(self, now: float, *, tasks: bool = True) -> float | None:
        """Return when the first lane becomes closable if nothing else happens, seconds.

        None: only an input can bring that. ``tasks``: lanes of rows that go asynchronously count.
        """
        times: list[float] = []
        for order in self._open(tasks=tasks):
            order.promote_due(self.sendable, now, self.linger)
            if first_valid(order.due) is not None or first_valid(order.full) is not None:
                return now
            by_age, by_linger = first_valid(order.by_arrival), first_valid(order.by_ready_at)
            if by_age is not None:
                times.append(by_age[0] + PATIENCE_LINGERS * self.linger)
            if by_linger is not None and self._sendable_since is not None:
                times.append(now + self.linger - (self.sendable - by_linger[0]))
        return min(times, default=None)

    def _open(self, *, tasks: bool) -> list[Order]:
        return list(self._orders.values()) if tasks else [self._orders[False]]

    def cut(self, now: float, *, due_or_not: bool = False, tasks: bool = True) -> Cut | None:
        """Cut the next window from the lane whose turn it is; None: no lane is closable (I8).

        That is the lane with the oldest row; a full one goes first, but only while no other is
        older than five lingers. ``due_or_not``: any lane will do, for a probe; the reason is then
        "drain". ``tasks``: rows that go asynchronously may go now.
        """
        orders = self._open(tasks=tasks)
        for order in orders:
            order.promote_due(self.sendable, now, self.linger)
        full = oldest(order.full for order in orders)
        closable = [order.due for order in orders]
        if due_or_not:
            closable += [order.by_arrival for order in orders]
        due = oldest(closable)
        # A full lane may be among the due ones, too; then no full one is older than that.
        if full is not None and (
            due is None or full[0] <= due[0] or now - due[0] < PATIENCE_LINGERS * self.linger
        ):
            return self._take(full[3], "full")
        if due is not None:
            return self._take(due[3], "drain" if due_or_not else "due")
        return None

    def _take(self, lane: Lane, reason: str) -> Cut:
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
            assert lane.awaited >= 0, "more awaited rows leave a lane than came"
        if reason == "full" and len(rows) < self.max_rows:
            reason = "bytes"
        lane.size -= size
        assert lane.size >= 0, "more bytes leave a lane than came"
        self._place_anew(lane)
        return lane.data_key, rows, reason

    def limit_bytes(self, rows: list[Row], now: float) -> None:
        """Set the limit to at most half the size of these rows, whose request was too large (413).

        A single row limits nothing: it cannot be divided.
        """
        self._limited_at = now
        if len(rows) > 1:
            self._limit(max(1, min(self.max_bytes, sum(row.size for row in rows) // 2)))

    def passed(self, rows: list[Row], now: float) -> None:
        """Take in that a request of these rows was not too large."""
        if self.max_bytes >= MAX_WINDOW_BYTES or now - self._limited_at < LIMIT_HOLDS_SECONDS:
            return
        if 2 * sum(row.size for row in rows) > self.max_bytes:
            self._limit(min(MAX_WINDOW_BYTES, 2 * self.max_bytes))

    def _limit(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        for lane in self._lanes.values():
            self._place_anew(lane)

    def has(self, *, by_task: bool) -> bool:
        """Return whether a row of this kind is ready."""
        return self._orders[by_task].lanes > 0

    @property
    def task_lanes(self) -> int:
        """Return the number of lanes of rows that go asynchronously."""
        return self._orders[True].lanes

    def remove_done(self) -> None:
        """Take out the rows of revoked partitions (fencing)."""
        for lane in list(self._lanes.values()):
            lane.awaited = sum(row.awaited for row in lane.rows)  # the rows that waited may be gone
            if any(row.stage == Stage.DONE for row in lane.rows):
                lane.rows = deque(row for row in lane.rows if row.stage != Stage.DONE)
                lane.size = sum(row.size for row in lane.rows)
                lane.awaited = sum(row.awaited for row in lane.rows)
                self._place_anew(lane)
