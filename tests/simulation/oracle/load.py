"""I5, I6: a process counts its records right, and reads no more than it has room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.simulation.oracle.books import Books, Violation
from tests.simulation.process import Process
from tests.simulation.published import PublishedRecord

#: Turns in one moment that no honest loop takes.
SPIN = 5000


class Load:
    """Counts what each process has read and not settled."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._ledgers: dict[Process, Callable[[], dict[str, int]]] = {}
        #: Records that are not settled: each is a row at the least.
        self.unsettled: Counter[Process] = Counter()
        self._bytes: Counter[Process] = Counter()
        #: Records that the poll under way may bring.
        self._room: Counter[Process] = Counter()
        self._turns = (0.0, 0)

    def began(self, process: Process, ledger: Callable[[], dict[str, int]]) -> None:
        """Watch a process; ``ledger`` returns its own counts."""
        self._ledgers[process] = ledger

    def add(self, process: Process, record: PublishedRecord) -> None:
        """Count a record that was read and is to be settled."""
        self.unsettled[process] += 1
        self._bytes[process] += record.size

    def remove(self, process: Process, record: PublishedRecord) -> None:
        """Count a record no more: it is settled, or its partition is given up."""
        self.unsettled[process] -= 1
        self._bytes[process] -= record.size

    def polled(self, process: Process) -> None:
        """Check the counts (I5), note the room for the next poll (I6), and that the loop does not
        spin.
        """
        now, turns = self._turns
        self._turns = (
            (now, turns + 1) if now == self._books.scheduler.now else (self._books.scheduler.now, 0)
        )
        if turns > SPIN:
            raise Violation(f"I8: {process.name} takes turn after turn and does nothing")
        ledger = self._ledgers[process]()
        self._check_ledger(process, ledger)
        self._room[process] = max(0, self._books.limits.rows - self.unsettled[process])
        if self._bytes[process] >= self._books.limits.bytes:
            self._room[process] = 0

    def check_read(self, process: Process, records: int) -> None:
        """Raise Violation when a poll brings more than there was room for (I6)."""
        self._room[process] -= records
        if self._room[process] < 0:
            raise Violation(
                f"I6: {process.name} reads {-self._room[process]} records more than it has room "
                "for: "
                f"{self.unsettled[process]} are unsettled"
            )

    def _check_ledger(self, process: Process, ledger: dict[str, int]) -> None:
        counts: Counter[str] = Counter()
        for book in self._books.of[process]:
            counts.update(book.counts)
        maybe = sum(
            bool(book.open[offset]) and book.undecided(offset)
            for book in self._books.of[process]
            if book.maybe and not book.ended
            for offset in book.open
        )
        parts = ("accepted", "rejected", "skipped", "released", "unsettled")
        if ledger["consumed"] != sum(ledger[name] for name in parts):
            raise Violation(f"I5: the ledger of {process.name} does not balance: {ledger}")
        for name in ("consumed", *parts):
            off = abs(ledger[name] - counts[name])
            if off > (maybe if name in ("accepted", "unsettled", "released") else 0):
                raise Violation(
                    f"I5: {process.name} tells {name} {ledger[name]}, it is {counts[name]}; "
                    f"{ledger}"
                )
