"""The judge of a run. It shares no code with the program, and sees only what crosses the border of a process.

From what was published, read, sent, applied, answered, dead-lettered and committed it keeps books of its own, and holds
them to the invariants I1 to I9 at every step; the message of a Violation begins with the one that is broken.
"""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.simulation.maps import covered_by
from tests.simulation.process import Process
from tests.simulation.published import Key, PublishedRecord, PublishedRow
from tests.simulation.scheduler import Scheduler
from tests.simulation.trace import Trace
from tests.simulation.witness import Call, Tag, Witness

#: After so many answers that there is no such task it is lost (docs/async.md).
UNKNOWN_TASK = 3
#: Turns in one moment that no honest loop takes.
SPIN = 5000
KEYS_OF_ONE_CODE = ("extended_id", "serial_number")


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
        self, place: int, process: Process, number: int, start: int, committed: tuple[int, str] | None
    ) -> None:
        self.place = place  #: in the order of all assignments
        self.process = process
        self.number = number
        self.start = start
        self.given = committed
        self.map = covered_by(committed[1], number, committed[0]) if committed is not None else []
        self.position = start
        self.read: deque[int] = deque()  #: offsets from the first that is not settled on
        self.open: dict[int, set[int]] = {}  #: by offset: places of rows that are not settled
        self.maybe: set[Tag] = set()  #: rows that a 200 left out
        self.rejected: set[int] = set()  #: offsets with a dead letter
        self.counts: Counter[str] = Counter()
        self.leaving = False
        self.ended = False
        self.refusals = 0  #: commits whose metadata the broker did not take
        self.sparse = False  #: one read brought more positions than records that can be read at once

    def __repr__(self) -> str:
        return f"partition {self.number} of {self.process.name} from {self.start}"

    def mapped(self, offset: int) -> bool:
        """Whether the commit that it began with says that an offset is settled."""
        return in_ranges(self.map, offset)

    def settled(self, tag: Tag) -> bool:
        """Whether a row is settled, as far as this assignment can know."""
        offset = tag[1]
        return offset < self.start or self.mapped(offset) or tag[2] not in self.open.get(offset, ())

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
    ) -> None:
        self._scheduler = scheduler
        self._records = records
        self._limits = limits
        self._seen = seen
        self._owns = owns  #: whether the group has a partition with a process
        self._trace = trace
        self._epochs: dict[object, Epoch] = {}
        self._owners: dict[int, Epoch] = {}  #: the latest assignment of each partition, by the group's word
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
        self._latest: dict[tuple[int, Key, bool], tuple[int, Epoch]] = {}
        self.applied_tags: set[Tag] = set()
        self._excused: set[Tag] = set()
        self._left_out: Counter[Tag] = Counter()
        self._condemned: dict[Tag, set[str]] = {}  #: reasons that answers gave for a row's dead letter
        self._lettered: dict[Tag, str] = {}
        self._settled_ever: set[Tag] = set()
        self._turns = (0.0, 0)
        self._removed: set[tuple[int, int]] = set()  #: records that the brokers hold no more, whatever became of them
        self.late: set[int] = set()  #: partitions that came when the group had commits: they are read from their begin
        self.rows_sent = 0
        self.repeats = 0

    # -- telling -------------------------------------------------------------------------------------------------

    def _tell(self, process: Process, what: str) -> None:
        if self._trace is not None:
            self._trace.tell(process.name, what)

    def tell(self, process: Process, what: str) -> None:
        """A line of the trace, of one who watches beside the oracle."""
        self._tell(process, what)

    # -- what is beside the records --------------------------------------------------------------------------------

    def removed(self, number: int, begin: int, end: int) -> None:
        """Records are no more: nothing is promised of them. The oracle excuses each, and counts those not settled."""
        for offset in range(begin, end):
            record = self._records.get((number, offset))
            if record is not None and (number, offset) not in self._removed:
                self._removed.add((number, offset))
                if any(row.tag not in self._settled_ever for row in record.rows):
                    self._seen["removed before it was settled"] += 1

    def map_cut(self, epoch: object, end: int) -> None:
        """What the map of an assignment's commit says of offsets from ``end`` on is about other records."""
        book = self._epochs[epoch]
        book.map = [(begin, min(after, end)) for begin, after in book.map if begin < end]

    def lost_until(self, process: Process) -> float:
        """Until when a call of a process whose answer was lost may take effect."""
        entries = (until for held in self._lost[process].values() for until, _, _ in held)
        return max(entries, default=0.0)

    def has_partitions(self, process: Process) -> bool:
        """Whether a process has partitions."""
        return any(not epoch.ended for epoch in self._books[process])

    def works(self, process: Process) -> bool:
        """Whether a process has records to settle."""
        return self._unsettled[process] > 0

    # -- lives and assignments -----------------------------------------------------------------------------------

    def began(self, process: Process, ledger: Callable[[], dict[str, int]]) -> None:
        self._ledgers[process] = ledger
        self._books[process] = []
        self._in_flight[process] = {}
        self._lost[process] = {}

    def ended(self, process: Process) -> None:
        """A process is no more."""
        for epoch in self._books[process]:
            epoch.ended = True

    def assigned(
        self, process: Process, epoch: object, number: int, start: int, committed: tuple[int, str] | None
    ) -> None:
        before = [e for e in self._epochs.values() if e.number == number]
        if any(e.process is process for e in before):
            self._seen["revoke-and-return"] += 1
        if committed is None and number not in self.late:
            self._floor[number] = start
        book = Epoch(len(self._epochs), process, number, start, committed)
        self._epochs[epoch] = book
        if self._owns(process, number):  # else it was thrown out meanwhile, and does not know it yet
            self._owners[number] = book
        self._books[process].append(book)
        self._tell(process, f"is assigned {number} from {start}, committed {committed}")

    def leaving(self, process: Process, epochs: Sequence[object], *, lost: bool) -> None:
        for epoch in epochs:
            self._epochs[epoch].leaving = True
        if epochs:
            self._seen["lost" if lost else "revoked"] += 1
        self._tell(process, f"{'loses' if lost else 'is to give up'} {[self._epochs[e].number for e in epochs]}")

    def gone(self, process: Process, epochs: Sequence[object]) -> None:
        for key in epochs:
            epoch = self._epochs[key]
            epoch.ended = True
            epoch.counts["released"] += epoch.counts.pop("unsettled", 0)
            for offset in epoch.open:
                record = self._records[epoch.number, offset]
                self._unsettled[process] -= 1
                self._bytes[process] -= record.size
        self._tell(process, f"has given up {[self._epochs[e].number for e in epochs]}")

    def published(self, record: PublishedRecord) -> None:
        """A record was written."""
        for row in record.rows:
            for key, exclusive in _claims(row):
                self._claims.setdefault((record.number, key), []).append((record.offset, row.tag[2], exclusive))

    # -- reading -------------------------------------------------------------------------------------------------

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
        self._tell(process, "reads a partition no more: its map is nearly full" if held else "reads it on")

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
                raise Violation(f"I5: {process.name} tells {name} {ledger[name]}, it is {counts[name]}; {ledger}")

    # -- sending -------------------------------------------------------------------------------------------------

    def handed(self, process: Process, epochs: Sequence[object]) -> None:
        for key in epochs:
            epoch = self._epochs[key]
            if epoch.ended or epoch.leaving:
                raise Violation(f"I2: {process.name} sends rows of {epoch}, which it gives up")

    def sent(self, call: Call) -> None:
        process, now = call.process, self._scheduler.now
        self._open_calls.add(call)
        self._tell(process, f"sends #{call.number}{' as a task' if call.by_task else ''}: {_shown(call.tags)}")
        self._check_content(call)
        flight = self._in_flight[process]
        for tag, key_of_epoch in zip(call.tags, call.epochs, strict=True):
            epoch = self._epochs[key_of_epoch]
            self._check_fence(call, epoch)
            if tag not in self._rows_of(tag) or tag[1] >= epoch.position:
                raise Violation(f"I1: {process.name} sends {tag}, which it has not read")
            if epoch.settled(tag):
                raise Violation(f"I7: {process.name} sends {tag} again, which is settled in {epoch}")
            row = self._rows_of(tag)[tag]
            self.rows_sent += 1
            if tag in self._settled_ever:
                self.repeats += 1
            for key, exclusive in _claims(row):
                self._check_order(epoch, key, tag, exclusive=exclusive)
                held = flight.setdefault(key, [])
                for _, other_tag, other_exclusive in held:
                    if exclusive or other_exclusive:
                        raise Violation(f"I4: {tag} is sent while {other_tag} of {key} is in flight")
                for until, other_tag, other_exclusive in self._lost[process].get(key, ()):
                    if now < until and other_tag != tag and (exclusive or other_exclusive):
                        raise Violation(
                            f"I4: {tag} is sent while a lost call with {other_tag} of {key} may take effect"
                        )
                held.append((call, tag, exclusive))

    def _check_content(self, call: Call) -> None:
        """Each row goes under its own key; those of a task have the same data, as a task sets one set of it."""
        for tag, item in zip(call.tags, call.items, strict=True):
            row = self._rows_of(tag).get(tag)
            if row is not None and row.key != (call.data_key, item[call.data_key]):
                raise Violation(f"I1: {call.process.name} sends {tag} under another key: {item}")
        data = {tuple(sorted((n, v) for n, v in item.items() if n != call.data_key)) for item in call.items}
        if call.by_task and len(data) > 1:
            raise Violation(f"I1: {call.process.name} sends rows of different data as one task: {data}")
        if call.by_task and len(call.items) > 1:
            self._seen["several rows in a task"] += 1

    def _check_fence(self, call: Call, epoch: Epoch) -> None:
        """Nothing leaves a member whose partition another one has begun with."""
        latest = self._owners.get(epoch.number, epoch)
        if latest is not epoch and latest.process is not epoch.process:
            raise Violation(f"I9: {call.process.name} sends rows of {epoch}, which {latest.process.name} has meanwhile")
        if epoch.ended:
            self._seen["sent of what was given up"] += 1

    def _rows_of(self, tag: Tag) -> dict[Tag, PublishedRow]:
        record = self._records.get(tag[:2])
        return {} if record is None else {row.tag: row for row in record.rows}

    def _check_order(self, epoch: Epoch, key: Key, tag: Tag, *, exclusive: bool) -> None:
        """I2: every earlier row of the key is settled."""
        number = epoch.number
        for offset, place, other in self._claims.get((number, key), ()):
            if offset >= tag[1]:
                return
            if (exclusive or other) and not epoch.settled((number, offset, place)):
                if (number, offset, place) in epoch.maybe:
                    continue
                raise Violation(f"I2: {tag} of {key} is sent before {(number, offset, place)} is settled")

    def applied(self, call: Call, rows: Sequence[int]) -> None:
        """I9: the API sees a key's rows in their order, but for what a dead or suspended owner had already sent."""
        for place in rows:
            tag = call.tags[place]
            epoch = self._epochs[call.epochs[place]]
            self.applied_tags.add(tag)
            row = self._rows_of(tag)[tag]
            late = False
            for key, exclusive in _claims(row):
                for other in (True, False) if exclusive else (True,):
                    before = self._latest.get((tag[0], key, other))
                    if before is None or tag[1] >= before[0]:
                        continue
                    if epoch.place > before[1].place:
                        continue  # a new owner begins again at what was not settled
                    if epoch.process is before[1].process:
                        raise Violation(f"I9: {tag} of {key} takes effect after offset {before[0]}, both of {epoch}")
                    late = True
            if late:
                self._seen["applied late after its owner"] += 1
                self._tell(call.process, f"#{call.number} is applied after its owner is gone: {tag}")
                continue
            for key, exclusive in _claims(row):
                self._latest[tag[0], key, exclusive] = (tag[1], epoch)
        self._tell(call.process, f"#{call.number} is applied")

    # -- outcomes ------------------------------------------------------------------------------------------------

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
            return  # its rows are in flight until the task has ended
        self._land(call, lost=status is None)
        self._condemn(call, status, document)
        items = document.get("items") if isinstance(document, dict) else None
        if status != 200 or not isinstance(items, dict):
            return
        affected = document.get("codes_affected") if isinstance(document, dict) else None
        values = [item[call.data_key] for item in call.items]
        doubtful = call.data_key in KEYS_OF_ONE_CODE and isinstance(affected, int) and affected < len(values)
        for tag, value, key in zip(call.tags, values, call.epochs, strict=True):
            epoch = self._epochs[key]
            if value not in items:
                self._left_out[tag] += 1
                if doubtful and tag not in epoch.maybe:
                    epoch.maybe.add(tag)
                    continue
            self._settle(epoch, tag)

    def told_of_task(self, process: Process, task_id: str, status: int | None, document: object) -> None:
        """A task that is complete settles its rows; one that nobody can tell of may take effect still."""
        book = self._tasks.get((process, task_id))
        if book is None:
            raise Violation(f"I4: {process.name} asks about the task {task_id}, which has ended")
        call = book.call
        state = document.get("state") if isinstance(document, dict) and status == 200 else None
        if state:
            book.unknown = 0
        book.unknown += status in (404, 410)
        ended = state in ("complete", "failed")
        lost = book.unknown >= UNKNOWN_TASK or self._scheduler.now - book.started_at >= self._limits.task_deadline
        self._tell(process, f"hears of {task_id} (#{call.number}): {state or status}{', lost' if lost else ''}")
        if not ended and not lost:
            return
        del self._tasks[process, task_id]
        self._land(call, lost=not ended, sent_at=self._scheduler.now)
        if state == "complete":
            for tag, key in zip(call.tags, call.epochs, strict=True):
                self._settle(self._epochs[key], tag)
        elif len(call.tags) == 1:
            reason = "rejected_by_api" if state == "failed" else "api_error"
            self._condemned.setdefault(call.tags[0], set()).add(reason)
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
        if status == 200:
            return
        if any(self._epochs[key].ended for key in call.epochs):
            self._seen["late result"] += 1
        if len(call.tags) == 1:
            reason = "rejected_by_api" if status in (400, 403, 404, 405, 406, 413) else ""
            if status is None or status >= 500 or status == 408:
                reason = "api_error"
            if reason:
                self._condemned.setdefault(call.tags[0], set()).add(reason)
        errors = document.get("errors") if isinstance(document, dict) else None
        if status != 400 or not errors:
            if status == 400 and len(call.tags) > 1:
                self._seen["bisect"] += 1
            return
        by_value = {item[call.data_key]: tag for item, tag in zip(call.items, call.tags, strict=True)}
        for error in errors:
            tag = by_value.get(error["key_value"]) if "key_value" in error else call.tags[error["line"] - 1]
            if tag is not None:
                reason = "unknown_key" if error["field"] == call.data_key else "rejected_by_api"
                self._condemned.setdefault(tag, set()).add(reason)

    def lettered(self, process: Process, tag: Tag, reason: str) -> None:
        """I1: a row is dead-lettered for a reason only."""
        rows = self._rows_of(tag)
        if tag not in rows:
            raise Violation(f"I1: a dead letter of {tag}, which was not published")
        why = rows[tag].invalid
        if reason != why if why else reason not in self._condemned.get(tag, ()):
            raise Violation(f"I1: {tag} is dead-lettered as {reason}, for which nothing gave reason")
        self._tell(process, f"has dead-lettered {tag}: {reason}")
        self._seen[f"letter {reason}"] += 1
        self._lettered[tag] = reason

    def acknowledged(self, process: Process, letters: Sequence[tuple[Tag, object]]) -> None:
        for tag, key in letters:
            epoch = self._epochs[key]
            self._tell(process, f"takes in the acknowledgement of {tag}")
            if not epoch.ended and not epoch.settled(tag):
                epoch.rejected.add(tag[1])
                self._settle(epoch, tag)

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
        places.discard(tag[2])
        if places:
            return
        self._unsettled[process] -= 1
        del epoch.open[tag[1]]
        record = self._records[tag[:2]]
        self._bytes[process] -= record.size
        epoch.counts["unsettled"] -= 1
        epoch.counts["rejected" if tag[1] in epoch.rejected else "accepted"] += 1

    # -- committing ----------------------------------------------------------------------------------------------

    def committing(self, process: Process, commits: Sequence[tuple[object, int, str]]) -> None:
        """I3 and I7: a commit tells of what is settled, of all of it, and of nothing else."""
        for key, offset, metadata in commits:
            epoch = self._epochs.get(key)
            if epoch is None or epoch.ended:
                raise Violation(f"I3: {process.name} commits {epoch}, which it does not own")
            self._check_commit(epoch, offset, metadata)
            self._tell(process, f"commits {epoch.number}: {offset} {metadata}")

    def _check_commit(self, epoch: Epoch, offset: int, metadata: str) -> None:
        number = epoch.number
        while epoch.read and epoch.read[0] not in epoch.open:
            epoch.read.popleft()
        first = next((o for o in epoch.read if o in epoch.open and not epoch.undecided(o)), epoch.position)
        if offset > first:
            raise Violation(f"I3: a commit of {offset} of {epoch} passes {first}, which is not settled")
        lowest = epoch.read[0] if epoch.read else epoch.position
        if offset < lowest:
            raise Violation(f"I7: a commit of {offset} of {epoch} where all before {lowest} is settled")
        ranges = covered_by(metadata, number, offset)
        if metadata and not ranges:
            raise Violation(f"I7: a commit of {epoch} carries no map that can be read: {metadata}")
        self._check_unread(epoch, ranges)
        beyond = [o for o in epoch.read if o >= offset]
        for other in beyond:
            if other in epoch.open:
                if in_ranges(ranges, other) and not epoch.undecided(other):
                    raise Violation(f"I3: the map of {epoch} at {offset} names {other}, which is not settled")
            elif not in_ranges(ranges, other) and not (epoch.refusals or epoch.sparse):
                raise Violation(f"I7: the map of {epoch} at {offset} leaves out {other}, which is settled")
        room = self._limits.map_room
        if metadata and len(metadata) > 0.6 * room:
            self._seen["map near its room"] += 1
        if len(metadata) > room:
            raise Violation(f"I7: a map of {len(metadata)} characters, {room} are allowed")

    def _check_unread(self, epoch: Epoch, ranges: Sequence[tuple[int, int]]) -> None:
        """Of positions that were not read yet, a map tells what the one that the assignment began with told."""
        unread = _from(epoch.position, ranges)
        known = _from(epoch.position, epoch.map)
        if not known >= unread:
            raise Violation(f"I3: the map of {epoch} tells of what was not read: {min(unread - known)}")
        if not unread >= known and not (epoch.refusals or epoch.sparse):
            raise Violation(f"I7: the map of {epoch} forgets what its first one says of {min(known - unread)}")

    def committed(
        self, process: Process, epoch: object, offset: int, metadata: str, refused: str | None, told: str | None
    ) -> None:
        book = self._epochs[epoch]
        book.refusals += told == "OFFSET_METADATA_TOO_LARGE"
        if refused is not None:
            self._seen[f"commit refused: {refused}"] += 1
            self._tell(process, f"has its commit of {book.number} refused: {refused}")

    # -- the end -------------------------------------------------------------------------------------------------

    def judge(self, committed: Mapping[int, tuple[int, str]], ends: Sequence[int]) -> None:
        """All is over: I1, and that nothing is left."""
        for number, end in enumerate(ends):
            if committed[number] != (end, ""):
                raise Violation(f"I1: partition {number} is committed to {committed[number]}, it ends at {end}")
        for (number, offset), record in self._records.items():
            if offset < self._floor.get(number, 0) or (number, offset) in self._removed:
                continue  # before the group's time, or no more
            for row in record.rows:
                fine = row.tag in self.applied_tags or row.tag in self._lettered or self._left_out[row.tag]
                if not fine or (row.invalid and row.tag not in self._lettered):
                    raise Violation(f"I1: {row.tag} is lost")
        self._seen["repeats"] += self.repeats
        self._seen["rows sent"] += self.rows_sent


def _claims(row: PublishedRow) -> list[tuple[Key, bool]]:
    """The keys of a row, each with whether it goes with no other."""
    return [(row.key, True), *((key, False) for key in row.joins)]


def in_ranges(ranges: Sequence[tuple[int, int]], offset: int) -> bool:
    """Whether an offset lies in one of the half-open ranges, which are in order."""
    place = bisect.bisect_right(ranges, (offset, 1 << 62)) - 1
    return place >= 0 and ranges[place][0] <= offset < ranges[place][1]


def _shown(tags: Sequence[Tag]) -> str:
    return " ".join(".".join(map(str, tag)) for tag in tags)
