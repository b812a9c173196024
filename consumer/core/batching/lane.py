"""A lane of ready rows, and the priority queues in which lanes stand by their oldest rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from consumer.core.model import Row

#: Older than this many lingers by the wall clock, a row goes before full windows.
PATIENCE_LINGERS = 5.0
#: Stale entries are not looked for while a heap has only so many beyond twice its lanes.
SPARE_ENTRIES = 16

LaneKey = tuple[str, tuple[str, ...], bool, bool]
#: A time, the lane's ``number``, its ``serial`` when the entry was made, and the lane. The entry is
#: stale when the lane has another serial by now.
Entry = tuple[float, int, int, "Lane"]


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
        #: of its valid entries: a new one whenever its oldest row is another; 0: none is valid
        self.serial = 0
        self.due = False  #: it has an entry among the due ones
        self.full = False  #: it has an entry among the full ones
        self.windows = 0  #: full windows that could be cut from it


class Order:
    """Lanes by their oldest rows: four heaps with lazy deletion, at most one valid entry of a lane.

    A stale entry is dropped when it comes to the top; and all are dropped when a heap has more than
    twice as many entries as there are lanes. So heaps are bounded by the lanes.
    """

    __slots__ = ("by_arrival", "by_ready_at", "due", "full", "lanes")

    def __init__(self) -> None:
        self.lanes = 0  #: how many there are
        #: that are not due by having lingered, by the sendable time at which they began to
        self.by_ready_at: list[Entry] = []
        self.by_arrival: list[Entry] = []  #: that are not due by their age
        self.due: list[Entry] = []  #: closable ones, by arrival
        self.full: list[Entry] = []  #: full ones, by arrival

    def tidy(self) -> None:
        """Drop the stale entries of a heap that has many.

        For each one that is dropped another was made before, so that costs little.
        """
        most = 2 * self.lanes + SPARE_ENTRIES
        for heap in (self.by_ready_at, self.by_arrival, self.due, self.full):
            if len(heap) > most:
                heap[:] = [entry for entry in heap if entry[2] == entry[3].serial]
                heapify(heap)

    def promote_due(self, sendable: float, now: float, linger: float) -> None:
        """Make lanes due that have lingered, or are too old, by now.

        ``sendable``, ``linger``: seconds of sendable time; ``now``: of the owner's clock.
        """
        patience = PATIENCE_LINGERS * linger
        while (entry := first_valid(self.by_ready_at)) is not None and sendable - entry[
            0
        ] >= linger:
            heappop(self.by_ready_at)
            self.make_due(entry[3])
        while (entry := first_valid(self.by_arrival)) is not None and now - entry[0] >= patience:
            heappop(self.by_arrival)
            self.make_due(entry[3])

    def make_due(self, lane: Lane) -> None:
        """Let the lane be closable, full or not."""
        if not lane.due:
            lane.due = True
            heappush(self.due, (lane.rows[0].arrived, lane.number, lane.serial, lane))


def first_valid(heap: list[Entry]) -> Entry | None:
    """Return a heap's first valid entry; drop the stale ones before it."""
    while heap and heap[0][2] != heap[0][3].serial:
        heappop(heap)
    return heap[0] if heap else None


def oldest(heaps: Iterable[list[Entry]]) -> Entry | None:
    """Return the first valid entry of several heaps."""
    return min((entry for heap in heaps if (entry := first_valid(heap)) is not None), default=None)
