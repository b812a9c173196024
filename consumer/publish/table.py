"""Read CSV by the portal's template: a header with the data key and field names, a code a line.

Cells are text, kept exactly. A record's number is that of the physical line it begins in, also
behind cells with line breaks.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted
from consumer.errors import UserError
from consumer.publish.header import Wanted, header_problems
from consumer.publish.lines import NOT_UTF8, is_utf_16, raw_lines, utf_16_lines

_SEPARATORS = (",", ";", "\t")
_NAMES_SHOWN = 12
#: A first line that Excel reads as the separator, and that some programs write for it.
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[,;\t|])"?', re.IGNORECASE)

#: Words of the csv module's errors, and what they mean to the person who made the file.
_MALFORMED = {
    "unexpected end": "a quotation mark opens a cell and is never closed",
    "larger than field limit": "a cell is longer than 131,072 characters; "
    "does a quotation mark open it that is never closed?",
    "expected after": "text follows the quotation mark that closes a cell; "
    "inside a quoted cell, write the mark twice",
    "new-line character": "a carriage return stands inside the line",
}


class Table:
    """A CSV file: its header is read and checked at once, its lines by iterating over it.

    UTF-8 (or UTF-16 with its mark), separated by ``,``, ``;`` or tab, whichever the header uses.
    ``wanted``: what the header must have. Columns without a name are passed over, if nothing stands
    in them. Raises UserError for a header that cannot be used, with all that is wrong with it.
    """

    def __init__(self, stream: BufferedReader, wanted: Wanted) -> None:
        data_key = wanted.data_key
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
        problems = list(header_problems(names, wanted))
        if problems:
            raise UserError(f"{'; '.join(problems)}; the header is: {_shown(names)}")
        self._columns = len(names)
        self._key_at = names.index(data_key)
        self._unnamed = [at for at, name in enumerate(names) if not name.strip()][::-1]
        self.names: list[str] = [name for name in names if name.strip()]

    def __iter__(self) -> Iterator[tuple[int, list[str] | InvalidEvent]]:
        """Yield each record that holds anything: its first line, and its cells or the error."""
        columns = self._columns
        for line, cells in self._records():
            if isinstance(cells, InvalidEvent):
                yield line, cells
                continue
            if len(cells) > columns and not "".join(cells[columns:]).strip():
                del cells[columns:]  # a column without a name, as a spreadsheet writes for others
            if len(cells) == columns:
                if self._reader.line_num > line and self._has_swallowed(cells):
                    yield line, self._swallowed(line)
                elif any(cells):
                    yield line, self._named(cells) if self._unnamed else cells
            elif "".join(cells).strip():
                message = f"{_cells(len(cells))}, but the header has {columns}"
                yield line, InvalidEvent("undecodable", message)

    def _has_swallowed(self, cells: list[str]) -> bool:
        """Return whether the lines in a cell look like lines of the table.

        A stray mark that opens a cell, and another that closes it some lines later, leave as many
        cells as the header has only if both stand in the same column. So the cell ends one line and
        begins another there, and between them has whole ones. A text may look like that, too; but
        in texts blanks follow separators. And no code has several lines.
        """
        if "\n" in cells[self._key_at].strip():
            return True
        behind = self._columns - 1
        for at, cell in enumerate(cells):
            if "\n" in cell:
                parts = cell.split("\n")
                wanted = [behind - at, *[behind] * (len(parts) - 2), at]
                found = [part.count(self.separator) for part in parts]
                if found == wanted and not any(self._is_text(part) for part in parts):
                    return True
        return False

    def _is_text(self, line: str) -> bool:
        """Return whether blanks follow separators in a line, as in texts."""
        return any(cell[:1] == " " for cell in line.split(self.separator)[1:])

    def _swallowed(self, line: int) -> InvalidEvent:
        last = self._reader.line_num
        lines = f"line {last}" if last == line + 1 else f"lines {line + 1} to {last}"
        return InvalidEvent(
            "undecodable", f"a quotation mark opens a cell that takes {lines} with it"
        )

    def _named(self, cells: list[str]) -> list[str] | InvalidEvent:
        """Return the cells of the columns that have a name; of the others nothing may be lost."""
        for at in self._unnamed:
            if cells[at].strip():
                message = f"cell {at + 1} is {quoted(cells[at])}, and its column has no name"
                return InvalidEvent("undecodable", message)
            del cells[at]
        return cells

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
        if is_utf_16(stream):
            yield from utf_16_lines(stream)
            return
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


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(map(quoted, names[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _cells(count: int) -> str:
    return f"the line has {count} cell{'' if count == 1 else 's'}"


def _up_to(first: int, last: int) -> str:
    return f" (up to line {last})" if last > first else ""
