"""Numbers and times in words, and text that cannot do anything but be read.

Messages, field names and key values come from events, so from anybody. ``cleaned`` is applied to a
whole document before anything is made of it: what cannot be seen is written as an escape, and a
long text is cut. So no control sequence reaches a terminal, and no mark turns a line around.
"""

from __future__ import annotations

import math
from typing import Any

#: Characters of one text that are shown.
MAX_CHARACTERS = 240
#: What is shown where a number is not known.
UNKNOWN = "–"  # noqa: RUF001 - a dash, as typeset

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def cleaned(value: Any) -> Any:
    """Return a document of plain values with all of its texts cleaned, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(inner) for inner in value]
    return value


def clean(text: str) -> str:
    r"""Return a text in printable characters, others as escapes (``\x1b``), and not too long."""
    more = len(text) - MAX_CHARACTERS
    if more > 0:
        return f"{_visible(text[:MAX_CHARACTERS])}… ({more:,} more characters)"
    return _visible(text)


def _visible(text: str) -> str:
    # Not printable by Unicode: control and format characters (bidirectional marks, zero widths),
    # surrogates, separators other than the space.
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def words(name: str) -> str:
    """Return a name of the program in words."""
    return name.replace("_", " ")


def number(value: float | None) -> str:
    """Return a count or rate with thousands parted; a small one that is not whole gets a digit."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value != int(value) and abs(value) < 10:
        return f"{value:.1f}"
    return f"{round(value):,}"


def duration(seconds: float | None) -> str:
    """Return a time span as a person would say it, in one unit."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} days"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
