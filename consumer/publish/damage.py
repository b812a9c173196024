"""Recognise what spreadsheets and copying do to names and codes, which the API would take."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator

from consumer.core.model import InvalidEvent
from consumer.core.rows.special_fields import SPECIAL_FIELDS
from consumer.core.rows.validation import quoted

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?[Ee]\+\d+", re.ASCII)
_ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)
_SPECIAL = frozenset(field.name for field in SPECIAL_FIELDS if not field.setting)


def damage(names: Collection[str], cells: list[str]) -> InvalidEvent | None:
    """Return what a spreadsheet did to a line's cells; None: nothing that can be told.

    ``names``: of the cells, the key's first.
    """
    key = cells[0]
    if not key.isascii() and (found := _invisible(key)):
        name = next(iter(names))
        return InvalidEvent(
            "invalid_event", f"the key has an invisible character in it ({found})", name
        )
    line = "\n".join(cells)
    if "#" not in line and "=" not in line and "+" not in line:
        return None
    for at, (name, cell) in enumerate(zip(names, cells, strict=False)):
        why = _damage_of(cell)
        if why:
            # Keys are shown nowhere unless log.keys says so.
            shown = f"{quoted(name)} is {quoted(cell)}" if at else "the key"
            return InvalidEvent("invalid_event", f"{shown}: {why}", name)
    return None


def _damage_of(cell: str) -> str:
    if cell in _ERRORS:
        return "it is an error of the spreadsheet's formula"
    if cell.startswith('="') and cell.endswith('"'):
        return "it is a formula around a text; have the text alone in the cell"
    if _NUMBER.fullmatch(cell):
        return (
            "the spreadsheet took it for a number, and digits are lost; format the column as text"
        )
    return ""


def _invisible(text: str) -> str:
    """Return the first character that is never seen, such as U+200B or a byte order mark."""
    for character in text:
        if unicodedata.category(character) == "Cf":
            return f"U+{ord(character):04X}"
    return ""


def header_problems(
    names: list[str], data_key: str, known: Collection[str], *, has_constants: bool
) -> Iterator[str]:
    """Yield all that is wrong with the names of the columns; unnamed ones are passed over.

    ``known``: names of fields that mean something to the consumer, beside the API's own.
    """
    if data_key not in names:
        yield (
            f"the header has no column {quoted(data_key)}, the data key: "
            "rename the column of the codes to that; if it is another key field of the API, "
            "such as serial_number, name that with --data-key"
        )
    plain = {name.casefold(): name for name in {data_key, *known, *_SPECIAL}}
    for name, count in Counter(names).items():
        if not name.strip():
            continue
        bare = "".join(c for c in name if unicodedata.category(c) != "Cf").strip()
        meant = plain.get(bare.casefold(), bare)
        if count > 1:
            yield f"the header names {quoted(name)} {count} times"
        if name != meant:
            yield (
                f"the header names {quoted(name)}, which is another field than {quoted(meant)}: "
                "the API would discard it, or its value would pass unchecked"
            )
    if not has_constants and sum(bool(name.strip()) for name in names) == 1:
        yield "the header names no field to set"
