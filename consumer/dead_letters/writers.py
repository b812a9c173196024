"""Who wrote what last: of each key and field set the newest event.

It answers one question: which fields of a letter does a newer event set, for certain or perhaps
(docs/replay.md, "What is newer", "What sets the same field")? It keeps maxima only: of each key
that letters are about, and of each data key and field over all keys. So events may come in any
order and any number of times, and how many there are costs nothing.

Of each partition two maxima are kept: the highest *position* (offset and row), which decides in the
letter's own partition, and the highest *time*, which decides in any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import NamedTuple

from consumer.dead_letters.slots import JOINED, NO_TIME, Keys, Moment, Slots, bits_of

#: Data keys that are kept apart. Events name them, so there may be any number.
_MOST_DATA_KEYS = 64
_ANY_OTHER = ""

#: Newest moments by partition.
Newest = dict[int, Moment]


class Writing(NamedTuple):
    """The part of a row's fields that matters."""

    data_key: str
    key: int | None  #: the hash of its data key and value; None: no letter is about that
    fields: int  #: mask
    #: the units that it puts its code into, as far as they matter: hash and the field's mask
    joins: tuple[tuple[int, int], ...] = ()


class Age(IntEnum):
    """The age of an event beside a letter's."""

    OLDER = 0
    UNORDERED = 1  #: nobody can tell
    NEWER = 2


class Cause(NamedTuple):
    """Evidence against a letter: its certainty, and the newest position of such an event."""

    age: Age = Age.OLDER
    partition: int = 0
    position: int = 0


class Findings:
    """Evidence against a letter. The masks are of its fields."""

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


def _merge(newest: Newest, moment: Moment) -> None:
    old = newest.get(moment.partition, moment)
    time = moment.time or NO_TIME
    newest[moment.partition] = Moment(
        moment.partition, max(moment.position, old.position), max(time, old.time)
    )


class Writers:
    """The newest writers.

    ``data_keys``: those of letters, which are kept apart however many there are. ``unit_keys``: the
    logistic units; ``units``: their fields. ``elsewhere``: what is in the letter's own partition
    does not count.
    """

    def __init__(
        self,
        keys: Keys,
        data_keys: Iterable[str],
        unit_keys: Collection[str],
        units: int,
        *,
        elsewhere: bool = False,
    ) -> None:
        self._keys = keys
        self._slots = Slots(len(keys))
        self._unit_keys, self._units = frozenset(unit_keys), units
        self._elsewhere = elsewhere
        self._fields: dict[str, dict[int, Newest]] = {data_key: {} for data_key in data_keys}
        self._unread: Newest = {}

    def add(self, writing: Writing, moment: Moment) -> None:
        """Take in a row that was written, or will be."""
        if writing.key is not None and writing.fields:
            self._add(writing.key, writing.fields, moment)
        for unit, _ in writing.joins:
            self._add(unit, JOINED, moment)
        if writing.fields:
            data_key = writing.data_key
            if data_key not in self._fields and len(self._fields) >= _MOST_DATA_KEYS:
                data_key = _ANY_OTHER
            fields = self._fields.setdefault(data_key, {})
            for bit in bits_of(writing.fields):
                _merge(fields.setdefault(bit, {}), moment)

    def _add(self, key: int, mask: int, moment: Moment) -> None:
        number = self._keys.number(key)
        if number is not None:
            self._slots.add(number, mask, moment)

    def add_unreadable(self, moment: Moment) -> None:
        """Take in a record of which nobody can tell what it sets, and of which code."""
        _merge(self._unread, moment)

    def against(self, writing: Writing, moment: Moment) -> Findings:
        """Return what stands against a letter that writes this, and is of that moment."""
        found = Findings()
        if writing.key is not None:
            self._against_key(writing, writing.key, moment, found)
        for unit, bit in writing.joins:
            for mask, cause in self._newer_sets(unit, moment):
                # The unit that its code goes into was moved. Or it was updated, and nobody can tell
                # whether the code is in it by then: of two letters that go to two partitions, too.
                unordered = self._elsewhere or cause.age is Age.UNORDERED
                if mask != JOINED and (mask & self._units or unordered):
                    found.note_fields(bit & writing.fields, cause)
        for data_key, fields in self._fields.items():
            if data_key != writing.data_key or data_key == _ANY_OTHER:
                for bit in bits_of(writing.fields):
                    cause = self._worst(fields.get(bit, {}), moment)
                    if cause.age:
                        found.note_fields(bit, cause._replace(age=Age.UNORDERED))
        found.unread = self._worst(self._unread, moment)
        return found

    def _against_key(self, writing: Writing, key: int, moment: Moment, found: Findings) -> None:
        is_unit = writing.data_key in self._unit_keys
        for mask, cause in self._newer_sets(key, moment):
            if mask == JOINED:
                found.joined = max(found.joined, cause)
                continue
            found.note_fields(mask & writing.fields, cause)
            if is_unit and mask & self._units:
                found.moved = max(found.moved, cause)

    def _newer_sets(self, key: int, moment: Moment) -> list[tuple[int, Cause]]:
        """Return the field sets that something newer, or perhaps newer, wrote to a key."""
        number = self._keys.number(key)
        if number is None:
            return []
        sets = [(mask, self._cause(at, moment)) for mask, at in self._slots.of(number)]
        return [(mask, cause) for mask, cause in sets if cause.age]

    def _worst(self, newest: Newest, moment: Moment) -> Cause:
        return max((self._cause(at, moment) for at in newest.values()), default=Cause())

    def _cause(self, event: Moment, letter: Moment) -> Cause:
        if event.partition == letter.partition:
            newer = event.position > letter.position and not self._elsewhere
            age = Age.NEWER if newer else Age.OLDER
        elif NO_TIME in (event.time, letter.time) or not letter.time or event.time == letter.time:
            age = Age.UNORDERED
        else:
            age = Age.NEWER if event.time > letter.time else Age.OLDER
        return Cause(age, event.partition, event.position) if age else Cause()
