"""Who wrote what last: of each key and field set the newest event, in a few dozen bytes.

It answers one question: which fields of a letter does a newer event set, for certain or perhaps
(docs/replay.md, "What is newer", "What sets the same field")? It keeps maxima only: of each key
that letters are about, and of each data key and field over all keys. So events may come in any
order and any number of times, and how many there are costs nothing.

Of each partition two maxima are kept, packed into one integer: the highest *position* (offset and
row), which decides in the letter's own partition, and the highest *time* in milliseconds, which
decides in any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

#: The time of what cannot be ordered by time: it has none, or is not settled yet.
NO_TIME = 2**48 - 1
_TIME_BITS = 48
#: Room for the number of a partition in a key.
_PARTITION_BITS = 20
_PARTITIONS = 2**_PARTITION_BITS - 1

#: Field sets of one key that are kept apart, before each field counts by itself.
_MOST_SETS = 12
#: Data keys that are kept apart. Events name them, so there may be any number.
_MOST_DATA_KEYS = 64
_ANY_OTHER = ""

#: Newest positions and times, packed, by partition, or by partition and field set.
Newest = dict[int, int]


class Moment(NamedTuple):
    """When something was written: in its partition, and by the clock."""

    partition: int  #: a number that stands for the partition
    position: int  #: offset and row
    time: int  #: milliseconds since the epoch; NO_TIME; 0: not known


class Writing(NamedTuple):
    """What a row sets, as far as it matters."""

    data_key: str
    key: int | None  #: the number of its data key and value; None: no letter is about that
    fields: int  #: mask
    #: the units that it puts its code into, as far as they matter: number and the field's mask
    joins: tuple[tuple[int, int], ...] = ()


class Age(IntEnum):
    """How old an event is beside a letter."""

    OLDER = 0
    UNORDERED = 1  #: nobody can tell
    NEWER = 2


class Cause(NamedTuple):
    """What stands against a letter: how sure, and the newest position of such an event."""

    age: Age = Age.OLDER
    partition: int = 0
    position: int = 0


class Findings:
    """What stands against a letter. The masks are of its fields."""

    __slots__ = ("certain", "field", "joined", "moved", "perhaps", "unread")

    def __init__(self) -> None:
        self.certain = 0  #: fields that a newer event sets
        self.perhaps = 0  #: fields that an event may set that may be newer
        self.field = Cause()  #: of these two the gravest
        self.joined = Cause()  #: a code went into the unit that the letter updates
        self.moved = Cause()  #: the unit that the letter updates was moved
        self.unread = Cause()  #: a newer record cannot be read: it may be about anything

    def note_fields(self, mask: int, cause: Cause) -> None:
        """Note that fields are set by something newer, or perhaps newer."""
        if not mask:
            return
        if cause.age is Age.NEWER:
            self.certain |= mask
        else:
            self.perhaps |= mask
        self.field = max(self.field, cause)


def _merge(newest: Newest, key: int, moment: Moment) -> None:
    position, time = moment.position, moment.time or NO_TIME
    old = newest.get(key)
    if old is not None:
        position = max(position, old >> _TIME_BITS)
        time = max(time, old & NO_TIME)
    newest[key] = position << _TIME_BITS | time


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        bit = mask & -mask
        mask ^= bit
        found.append(bit)
    return found


class Writers:
    """The newest writers.

    ``elsewhere``: what is in the letter's own partition does not count.
    """

    def __init__(self, *, elsewhere: bool = False) -> None:
        self._elsewhere = elsewhere
        self._unit_keys: frozenset[str] = frozenset()
        self._units = 0
        self._sets: dict[int, Newest] = {}
        self._joined: dict[int, Newest] = {}
        self._fields: dict[str, dict[int, Newest]] = {}
        self._unread: Newest = {}

    def know(self, data_keys: Iterable[str], unit_keys: Collection[str], units: int) -> None:
        """Keep these data keys apart, however many there are; ``unit_keys``: the logistic units.

        ``units``: their fields as a mask.
        """
        self._fields = {data_key: {} for data_key in data_keys}
        self._unit_keys, self._units = frozenset(unit_keys), units

    def add(self, writing: Writing, moment: Moment) -> None:
        """Take in a row that was written, or will be."""
        if writing.key is not None:
            self._add_set(writing.key, writing.fields, moment)
        for unit, _ in writing.joins:
            _merge(self._joined.setdefault(unit, {}), moment.partition, moment)
        if writing.fields:
            data_key = writing.data_key
            if data_key not in self._fields and len(self._fields) >= _MOST_DATA_KEYS:
                data_key = _ANY_OTHER
            fields = self._fields.setdefault(data_key, {})
            for bit in _bits(writing.fields):
                _merge(fields.setdefault(bit, {}), moment.partition, moment)

    def _add_set(self, key: int, mask: int, moment: Moment) -> None:
        sets = self._sets.setdefault(key, {})
        whole = mask << _PARTITION_BITS | moment.partition
        if whole in sets or len(sets) < _MOST_SETS:
            _merge(sets, whole, moment)
            return
        for bit in _bits(mask):
            _merge(sets, bit << _PARTITION_BITS | moment.partition, moment)

    def add_unreadable(self, moment: Moment) -> None:
        """Take in a record of which nobody can tell what it sets, and of which code."""
        _merge(self._unread, moment.partition, moment)

    def against(self, writing: Writing, moment: Moment) -> Findings:
        """Return what stands against a letter that writes this, and is of that moment."""
        found = Findings()
        if writing.key is not None:
            self._against_key(writing, writing.key, moment, found)
        for unit, bit in writing.joins:
            for mask, cause in self._newer_sets(unit, moment):
                # The unit that its code goes into was moved; or is updated by a letter that goes,
                # too, and nobody can tell whether the code was in it by then.
                unordered = self._elsewhere and cause.age is Age.UNORDERED
                if mask & self._units or unordered:
                    found.note_fields(bit & writing.fields, cause)
        for data_key, fields in self._fields.items():
            if data_key != writing.data_key or data_key == _ANY_OTHER:
                for bit in _bits(writing.fields):
                    cause = self._worst(fields.get(bit, {}), moment)
                    if cause.age:
                        found.note_fields(bit, cause._replace(age=Age.UNORDERED))
        found.unread = self._worst(self._unread, moment)
        return found

    def _against_key(self, writing: Writing, key: int, moment: Moment, found: Findings) -> None:
        is_unit = writing.data_key in self._unit_keys
        for mask, cause in self._newer_sets(key, moment):
            found.note_fields(mask & writing.fields, cause)
            if is_unit and mask & self._units:
                found.moved = max(found.moved, cause)
        found.joined = self._worst(self._joined.get(key, {}), moment)

    def _newer_sets(self, key: int, moment: Moment) -> Iterator[tuple[int, Cause]]:
        """Yield the field sets that were written to a key by something newer, or perhaps newer."""
        for packed_key, newest in self._sets.get(key, {}).items():
            cause = self._cause(packed_key & _PARTITIONS, newest, moment)
            if cause.age:
                yield packed_key >> _PARTITION_BITS, cause

    def _worst(self, newest: Newest, moment: Moment) -> Cause:
        return max(
            (self._cause(at, packed, moment) for at, packed in newest.items()), default=Cause()
        )

    def _cause(self, partition: int, packed: int, moment: Moment) -> Cause:
        position, time = packed >> _TIME_BITS, packed & NO_TIME
        if partition == moment.partition:
            newer = position > moment.position and not self._elsewhere
            age = Age.NEWER if newer else Age.OLDER
        elif NO_TIME in (time, moment.time) or not moment.time or time == moment.time:
            age = Age.UNORDERED
        else:
            age = Age.NEWER if time > moment.time else Age.OLDER
        return Cause(age, partition, position) if age else Cause()
