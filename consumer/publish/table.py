"""Read CSV by the portal's template: a header with the data key and field names, a code a line.

Cells are text, kept exactly. A record's number is that of the physical line it begins in, also
behind cells with line breaks.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted
from consumer.errors import UserError
from consumer.publish.lines import NOT_UTF8, raw_lines

_SEPARATORS = (",", ";", "\t")
_NAMES_SHOWN = 12
#: A first line that Excel reads as the separator, and that some programs write for it.
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[,;\t|])"?', re.IGNORECASE)

#: Words of the csv module's errors, and what they mean to the person who made the file.
_MALFORMED = {
    "unexpected end": "a quotation mark opens a cell and is never closed",
    "larger than field limit": "a quotation mark opens a cell and is not closed "
    "for 131,072 characters",
    "expected after": "text follows the quotation mark that closes a cell; "
    "inside a quoted cell, write the mark twice",
    "new-line character": "a carriage return stands inside the line",
}


class Table:
    """A CSV file: its header is read and checked at once, its lines by iterating over it.

    UTF-8, separated by ``,``, ``;`` or tab, whichever the header uses. ``data_key``: the column
    that must be there. Raises UserError for a header that cannot be used.
    """

    def __init__(self, stream: BufferedReader, data_key: str) -> None:
        self._not_utf8 = False  # of the lines read since the last record
        texts = self._texts(stream)
        begin: list[str] = []
        separator: str | None = None
        for text in texts:
            named = _SEPARATOR_LINE.fullmatch(text.strip("\r\n")) if separator is None else None
            separator = named["separator"] if named else separator
            begin.append("\n" if named or text.isspace() else text)
            if not begin[-1].isspace():
                break
        else:
            raise UserError(
                "the file is empty; its first line names the columns: "
                f"{data_key} and the fields to set"
            )
        self.separator = separator or max(
            _SEPARATORS, key=lambda separator: _fitness(begin[-1], separator, data_key)
        )
        self._reader = csv.reader(chain(begin, texts), delimiter=self.separator, strict=True)
        _, names = next(self._records())
        if isinstance(names, InvalidEvent):
            raise UserError(f"the header cannot be read: {names.message}")
        self.names: list[str] = names
        for problem in _problems(self.names, data_key):
            raise UserError(f"{problem}; the header is: {_shown(self.names)}")

    def __iter__(self) -> Iterator[tuple[int, list[str] | InvalidEvent]]:
        """Yield each record that holds anything: its first line, and its cells or the error."""
        names = len(self.names)
        for line, cells in self._records():
            if isinstance(cells, InvalidEvent):
                yield line, cells
            elif len(cells) == names:
                if any(cells):
                    yield line, cells
            elif any(cell and not cell.isspace() for cell in cells):
                message = f"{_cells(len(cells))}, but the header has {names}"
                yield line, InvalidEvent("undecodable", message)

    def _records(self) -> Iterator[tuple[int, list[str] | InvalidEvent]]:
        reader = self._reader
        while True:
            line = reader.line_num + 1
            try:
                for cells in reader:
                    if self._not_utf8:
                        self._not_utf8 = False
                        message = f"{NOT_UTF8}{_up_to(line, reader.line_num)}"
                        yield line, InvalidEvent("undecodable", message)
                    elif cells:
                        yield line, cells
                    line = reader.line_num + 1
            except csv.Error as error:
                self._not_utf8 = False
                why = next(
                    (words for key, words in _MALFORMED.items() if key in str(error)), str(error)
                )
                yield line, InvalidEvent("undecodable", f"{why}{_up_to(line, reader.line_num)}")
            else:
                return

    def _texts(self, stream: BufferedReader) -> Iterator[str]:
        for raw in raw_lines(stream):
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                self._not_utf8 = True
                text = raw.decode(errors="surrogateescape")
            yield text


def _fitness(header: str, separator: str, data_key: str) -> tuple[bool, int]:
    """Return how well a separator divides a header: first by the data key, then by the columns."""
    try:
        names = next(csv.reader([header], delimiter=separator))
    except csv.Error:
        return False, 0
    return data_key in names, len(names)


def _problems(names: list[str], data_key: str) -> Iterator[str]:
    if data_key not in names:
        yield (
            f"the header has no column {quoted(data_key)}, the data key: "
            "rename the column of the codes to that; if it is another key field of the API, "
            "such as serial_number, name that with --data-key"
        )
    for name, count in Counter(names).items():
        if not name.strip():
            yield f"column {names.index(name) + 1} of the header has no name"
        elif count > 1:
            yield f"the header names {quoted(name)} {count} times"
    if len(names) == 1:
        yield "the header names no field to set"


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(map(quoted, names[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _cells(count: int) -> str:
    return f"the line has {count} cell{'' if count == 1 else 's'}"


def _up_to(first: int, last: int) -> str:
    return f" (up to line {last})" if last > first else ""
