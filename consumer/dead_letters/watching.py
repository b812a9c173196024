"""The letters that a replay is about, in about 300 bytes each, and what each would write."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Mapping
from enum import IntEnum

import msgspec

from consumer.core.model import Row
from consumer.dead_letters.catalogue import Catalogue, key_code
from consumer.dead_letters.letter import Letter, Place
from consumer.dead_letters.meaning import ROW_BITS, Fields
from consumer.dead_letters.mending import Copy, Unusable
from consumer.dead_letters.slots import Keys, Moment
from consumer.dead_letters.writers import Cause, Writers, Writing

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
    """Evidence against a letter."""

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
    first: Writing | None  #: without its key; None: the letter is unusable
    key: int
    more: tuple[Writing, ...]  #: of a record that was refused as a whole, its other rows'
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
    def writings(self) -> tuple[Writing, ...]:
        """Return what its copy would write, a row each."""
        return () if self.first is None else (self.first._replace(key=self.key), *self.more)

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
        self._keys = Keys()
        self._data_keys = dict.fromkeys(logistic_units)
        self.letters: list[Watched] = []
        self._own = array("q")  # hashes of the roots' values; 0: not known
        self._home_of = array("q")  # hashes of the records' keys; 0: it has none
        self._of_number = array("l", [-1]) * len(catalogue)
        self._texts: dict[str, str] = {}
        self._shapes: dict[Writing, Writing] = {}
        # Once ``begin`` was called: the roots' records in order, and whose they are; keys of
        # records in order.
        self._roots = array("Q")
        self._of_root = array("L")
        self._homes = array("q")
        self._home_partitions = array("L")

    def writers(self, *, elsewhere: bool = False) -> Writers:
        """Return writers, none so far, that know what is of interest here."""
        units = self.fields.bits(self._units)
        return Writers(self._keys, self._data_keys, self._units, units, elsewhere=elsewhere)

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
        writings = [] if isinstance(copy, Unusable) else list(map(self._writing_of, copy.rows))
        first = writings[0]._replace(key=None) if writings else None
        row = 0 if root is None else self._catalogue.row_number(root)
        watched = Watched(
            number=number,
            partition=self._catalogue.partition_id(source.topic, source.partition),
            position=source.offset << ROW_BITS | row,
            first=first if first is None or first.joins else self._shapes.setdefault(first, first),
            key=(writings[0].key or 0) if writings else 0,
            more=tuple(writings[1:]),
            replays=letter.replays,
            rootless=rootless,
            unusable=self._texts.setdefault(unusable, unusable),
        )
        self._own.append(hash_of(letter.value) if root == number else 0)
        self._home_of.append(hash_of(letter.key))
        self._of_number[number] = len(self.letters)
        self.letters.append(watched)

    def _writing_of(self, row: Row) -> Writing:
        """Return what a letter's row writes; its fields and keys are of interest from now on."""
        assert row.data_key is not None
        assert row.value is not None
        self.fields.learn(name for name in row.item if name != row.data_key)
        joins = tuple((self._key(*join), self.fields.bits([join[0]])) for join in row.joins)
        key = self._key(row.data_key, row.value)
        return Writing(row.data_key, key, self.fields.mask(row.data_key, row.item), joins)

    def _key(self, data_key: str, value: str) -> int:
        key = key_code(data_key, value)
        self._data_keys[data_key] = None
        self._keys.add(key)
        return key

    def seen_writing(self, data_key: str, value: str, item: Mapping[str, str]) -> Writing:
        """Return what an event's row writes, as far as letters are about it."""
        joins = []
        for name, text in item.items():
            if name in self._data_keys and name != data_key:
                unit = key_code(name, text)
                if self._keys.number(unit) is not None:
                    joins.append((unit, 0))
        key = key_code(data_key, value) if data_key in self._data_keys else None
        return Writing(data_key, key, self.fields.mask(data_key, item), tuple(joins))

    # -- finding ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make ready for events; nothing can be watched any more."""
        self._keys.sort()
        roots = [_code(each.partition, each.position >> ROW_BITS) for each in self.letters]
        order = sorted(range(len(roots)), key=roots.__getitem__)
        self._of_root = array("L", order)
        self._roots = array("Q", (roots[at] for at in order))
        order.sort(key=self._home_of.__getitem__)
        self._homes = array("q", (self._home_of[at] for at in order))
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

    def see_record(self, partition: int, offset: int, time: int, value: bytes | None) -> None:
        """Take in the record of the letters' roots there, after ``Catalogue.note_rows``."""
        code = _code(partition, offset)
        at = bisect_left(self._roots, code)
        while at < len(self._roots) and self._roots[at] == code:
            index = self._of_root[at]
            watched, own = self.letters[index], self._own[index]
            watched.found = True
            watched.strange = bool(own) and own != hash_of(value)
            watched.time = max(time, 0)
            root = self._catalogue.root(watched.number)
            if root is not None:
                watched.position = offset << ROW_BITS | self._catalogue.row_number(root)
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

    def home_key(self, watched: Watched) -> int:
        """Return the hash of the key of a letter's record; 0: it has none."""
        return self._home_of[self._of_number[watched.number]]

    def home(self, key: int) -> int | None:
        """Return the partition of a letter whose record has a key of this hash; None: of none."""
        at = bisect_left(self._homes, key)
        found = bool(key) and at < len(self._homes) and self._homes[at] == key
        return int(self._home_partitions[at]) if found else None


def _code(partition: int, offset: int) -> int:
    return partition << _OFFSET_BITS | min(offset, _MOST_OFFSET)
