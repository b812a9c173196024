"""Warn of what the API would take, though it is most likely a mistake.

A date that nobody checks, a long number that ends in zeros, a code that comes twice: each may be
meant. So they are told and published, or with ``--strict`` refused.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import is_date, quoted

#: So many codes are remembered: those of as many lines as a spreadsheet can have.
MOST_CODES = 2**20
#: Digits of a number that spreadsheets keep; the others become 0 (IEEE 754 doubles).
_DIGITS_KEPT = 15
#: So many values are remembered as harmless, to be looked at once.
_REMEMBERED = 1000
#: So many lines with a code that came before are told one by one.
_LISTED = 100


class Doubt(NamedTuple):
    """A doubt about a line."""

    kind: str  #: what the lines of a kind have in common: so they are counted
    message: str
    listed: int = 1  #: so many lines of the kind are told one by one


#: Takes the number of a line, and what is doubtful about it.
Warn = Callable[[int, Doubt], None]

PADDED = Doubt(
    "the key begins or ends with white space",
    "the key begins or ends with white space; it is published as it stands, and the API takes it "
    "for another key than the one without",
)


def refuse_doubt(_: int, doubt: Doubt) -> None:
    """Raise InvalidEvent (``strict``): a doubt is enough."""
    raise InvalidEvent("strict", doubt.message)


class TableDoubts:
    """Looks through the lines of a table; ``names``: of the cells, the key's first."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = list(names)
        self._whole: set[str] = set()  # columns that have kept a long number's digits
        self._harmless: set[str] = set()  # values that were looked at
        self._seen = SeenCodes()

    def of(self, line: int, cells: list[str]) -> Iterator[Doubt]:
        """Yield what is doubtful about a line."""
        key = cells[0]
        if key != key.strip():
            yield PADDED
        harmless = self._harmless
        for at, cell in enumerate(cells):
            if cell in harmless:
                continue
            if _SUSPECT.match(cell):
                yield from self._of_cell(self._names[at], cell.strip(), is_key=not at)
            elif at:  # values come again and again, keys do not
                if len(harmless) >= _REMEMBERED:
                    harmless.clear()
                harmless.add(cell)
        first = self._seen.line_of(key, line)
        if first is not None:
            yield Doubt(
                "the code comes more than once",
                f"the code of line {first} comes once more",
                _LISTED,
            )

    def _of_cell(self, name: str, cell: str, *, is_key: bool) -> Iterator[Doubt]:
        # Keys are shown nowhere unless log.keys says so.
        subject = "the key" if is_key else quoted(name)
        shown = subject if is_key else f"{subject} is {quoted(cell)}: it"
        if looks_like_a_date(cell):
            cure = (
                "a spreadsheet may have made it of a code; format the column as text"
                if is_key
                else "it is published as it stands. The API's dates are YYYY-MM-DD, and the fields "
                "listed in events.date_fields are checked"
            )
            yield Doubt(f"{subject} looks like a date", f"{shown} looks like a date; {cure}")
        elif len(cell) > _DIGITS_KEPT and cell.isdecimal() and cell.isascii():
            if cell[_DIGITS_KEPT:].strip("0"):
                self._whole.add(name)
            elif name not in self._whole:
                yield Doubt(
                    f"{subject} may have lost digits",
                    f"{shown} has no other digits than 0 behind the first 15 digits, which is all "
                    "that a spreadsheet keeps of a number; format the column as text",
                )


class SeenCodes:
    """Finds codes that come again: a hash table with linear probing, of a fixed size.

    It keeps 64 bits of each code's hash and the line: of a million codes two share their hash once
    in 30 million tables.
    """

    def __init__(self, most: int = MOST_CODES) -> None:
        self._room = most
        self._slots = 2 * most  # half empty, so that places are found soon
        self._hashes = array("Q", [0]) * self._slots
        self._lines = array("L", [0]) * self._slots

    def line_of(self, code: str, line: int) -> int | None:
        """Return the line in which the code was first; None: it is new, and remembered."""
        mark = hash(code) & 0xFFFF_FFFF_FFFF_FFFF or 1
        at = mark % self._slots
        while found := self._hashes[at]:
            if found == mark:
                return self._lines[at]
            at = (at + 1) % self._slots
        if self._room:
            self._room -= 1
            self._hashes[at], self._lines[at] = mark, line
        return None


# -- dates as spreadsheets and people write them ---------------------------------------------------

_MONTHS = frozenset(
    word
    for names in (
        "january february march april may june july august september october november december",
        "jan feb mar apr jun jul aug sep sept oct nov dec",
        "januar februar märz mai juni juli oktober dezember mrz mär okt dez",
        "janvier février mars avril juin juillet août septembre octobre novembre décembre",
        "janv févr avr juil aoû déc",
    )
    for word in names.split()
)
#: A date may be followed by a time of day.
_TIME = r"(?:[T ,]+\d{1,2}:\d\d.{0,20})?"
_YEAR_FIRST = re.compile(rf"\d{{4}}([-./])(\d{{1,2}})\1(\d{{1,2}}){_TIME}", re.ASCII)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-./])(\d{{1,2}})\2(?:\d{{4}}|\d\d){_TIME}", re.ASCII)
_DAY_FIRST = re.compile(
    rf"\d{{1,2}}(?:[-./ ]{{1,2}}([^\W\d_]+)\.?|([^\W\d_]+)\.?(?=[-./ ]?\d))"
    rf"(?:[-./ ]{{0,2}}(?:\d{{4}}|\d\d))?{_TIME}"
)
_MONTH_FIRST = re.compile(rf"([^\W\d_]+)\.?[-./ ]\d{{1,2}}(?:,? ?\d{{4}})?{_TIME}")
#: A cell that is worth a closer look: it begins as a date does, or is a long number. Nearly all
#: days as YYYY-MM-DD are passed over at once.
_SUSPECT = re.compile(
    r" *(?!\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])$)"
    r"(?:\d{1,4}[-./ ]|\d{16}|\d{1,2}[^\W\d_]{3,9}\.?[-./ ]?\d|[^\W\d_]{3,9}\.?[-./ ]\d)"
)


def looks_like_a_date(text: str) -> bool:
    """Return whether a text is most likely a date, and is not a real one as YYYY-MM-DD."""
    if (found := _YEAR_FIRST.fullmatch(text)) is not None:
        return _are_day_and_month(found[2], found[3]) and not is_date(text)
    if (found := _YEAR_LAST.fullmatch(text)) is not None:
        return _are_day_and_month(found[1], found[3])
    if (found := _DAY_FIRST.fullmatch(text) or _MONTH_FIRST.fullmatch(text)) is not None:
        return any(word is not None and word.casefold() in _MONTHS for word in found.groups())
    return False


def _are_day_and_month(one: str, other: str) -> bool:
    """Return whether two numbers are a day and a month, in any order."""
    low, high = sorted((int(one), int(other)))
    return 1 <= low <= 12 and high <= 31
