"""The letters that a replay is about, in a few hundred bytes each, and what each would write."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum

import msgspec

from consumer.core.model import Row
from consumer.dead_letters.catalogue import Catalogue
from consumer.dead_letters.letter import Letter, Place
from consumer.dead_letters.meaning import ROW_BITS, Fields
from consumer.dead_letters.mending import Copy, Unusable
from consumer.dead_letters.writers import Cause, Moment, Writers, Writing

_OFFSET_BITS = 44
_MOST_OFFSET = (1 << _OFFSET_BITS) - 1


class Kind(IntEnum):
    """The verdicts, by the names that users see."""

    REPLAY = 0
    SUPERSEDED = 1
    UNKNOWN = 2
    LOOPING = 3
    REPLAYED = 4
    RESOLVED = 5
    UNUSABLE = 6

    @property
    def word(self) -> str:
        """Return the verdict's name."""
        return self.name.lower()


class Why(IntEnum):
    """What stands against a letter."""

    NOTHING = 0
    FIELD = 1  #: fields of it are set
    JOINED = 2  #: a code went into its unit
    MOVED = 3  #: its unit was moved
    UNREAD = 4  #: a record cannot be read
    STANDS = 5  #: another letter of its row stands for it
    ACCEPTED = 6  #: a receipt says that its own event was accepted
    ROOTLESS = 7
    STRANGE = 8  #: its record is another one
    GONE = 9  #: its record is gone
    GOES_TOO = 10  #: fields of it are set by a letter that goes


class Watched(msgspec.Struct, gc=False):
    """A letter that the command is about. Its moment is that of the root of its chain."""

    number: int  #: in the catalogue
    partition: int
    position: int
    writings: tuple[Writing, ...]
    home: int  #: hash of its record's key; 0: it has none
    own: int  #: hash of its root's value; 0: not known
    replays: int
    rootless: bool
    unusable: str
    time: int = 0
    found: bool = False  #: its root's record was seen
    strange: bool = False  #: and it is another one
    kind: Kind = Kind.UNKNOWN
    why: Why = Why.NOTHING
    hit: int = 0  #: the fields that something stands against
    left: int = 0  #: the fields that go
    cause: Cause = Cause()

    @property
    def moment(self) -> Moment:
        """Return when its event was written."""
        return Moment(self.partition, self.position, self.time)

    def set(self, kind: Kind, why: Why = Why.NOTHING) -> None:
        """Set the verdict; nothing goes by it."""
        self.kind, self.why, self.hit, self.left, self.cause = kind, why, 0, 0, Cause()


def hash_of(raw: bytes | None) -> int:
    """Return a hash that is 0 for nothing only."""
    return 0 if raw is None else hash(raw) or 1


class Watchlist:
    """The watched letters, found by their root's record, by their own place, and by key."""

    def __init__(self, catalogue: Catalogue, logistic_units: Collection[str]) -> None:
        self._catalogue = catalogue
        self.fields = Fields()
        self.fields.learn(logistic_units)
        self._units = tuple(logistic_units)
        self._keys: dict[str, dict[str, int]] = {name: {} for name in logistic_units}
        self._key_count = 0
        self.letters: list[Watched] = []
        self._of_number = array("l", [-1]) * len(catalogue)
        self._texts: dict[str, str] = {}
        # Once ``begin`` was called: the roots' records in order, and whose they are; keys of
        # records in order.
        self._roots = array("Q")
        self._of_root = array("L")
        self._homes = array("q")
        self._home_partitions = array("L")

    def writers(self, *, elsewhere: bool = False) -> Writers:
        """Return writers, none so far, that know what is of interest here."""
        writers = Writers(elsewhere=elsewhere)
        writers.know(self._keys, self._units, self.fields.bits(self._units))
        return writers

    def add(self, letter: Letter, copy: Copy | Unusable) -> None:
        """Watch a letter of the catalogue; ``copy``: what would be sent for it."""
        number = self._catalogue.number(letter.place)
        assert number is not None, "a letter is watched that is not in the catalogue"
        root = self._catalogue.root(number)
        source = None if root is None else self._catalogue.source(root)
        rootless = source is None
        unusable = copy.because if isinstance(copy, Unusable) else ""
        if source is None:
            source = letter.source or letter.place
        watched = Watched(
            number=number,
            partition=self._catalogue.partition_id(source.topic, source.partition),
            position=source.offset << ROW_BITS
            | (0 if root is None else self._catalogue.row_number(root)),
            writings=() if isinstance(copy, Unusable) else tuple(map(self.writing_of, copy.rows)),
            home=hash_of(letter.key),
            own=hash_of(letter.value) if root == number else 0,
            replays=letter.replays,
            rootless=rootless,
            unusable=self._texts.setdefault(unusable, unusable),
        )
        self._of_number[number] = len(self.letters)
        self.letters.append(watched)

    def writing_of(self, row: Row) -> Writing:
        """Return what a letter's row writes; its fields and keys are of interest from now on."""
        assert row.data_key is not None
        assert row.value is not None
        self.fields.learn(name for name in row.item if name != row.data_key)
        return Writing(
            row.data_key,
            self._key(row.data_key, row.value),
            self.fields.mask(row.data_key, row.item),
            tuple((self._key(name, value), self.fields.bits([name])) for name, value in row.joins),
        )

    def _key(self, data_key: str, value: str) -> int:
        values = self._keys.setdefault(data_key, {})
        key = values.get(value)
        if key is None:
            key = values[value] = self._key_count
            self._key_count += 1
        return key

    def seen_writing(self, data_key: str, value: str, item: Mapping[str, str]) -> Writing:
        """Return what an event's row writes, as far as letters are about it."""
        keys = self._keys
        values = keys.get(data_key)
        joins = []
        for name, text in item.items():
            units = keys.get(name)
            if units and name != data_key:
                unit = units.get(text)
                if unit is not None:
                    joins.append((unit, 0))
        key = None if values is None else values.get(value)
        return Writing(data_key, key, self.fields.mask(data_key, item), tuple(joins))

    # -- finding ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make ready for events; nothing can be watched any more."""
        roots = [_code(each.partition, each.position >> ROW_BITS) for each in self.letters]
        order = sorted(range(len(roots)), key=roots.__getitem__)
        self._of_root = array("L", order)
        self._roots = array("Q", (roots[at] for at in order))
        order.sort(key=lambda at: self.letters[at].home)
        self._homes = array("q", (self.letters[at].home for at in order))
        self._home_partitions = array("L", (self.letters[at].partition for at in order))

    def starts(self) -> dict[tuple[str, int], int]:
        """Return of each partition that letters come from the offset of the oldest root.

        Of unusable letters, too: their copies tell that they were brought back.
        """
        starts: dict[int, int] = {}
        for each in self.letters:
            offset = each.position >> ROW_BITS
            if each.rootless and each.unusable:
                continue  # perhaps of no record at all
            starts[each.partition] = min(offset, starts.get(each.partition, offset))
        return {self._catalogue.partition_name(at): offset for at, offset in starts.items()}

    def at_root(self, partition: int, offset: int) -> Iterator[Watched]:
        """Yield the letters whose chain began with a record."""
        code = _code(partition, offset)
        at = bisect_left(self._roots, code)
        while at < len(self._roots) and self._roots[at] == code:
            yield self.letters[self._of_root[at]]
            at += 1

    def of_number(self, number: int) -> Watched | None:
        """Return a letter of the catalogue, or the one that stands for it, if it is watched."""
        for each in (number, self._catalogue.standing(number)):
            if self._of_number[each] >= 0:
                return self.letters[self._of_number[each]]
        return None

    def at_place(self, place: Place) -> Watched | None:
        """Return the letter at a place of the dead-letter topic, if it is watched."""
        number = self._catalogue.number(place)
        at = -1 if number is None else self._of_number[number]
        return None if at < 0 else self.letters[at]

    def home(self, key: int) -> int | None:
        """Return the partition of a letter whose record has a key of this hash; None: of none."""
        at = bisect_left(self._homes, key)
        found = bool(key) and at < len(self._homes) and self._homes[at] == key
        return int(self._home_partitions[at]) if found else None

    def note_root(self, watched: Watched, time: int, value: bytes | None) -> None:
        """Note that the record of a letter's root was seen, after ``Catalogue.note_rows``."""
        watched.found = True
        watched.strange = bool(watched.own) and watched.own != hash_of(value)
        watched.time = max(time, 0)
        root = self._catalogue.root(watched.number)
        if root is not None:
            offset = watched.position >> ROW_BITS
            watched.position = offset << ROW_BITS | self._catalogue.row_number(root)


def _code(partition: int, offset: int) -> int:
    return partition << _OFFSET_BITS | min(offset, _MOST_OFFSET)
