"""The judge of a run. It shares no code with the program, and sees only what crosses the border of
a process.

From what was published, read, sent, applied, answered, dead-lettered and committed it keeps books
of its own, and holds them to the invariants I1 to I9 at every step; the message of a Violation
begins with the one that is broken.
"""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.api import state_told
from tests.simulation.documents import UNIT, Key, PublishedRow, event_named
from tests.simulation.final_state import Fate, FinalState
from tests.simulation.maps import covered_by, epoch_of, names_nothing
from tests.simulation.process import Process
from tests.simulation.published import PublishedRecord
from tests.simulation.scheduler import Scheduler
from tests.simulation.trace import Trace
from tests.simulation.witness import Call, Tag, Witness, tag_of

#: After so many answers that there is no such task it is lost (docs/async.md).
UNKNOWN_TASK = 3
#: The leader epoch of what is written after a cut; there is one in a run.
LATER = 1
#: Turns in one moment that no honest loop takes.
SPIN = 5000
KEYS_OF_ONE_CODE = ("extended_id", "serial_number")
#: A wait that ends by its bound has lasted so long, but for the turn that it ends in, seconds.
WAIT_SLACK = 0.2
#: Failures that tell nothing after which a row alone may go by a task.
BY_TASK_AFTER = 3


class Violation(AssertionError):  # noqa: N818 - it names what does not hold
    """An invariant does not hold."""


@dataclass(frozen=True)
class Limits:
    """What the oracle must know of the settings; seconds, characters."""

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


def _from(position: int, ranges: Sequence[tuple[int, int]]) -> set[int]:
    """The offsets from a position on that a map names."""
    return {offset for start, end in ranges for offset in range(max(start, position), end)}


@dataclass
class TaskBook:
    """The books of one task."""

    call: Call
    started_at: float  #: when its process heard of it
    unknown: int = 0  #: answers that there is no such task, since the last one that told of it


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
        self.cut_at: int | None = (
            None  #: a later leader has written others from this offset on than the map names
        )
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
        self.sparse = (
            False  #: one read brought more positions than records that can be read at once
        )

    def __repr__(self) -> str:
        return f"partition {self.number} of {self.process.name} from {self.start}"

    def mapped(self, offset: int) -> bool:
        """Whether the commit that it began with says that an offset is settled."""
        return in_ranges(self.map, offset) and (self.cut_at is None or offset < self.cut_at)

    def settled(self, tag: Tag) -> bool:
        """Whether a row is settled, as far as this assignment can know."""
        offset = tag[1]
        return self.settled_before(offset) or tag[2] not in self.open.get(offset, ())

    def settled_before(self, offset: int) -> bool:
        """Return whether a record is settled by what the assignment began with.

        It will never be sent in it.
        """
        return offset < self.start or self.mapped(offset)

    def undecided(self, offset: int) -> bool:
        """Whether a record is open only for rows that a 200 left out."""
        return all((self.number, offset, place) in self.maybe for place in self.open[offset])


class Oracle(Witness):
    """Keeps the books of a run."""

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
        self._scheduler = scheduler
        self._records = records
        self._limits = limits
        self._seen = seen
        self._owns = owns  #: whether the group has a partition with a process
        self._trace = trace
        self._epochs: dict[object, Epoch] = {}
        self._owners: dict[
            int, Epoch
        ] = {}  #: the latest assignment of each partition, by the group's word
        self._ledgers: dict[Process, Callable[[], dict[str, int]]] = {}
        self._books: dict[Process, list[Epoch]] = {}
        self._unsettled: Counter[Process] = Counter()  #: records: each is a row at the least
        self._bytes: Counter[Process] = Counter()
        self._room: Counter[Process] = Counter()  #: records that the poll under way may bring
        self._claims: dict[tuple[int, Key], list[tuple[int, int, bool]]] = {}
        self._floor: dict[int, int] = {}  #: where a partition without a commit was begun last
        self._in_flight: dict[Process, dict[Key, list[tuple[Call, Tag, bool]]]] = {}
        self._lost: dict[Process, dict[Key, list[tuple[float, Tag, bool]]]] = {}
        self._open_calls: set[Call] = set()
        self._tasks: dict[tuple[Process, str], TaskBook] = {}
        self._latest: dict[tuple[int, bool, Key, bool], tuple[Tag, Epoch]] = {}
        self._rows: dict[tuple[int, int], dict[Tag, PublishedRow]] = {}
        self._kinds = {} if kinds is None else kinds
        self._first_line = first_line  #: the number that the API gives a request's first row
        self._state = FinalState()
        self._effects: dict[
            Call, set[int]
        ] = {}  #: rows for which a call took effect, by their places in it
        self._sure: dict[
            Tag, bool
        ] = {}  #: of settled rows, whether the call that was accepted took effect for them
        self._stopping: dict[Process, float] = {}  #: since when each stops, for whatever reason
        self._signals: Counter[Process] = Counter()
        self._receipts: dict[
            tuple[int, bool, Key], tuple[Tag, Epoch]
        ] = {}  #: the latest of each key
        self._receipted: set[Tag] = set()
        self._fenced: set[Process] = (
            set()
        )  #: members that another process with their instance id has replaced
        self._accepted: set[Tag] = set()
        self._blameless: set[Call] = set()
        self._spared: dict[Tag, str] = {}  #: why an answer that speaks against a row does not count
        self._failing: dict[
            tuple[Process, Tag], float
        ] = {}  #: since when each fails by itself, telling nothing
        self._paused: dict[Process, float] = {}  #: since when a process is paused by a 401
        self.applied_tags: set[Tag] = set()
        self._excused: set[Tag] = set()
        self._left_out: Counter[Tag] = Counter()
        self._by_task: set[Tag] = set()  #: rows that went by a task, or may be about to
        self._unanswered: Counter[Tag] = (
            Counter()
        )  #: calls of a row alone that tell nothing: lost, or failed by a 5xx
        self._condemned: dict[
            Tag, set[str]
        ] = {}  #: reasons that answers gave for a row's dead letter
        self._lettered: dict[Tag, str] = {}
        self._settled_ever: set[Tag] = set()
        self._turns = (0.0, 0)
        self._removed: set[tuple[int, int]] = (
            set()
        )  #: records that the brokers hold no more, whatever became of them
        self._replaced: set[tuple[int, int]] = (
            set()
        )  #: of these, those in whose place others are written
        self._cut: dict[int, tuple[float, int]] = {}  #: when a partition was cut, and where
        self._said: dict[
            tuple[int, int, str], float
        ] = {}  #: when a commit was sent last, by what it says
        self.late: set[int] = (
            set()
        )  #: partitions that came when the group had commits: they are read from their begin
        self.rows_sent = 0
        self.sizes: list[int] = []  #: rows of each call, in the order they were sent
        self.repeats = 0

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, process: Process, what: str) -> None:
        if self._trace is not None:
            self._trace.tell(process.name, what)

    def tell(self, process: Process, what: str) -> None:
        """A line of the trace, of one who watches beside the oracle."""
        self._tell(process, what)

    # -- what is beside the records --------------------------------------------------------------

    def removed(self, number: int, begin: int, end: int, *, replaced: bool = False) -> None:
        """Records are no more: nothing is promised of them.

        The oracle excuses each, and counts those not settled.

        ``replaced``: others are written in their place, between which and them there is no order.
        """
        for offset in range(begin, end):
            record = self._records.get((number, offset))
            if record is not None and (number, offset) not in self._removed:
                self._removed.add((number, offset))
                if any(row.tag not in self._settled_ever for row in record.rows):
                    self._seen["removed before it was settled"] += 1
        if replaced:
            self._replaced |= {
                (number, offset) for offset in range(begin, end)
            } & self._records.keys()
            self._set_apart(self._latest)
            self._set_apart(self._receipts)

    def _set_apart(self, latest: dict[Any, tuple[Tag, Epoch]]) -> None:
        """Keep what is the latest of a key by a record that was replaced for others of its life
        alone.
        """
        for key in [
            key for key, (tag, _) in latest.items() if tag[:2] in self._replaced and not key[1]
        ]:
            latest[(key[0], True, *key[2:])] = latest.pop(key)

    def cut(self, number: int, end: int) -> None:
        """A copy that lags behind has taken over a partition, which ends there."""
        self._cut[number] = (self._scheduler.now, end)
        for book in self._epochs.values():
            if book.number == number:
                book.cut_at = end

    def map_cut(self, epoch: object, end: int) -> None:
        """What the map of an assignment's commit says of offsets from ``end`` on is about other
        records.
        """
        book = self._epochs[epoch]
        book.map = [(begin, min(after, end)) for begin, after in book.map if begin < end]

    def lost_until(self, process: Process) -> float:
        """Until when a call of a process whose answer was lost may take effect, and could have been
        waited for.

        One of a partition that went before, when the bound of its revocation was over, could not.
        """
        latest = {book.number: book for book in self._books[process]}
        waited = {number for number, book in latest.items() if self._why_late(book)}
        entries = (
            until
            for held in self._lost[process].values()
            for until, tag, _ in held
            if tag[0] not in waited
        )
        return max(entries, default=0.0)

    def has_share(self, process: Process) -> bool:
        """Whether a process has partitions, and no other with its instance id has them meanwhile."""
        return process not in self._fenced and any(
            not epoch.ended for epoch in self._books[process]
        )

    def works(self, process: Process) -> bool:
        """Whether a process has records to settle."""
        return self._unsettled[process] > 0

    # -- lives and assignments -------------------------------------------------------------------

    def began(self, process: Process, ledger: Callable[[], dict[str, int]]) -> None:
        self._ledgers[process] = ledger
        self._books[process] = []
        self._in_flight[process] = {}
        self._lost[process] = {}

    def ended(self, process: Process) -> None:
        """A process is no more."""
        for epoch in self._books[process]:
            if any(
                len(places) < len(self._rows[epoch.number, o]) for o, places in epoch.open.items()
            ):
                self._seen["a half-settled record at the end of a process"] += 1
            epoch.killed |= epoch.gone_at is None
            epoch.ended = True

    def asked_to_stop(self, process: Process) -> None:
        self._signals[process] += 1

    def stopping(self, process: Process) -> None:
        self._stopping.setdefault(process, self._scheduler.now)

    def assigned(
        self,
        process: Process,
        epoch: object,
        number: int,
        start: int,
        committed: tuple[int, str] | None,
    ) -> None:
        before = [e for e in self._epochs.values() if e.number == number]
        if any(e.process is process for e in before):
            self._seen["revoke-and-return"] += 1
        # One that was thrown out, and does not know it yet, decides nothing for the group.
        if committed is None and number not in self.late and self._owns(process, number):
            self._floor[number] = start
        book = Epoch(len(self._epochs), process, number, start, committed)
        self._epochs[epoch] = book
        cut_at, end = self._cut.get(number, (-1.0, 0))
        if cut_at >= 0 and book.map_epoch < LATER:
            book.cut_at = end
        if committed is not None and self._said.get((number, *committed), cut_at) < cut_at:
            self._hide((n, o) for n, o in list(self._records) if n == number and end <= o < start)
        if self._owns(
            process, number
        ):  # else it was thrown out meanwhile, and does not know it yet
            self._owners[number] = book
        self._books[process].append(book)
        self._tell(process, f"is assigned {number} from {start}, committed {committed}")

    def _hide(self, records: Iterable[tuple[int, int]]) -> None:
        """Excuse records that lie before a commit from before a cut, as others that are gone did.

        Whoever begins with a cut partition commits so at once; but it may die before, or its commit
        be lost.
        """
        for at in records:
            if at not in self._removed and any(
                row.tag not in self._settled_ever for row in self._records[at].rows
            ):
                self._removed.add(at)
                self._seen["hidden by a commit from before a cut"] += 1

    def leaving(self, process: Process, epochs: Sequence[object], *, lost: bool) -> None:
        for epoch in epochs:
            book = self._epochs[epoch]
            book.leaving, book.lost, book.left_at = True, lost, self._scheduler.now
        if epochs:
            self._seen["lost" if lost else "revoked"] += 1
        self._tell(
            process,
            f"{'loses' if lost else 'is to give up'} {[self._epochs[e].number for e in epochs]}",
        )

    def gone(self, process: Process, epochs: Sequence[object]) -> None:
        for key in epochs:
            epoch = self._epochs[key]
            epoch.ended = True
            epoch.gone_at = self._scheduler.now
            epoch.counts["released"] += epoch.counts.pop("unsettled", 0)
            for offset in epoch.open:
                record = self._records[epoch.number, offset]
                self._unsettled[process] -= 1
                self._bytes[process] -= record.size
        self._tell(process, f"has given up {[self._epochs[e].number for e in epochs]}")

    def published(self, record: PublishedRecord) -> None:
        """A record was written."""
        self._rows[record.number, record.offset] = {row.tag: row for row in record.rows}
        if len(record.rows) > 1:
            self._seen["a record of several rows"] += 1
            self._seen["a document of several rows"] += record.rows[-1].event > 1
        for row in record.rows:
            for key, exclusive in _claims(row):
                self._claims.setdefault((record.number, key), []).append(
                    (record.offset, row.tag[2], exclusive)
                )

    # -- reading ---------------------------------------------------------------------------------

    def read(self, process: Process, epoch: object, offsets: Sequence[int]) -> None:
        book = self._epochs[epoch]
        self._check_memory(process, len(offsets))
        book.sparse |= offsets[-1] - book.position >= self._limits.batch
        for offset in offsets:
            record = self._records[book.number, offset]
            book.counts["consumed"] += 1
            book.position = offset + 1
            if not record.rows or book.mapped(offset):
                book.counts["skipped"] += 1
                if record.rows:
                    self._seen["settled before"] += 1
                continue
            book.counts["unsettled"] += 1
            book.read.append(offset)
            book.open[offset] = {row.tag[2] for row in record.rows}
            self._unsettled[process] += 1
            self._bytes[process] += record.size
        self._tell(process, f"reads {book.number}: {offsets[0]}..{offsets[-1]}")

    def reached(self, process: Process, epoch: object, position: int) -> None:
        book = self._epochs[epoch]
        book.position = max(book.position, position)

    def held(self, process: Process, *, held: bool) -> None:
        if held:
            self._seen["map near its room"] += 1
        self._tell(
            process, "reads a partition no more: its map is nearly full" if held else "reads it on"
        )

    def polled(self, process: Process) -> None:
        """I5 and I6, and that the loop does not spin."""
        now, turns = self._turns
        self._turns = (now, turns + 1) if now == self._scheduler.now else (self._scheduler.now, 0)
        if turns > SPIN:
            raise Violation(f"I8: {process.name} takes turn after turn and does nothing")
        ledger = self._ledgers[process]()
        self._check_ledger(process, ledger)
        self._room[process] = max(0, self._limits.rows - self._unsettled[process])
        if self._bytes[process] >= self._limits.bytes:
            self._room[process] = 0

    def _check_memory(self, process: Process, records: int) -> None:
        """I6: a poll brings no more than there was room for."""
        self._room[process] -= records
        if self._room[process] < 0:
            raise Violation(
                f"I6: {process.name} reads {-self._room[process]} records more than it has room for: "
                f"{self._unsettled[process]} are unsettled"
            )

    def _check_ledger(self, process: Process, ledger: dict[str, int]) -> None:
        counts: Counter[str] = Counter()
        for book in self._books[process]:
            counts.update(book.counts)
        maybe = sum(
            bool(book.open[offset]) and book.undecided(offset)
            for book in self._books[process]
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
                    f"I5: {process.name} tells {name} {ledger[name]}, it is {counts[name]}; {ledger}"
                )

    # -- sending ---------------------------------------------------------------------------------

    def handed(self, process: Process, epochs: Sequence[object]) -> None:
        for key in epochs:
            epoch = self._epochs[key]
            if epoch.ended or epoch.leaving:
                raise Violation(f"I2: {process.name} sends rows of {epoch}, which it gives up")

    def sent(self, call: Call) -> None:
        process, now = call.process, self._scheduler.now
        self._open_calls.add(call)
        self.sizes.append(len(call.tags))
        self._tell(
            process,
            f"sends #{call.number}{' as a task' if call.by_task else ''}: {_shown(call.tags)}",
        )
        if call.by_task:
            self._by_task.update(call.tags)
        self._check_content(call)
        flight = self._in_flight[process]
        for tag, key_of_epoch in zip(call.tags, call.epochs, strict=True):
            epoch = self._epochs[key_of_epoch]
            self._check_fence(call, epoch)
            if tag not in self._rows_of(tag) or tag[1] >= epoch.position:
                raise Violation(f"I1: {process.name} sends {tag}, which it has not read")
            if epoch.settled(tag):
                raise Violation(
                    f"I7: {process.name} sends {tag} again, which is settled in {epoch}"
                )
            if tag in epoch.receipting:
                raise Violation(
                    f"I7: {process.name} sends {tag} again, which was accepted: only its receipt is due"
                )
            row = self._rows_of(tag)[tag]
            self.rows_sent += 1
            if tag in self._settled_ever:
                self.repeats += 1
            for key, exclusive in _claims(row):
                self._check_order(epoch, key, tag, exclusive=exclusive)
                held = flight.setdefault(key, [])
                for _, other_tag, other_exclusive in held:
                    if exclusive or other_exclusive:
                        raise Violation(
                            f"I4: {tag} is sent while {other_tag} of {key} is in flight"
                        )
                for until, other_tag, other_exclusive in self._lost[process].get(key, ()):
                    if now < until and other_tag != tag and (exclusive or other_exclusive):
                        raise Violation(
                            f"I4: {tag} is sent while a lost call with {other_tag} of {key} may take effect"
                        )
                held.append((call, tag, exclusive))

    def _check_content(self, call: Call) -> None:
        """Each row goes under its own key.

        Those of a task have the same data, as a task sets one set of it.
        """
        for tag, item in zip(call.tags, call.items, strict=True):
            row = self._rows_of(tag).get(tag)
            if row is not None and row.key != (call.data_key, item[call.data_key]):
                raise Violation(f"I1: {call.process.name} sends {tag} under another key: {item}")
        data = {
            tuple(sorted((n, v) for n, v in item.items() if n != call.data_key))
            for item in call.items
        }
        if call.by_task and len(data) > 1:
            raise Violation(
                f"I1: {call.process.name} sends rows of different data as one task: {data}"
            )
        if call.by_task and len(call.items) > 1:
            self._seen["several rows in a task"] += 1

    def _check_fence(self, call: Call, epoch: Epoch) -> None:
        """Nothing leaves a member whose partition another one has begun with."""
        latest = self._owners.get(epoch.number, epoch)
        if latest is not epoch and latest.process is not epoch.process:
            raise Violation(
                f"I9: {call.process.name} sends rows of {epoch}, which {latest.process.name} has meanwhile"
            )
        if epoch.ended:
            self._seen["sent of what was given up"] += 1

    def _rows_of(self, tag: Tag) -> dict[Tag, PublishedRow]:
        return self._rows.get(tag[:2], {})

    def tag(
        self,
        number: int,
        offset: int,
        data_key: str | None,
        item: Mapping[str, str],
        message: str = "",
    ) -> Tag:
        """By what is in the item; place -1: its record has no row like that."""
        at = number, offset
        if data_key is not None and "tag" in item:
            at = tag_of(item)[:2]
        rows = list(self._rows.get(at, {}).values())
        if data_key is None:
            rows = [
                row
                for row in rows
                if not row.fields and (len(rows) == 1 or row.event == event_named(message))
            ]
        elif len(rows) > 1 or not rows or not rows[0].invalid:
            rows = [row for row in rows if _asks_for(row, data_key, item)]
        return rows[0].tag if rows else (*at, -1)

    def _check_order(self, epoch: Epoch, key: Key, tag: Tag, *, exclusive: bool) -> None:
        """I2: every earlier row of the key is settled, and its record with it."""
        number = epoch.number
        for offset, place, other in self._claims.get((number, key), ()):
            if offset >= tag[1]:
                return
            if (exclusive or other) and not epoch.settled((number, offset, place)):
                if (number, offset, place) in epoch.maybe:
                    continue
                raise Violation(
                    f"I2: {tag} of {key} is sent before {(number, offset, place)} is settled"
                )
            if (exclusive or other) and offset in epoch.open and not epoch.undecided(offset):
                # A repeat of that record would say of the key once more what this row has changed.
                raise Violation(
                    f"I2: {tag} of {key} is sent before the record of {(number, offset, place)} is settled"
                )

    def applied(self, call: Call, rows: Sequence[int]) -> None:
        """I9: the API sees a key's rows in their order, but for what nobody could hold back or keep
        from a repeat.
        """
        self._effects.setdefault(call, set()).update(rows)
        self._tell(call.process, f"#{call.number} is applied")
        for place in rows:
            tag = call.tags[place]
            epoch = self._epochs[call.epochs[place]]
            self.applied_tags.add(tag)
            row = self._rows_of(tag)[tag]
            late = self._takes_effect_late(call, epoch, row)
            self._state.applied(row, late=late)
            if not late:
                for key, exclusive in _claims(row):
                    self._latest[tag[0], tag[:2] in self._replaced, key, exclusive] = (tag, epoch)

    def _takes_effect_late(self, call: Call, epoch: Epoch, row: PublishedRow) -> bool:
        """Whether a later row of a key has taken effect by another owner.

        Violation where that must not be.
        """
        late = False
        for key, exclusive in _claims(row):
            for other in (True, False) if exclusive else (True,):
                before = self._latest.get((row.tag[0], row.tag[:2] in self._replaced, key, other))
                if before is None or row.tag >= before[0]:
                    continue
                latest, owner = before
                if epoch.process is owner.process and epoch.place <= owner.place:
                    raise Violation(
                        f"I9: {row.tag} of {key} takes effect after {latest}, both of {epoch}"
                    )
                if epoch.place > owner.place:
                    self._check_repeat(epoch, key, row.tag, latest)
                    continue
                late = True
        if late:
            why = self._why_late(epoch)
            if not why:
                raise Violation(
                    f"I9: {row.tag} takes effect after a later row of its key: {epoch} was handed over meanwhile, "
                    f"with #{call.number} under way and time left to wait for it"
                )
            self._seen["applied late after its owner"] += 1
            self._seen[f"applied late: its owner {why}"] += 1
            self._tell(
                call.process, f"#{call.number} takes effect after its owner {why}: {row.tag}"
            )
        return late

    def _check_repeat(self, epoch: Epoch, key: Key, tag: Tag, latest: Tag) -> None:
        """A new owner's repeat sets a key back only where it will catch up.

        What it undoes is to be repeated, too.
        """
        if epoch.settled_before(latest[1]):
            raise Violation(
                f"I9: {tag} of {key} takes effect once more, by {epoch}, after {latest}, which is settled for it "
                "and is not sent again"
            )
        self._seen["set back by a repeat"] += 1

    def _why_late(self, epoch: Epoch) -> str:
        """What excuses that a call of an assignment takes effect after its time.

        Nothing: it could have waited.
        """
        if epoch.killed:
            return "was killed"
        if epoch.lost or not epoch.ended or epoch.process in self._fenced:
            return "was thrown out"
        gone_at = epoch.gone_at or 0.0
        if self._signals[epoch.process] > 1:
            return "was stopped at once"
        if gone_at - self._stopping.get(epoch.process, gone_at) >= self._limits.stop - WAIT_SLACK:
            return "stopped waiting by its bound"
        if gone_at - epoch.left_at >= self._limits.revoke - WAIT_SLACK:
            return "stopped waiting by its bound"
        return ""

    # -- outcomes --------------------------------------------------------------------------------

    def answered(self, call: Call, status: int | None, document: object) -> None:
        if call not in self._open_calls:
            return  # it came twice
        self._open_calls.discard(call)
        process = call.process
        self._tell(process, f"takes in #{call.number}: {'lost' if status is None else status}")
        task_id = document.get("task_id") if isinstance(document, dict) else None
        if call.by_task and status == 200 and task_id:
            self._seen["async"] += 1
            self._tasks[process, task_id] = TaskBook(call, self._scheduler.now)
            self._unpause(call)
            return  # its rows are in flight until the task has ended
        self._land(call, lost=status is None)
        self._condemn(call, status, document)
        if len(call.tags) == 1 and (status is None or status >= 500):
            self._unanswered.update(call.tags)
        items = document.get("items") if isinstance(document, dict) else None
        if status != 200 or not isinstance(items, dict):
            return
        self._unpause(call)
        affected = document.get("codes_affected") if isinstance(document, dict) else None
        values = [item[call.data_key] for item in call.items]
        doubtful = (
            call.data_key in KEYS_OF_ONE_CODE
            and isinstance(affected, int)
            and affected < len(values)
        )
        for tag, value, key in zip(call.tags, values, call.epochs, strict=True):
            epoch = self._epochs[key]
            if value not in items:
                self._left_out[tag] += 1
                if doubtful and tag not in epoch.maybe:
                    epoch.maybe.add(tag)
                    self._sure[tag] = call.tags.index(tag) in self._effects.get(call, ())
                    continue
            self._accept(call, epoch, tag)

    def told_of_task(
        self, process: Process, task_id: str, status: int | None, document: object
    ) -> None:
        """A task that is complete settles its rows.

        One that nobody can tell of may take effect still.
        """
        book = self._tasks.get((process, task_id))
        if book is None:
            raise Violation(f"I4: {process.name} asks about the task {task_id}, which has ended")
        call = book.call
        state = state_told(document) if isinstance(document, dict) and status == 200 else None
        if state:
            book.unknown = 0
        book.unknown += status in (404, 410)
        if status == 401:
            self._paused.setdefault(process, self._scheduler.now)
        ended = state in ("complete", "failed")
        lost = (
            book.unknown >= UNKNOWN_TASK
            or self._scheduler.now - book.started_at >= self._limits.task_deadline
        )
        self._tell(
            process,
            f"hears of {task_id} (#{call.number}): {state or status}{', lost' if lost else ''}",
        )
        if not ended and not lost:
            return
        del self._tasks[process, task_id]
        self._land(call, lost=not ended, sent_at=self._scheduler.now)
        if state == "complete":
            for tag, key in zip(call.tags, call.epochs, strict=True):
                self._accept(call, self._epochs[key], tag)
            self._unpause(call)
        elif call in self._blameless:
            self._spare(call, "its task failed as all did")
            if (
                len(call.tags) == 1
            ):  # no reason to reject it, but it fails, and may be given up in time
                self._failing.setdefault((call.process, call.tags[0]), self._scheduler.now)
                self._condemned.setdefault(call.tags[0], set()).add("api_error")
        elif self._holds_back(call):
            self._spare(call, "uploading is paused, and its task was not on trial")
        elif len(call.tags) == 1:
            self._blame(call, "rejected_by_api" if state == "failed" else "api_error")
            self._blame(
                call, "api_error"
            )  # given up in time, where nothing shows whose fault it is
        if not ended:
            self._seen["lost task"] += 1

    def _land(self, call: Call, *, lost: bool, sent_at: float | None = None) -> None:
        """Its rows are in flight no more; if it was lost, it may take effect still."""
        process = call.process
        flight = self._in_flight[process]
        until = (call.sent_at if sent_at is None else sent_at) + self._limits.max_processing
        for tag in call.tags:
            for key, exclusive in _claims(self._rows_of(tag)[tag]):
                flight[key] = [entry for entry in flight[key] if entry[0] is not call]
                if lost:
                    self._lost[process].setdefault(key, []).append((until, tag, exclusive))
        if lost:
            self._seen["lost answer"] += 1

    def _condemn(self, call: Call, status: int | None, document: object) -> None:
        """What the answer justifies dead letters with."""
        documented = isinstance(document, dict) and isinstance(document.get("items"), dict)
        if status == 200 and documented:
            return
        if any(self._epochs[key].ended for key in call.epochs):
            self._seen["late result"] += 1
        if status == 401 and not all(self._epochs[key].ended for key in call.epochs):
            self._paused.setdefault(call.process, self._scheduler.now)
        if self._holds_back(call):
            self._seen["answer to an older call while paused"] += 1
            if len(call.tags) == 1 and status in (400, 413):
                self._seen["a single row rejected while paused"] += 1
            self._spare(call, "uploading is paused, and it is neither named nor on trial")
        elif len(call.tags) == 1 and status not in (401, 429):
            self._blame(
                call, "rejected_by_api" if status in (400, 403, 404, 405, 406, 413) else "api_error"
            )
        errors = document.get("errors") if isinstance(document, dict) else None
        if status != 400 or not errors:
            if status == 400 and len(call.tags) > 1:
                self._seen["bisect"] += 1
            return
        by_value = {
            item[call.data_key]: tag for item, tag in zip(call.items, call.tags, strict=True)
        }
        named = False
        for error in errors:
            tag = (
                by_value.get(error["key_value"])
                if "key_value" in error
                else self._meant(call, error["line"])
            )
            if tag is not None:
                named = True
                reason = "unknown_key" if error["field"] == call.data_key else "rejected_by_api"
                self._condemned.setdefault(tag, set()).add(reason)
        if named:
            self._unpause(call)

    def _blame(self, call: Call, reason: str) -> None:
        """The only row of a call was at fault, or may have been."""
        tag = call.tags[0]
        self._condemned.setdefault(tag, set()).add(reason)
        self._failing.setdefault((call.process, tag), self._scheduler.now)

    def _spare(self, call: Call, why: str) -> None:
        for tag in call.tags:
            self._spared[tag] = why
            if len(call.tags) == 1:
                self._failing.setdefault((call.process, tag), self._scheduler.now)

    def _meant(self, call: Call, line: int) -> Tag | None:
        """The row that the API means by a line, however it counts."""
        if line - 1 < len(call.tags) and self._first_line != 1:
            named = call.tags[line - 1]
            if named not in self._kinds:
                self._seen["a good row named by its line"] += 1
                self._spared[named] = "its line was named, but lines are not counted from 1"
        place = line - self._first_line
        return call.tags[place] if 0 <= place < len(call.tags) else None

    def _holds_back(self, call: Call) -> bool:
        """Whether uploading is paused by a 401 that came after a call was sent.

        Its answer rejects what it names.
        """
        since = self._paused.get(call.process)
        return since is not None and call.sent_at <= since

    def _unpause(self, call: Call) -> None:
        """A call that was sent in a pause, as its trial, shows that uploading may go on."""
        if not self._holds_back(call):
            self._paused.pop(call.process, None)

    def blameless(self, call: Call) -> None:
        self._blameless.add(call)

    def lettered(self, process: Process, tag: Tag, reason: str) -> None:
        """I1: a row is dead-lettered for a reason only."""
        rows = self._rows_of(tag)
        if tag not in rows:
            raise Violation(f"I1: a dead letter of {tag}, which was not published")
        why = rows[tag].invalid
        if reason != why if why else reason not in self._condemned.get(tag, ()):
            spared = self._spared.get(tag, "")
            hint = f" ({spared})" if spared else ""
            raise Violation(
                f"I1: {tag} is dead-lettered as {reason}, for which nothing gave reason{hint}"
            )
        failed_for = self._scheduler.now - self._failing.get((process, tag), self._scheduler.now)
        if reason == "api_error" and (
            not self._limits.give_up or failed_for < self._limits.give_up
        ):
            raise Violation(
                f"I1: {tag} is dead-lettered as {reason} after {failed_for:.1f} s of failing by itself, "
                f"{self._limits.give_up:g} s are set"
            )
        self._tell(process, f"has dead-lettered {tag}: {reason}")
        self._seen[f"letter {reason}"] += 1
        self._lettered[tag] = reason

    def acknowledged(self, process: Process, letters: Sequence[tuple[Tag, object]]) -> None:
        for tag, key in letters:
            epoch = self._epochs[key]
            self._tell(process, f"takes in the acknowledgement of {tag}")
            if not epoch.ended and not epoch.settled(tag):
                if tag not in epoch.receipted:
                    epoch.rejected.add(tag[1])
                self._settle(epoch, tag)

    def _accept(self, call: Call, epoch: Epoch, tag: Tag) -> None:
        """A row is accepted: settled, or where receipts are written once its own is acknowledged."""
        self._sure[tag] = call.tags.index(tag) in self._effects.get(call, ())
        self._accepted.add(tag)
        if not self._limits.receipts or epoch.ended:
            self._settle(epoch, tag)
            return
        if epoch.settled(tag):
            raise Violation(f"I4: {tag} is accepted in {epoch}, where it is settled")
        epoch.maybe.discard(tag)
        epoch.receipting.add(tag)

    def receipted(self, process: Process, epoch: object, tag: Tag) -> None:
        """I1 and I9: a receipt is that of an accepted row, and those of a key are in order."""
        book = self._epochs[epoch]
        row = self._rows_of(tag).get(tag)
        if row is None or (
            tag not in book.receipting and tag not in book.maybe and tag not in book.receipted
        ):
            raise Violation(
                f"I1: {process.name} writes a receipt of {tag}, which was not accepted in {book}"
            )
        self._tell(process, f"has written the receipt of {tag}")
        self._seen["receipt written"] += 1
        book.receipted.add(tag)
        self._receipted.add(tag)
        place = (tag[0], tag[:2] in self._replaced, row.key)
        latest = self._receipts.get(place)
        if latest is not None and tag < latest[0]:
            if book is latest[1]:
                raise Violation(
                    f"I9: the receipt of {tag} comes after that of {latest[0]}, both of {book}"
                )
            if book.place > latest[1].place and book.settled_before(latest[0][1]):
                raise Violation(
                    f"I9: the receipt of {tag} comes once more, after that of {latest[0]}, by {book}"
                )
            if book.place < latest[1].place:
                self._seen["a receipt after its owner"] += 1  # it was on its way
                return
        self._receipts[place] = (tag, book)

    def _settle(self, epoch: Epoch, tag: Tag) -> None:
        if epoch.ended:
            self._seen["late result"] += 1
            return
        places = epoch.open.get(tag[1])
        if places is None or tag[2] not in places:
            raise Violation(f"I4: {tag} is settled twice in {epoch}")
        process = epoch.process
        self._settled_ever.add(tag)
        epoch.maybe.discard(tag)
        epoch.receipting.discard(tag)
        places.discard(tag[2])
        if places:
            return
        self._unsettled[process] -= 1
        del epoch.open[tag[1]]
        record = self._records[tag[:2]]
        self._bytes[process] -= record.size
        epoch.counts["unsettled"] -= 1
        epoch.counts["rejected" if tag[1] in epoch.rejected else "accepted"] += 1

    # -- committing ------------------------------------------------------------------------------

    def committing(self, process: Process, commits: Sequence[tuple[object, int, str]]) -> None:
        """I3 and I7: a commit tells of what is settled, of all of it, and of nothing else."""
        for key, offset, metadata in commits:
            epoch = self._epochs.get(key)
            if epoch is None or epoch.ended:
                raise Violation(f"I3: {process.name} commits {epoch}, which it does not own")
            self._check_commit(epoch, offset, metadata)
            self._said[epoch.number, offset, metadata] = self._scheduler.now
            self._tell(process, f"commits {epoch.number}: {offset} {metadata}")

    def _check_commit(self, epoch: Epoch, offset: int, metadata: str) -> None:
        number = epoch.number
        while epoch.read and epoch.read[0] not in epoch.open:
            epoch.read.popleft()
        first = next(
            (o for o in epoch.read if o in epoch.open and not epoch.undecided(o)), epoch.position
        )
        if offset > first:
            raise Violation(
                f"I3: a commit of {offset} of {epoch} passes {first}, which is not settled"
            )
        lowest = epoch.read[0] if epoch.read else epoch.position
        if offset < lowest:
            raise Violation(
                f"I7: a commit of {offset} of {epoch} where all before {lowest} is settled"
            )
        ranges = covered_by(metadata, number, offset)
        if not ranges and not names_nothing(metadata):
            raise Violation(f"I7: a commit of {epoch} carries no map that can be read: {metadata}")
        self._check_unread(epoch, ranges, epoch_of(metadata))
        if any(len(places) < len(self._rows[number, o]) for o, places in epoch.open.items()):
            self._seen["a half-settled record at a commit"] += 1
        beyond = [o for o in epoch.read if o >= offset]
        for other in beyond:
            if other in epoch.open:
                if in_ranges(ranges, other) and not epoch.undecided(other):
                    raise Violation(
                        f"I3: the map of {epoch} at {offset} names {other}, which is not settled"
                    )
            elif not in_ranges(ranges, other) and not (epoch.refusals or epoch.sparse):
                raise Violation(
                    f"I7: the map of {epoch} at {offset} leaves out {other}, which is settled"
                )
        room = self._limits.map_room
        if metadata and len(metadata) > 0.6 * room:
            self._seen["map near its room"] += 1
        if len(metadata) > room:
            raise Violation(f"I7: a map of {len(metadata)} characters, {room} are allowed")

    def _check_unread(self, epoch: Epoch, ranges: Sequence[tuple[int, int]], leader: int) -> None:
        """Of positions that were not read yet, a map tells what the one that the assignment began
        with told.

        ``leader``: the epoch that it names. Until a record of a later one is read, it may name what
        is no more.
        """
        end = epoch.cut_at
        unread = {
            o for o in _from(epoch.position, ranges) if leader >= LATER or end is None or o < end
        }
        known = {offset for offset in _from(epoch.position, epoch.map) if epoch.mapped(offset)}
        if not known >= unread:
            raise Violation(
                f"I3: the map of {epoch} tells of what was not read: {min(unread - known)}"
            )
        if not unread >= known and not (epoch.refusals or epoch.sparse):
            raise Violation(
                f"I7: the map of {epoch} forgets what its first one says of {min(known - unread)}"
            )

    def committed(
        self,
        process: Process,
        epoch: object,
        offset: int,
        metadata: str,
        refused: str | None,
        told: str | None,
    ) -> None:
        book = self._epochs[epoch]
        book.refusals += told == "OFFSET_METADATA_TOO_LARGE"
        if refused is not None:
            self._seen[f"commit refused: {refused}"] += 1
            if refused == "FENCED_INSTANCE_ID":
                self._fenced.add(process)
            self._tell(process, f"has its commit of {book.number} refused: {refused}")

    def is_done(self, tag: Tag) -> bool:
        """Whether a row was ever settled, or cannot be.

        It was written before the group's time, or rejected.
        """
        done = tag in self._settled_ever or tag in self._lettered or tag[:2] in self._removed
        return done or tag[1] < self._floor.get(tag[0], 0)

    def may_go_by_task(self, tag: Tag) -> bool:
        """Whether a row went by a task, or failed so often alone that it may go by one.

        It waits for room there.
        """
        return tag in self._by_task or self._unanswered[tag] >= BY_TASK_AFTER

    def units_of(self, tag: Tag) -> list[Key]:
        """Return the units that a row is about, or puts its code into."""
        row = self._rows_of(tag)[tag]
        return [key for key in (row.key, *row.joins) if key[0] == UNIT]

    # -- the end ---------------------------------------------------------------------------------

    def judge(self, committed: Mapping[int, tuple[int, str]], ends: Sequence[int]) -> None:
        """All is over: I1, and that nothing is left."""
        for number, end in enumerate(ends):
            if committed[number][0] != end or not names_nothing(committed[number][1]):
                raise Violation(
                    f"I1: partition {number} is committed to {committed[number]}, it ends at {end}"
                )
        for (number, offset), record in self._records.items():
            if offset < self._floor.get(number, 0) or (number, offset) in self._removed:
                continue  # before the group's time, or no more
            for row in record.rows:
                fine = (
                    row.tag in self.applied_tags
                    or row.tag in self._lettered
                    or self._left_out[row.tag]
                )
                if not fine or (row.invalid and row.tag not in self._lettered):
                    raise Violation(f"I1: {row.tag} is lost")
                if not self._limits.receipts or row.tag in self._lettered:
                    # an owner that did not write its receipt any more may be followed by a
                    # rejection
                    continue
                if row.tag in self._accepted and row.tag not in self._receipted:
                    raise Violation(f"I1: {row.tag} was accepted and has no receipt")
        self._check_final_state()
        self._seen["repeats"] += self.repeats
        self._seen["rows sent"] += self.rows_sent

    def _check_final_state(self) -> None:
        """I9: in the end each code stands as what was published says, whatever was repeated on the
        way.
        """
        fate = Fate(
            lambda number: self._floor.get(number, 0),
            self._lettered.__contains__,
            lambda tag: self._sure.get(tag, False),
        )
        # Nothing is promised of codes that records were about which are no more, nor of what rows
        # share with them.
        gone = {
            (at[0], key)
            for at in self._removed
            for row in self._records[at].rows
            for key, _ in _claims(row)
        }
        rows = [row for at in sorted(self._records) for row in self._records[at].rows]
        while True:
            touched = [
                row for row in rows if any((row.tag[0], key) in gone for key, _ in _claims(row))
            ]
            more = {(row.tag[0], key) for row in touched for key, _ in _claims(row)}
            if more <= gone:
                break
            gone |= more
        rows = [
            row for row in rows if not any((row.tag[0], key) in gone for key, _ in _claims(row))
        ]
        for difference in self._state.differences(rows, fate):
            if not difference.late:
                raise Violation(f"I9: {difference}")
            self._seen["final state by a late call"] += 1
        self._seen["an update by unit repeated after a code was put in"] += (
            self._state.reached_later
        )


def _asks_for(row: PublishedRow, data_key: str, item: Mapping[str, str]) -> bool:
    """Whether a row is about the key of an item and sets what it sets."""
    if row.key[0] != data_key or row.key[1] != item.get(data_key):
        return False
    return len(item) == len(row.fields) + 1 and all(
        item.get(name) == text for name, text in row.fields.items()
    )


def _claims(row: PublishedRow) -> list[tuple[Key, bool]]:
    """The keys of a row, each with whether it goes with no other."""
    return [(row.key, True), *((key, False) for key in row.joins)]


def in_ranges(ranges: Sequence[tuple[int, int]], offset: int) -> bool:
    """Whether an offset lies in one of the half-open ranges, which are in order."""
    place = bisect.bisect_right(ranges, (offset, 1 << 62)) - 1
    return place >= 0 and ranges[place][0] <= offset < ranges[place][1]


def _shown(tags: Sequence[Tag]) -> str:
    return " ".join(".".join(map(str, tag)) for tag in tags)
