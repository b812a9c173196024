"""Read the API's document of codes: a CSV whose columns are not documented.

Columns are found by their names, in the spellings that are known; ``reconcile.columns`` names
others. What is not found is told, and not compared.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from consumer.errors import UserError

#: Spellings of the columns that are not a campaign's own fields, after ``_plain``.
KNOWN = {
    "extended_id": ("extended_id", "extendedid", "code_extended_id", "code_id", "code", "qr_code"),
    "serial_number": ("serial_number", "serialnumber", "serial", "serial_no", "code_serial_number"),
    "activation_status": ("activation_status", "activationstatus", "status", "code_status"),
    "product": (
        "product",
        "product_sku",
        "productsku",
        "sku",
        "product_id",
        "productid",
        "product_name",
    ),
}
#: Of these fields every column that is found counts: a product is told by its ID, its SKU, or both.
_SEVERAL = frozenset({"product"})
_PREFIXES = ("scm_", "scm_data_", "scmdata_", "")
#: A cell may be long, but not endless.
MAX_CELL = 1_000_000
_DELIMITERS = ",;\t|"


class HeldCode(NamedTuple):
    """One code of the document: each field with the values of its columns."""

    fields: dict[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """Return the value of a field; empty: it has none."""
        return next((value for value in self.fields.get(name, ()) if value), "")


class Document:
    """A CSV file of codes. Raises UserError where it cannot be read, or is cut off."""

    def __init__(
        self, path: Path, wanted: Collection[str], columns: Mapping[str, str] | None = None
    ) -> None:
        """``wanted``: the fields to be found. ``columns``: the column of a field, by its name."""
        self._path = path
        self._file = _open(path)
        head = self._file.readline()
        if not head.strip():
            raise UserError(f"the document {path.name} is empty: it has no line of column names")
        delimiter = max(_DELIMITERS, key=head.count)
        self._file.seek(0)
        csv.field_size_limit(MAX_CELL)
        self._rows = csv.reader(self._file, delimiter=delimiter, strict=True)
        self.columns = [name.strip().lstrip("\ufeff") for name in next(self._rows)]
        self._places = _places(self.columns, wanted, columns or {})
        if not {"extended_id", "serial_number"} & self._places.keys():
            raise UserError(
                f"no column of the document tells which code a line is about; it has "
                f"{_listed(self.columns)}: name it in reconcile.columns, such as "
                '{extended_id = "My column"}'
            )

    def __contains__(self, field: str) -> bool:
        return field in self._places

    @property
    def has_campaign_fields(self) -> bool:
        """Return whether any column is of a campaign's own field."""
        return any(name not in KNOWN for name in self._places) or any(
            _plain(column).startswith("scm_") for column in self.columns
        )

    def codes(self) -> Iterator[HeldCode]:
        """Yield the codes; raise UserError where a line cannot be read."""
        width = len(self.columns)
        places = self._places
        try:
            for row in self._rows:
                if not row or row == [""]:
                    continue
                if len(row) != width:
                    raise UserError(
                        f"line {self._rows.line_num} of the document has {len(row)} cells and not "
                        f"{width}: it was cut off, or is damaged; fetch it again"
                    )
                yield HeldCode(
                    {name: tuple(row[at] for at in found) for name, found in places.items()}
                )
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(
                f"line {self._rows.line_num} of the document cannot be read ({error}): it was cut "
                "off, or is damaged; fetch it again"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open(path: Path) -> IO[str]:
    try:
        with path.open("rb") as file:
            start = file.read(4)
        encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return io.TextIOWrapper(path.open("rb"), encoding=encoding, newline="")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _places(
    columns: Sequence[str], wanted: Collection[str], named: Mapping[str, str]
) -> dict[str, list[int]]:
    """Return the columns of each field that is found. Raise UserError for a column not there."""
    by_name: dict[str, list[int]] = {}
    for at, column in enumerate(columns):
        by_name.setdefault(_plain(column), []).append(at)
    places: dict[str, list[int]] = {}
    for field, column in named.items():
        if column not in columns:
            raise UserError(
                f"reconcile.columns: the document has no column {column!r} (for {field}); it has "
                f"{_listed(columns)}"
            )
        places[field] = [columns.index(column)]
    for field in (*KNOWN, *wanted):
        if field in places:
            continue
        found = [at for name in _spellings(field) for at in by_name.get(name, ())]
        if found:
            places[field] = found if field in _SEVERAL else found[:1]
    return places


def _spellings(field: str) -> list[str]:
    own = [f"{prefix}{_plain(field)}" for prefix in _PREFIXES]
    return list(dict.fromkeys([*own, *KNOWN.get(field, ())]))


def _plain(name: str) -> str:
    """Return a column's name in small letters, with _ for all that is no letter or digit."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return ", ".join(columns[:20]) + more
