"""Every letter of the dead-letter topic, in about 70 bytes each: chains, repeats, rejected rows.

The rules of a replay need three things of *all* letters, also of those that no filter selects:

* which rows of the source topics were rejected, so that they do not count as newer events;
* the root of each chain, which tells how old a copy really is (docs/replay.md);
* which letter stands for several of one row. (Dead letters are written at least once.)

A sorted table of numbers in ``array``: looked up by bisection. Fill it with ``add`` and
``resolve``, close it with ``sort``; then tell it what the receipts say, and ask.

Rows are compared by 64-bit hashes, within one record only.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from consumer.core.model import Row
from consumer.dead_letters.letter import Letter, Marker, Place
from consumer.dead_letters.meaning import LAST_ROW, row_numbers

_OFFSET_BITS = 44
_MOST_OFFSET = (1 << _OFFSET_BITS) - 1
_NONE = 2**64 - 1
#: A chain longer than this is none: its headers are wrong.
_LONGEST_CHAIN = 1000

#: What is known of a letter: a person has dealt with it; it was brought back; a receipt says that
#: its row was accepted another time.
RESOLVED, REPLAYED, ACCEPTED = 1, 2, 4


def key_code(data_key: str | None, value: str | None) -> int:
    """Return the hash of a row's key; 0: it has none."""
    return 0 if data_key is None or value is None else hash((data_key, value)) or 1


def row_code(item: Mapping[str, str] | None) -> int:
    """Return the hash of a row as it is sent, in any order of its fields; 0: not known."""
    return 0 if not item else hash(tuple(sorted(item.items()))) or 1


class Catalogue:
    """All letters. A letter is named by its number, which is known once the table is sorted."""

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], int] = {}
        self._names: list[tuple[str, int]] = []
        self._markers: list[Marker] = []
        # By letter, sorted by source:
        self._sources = array("Q")
        self._places = array("Q")
        self._before = array("Q")
        self._keys = array("q")
        self._rows = array("q")
        self._at = array("q")
        self._flags = bytearray()
        self._stands = array("L")
        self._row_numbers = array("H")
        # Letters by their own place: places, and the letters' numbers.
        self._by_place = array("Q")
        self._numbers = array("L")

    def __len__(self) -> int:
        return len(self._places)

    # -- filling ---------------------------------------------------------------------------------

    def add(self, letter: Letter) -> None:
        """Take in a letter."""
        self._sources.append(self._code(letter.source))
        self._places.append(self._code(letter.place))
        before = None if letter.replay_of == letter.place else letter.replay_of
        self._before.append(self._code(before))
        self._keys.append(key_code(letter.data_key, letter.key_value))
        # Parts of a record that have no key are told apart by what is wrong with them.
        self._rows.append(row_code(letter.item) if self._keys[-1] else hash(letter.message))
        self._at.append(letter.at)

    def resolve(self, marker: Marker) -> None:
        """Take in a marker, before or after its letters."""
        self._markers.append(marker)

    def sort(self) -> None:
        """Make the table ready to be asked; nothing can be added any more."""
        order = sorted(range(len(self)), key=self._places.__getitem__)
        order.sort(key=self._sources.__getitem__)
        for name in ("_sources", "_places", "_before", "_keys", "_rows", "_at"):
            column = getattr(self, name)
            setattr(self, name, array(column.typecode, (column[at] for at in order)))
        self._flags = bytearray(len(order))
        self._rank()
        order.sort(key=self._places.__getitem__)
        self._numbers = array("L", order)
        self._by_place = array("Q", (self._places[at] for at in order))
        self._find_repeats(order)
        del order
        for marker in self._markers:
            self._apply(marker)
        for before in self._before:
            number = None if before == _NONE else self._number(before)
            if number is not None:
                self._flags[self._stands[number]] |= REPLAYED

    def _rank(self) -> None:
        """Number the letters of each record: those of one code were written in its rows' order.

        It serves until the record itself is seen, if it ever is.
        """
        last, rank = _NONE, 0
        for source in self._sources:
            rank = min(rank + 1, LAST_ROW) if source == last else 1
            last = source
            self._row_numbers.append(rank)

    def _find_repeats(self, order: list[int]) -> None:
        """Find the letters of one row of one record, or of one letter's copies: the newest stands.

        Two copies of one letter are of one event, whatever offsets they have.
        """

        def identity(number: int) -> int:
            before = self._before[number]
            event: int = self._sources[number] if before == _NONE else before
            if event == _NONE:
                event = self._places[number]
            row = (self._keys[number], self._rows[number])
            return hash((event, before == _NONE, *row))

        self._stands = array("L", range(len(self)))
        identities = array("q", map(identity, range(len(self))))
        order.sort(key=lambda number: (identities[number], self._at[number], self._places[number]))
        newest = 0
        for at in range(len(order) - 1, -1, -1):
            number = order[at]
            if at == len(order) - 1 or identities[number] != identities[newest]:
                newest = number
            self._stands[number] = newest

    def _apply(self, marker: Marker) -> None:
        partition = self._partitions.get((marker.topic, marker.partition))
        if partition is None:
            return
        most = _MOST_OFFSET
        flag = REPLAYED if marker.replayed else RESOLVED
        for low, high in marker.ranges:
            base = partition << _OFFSET_BITS
            begin = bisect_left(self._by_place, base + min(low, most))
            end = bisect_right(self._by_place, base + min(high, most))
            for at in range(begin, end):
                self._flags[self._stands[self._numbers[at]]] |= flag

    # -- places ----------------------------------------------------------------------------------

    def partition_id(self, topic: str, partition: int) -> int:
        """Return the number that stands for a partition of any topic."""
        key = (topic, partition)
        found = self._partitions.get(key)
        if found is None:
            found = self._partitions[key] = len(self._names)
            self._names.append(key)
        return found

    def partition_name(self, partition_id: int) -> tuple[str, int]:
        """Return the topic and partition that a number stands for."""
        return self._names[partition_id]

    def place(self, number: int) -> Place:
        """Return where a letter is."""
        return self._place(self._places[number])

    def _code(self, place: Place | None) -> int:
        if place is None:
            return _NONE
        offset = min(place.offset, _MOST_OFFSET)
        return (self.partition_id(place.topic, place.partition) << _OFFSET_BITS) | offset

    def _place(self, code: int) -> Place:
        return Place(*self._names[code >> _OFFSET_BITS], code & (_MOST_OFFSET))

    # -- asking ----------------------------------------------------------------------------------

    def number(self, place: Place) -> int | None:
        """Return the letter at a place of the dead-letter topic; None: there is none."""
        return self._number(self._code(place))

    def _number(self, code: int) -> int | None:
        at = bisect_left(self._by_place, code)
        there = at < len(self._by_place) and self._by_place[at] == code
        return self._numbers[at] if there else None

    def standing(self, number: int) -> int:
        """Return the letter that stands for this one and its repeats; mostly itself."""
        return self._stands[number]

    def flags(self, number: int) -> int:
        """Return what is known of a letter and its repeats."""
        return self._flags[self._stands[number]]

    def mark(self, number: int, flag: int) -> None:
        """Note something of a letter and its repeats."""
        self._flags[self._stands[number]] |= flag

    def root(self, number: int) -> int | None:
        """Return the first letter of a letter's chain; None: it is gone."""
        for _ in range(_LONGEST_CHAIN):
            before = self._before[number]
            if before == _NONE:
                return number
            found = self._number(before)
            if found is None:
                return None
            number = found
        return None

    def before(self, number: int) -> Place | None:
        """Return the place of the letter whose copy this one is about; None: a root."""
        code = self._before[number]
        return None if code == _NONE else self._place(code)

    def source(self, number: int) -> Place | None:
        """Return the record that a letter is about."""
        code = self._sources[number]
        return None if code == _NONE else self._place(code)

    def key(self, number: int) -> int:
        """Return the hash of the key of a letter's row."""
        return self._keys[number]

    def row_number(self, number: int) -> int:
        """Return the place of a letter's row in the order of its record."""
        return self._row_numbers[number]

    def note_rows(self, source: Place, rows: Sequence[Row]) -> None:
        """Note which rows of a record its letters are about."""
        numbers = row_numbers(rows)
        code = self._code(source)
        at = bisect_left(self._sources, code)
        while at < len(self._sources) and self._sources[at] == code:
            self._row_numbers[at] = self._row_number(at, rows, numbers)
            at += 1

    def _row_number(self, letter: int, rows: Sequence[Row], numbers: Sequence[int]) -> int:
        """Return the number of a letter's row; LAST_ROW: it is about all of them; 0: not known."""
        key, item = self._keys[letter], self._rows[letter]
        if not key:
            return LAST_ROW
        same: list[int] = []
        for row, number in zip(rows, numbers, strict=True):
            if key == key_code(row.data_key, row.value):
                if item == row_code(row.item):
                    return int(number)
                same.append(number)
        return same[0] if len(same) == 1 else 0

    def _of_row(self, source: Place, key: int, row: int, *, only: bool) -> Iterator[int]:
        """Yield the letters of a row. ``only``: its record makes no other one."""
        code = self._code(source)
        at = bisect_left(self._sources, code)
        while at < len(self._sources) and self._sources[at] == code:
            its_key, its_row = self._keys[at], self._rows[at]
            if (its_key == key and (only or its_row in (0, row))) or (only and not its_key):
                yield at
            at += 1

    def rejected(self, source: Place, row: Row, *, only: bool) -> bool:
        """Return whether a row was certainly rejected, and nothing else became of it.

        ``only``: its record makes no other row.
        """
        if not self.has_letter(source):
            return False  # as of nearly all: no hash is needed
        letters = list(
            self._of_row(source, key_code(row.data_key, row.value), row_code(row.item), only=only)
        )
        done = (self.flags(number) & (RESOLVED | ACCEPTED) for number in letters)
        return bool(letters) and not any(done)

    def has_letter(self, source: Place) -> bool:
        """Return whether anything of a record was rejected."""
        code = self._code(source)
        at = bisect_left(self._sources, code)
        return at < len(self._sources) and self._sources[at] == code

    def accept(self, source: Place, data_key: str, value: str, fields: Mapping[str, str]) -> None:
        """Note that a row has a receipt: whatever its letter says, it was accepted."""
        row = row_code({data_key: value, **fields})
        for number in self._of_row(source, key_code(data_key, value), row, only=False):
            self.mark(number, ACCEPTED)
