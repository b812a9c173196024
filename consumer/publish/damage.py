"""Refuse what spreadsheets and copying do to cells and codes, which the API would take."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?[Ee]\+\d+", re.ASCII)
_ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)


def refuse_damage(names: Collection[str], cells: list[str]) -> None:
    """Raise InvalidEvent for what a spreadsheet did to a line's cells, if that can be told.

    ``names``: of the cells, the key's first.
    """
    key = cells[0]
    refuse_invisible(key, next(iter(names)))
    line = "\n".join(cells)
    if "#" not in line and "=" not in line and "+" not in line:
        return
    for at, (name, cell) in enumerate(zip(names, cells, strict=False)):
        why = _damage_of(cell)
        if why:
            # Keys are shown nowhere unless log.keys says so.
            shown = f"{quoted(name)} is {quoted(cell)}" if at else "the key"
            raise InvalidEvent("invalid_event", f"{shown}: {why}", name)


def refuse_invisible(key: str, name: str) -> None:
    """Raise InvalidEvent for a key with a character that nobody sees; ``name``: of its field."""
    if not key.isascii() and (found := _invisible(key)):
        raise InvalidEvent(
            "invalid_event", f"the key has an invisible character in it ({found})", name
        )


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
