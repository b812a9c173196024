"""Histories of events, rejections and replays, judged by a model of the API that knows no rules.

The model holds the value of each field of each code, and *which event* wrote it. It shares nothing
with ``consumer.dead_letters`` but the rows. When a copy overwrites what a newer event wrote, or
something older overwrites a copy, that is what a replay must never bring about.

Events are about three codes, each with two names (``extended_id``, ``serial_number``), two cases
and a pallet. The copies that a replay publishes are appended to the logs and consumed as any other
record; so some of them are rejected again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.core.model import Event, EventBatch, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.dead_letters.catalogue import Catalogue
from consumer.dead_letters.letter import Letter, Place
from consumer.dead_letters.mending import Copy
from consumer.dead_letters.plan import Step, steps
from consumer.dead_letters.verdicts import Receipt, Seen, Verdict, Verdicts
from consumer.dead_letters.watching import Kind

TOPIC, LETTERS = "events", "letters"
UNITS = ("case_code", "pallet_code")
_MAKER = RowMaker("extended_id", logistic_units=UNITS)
_RECORD = Record(Partition("t", 0, 0, None), 0, None, 0)

#: Codes by their names, in the model.
CODES = {
    ("extended_id", "A"): "a",
    ("serial_number", "1"): "a",
    ("extended_id", "B"): "b",
    ("serial_number", "2"): "b",
    ("extended_id", "C"): "c",
}

#: Fields that are one at the API. Not the program's own table: equal bugs would agree.
ONE = {"status": "activation_status", "blacklist_reason": "activation_status"}

Fields = dict[str, str]
#: A row as it is published: data key, value, fields.
Said = tuple[str, str, Fields]


class Origin(NamedTuple):
    """Which event wrote something: of a copy the event that it repeats."""

    partition: int
    offset: int
    row: int
    at: int


def rows_of(said: Sequence[Said]) -> list[Row]:
    """Return the rows of a record."""
    events = tuple(Event(fields, key, value) for key, value, fields in said)
    return _MAKER.rows(events[0] if len(events) == 1 else EventBatch({}, parts=events), _RECORD)


@dataclass
class Logged:
    """A record in the log."""

    place: Place
    at: int
    rows: list[Row]
    value: bytes
    key: bytes
    copy_of: Place | None = None
    origins: list[Origin] = field(default_factory=list)
    replays: int = 0
    born: int = 0  #: how many records had been published by then


class Held(NamedTuple):
    """A field's value at the API, and who wrote it."""

    text: str
    origin: Origin
    by_copy: bool
    born: int


@dataclass
class World:
    """Logs, the API, the dead-letter topic and the receipts."""

    partitions: int
    verdict: Callable[[], bool]  #: whether the API rejects the next row
    has_receipts: bool = False
    logs: list[list[Logged]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    api: dict[str, dict[str, Held]] = field(default_factory=dict)
    now: int = 1000

    def __post_init__(self) -> None:
        self.logs = [[] for _ in range(self.partitions)]
        self.read, self.begins = [0] * self.partitions, [0] * self.partitions
        self.api = {code: {} for code in CODES.values()}

    # -- events ----------------------------------------------------------------------------------

    def publish(self, partition: int, said: Sequence[Said], jitter: int = 0) -> None:
        """Append an event; ``jitter``: how wrong its clock is."""
        self.now += 10
        offset = len(self.logs[partition])
        place, at = Place(TOPIC, partition, offset), self.now - jitter
        rows = rows_of(said)
        value = f"{partition}/{offset}".encode()
        logged = Logged(place, at, rows, value, b"k%d" % partition, born=self.now)
        logged.origins = [Origin(partition, offset, at_row, at) for at_row in range(len(rows))]
        self.logs[partition].append(logged)

    def consume(self, partition: int) -> None:
        """Let the consumer settle the next record of a partition."""
        if self.read[partition] == len(self.logs[partition]):
            return
        record = self.logs[partition][self.read[partition]]
        self.read[partition] += 1
        for row, origin in zip(record.rows, record.origins, strict=True):
            rejected = self.verdict()
            if rejected:
                self.reject(record, row, origin)
            # Now and then a rejected row is sent again after a crash, and accepted. Without
            # receipts nobody could know: a limit that the page names.
            if not rejected or (self.has_receipts and len(self.letters) % 5 == 2):
                self.accept(record, row, origin)

    def reject(self, record: Logged, row: Row, origin: Origin) -> None:
        """Write a dead letter; now and then twice, as after a crash."""
        for _ in range(2 if len(self.letters) % 7 == 3 else 1):
            self.now += 1
            self.letters.append(
                Letter(
                    place=Place(LETTERS, 0, len(self.letters)),
                    at=self.now,
                    key=record.key,
                    value=record.value,
                    headers=(),
                    source=record.place,
                    reason="rejected_by_api",
                    data_key=row.data_key,
                    key_value=row.value,
                    item=dict(row.item),
                    replay_of=record.copy_of,
                    replays=record.replays,
                )
            )

    def accept(self, record: Logged, row: Row, origin: Origin) -> None:
        """Apply a row to the codes that it selects, and look at what it overwrites."""
        is_copy = record.copy_of is not None
        data_key, value = row.data_key or "", row.value or ""
        fields = {name: text for name, text in row.item.items() if name != data_key}
        if self.has_receipts:
            self.receipts.append(Receipt(record.place, data_key, value, fields))
        for code in list(self.selected(data_key, value)):
            held = self.api[code]
            if is_copy and data_key in held:
                self.must_not_be_newer(held[data_key], origin, f"{code} in {value}", record)
            for name, text in fields.items():
                before = held.get(ONE.get(name, name))
                if before and (is_copy or before.by_copy) and before.text != text:
                    self.must_not_be_newer(before, origin, f"{code}.{name}", record)
            for name, text in fields.items():
                held[ONE.get(name, name)] = Held(text, origin, is_copy, record.born)

    def selected(self, data_key: str, value: str) -> Iterator[str]:
        """Yield the codes that a row selects."""
        if data_key in ("extended_id", "serial_number"):
            code = CODES.get((data_key, value))
            if code is not None:
                yield code
            return
        for code, held in self.api.items():
            if data_key in held and held[data_key].text == value:
                yield code

    # -- judging ---------------------------------------------------------------------------------

    def must_not_be_newer(self, held: Held, new: Origin, what: str, record: Logged) -> None:
        """Hold that neither a copy overwrites something newer, nor something older a copy."""
        old, is_copy = held.origin, record.copy_of is not None
        if old == new:
            return
        if old.partition == new.partition:
            newer = (old.offset, old.row) > (new.offset, new.row)
        elif held.by_copy != is_copy and (held.born > record.born) == is_copy:
            # Between partitions there is no order: what is published after a copy, and not by a
            # replay, may be applied before it as well as after it.
            newer = False
        else:
            # What is gone of other partitions is not missed: a limit that the page names.
            newer = old.at > new.at and old.offset >= self.begins[old.partition]
        assert not newer, f"{record.place} sets {what} of {old} back to {new}"

    # -- replaying -------------------------------------------------------------------------------

    def rules(
        self, *, only_missing: bool = False, wanted: Callable[[Letter], bool] = lambda _: True
    ) -> tuple[Verdicts, Catalogue]:
        """Return the verdicts as the command comes to them."""
        catalogue = Catalogue()
        for letter in self.letters:
            catalogue.add(letter)
        catalogue.sort()
        verdicts = Verdicts(catalogue, UNITS, only_missing=only_missing)
        for letter in self.letters:
            if wanted(letter):
                verdicts.watch(
                    letter, Copy(letter.value or b"", [self.row_of(letter)], mended=False)
                )
        verdicts.begin()
        if self.has_receipts:
            verdicts.receipts_from = {(TOPIC, at): 0 for at in range(self.partitions)}
            for receipt in self.receipts:
                verdicts.see_receipt(receipt)
        for partition, log in enumerate(self.logs):
            for record in log[self.begins[partition] :]:
                verdicts.see(self.seen(record))
        verdicts.decide()
        return verdicts, catalogue

    @staticmethod
    def row_of(letter: Letter, without: frozenset[str] = frozenset()) -> Row:
        item = letter.item or {}
        fields = {
            name: text
            for name, text in item.items()
            if name != letter.data_key and ONE.get(name, name) not in without
        }
        [row] = rows_of([(letter.data_key or "", letter.key_value or "", fields)])
        return row

    def seen(self, record: Logged) -> Seen:
        place = record.place
        settled = place.offset < self.read[place.partition]
        return Seen(
            place, record.at, record.key, record.value, record.rows, settled, record.copy_of
        )

    def plan(
        self,
        *,
        only_missing: bool = False,
        wanted: Callable[[Letter], bool] = lambda _: True,
        force: Sequence[Kind] = (),
    ) -> tuple[list[Step], list[Verdict]]:
        """Return what a replay would publish, and its verdicts."""
        verdicts, catalogue = self.rules(only_missing=only_missing, wanted=wanted)
        planned = steps(verdicts, catalogue, {TOPIC: self.partitions}, force=force)
        return list(planned), list(verdicts.verdicts())

    def carry_out(self, planned: Sequence[Step]) -> None:
        """Publish copies."""
        for step in planned:
            letter = self.letters[step.letter.offset]
            assert letter.source is not None
            self.now += 10
            partition = step.partition
            assert partition == letter.source.partition, "a copy goes to another partition"
            place = Place(TOPIC, partition, len(self.logs[partition]))
            source = self.logs[partition][letter.source.offset]
            at_row = next(
                at
                for at, row in enumerate(source.rows)
                if (row.data_key, row.value, row.item)
                == (letter.data_key, letter.key_value, letter.item)
            )
            row = self.row_of(letter, step.without)
            self.logs[partition].append(
                Logged(
                    place,
                    self.now,
                    [row],
                    f"copy {place}".encode(),
                    letter.key or b"",
                    step.letter,
                    [source.origins[at_row]],
                    letter.replays + 1,
                    self.now,
                )
            )
