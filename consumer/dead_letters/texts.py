"""Texts for people: what strangers wrote is shown so that a terminal does nothing but show it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

#: A group of messages is named by so many characters.
COMPLAINT = 200

#: A shorter key may stand in a message by chance.
_LEAST_KEY = 4

_WORD = re.compile(r"[^\s\"'(),;:=\[\]{}]+")
_DIGIT = re.compile(r"\d")


def printable(text: str, most: int | None = None) -> str:
    """Return a text with what is no visible character escaped, cut to ``most`` characters."""
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "replace").decode("ascii")
        for sign in text
    )


def complaint(message: str, key_value: str | None) -> str:
    """Return what messages about different codes have in common, so that they count as one.

    The code is written as ``<key>``, any other word with a digit in it as ``#``.
    """
    message = message[: 4 * COMPLAINT]
    if key_value and len(key_value) >= _LEAST_KEY:
        message = message.replace(key_value, "<key>")
    return printable(_WORD.sub(_without_number, message), COMPLAINT)


def time_text(milliseconds: int) -> str:
    """Return a time, RFC 3339 in UTC; a record without one has ``no time``."""
    if milliseconds <= 0:
        return "no time"
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_number(word: re.Match[str]) -> str:
    return "#" if _DIGIT.search(word[0]) else word[0]
