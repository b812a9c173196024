"""Lines of a file as bytes, and telling what kind of file it is; memory stays flat whatever the file holds."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from io import BufferedReader
from pathlib import PurePath
from typing import Literal

from consumer.errors import UserError

#: Longest line that is read. A file without line breaks is no list of events, and must not fill the memory.
MAX_LINE = 1024 * 1024

Kind = Literal["csv", "ndjson"]

_ENDINGS: dict[str, Kind] = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


def kind_of_file(name: str, stream: BufferedReader) -> Kind:
    """What a file holds: by its name's ending, else by its first byte that is no space; nothing is taken from it.

    An object or a list opens: NDJSON. Anything else: CSV.
    """
    by_name = _ENDINGS.get(PurePath(name).suffix.lower())
    if by_name is not None:
        return by_name
    begin = stream.peek(1).removeprefix(BOM_UTF8).lstrip()
    return "ndjson" if begin.startswith((b"{", b"[")) else "csv"


def raw_lines(stream: BufferedReader) -> Iterator[bytes]:
    """Every physical line with its end, without a byte order mark. Raises UserError for what is no text in lines."""
    readline = stream.readline
    raw = readline(MAX_LINE)
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise UserError("the file is UTF-16, not UTF-8: save it as UTF-8 (in Excel: CSV UTF-8)")
    raw = raw.removeprefix(BOM_UTF8)
    number = 1
    while raw:
        if len(raw) >= MAX_LINE:
            raise UserError(f"line {number} is longer than {MAX_LINE:,} bytes: the file is neither CSV nor NDJSON")
        yield raw
        raw = readline(MAX_LINE)
        number += 1


def json_lines(stream: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Each line of an NDJSON file that is not blank, with its number and without its end."""
    for number, raw in enumerate(raw_lines(stream), 1):
        line = raw.strip()
        if line:
            yield number, line
