"""The judge of a run: it shares no code with the program, and sees only what crosses the border of
a process.

From what was published, read, sent, applied, answered, dead-lettered and committed it keeps books
of its own (``books``), and holds them to the invariants I1 to I9 at every step. The message of a
Violation begins with the one that is broken. Each module beside this one checks a few of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tests.simulation.documents import UNIT, Key, PublishedRow, event_named
from tests.simulation.oracle.assignments import Assignments
from tests.simulation.oracle.blame import Blame
from tests.simulation.oracle.books import Books, Limits, Violation
from tests.simulation.oracle.commits import Commits
from tests.simulation.oracle.effects import Effects
from tests.simulation.oracle.ending import check_end
from tests.simulation.oracle.load import Load
from tests.simulation.oracle.outcomes import Outcomes
from tests.simulation.oracle.sending import Sending
from tests.simulation.process import Process
from tests.simulation.published import PublishedRecord
from tests.simulation.scheduler import Scheduler
from tests.simulation.trace import Trace
from tests.simulation.witness import Call, Tag, Witness, tag_of

__all__ = ["Limits", "Oracle", "Violation"]


class Oracle(Witness):
    """Keeps the books of a run, and passes what happens to the checks that it concerns."""

    def __init__(
        self,
        scheduler: Scheduler,
        records: Mapping[tuple[int, int], PublishedRecord],
        limits: Limits,
        seen: Counter[str],
        owns: Callable[[Process, int], bool],
        trace: Trace | None,
        kinds: Mapping[Tag, str] | None = None,
        first_line: int = 1,
    ) -> None:
        self._books = Books(scheduler, records, limits, seen, trace)
        self.load = Load(self._books)
        self._sending = Sending(self._books)
        self._effects = Effects(self._books)
        self._blame = Blame(self._books, {} if kinds is None else kinds, first_line)
        self._commits = Commits(self._books)
        self._assignments = Assignments(self._books, self.load, self._sending, self._effects, owns)
        self._outcomes = Outcomes(self._books, self.load, self._sending, self._effects, self._blame)

    @property
    def late(self) -> set[int]:
        """Return the partitions that came when the group had commits, to be added to."""
        return self._assignments.late

    @property
    def sizes(self) -> list[int]:
        """Return the rows of each call, in the order they were sent."""
        return self._sending.sizes

    def tell(self, process: Process, what: str) -> None:
        """Add a line to the trace, for one who watches beside the oracle."""
        self._books.tell(process, what)

    # -- the log and assignments -----------------------------------------------------------------

    def published(self, record: PublishedRecord) -> None:
        """Take in a record that was written."""
        books = self._books
        books.rows[record.number, record.offset] = {row.tag: row for row in record.rows}
        if len(record.rows) > 1:
            books.seen["a record of several rows"] += 1
            books.seen["a document of several rows"] += record.rows[-1].event > 1
        self._sending.published(record)

    def removed(self, number: int, begin: int, end: int, *, replaced: bool = False) -> None:
        """Excuse records that are no more; ``replaced``: others are written in their place."""
        self._assignments.removed(number, begin, end, replaced=replaced)

    def cut(self, number: int, end: int) -> None:
        """Take in that a copy that lags behind has taken over a partition, which ends there."""
        self._assignments.cut(number, end)

    def map_cut(self, epoch: object, end: int) -> None:
        """Take in that the map of an assignment's commit says nothing from ``end`` on."""
        self._assignments.map_cut(epoch, end)

    def began(self, process: Process, ledger: Callable[[], dict[str, int]]) -> None:
        self._books.of[process] = []
        self.load.began(process, ledger)
        self._sending.began(process)

    def ended(self, process: Process) -> None:
        """Take in that a process is no more."""
        self._assignments.ended(process)

    def asked_to_stop(self, process: Process) -> None:
        self._effects.asked_to_stop(process)

    def stopping(self, process: Process) -> None:
        self._effects.stopping(process)

    def assigned(
        self,
        process: Process,
        epoch: object,
        number: int,
        start: int,
        committed: tuple[int, str] | None,
    ) -> None:
        self._assignments.assigned(process, epoch, number, start, committed)

    def leaving(self, process: Process, epochs: Sequence[object], *, lost: bool) -> None:
        self._assignments.leaving(process, epochs, lost=lost)

    def gone(self, process: Process, epochs: Sequence[object]) -> None:
        self._assignments.gone(process, epochs)

    # -- reading ---------------------------------------------------------------------------------

    def read(self, process: Process, epoch: object, offsets: Sequence[int]) -> None:
        self._assignments.read(process, epoch, offsets)

    def reached(self, process: Process, epoch: object, position: int) -> None:
        book = self._books.epochs[epoch]
        book.position = max(book.position, position)

    def held(self, process: Process, *, held: bool) -> None:
        if held:
            self._books.seen["map near its room"] += 1
        self._books.tell(
            process, "reads a partition no more: its map is nearly full" if held else "reads it on"
        )

    def polled(self, process: Process) -> None:
        self.load.polled(process)

    # -- sending and outcomes --------------------------------------------------------------------

    def handed(self, process: Process, epochs: Sequence[object]) -> None:
        self._sending.handed(process, epochs)

    def sent(self, call: Call) -> None:
        self._outcomes.sent(call)
        self._sending.sent(call)

    def tag(
        self,
        number: int,
        offset: int,
        data_key: str | None,
        item: Mapping[str, str],
        message: str = "",
    ) -> Tag:
        """Return the tag by what is in the item; place -1: its record has no row like that."""
        at = number, offset
        if data_key is not None and "tag" in item:
            at = tag_of(item)[:2]
        rows = list(self._books.rows.get(at, {}).values())
        if data_key is None:
            rows = [
                row
                for row in rows
                if not row.fields and (len(rows) == 1 or row.event == event_named(message))
            ]
        elif len(rows) > 1 or not rows or not rows[0].invalid:
            rows = [row for row in rows if _asks_for(row, data_key, item)]
        return rows[0].tag if rows else (*at, -1)

    def applied(self, call: Call, rows: Sequence[int]) -> None:
        self._effects.applied(call, rows)

    def answered(self, call: Call, status: int | None, document: object) -> None:
        self._outcomes.answered(call, status, document)

    def told_of_task(
        self, process: Process, task_id: str, status: int | None, document: object
    ) -> None:
        self._outcomes.told_of_task(process, task_id, status, document)

    def blameless(self, call: Call) -> None:
        self._blame.blameless(call)

    def dead_lettered(self, process: Process, tag: Tag, reason: str) -> None:
        self._blame.dead_lettered(process, tag, reason)

    def acknowledged(self, process: Process, letters: Sequence[tuple[Tag, object]]) -> None:
        self._outcomes.acknowledged(process, letters)

    def receipted(self, process: Process, epoch: object, tag: Tag) -> None:
        self._outcomes.receipted(process, epoch, tag)

    # -- committing ------------------------------------------------------------------------------

    def committing(self, process: Process, commits: Sequence[tuple[object, int, str]]) -> None:
        """Check commits: each tells of what is settled, all of it, and nothing else (I3, I7)."""
        for key, offset, metadata in commits:
            epoch = self._books.epochs.get(key)
            if epoch is None or epoch.ended:
                raise Violation(f"I3: {process.name} commits {epoch}, which it does not own")
            self._commits.check(epoch, offset, metadata)
            self._assignments.said(epoch.number, offset, metadata)
            self._books.tell(process, f"commits {epoch.number}: {offset} {metadata}")

    def committed(
        self,
        process: Process,
        epoch: object,
        offset: int,
        metadata: str,
        refused: str | None,
        told: str | None,
    ) -> None:
        book = self._books.epochs[epoch]
        book.refusals += told == "OFFSET_METADATA_TOO_LARGE"
        if refused is not None:
            self._books.seen[f"commit refused: {refused}"] += 1
            if refused == "FENCED_INSTANCE_ID":
                self._effects.fenced.add(process)
            self._books.tell(process, f"has its commit of {book.number} refused: {refused}")

    # -- questions -------------------------------------------------------------------------------

    def lost_until(self, process: Process) -> float:
        """Return until when a lost call of a process may take effect, and could have been waited
        for.

        One of a partition that went before, when the bound of its revocation was over, could not.
        """
        latest = {book.number: book for book in self._books.of[process]}
        waited = {number for number, book in latest.items() if self._effects.why_late(book)}
        return self._sending.lost_until(process, waited)

    def has_share(self, process: Process) -> bool:
        """Return whether a process has partitions, and nobody else has its instance id."""
        return process not in self._effects.fenced and any(
            not epoch.ended for epoch in self._books.of[process]
        )

    def works(self, process: Process) -> bool:
        """Return whether a process has records to settle."""
        return self.load.unsettled[process] > 0

    def is_done(self, tag: Tag) -> bool:
        """Return whether a row was ever settled, or cannot be.

        It cannot where it was written before the group's time, or was removed.
        """
        done = (
            tag in self._books.settled_ever
            or tag in self._books.dead_lettered
            or tag[:2] in self._books.removed
        )
        return done or tag[1] < self._books.floor.get(tag[0], 0)

    def may_go_by_task(self, tag: Tag) -> bool:
        """Return whether a row went by a task, or failed so often alone that it may go by one.

        It waits for room there.
        """
        return tag in self._sending.by_task or self._blame.may_go_by_task(tag)

    def units_of(self, tag: Tag) -> list[Key]:
        """Return the units that a row is about, or puts its code into."""
        row = self._books.rows_of(tag)[tag]
        return [key for key in (row.key, *row.joins) if key[0] == UNIT]

    def judge(self, committed: Mapping[int, tuple[int, str]], ends: Sequence[int]) -> None:
        """Raise Violation where something is left when all is over."""
        check_end(self._books, self._effects, self._outcomes.left_out, committed, ends)
        self._books.seen["repeats"] += self._sending.repeats
        self._books.seen["rows sent"] += self._sending.rows_sent


def _asks_for(row: PublishedRow, data_key: str, item: Mapping[str, str]) -> bool:
    """Return whether a row is about the key of an item and sets what it sets."""
    if row.key[0] != data_key or row.key[1] != item.get(data_key):
        return False
    return len(item) == len(row.fields) + 1 and all(
        item.get(name) == text for name, text in row.fields.items()
    )
