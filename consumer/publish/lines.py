"""Read a file's lines in flat memory, and detect its kind."""

from __future__ import annotations

import json
import shlex
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from pathlib import PurePath
from typing import Literal

from consumer.errors import UserError
from consumer.formats.safe_xml import is_xml

#: Longest line that is read, in bytes: a file without line breaks must not fill the memory.
MAX_LINE = 1024 * 1024

#: Bytes of a file that are inspected before anything of it is published.
BEGIN = 64 * 1024
SAVE_AS_UTF8 = "save it as UTF-8 (in Excel: CSV UTF-8)"
#: The message of a line that is not UTF-8.
NOT_UTF8 = "the text is not UTF-8"

Kind = Literal["csv", "ndjson", "xml", "scans"]

_ENDINGS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".xml": "xml",
}


def kind_of_file(name: str, stream: BufferedReader) -> Kind:
    """Return a file's kind: by its name's ending, else by its first byte that is no space.

    A byte that opens an object or a list is NDJSON, one that opens a tag XML, any other CSV.
    Nothing of the stream is used.
    """
    by_name = _ENDINGS.get(PurePath(name).suffix.lower())
    if by_name is not None:
        return by_name
    if is_xml(stream.peek(1)):
        return "xml"
    begin = stream.peek(1)
    if is_utf_16(stream):
        begin = begin[2:].replace(b"\0", b"")
    begin = begin.removeprefix(BOM_UTF8).lstrip()
    return "ndjson" if begin.startswith((b"{", b"[")) else "csv"


def refuse_other_files(name: str, stream: BufferedReader, kind: Kind) -> None:
    """Raise UserError for a file whose beginning shows that hardly a line of it can be read.

    Else a file saved in another form would be half published and half refused. Nothing of the
    stream is used.
    """
    if kind == "xml":
        return  # its parser knows encodings, and says where it fails
    begin = stream.peek(BEGIN)[:BEGIN]
    if is_utf_16(stream):
        if kind == "csv":
            return  # Excel's "Unicode text"
        raise UserError(f"the file is UTF-16, not UTF-8: {SAVE_AS_UTF8}")
    if b"\0" in begin[:2]:
        raise UserError(f"the file is UTF-16 without a byte order mark: {SAVE_AS_UTF8}")
    if begin.startswith(b"PK\x03\x04"):
        raise UserError(
            "the file is an Excel workbook (or another ZIP file), not text: save it as CSV UTF-8"
        )
    try:
        # An incremental decoder, as the last character may be cut in half.
        text = getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError as error:
        line = begin.count(b"\n", 0, error.start) + 1
        raise UserError(f"line {line} is not UTF-8: {SAVE_AS_UTF8}") from None
    if kind == "ndjson":
        _refuse_documents(name, text.removeprefix("\ufeff").lstrip())


def _refuse_documents(name: str, text: str) -> None:
    """Raise UserError for JSON that is no event a line: a list, or a document of several lines."""
    file = "" if name == "standard input" else f" {shlex.quote(name)}"
    if text.startswith("["):
        raise UserError(
            f"a JSON list, but publish reads one event a line; jq -c '.[]'{file} makes that"
        )
    first, _, more = text.partition("\n")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        end = 0  # no JSON, or too long to see the end of it
    if more and (first.strip() == "{" or end > len(first)):
        raise UserError(
            f"JSON over several lines, but publish reads one event a line; jq -c .{file} makes that"
        )


def is_utf_16(stream: BufferedReader) -> bool:
    """Return whether a file begins with the byte order mark of UTF-16. Nothing of it is used."""
    return stream.peek(2).startswith((BOM_UTF16_LE, BOM_UTF16_BE))


def utf_16_lines(stream: BufferedReader) -> Iterator[str]:
    """Yield every physical line of a file in UTF-16. Raise UserError behind the last good one."""
    text = TextIOWrapper(stream, "utf-16", newline="\n")
    number = 0
    try:
        while line := text.readline(MAX_LINE):
            number += 1
            if len(line) >= MAX_LINE:
                raise _too_long(number)
            yield line
    except UnicodeError:
        raise UserError(f"what follows line {number} is not UTF-16: {SAVE_AS_UTF8}") from None


def _too_long(number: int) -> UserError:
    return UserError(
        f"line {number} is longer than {MAX_LINE:,} bytes: the file is neither CSV nor NDJSON"
    )


def raw_lines(stream: BufferedReader) -> Iterator[bytes]:
    """Yield every physical line with its end, without a byte order mark.

    Raise UserError for UTF-16, and for a line longer than ``MAX_LINE``.
    """
    readline = stream.readline
    raw = readline(MAX_LINE)
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise UserError(f"the file is UTF-16, not UTF-8: {SAVE_AS_UTF8}")
    raw = raw.removeprefix(BOM_UTF8)
    number = 1
    while raw:
        if len(raw) >= MAX_LINE:
            raise _too_long(number)
        yield raw
        raw = readline(MAX_LINE)
        number += 1


def json_lines(stream: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Yield each line of an NDJSON file that is not blank: its number, and it without its end."""
    for number, raw in enumerate(raw_lines(stream), 1):
        line = raw.strip()
        if line:
            yield number, line


def scan_lines(stream: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Yield each line of a file of scans that is not blank: its number, and it without its end.

    Control characters of the scanner at its ends stay.
    """
    for number, raw in enumerate(raw_lines(stream), 1):
        if raw.strip():
            yield number, raw.rstrip(b"\r\n")
