"""The newest moment of each key, field set and partition, in 32 bytes each.

Chains of slots in arrays, one chain for each key. A key has a handful of slots: one for each field
set that was written to it, in each partition.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

#: The time of what cannot be ordered by time: it has none, or is not settled yet.
NO_TIME = 2**48 - 1

#: What is written to a unit by codes that go into it, beside the field sets that are masks.
JOINED = -1

#: Field sets of one key, and of all, that are kept apart before each field counts by itself.
_MOST_SETS, _MOST_MASKS = 12, 4096


class Moment(NamedTuple):
    """When something was written: in its partition, and by the clock."""

    partition: int  #: a number that stands for the partition
    position: int  #: offset and row
    time: int  #: milliseconds since the epoch; NO_TIME; 0: not known


def bits_of(mask: int) -> list[int]:
    """Return the single bits of a mask."""
    found = []
    while mask:
        bit = mask & -mask
        mask ^= bit
        found.append(bit)
    return found


class Keys:
    """The keys that letters are about, by 64-bit hashes.

    Should two ever be taken for one, more would count as newer than is.
    """

    def __init__(self) -> None:
        self._sorted = array("q")

    def add(self, key: int) -> None:
        """Take in a key, before ``sort``."""
        self._sorted.append(key)

    def sort(self) -> None:
        """Make ready to be asked."""
        self._sorted = array("q", sorted(set(self._sorted)))

    def __len__(self) -> int:
        return len(self._sorted)

    def number(self, key: int) -> int | None:
        """Return the number of a key, from 0; None: no letter is about it."""
        at = bisect_left(self._sorted, key)
        return at if at < len(self._sorted) and self._sorted[at] == key else None


class Slots:
    """Moments by key number, field set and partition."""

    def __init__(self, keys: int) -> None:
        self._first = array("l", [-1]) * keys
        self._next = array("l")
        self._sets = array("H")
        self._partitions = array("L")
        self._positions = array("Q")
        self._times = array("Q")
        self._masks: list[int] = []
        self._mask_numbers: dict[int, int] = {}

    def add(self, key: int, mask: int, moment: Moment) -> None:
        """Take in that a field set was written to a key; ``mask``: or JOINED."""
        for part in self._kept(key, mask):
            self._merge(key, part, moment)

    def _kept(self, key: int, mask: int) -> Iterable[int]:
        """Return the set as it is kept: whole, or by its fields where there are too many sets."""
        known = mask in self._mask_numbers
        if mask == JOINED or (not known and len(self._mask_numbers) >= _MOST_MASKS):
            return (mask,) if mask == JOINED else bits_of(mask)
        if sum(1 for _ in self._chain(key)) < _MOST_SETS or any(
            self._masks[self._sets[at]] == mask for at in self._chain(key)
        ):
            return (mask,)
        return bits_of(mask)

    def _merge(self, key: int, mask: int, moment: Moment) -> None:
        number = self._mask_numbers.get(mask)
        if number is None:
            number = self._mask_numbers[mask] = len(self._masks)
            self._masks.append(mask)
        time = moment.time or NO_TIME
        for at in self._chain(key):
            if self._sets[at] == number and self._partitions[at] == moment.partition:
                self._positions[at] = max(self._positions[at], moment.position)
                self._times[at] = max(self._times[at], time)
                return
        self._next.append(self._first[key])
        self._first[key] = len(self._sets)
        self._sets.append(number)
        self._partitions.append(moment.partition)
        self._positions.append(moment.position)
        self._times.append(time)

    def _chain(self, key: int) -> Iterator[int]:
        at = self._first[key]
        while at >= 0:
            yield at
            at = self._next[at]

    def of(self, key: int) -> Sequence[tuple[int, Moment]]:
        """Return the newest moments of a key, each with its field set."""
        return [
            (
                self._masks[self._sets[at]],
                Moment(self._partitions[at], self._positions[at], self._times[at]),
            )
            for at in self._chain(key)
        ]
