"""The books of a run, which all checks of the oracle read: assignments, and the rows' outcomes."""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.simulation.documents import PublishedRow
from tests.simulation.maps import covered_by, epoch_of
from tests.simulation.process import Process
from tests.simulation.published import PublishedRecord
from tests.simulation.scheduler import Scheduler
from tests.simulation.trace import Trace
from tests.simulation.witness import Tag


class Violation(AssertionError):  # noqa: N818 - it names what does not hold
    """An invariant does not hold."""


@dataclass(frozen=True)
class Limits:
    """The settings that the oracle must know; seconds, characters."""

    rows: int
    bytes: float
    max_processing: float
    map_room: int
    batch: int
    task_deadline: float
    revoke: float = 0.0  #: how long a revocation waits at most
    stop: float = 0.0  #: and a stop
    receipts: bool = False
    give_up: float = 0.0


class Epoch:
    """The books of one assignment of a partition to a process."""

    def __init__(
        self,
        place: int,
        process: Process,
        number: int,
        start: int,
        committed: tuple[int, str] | None,
    ) -> None:
        self.place = place  #: in the order of all assignments
        self.process = process
        self.number = number
        self.start = start
        self.given = committed
        self.map = covered_by(committed[1], number, committed[0]) if committed is not None else []
        self.map_epoch = epoch_of(committed[1]) if committed is not None else -1
        #: A later leader has written others from this offset on than the map names.
        self.cut_at: int | None = None
        self.position = start
        self.read: deque[int] = deque()  #: offsets from the first that is not settled on
        self.open: dict[int, set[int]] = {}  #: by offset: places of rows that are not settled
        self.maybe: set[Tag] = set()  #: rows that a 200 left out
        self.rejected: set[int] = set()  #: offsets with a dead letter
        self.counts: Counter[str] = Counter()
        self.leaving = False
        self.ended = False
        self.killed = False
        self.lost = False  #: the group took it away without asking
        self.left_at = 0.0  #: when its process was told to give it up
        self.gone_at: float | None = None
        self.receipting: set[Tag] = set()  #: accepted rows whose receipts are not acknowledged
        self.receipted: set[Tag] = set()  #: rows with a receipt
        self.refusals = 0  #: commits whose metadata the broker did not take
        #: One read brought more positions than records that can be read at once.
        self.sparse = False

    def __repr__(self) -> str:
        return f"partition {self.number} of {self.process.name} from {self.start}"

    def mapped(self, offset: int) -> bool:
        """Return whether the commit that it began with says that an offset is settled."""
        return in_ranges(self.map, offset) and (self.cut_at is None or offset < self.cut_at)

    def settled(self, tag: Tag) -> bool:
        """Return whether a row is settled, as far as this assignment can know."""
        offset = tag[1]
        return self.settled_before(offset) or tag[2] not in self.open.get(offset, ())

    def settled_before(self, offset: int) -> bool:
        """Return whether a record is settled by what the assignment began with, and never sent in
        it.
        """
        return offset < self.start or self.mapped(offset)

    def undecided(self, offset: int) -> bool:
        """Return whether a record is open only for rows that a 200 left out."""
        return all((self.number, offset, place) in self.maybe for place in self.open[offset])


class Books:
    """The state that all checks share; each check keeps beside it what it alone needs."""

    def __init__(
        self,
        scheduler: Scheduler,
        records: Mapping[tuple[int, int], PublishedRecord],
        limits: Limits,
        seen: Counter[str],
        trace: Trace | None,
    ) -> None:
        self.scheduler = scheduler
        self.records = records
        self.limits = limits
        self.seen = seen
        self._trace = trace
        #: Assignments by the object that stands for each, and by their process.
        self.epochs: dict[object, Epoch] = {}
        self.of: dict[Process, list[Epoch]] = {}
        #: Rows of each record that was written.
        self.rows: dict[tuple[int, int], dict[Tag, PublishedRow]] = {}
        #: Records that the brokers hold no more, whatever became of them.
        self.removed: set[tuple[int, int]] = set()
        #: Of these, those in whose place others are written.
        self.replaced: set[tuple[int, int]] = set()
        #: Where a partition without a commit was begun last.
        self.floor: dict[int, int] = {}
        self.accepted: set[Tag] = set()
        self.settled_ever: set[Tag] = set()
        #: Rows with a dead letter, and its reason.
        self.dead_lettered: dict[Tag, str] = {}

    def rows_of(self, tag: Tag) -> dict[Tag, PublishedRow]:
        """Return the rows of a tag's record."""
        return self.rows.get(tag[:2], {})

    def tell(self, process: Process, what: str) -> None:
        """Add a line to the trace, if one is kept."""
        if self._trace is not None:
            self._trace.tell(process.name, what)


def in_ranges(ranges: Sequence[tuple[int, int]], offset: int) -> bool:
    """Return whether an offset lies in one of the half-open ranges, which are in order."""
    place = bisect.bisect_right(ranges, (offset, 1 << 62)) - 1
    return place >= 0 and ranges[place][0] <= offset < ranges[place][1]
