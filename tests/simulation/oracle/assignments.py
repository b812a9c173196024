"""Assignments of partitions to processes, and what befalls the log below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tests.simulation.oracle.books import Books, Epoch
from tests.simulation.oracle.commits import LATER
from tests.simulation.oracle.effects import Effects
from tests.simulation.oracle.load import Load
from tests.simulation.oracle.sending import Sending
from tests.simulation.process import Process


class Assignments:
    """Opens and closes the books of each assignment; excuses records that the log has lost."""

    def __init__(
        self,
        books: Books,
        load: Load,
        sending: Sending,
        effects: Effects,
        owns: Callable[[Process, int], bool],
    ) -> None:
        self._books = books
        self._load = load
        self._sending = sending
        self._effects = effects
        #: Whether the group has a partition with a process.
        self._owns = owns
        #: When a partition was cut, and where.
        self._cut: dict[int, tuple[float, int]] = {}
        #: When a commit was sent last, by what it says.
        self._said: dict[tuple[int, int, str], float] = {}
        #: Partitions that came when the group had commits: they are read from their begin.
        self.late: set[int] = set()

    def said(self, number: int, offset: int, metadata: str) -> None:
        """Note when a commit was sent."""
        self._said[number, offset, metadata] = self._books.scheduler.now

    def removed(self, number: int, begin: int, end: int, *, replaced: bool = False) -> None:
        """Excuse records that are no more, and count those not settled.

        ``replaced``: others are written in their place, between which and them there is no order.
        """
        for offset in range(begin, end):
            record = self._books.records.get((number, offset))
            if record is not None and (number, offset) not in self._books.removed:
                self._books.removed.add((number, offset))
                if any(row.tag not in self._books.settled_ever for row in record.rows):
                    self._books.seen["removed before it was settled"] += 1
        if replaced:
            self._books.replaced |= {
                (number, offset) for offset in range(begin, end)
            } & self._books.records.keys()
            self._effects.set_apart()

    def cut(self, number: int, end: int) -> None:
        """Take in that a copy that lags behind has taken over a partition, which ends there."""
        self._cut[number] = (self._books.scheduler.now, end)
        for book in self._books.epochs.values():
            if book.number == number:
                book.cut_at = end

    def map_cut(self, epoch: object, end: int) -> None:
        """Take in that a commit's map is about other records from ``end`` on."""
        book = self._books.epochs[epoch]
        book.map = [(begin, min(after, end)) for begin, after in book.map if begin < end]

    def ended(self, process: Process) -> None:
        """Take in that a process is no more."""
        for epoch in self._books.of[process]:
            if any(
                len(places) < len(self._books.rows[epoch.number, o])
                for o, places in epoch.open.items()
            ):
                self._books.seen["a half-settled record at the end of a process"] += 1
            epoch.killed |= epoch.gone_at is None
            epoch.ended = True

    def assigned(
        self,
        process: Process,
        epoch: object,
        number: int,
        start: int,
        committed: tuple[int, str] | None,
    ) -> None:
        """Open the books of an assignment."""
        before = [e for e in self._books.epochs.values() if e.number == number]
        if any(e.process is process for e in before):
            self._books.seen["revoke-and-return"] += 1
        # One that was thrown out, and does not know it yet, decides nothing for the group.
        if committed is None and number not in self.late and self._owns(process, number):
            self._books.floor[number] = start
        book = Epoch(len(self._books.epochs), process, number, start, committed)
        self._books.epochs[epoch] = book
        cut_at, end = self._cut.get(number, (-1.0, 0))
        if cut_at >= 0 and book.map_epoch < LATER:
            book.cut_at = end
        if committed is not None and self._said.get((number, *committed), cut_at) < cut_at:
            self._hide(
                (n, o) for n, o in list(self._books.records) if n == number and end <= o < start
            )
        # else it was thrown out meanwhile, and does not know it yet
        if self._owns(process, number):
            self._sending.owners[number] = book
        self._books.of[process].append(book)
        self._books.tell(process, f"is assigned {number} from {start}, committed {committed}")

    def _hide(self, records: Iterable[tuple[int, int]]) -> None:
        """Excuse records that lie before a commit from before a cut, as others that are gone did.

        Whoever begins with a cut partition commits so at once. But it may die before, or its commit
        be lost.
        """
        for at in records:
            if at not in self._books.removed and any(
                row.tag not in self._books.settled_ever for row in self._books.records[at].rows
            ):
                self._books.removed.add(at)
                self._books.seen["hidden by a commit from before a cut"] += 1

    def leaving(self, process: Process, epochs: Sequence[object], *, lost: bool) -> None:
        """Note that a process is told to give up partitions, or has lost them."""
        for epoch in epochs:
            book = self._books.epochs[epoch]
            book.leaving, book.lost, book.left_at = True, lost, self._books.scheduler.now
        if epochs:
            self._books.seen["lost" if lost else "revoked"] += 1
        numbers = [self._books.epochs[e].number for e in epochs]
        self._books.tell(process, f"{'loses' if lost else 'is to give up'} {numbers}")

    def gone(self, process: Process, epochs: Sequence[object]) -> None:
        """Close the books of assignments: what is open is released."""
        for key in epochs:
            epoch = self._books.epochs[key]
            epoch.ended = True
            epoch.gone_at = self._books.scheduler.now
            epoch.counts["released"] += epoch.counts.pop("unsettled", 0)
            for offset in epoch.open:
                record = self._books.records[epoch.number, offset]
                self._load.remove(process, record)
        self._books.tell(process, f"has given up {[self._books.epochs[e].number for e in epochs]}")

    def read(self, process: Process, epoch: object, offsets: Sequence[int]) -> None:
        """Take in which records a poll brings."""
        book = self._books.epochs[epoch]
        self._load.check_read(process, len(offsets))
        book.sparse |= offsets[-1] - book.position >= self._books.limits.batch
        for offset in offsets:
            record = self._books.records[book.number, offset]
            book.counts["consumed"] += 1
            book.position = offset + 1
            if not record.rows or book.mapped(offset):
                book.counts["skipped"] += 1
                if record.rows:
                    self._books.seen["settled before"] += 1
                continue
            book.counts["unsettled"] += 1
            book.read.append(offset)
            book.open[offset] = {row.tag[2] for row in record.rows}
            self._load.add(process, record)
        self._books.tell(process, f"reads {book.number}: {offsets[0]}..{offsets[-1]}")
