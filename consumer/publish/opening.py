"""Open a file by its name, and choose what reads its lines and makes records of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from consumer.errors import UserError
from consumer.publish.checking import JsonEvents, ScanEvents, XmlEvents
from consumer.publish.doubts import Warn
from consumer.publish.lines import (
    BEGIN,
    Kind,
    json_lines,
    kind_of_file,
    refuse_other_files,
    scan_lines,
)
from consumer.publish.making import Making
from consumer.publish.table import Table
from consumer.publish.table_events import TableEvents
from consumer.publish.xml_file import XmlFile

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Opened:
    """A file to publish."""

    stream: BufferedReader
    name: str
    size: int | None  #: in bytes; None: not known

    def position(self) -> int:
        """Return the byte where reading is; 0 if the size is not known."""
        return self.stream.tell() if self.size else 0


@contextmanager
def opened(file: str) -> Iterator[Opened]:
    """Open the file, or standard input for ``-``. Raise UserError if it cannot be read."""
    if file == STDIN:
        assert isinstance(sys.stdin.buffer, BufferedReader)
        yield Opened(sys.stdin.buffer, "standard input", None)
        return
    try:
        # Not in a with statement: an error inside the block is not one of opening.
        raw = Path(file).open("rb", 0)  # noqa: SIM115
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    stream: BufferedReader = BufferedReader(raw, BEGIN)
    with stream:
        yield Opened(stream, file, os.fstat(stream.fileno()).st_size or None)


def source_of(file: str) -> str:
    """Return the events' member ``source``: the file's name without its folder."""
    return "stdin" if file == STDIN else os.fsencode(Path(file).name).decode(errors="replace")


def reading(
    file: Opened, making: Making, warn: Warn, *, empty_erases: bool
) -> tuple[Iterable[tuple[int, Any]], Callable[[int, Any], tuple[str, bytes]]]:
    """Return the lines of a file, and the function that makes a record of each.

    ``warn``: called with what is doubtful about a line. Raise UserError for a file or a header that
    cannot be used.
    """
    try:
        if making.scans is not None:  # whatever the file's name: every line is a scan
            refuse_other_files(file.name, file.stream, "scans")
            return scan_lines(file.stream), ScanEvents(making, making.scans).make
        kind = kind_of_file(file.name, file.stream)
        refuse_other_files(file.name, file.stream, kind)
        if making.constants:
            _refuse_constants(kind)
        if kind == "xml":
            return XmlFile(file.stream), XmlEvents(making, warn).make
        if kind == "ndjson":
            return json_lines(file.stream), JsonEvents(making, warn).make
        _refuse_epcis(making)
        table = Table(file.stream, making.wanted())
        return table, TableEvents(making, table.names, warn, empty_erases=empty_erases).make
    except UserError as error:
        raise UserError(f"{file.name}: {error}") from None
    except OSError as error:
        raise UserError(f"{file.name}: cannot be read ({error.strerror})") from None


def _refuse_constants(kind: Kind) -> None:
    if kind != "csv":
        raise UserError("--set is for tables: here the events name their fields themselves")


def _refuse_epcis(making: Making) -> None:
    if making.format == "epcis":
        raise UserError(
            "a table tells fields, not what happened, so no events of EPCIS can be made of it; "
            "publish it as json (SCM_EVENTS__FORMAT=json), which a consumer with "
            'events.format = "auto" reads beside EPCIS'
        )
