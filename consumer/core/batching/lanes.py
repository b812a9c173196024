"""Gathering ready rows, and cutting windows from them: the rows of one request.

Ready rows gather in lanes, one per (data key, field set), over all assigned partitions. A window is
cut from a lane only at the moment when a request can start, so that it is as full as it can be:
with requests scarce (ten a second), rows per request is the cost that counts. A lane is closable
when it is full by rows or bytes, when its oldest row has lingered, or when a row in it is awaited
by a later row of its key; for a trial or a probe any lane will do.

The linger counts *sendable time*: time in which a request could have started and nothing was
closable. While requests are scarce it stands still, because waiting costs nothing then and fills
windows.

Rows that go asynchronously share a lane only with rows of the same data, so there may be as many
lanes as rows. No step looks at all of them: which lane is next stands in heaps by the lanes' oldest
rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, nlargest
from itertools import islice

from consumer.core.model import Row, Stage

READY, WINDOWED = Stage.READY, Stage.WINDOWED

#: Older than this many lingers by the wall clock, a row goes before full windows.
PATIENCE_LINGERS = 5.0
#: Entries that hold no more are not looked for while there are only so many.
SPARE_ENTRIES = 16
#: More bytes than this are not put into one request, whatever the API would take.
MAX_WINDOW_BYTES = 1_000_000
#: After so many seconds without a 413, each accepted request at the limit doubles it: the limit may
#: have gone.
LIMIT_HOLDS_SECONDS = 60.0

LaneKey = tuple[str, tuple[str, ...], bool, bool]
#: A time, the lane's ``number`` and its ``serial`` at that time, and the lane.
Entry = tuple[float, int, int, "Lane"]
#: What a window is made of: data key, rows, and why it was closed.
Cut = tuple[str, list[Row], str]


class Lane:
    """Ready rows of one data key and field set, about in the order of their arrival."""

    __slots__ = (
        "awaited",
        "by_task",
        "data_key",
        "due",
        "first",
        "full",
        "key",
        "number",
        "rows",
        "serial",
        "size",
        "windows",
    )

    def __init__(self, key: LaneKey, number: int) -> None:
        self.key = key
        #: in the order in which lanes came into being: of two as old as each other the first goes
        self.number = number
        self.data_key, _, _, self.by_task = key
        self.rows: deque[Row] = deque()
        self.size = 0
        self.awaited = 0  #: rows in it that later rows wait for
        self.first: Row | None = None  #: its oldest row when it was placed last
        #: of its entries that hold: a new one whenever its oldest row is another; 0: none hold
        self.serial = 0
        self.due = False  #: it has an entry among the due ones
        self.full = False  #: it has an entry among the full ones
        self.windows = 0  #: full windows that could be cut from it


class Order:
    """Lanes by their oldest rows, in four heaps with at most one entry of each lane that holds.

    An entry that holds no more is dropped when it comes to the top; and all such are dropped when a
    heap has more than twice as many entries as there are lanes. So heaps are bounded by the lanes.
    """

    __slots__ = ("by_arrival", "by_ripeness", "due", "full", "lanes")

    def __init__(self) -> None:
        self.lanes = 0  #: how many there are
        self.by_ripeness: list[
            Entry
        ] = []  #: that are not due by having lingered, by the reading at which they began
        self.by_arrival: list[Entry] = []  #: that are not due by their age
        self.due: list[Entry] = []  #: closable ones, by arrival
        self.full: list[Entry] = []  #: full ones, by arrival

    def tidy(self) -> None:
        """Drop the entries that hold no more where they are many.

        For each one that is dropped another was made before, so that costs little.
        """
        most = 2 * self.lanes + SPARE_ENTRIES
        for heap in (self.by_ripeness, self.by_arrival, self.due, self.full):
            if len(heap) > most:
                heap[:] = [entry for entry in heap if entry[2] == entry[3].serial]
                heapify(heap)

    def promote_due(self, sendable: float, now: float, linger: float) -> None:
        """Let lanes become due by these readings of sendable time and of the clock."""
        patience = PATIENCE_LINGERS * linger
        while (entry := _top(self.by_ripeness)) is not None and sendable - entry[0] >= linger:
            heappop(self.by_ripeness)
            self.make_due(entry[3])
        while (entry := _top(self.by_arrival)) is not None and now - entry[0] >= patience:
            heappop(self.by_arrival)
            self.make_due(entry[3])

    def make_due(self, lane: Lane) -> None:
        """The lane is closable, full or not."""
        if not lane.due:
            lane.due = True
            heappush(self.due, (lane.rows[0].arrived, lane.number, lane.serial, lane))


def _top(heap: list[Entry]) -> Entry | None:
    """The first entry that holds."""
    while heap and heap[0][2] != heap[0][3].serial:
        heappop(heap)
    return heap[0] if heap else None


def _oldest(heaps: Iterable[list[Entry]]) -> Entry | None:
    return min((entry for heap in heaps if (entry := _top(heap)) is not None), default=None)


class Lanes:
    """The lanes, and the rule which of them the next window is cut from."""

    def __init__(self, max_rows: int, linger: float) -> None:
        self.max_rows = max_rows
        self.linger = linger
        self.max_bytes = MAX_WINDOW_BYTES
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
        """Ready rows."""
        return sum(len(lane.rows) for lane in self._lanes.values())

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def fullest(self, count: int) -> list[Lane]:
        """The lanes with the most rows, at most so many."""
        return nlargest(count, self._lanes.values(), key=lambda lane: len(lane.rows))

    def rows(self) -> Iterator[Row]:
        """All ready rows."""
        for lane in self._lanes.values():
            yield from lane.rows

    def add(self, rows: Iterable[Row]) -> list[Row]:
        """Take in rows that became ready.

        Those that are rejected already, and cannot be sent, are given back.
        """
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
        """These rows are awaited from now on; the ready ones among them no longer linger."""
        for row in rows:
            if row.stage == Stage.READY:
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
            heappush(order.by_ripeness, (first.ready_at, lane.number, lane.serial, lane))
            heappush(order.by_arrival, (first.arrived, lane.number, lane.serial, lane))
            order.tidy()
        if lane.awaited:
            order.make_due(lane)
        if not lane.full and (len(lane.rows) >= self.max_rows or lane.size >= self.max_bytes):
            lane.full = True
            heappush(order.full, (first.arrived, lane.number, lane.serial, lane))
        self._count(lane, len(lane.rows) // self.max_rows)

    def _count(self, lane: Lane, windows: int) -> None:
        """So many full windows can be cut from a lane now."""
        self.full_windows += windows - lane.windows
        if lane.by_task:
            self.full_task_windows += windows - lane.windows
        lane.windows = windows

    def _place_anew(self, lane: Lane) -> None:
        """The lane was changed.

        What was entered for it holds no more; without rows it is no more.
        """
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
        """Advance the sendable time to ``now``.

        ``sendable``: whether it goes on running from here.
        """
        if self._sendable_since is not None:
            self.sendable += max(0.0, now - self._sendable_since)
        self._sendable_since = now if sendable else None

    def next_due(self, now: float, *, tasks: bool = True) -> float | None:
        """When the first lane becomes closable if nothing else happens, seconds.

        None: only an input can bring that.

        ``tasks``: whether lanes of rows that go asynchronously count.
        """
        times: list[float] = []
        for order in self._open(tasks=tasks):
            order.promote_due(self.sendable, now, self.linger)
            if _top(order.due) is not None or _top(order.full) is not None:
                return now
            by_age, by_linger = _top(order.by_arrival), _top(order.by_ripeness)
            if by_age is not None:
                times.append(by_age[0] + PATIENCE_LINGERS * self.linger)
            if by_linger is not None and self._sendable_since is not None:
                times.append(now + self.linger - (self.sendable - by_linger[0]))
        return min(times, default=None)

    def _open(self, *, tasks: bool) -> list[Order]:
        return list(self._orders.values()) if tasks else [self._orders[False]]

    def cut(self, now: float, *, due_or_not: bool = False, tasks: bool = True) -> Cut | None:
        """The rows of the next window by the rule, or None while no lane is closable (I8).

        By the arrival of the oldest row; a full one first, but only while no other is older than
        five lingers. ``due_or_not``: any lane will do, for a trial or a probe; the reason is then
        "drain". ``tasks``: whether rows that go asynchronously may go now.
        """
        orders = self._open(tasks=tasks)
        for order in orders:
            order.promote_due(self.sendable, now, self.linger)
        full = _oldest(order.full for order in orders)
        closable = [order.due for order in orders]
        if due_or_not:
            closable += [order.by_arrival for order in orders]
        due = _oldest(closable)
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
        if reason == "full" and len(rows) < self.max_rows:
            reason = "bytes"
        lane.size -= size
        self._place_anew(lane)
        return lane.data_key, rows, reason

    def limit_bytes(self, rows: list[Row], now: float) -> None:
        """Remember that a request of these rows was too large (413)."""
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
        """Tell whether a row of this kind is ready."""
        return self._orders[by_task].lanes > 0

    @property
    def task_lanes(self) -> int:
        """Lanes of rows that go asynchronously."""
        return self._orders[True].lanes

    def remove_done(self) -> None:
        """Take out the rows that were released while they waited here (fencing)."""
        for lane in list(self._lanes.values()):
            lane.awaited = sum(row.awaited for row in lane.rows)  # the rows that waited may be gone
            if any(row.stage == Stage.DONE for row in lane.rows):
                lane.rows = deque(row for row in lane.rows if row.stage != Stage.DONE)
                lane.size = sum(row.size for row in lane.rows)
                lane.awaited = sum(row.awaited for row in lane.rows)
                self._place_anew(lane)
