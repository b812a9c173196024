"""Validation: the rules a row must pass before it is uploaded, and the words of a failure.

Where several rules fail, the one that stands first in ``REASONS`` is reported; within one reason,
the first field in the event's own order. Field names are not checked: they are sent as they are,
blank ones too, since the API discards those a campaign does not have. Which fields mean something,
and what those may hold, ``special_fields`` says. Messages may quote values: they belong into dead
letters, and into logs only where key values may be shown.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal

from consumer.core.model import Rejection

#: Longest value of a field, in characters (upload guide: "SCM field length"). The key's is the
#: API's to judge.
MAX_VALUE = 50

#: Every reason of a dead letter that is found before the upload, in order of precedence. The first
#: three concern the whole record (``InvalidEvent``), the others one row (``Rejection``). One
#: exception: a missing key is found before any field's value is looked at, and so wins over a value
#: that makes the event invalid.
REASONS = (
    "undecodable",
    "invalid_event",
    "key_missing",
    "key_blank",
    "value_too_long",
    "forbidden_field",
    "invalid_value",
    "key_conflict",
    "no_fields",
)
_RANK = {reason: rank for rank, reason in enumerate(REASONS)}

_SHOWN = 60  # characters of a value that a message quotes
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def is_date(text: str) -> bool:
    """Return whether the text is a day of the calendar as YYYY-MM-DD (years 0001 to 9999)."""
    if _DATE.fullmatch(text) is None:  # fromisoformat alone would take 20240501 and 2024-W18-3 too
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def timestamp_date(text: str) -> str | None:
    """Return the date, at its own offset, of an RFC 3339 timestamp; None: the text is none."""
    match = _TIMESTAMP.fullmatch(text)
    return match[1] if match is not None and is_date(match[1]) else None


def key_blank(data_key: str) -> Rejection:
    """Reject a key that is empty, or only white space (Unicode's).

    It would select nothing, or anything.
    """
    message = f"the key {quoted(data_key)} is empty or only white space"
    return Rejection("key_blank", message, data_key)


def key_conflict(data_key: str, text: str) -> Rejection:
    """Reject a key that stands among the fields with another value: which code is meant?"""
    message = f"the field {quoted(data_key)} is {quoted(text)}"
    return Rejection(
        "key_conflict", f"{message}, but the key of the event has another value", data_key
    )


def no_fields() -> Rejection:
    """Reject a row without anything to update beside the key."""
    return Rejection(
        "no_fields", "the event sets no field: apart from the key, all are missing or null"
    )


def graver(first: Rejection | None, second: Rejection | None) -> Rejection | None:
    """Return the one of two to report: by ``REASONS``, and the first of two with one reason."""
    if first is None or second is None:
        return second if first is None else first
    return second if _RANK[second.reason] < _RANK[first.reason] else first


def quoted(text: str) -> str:
    """Return a name or value as messages quote it: at most 60 characters, one line, encodable."""
    cut = text[:_SHOWN] + "…" if len(text) > _SHOWN else text
    if not cut.isprintable():
        cut = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut
        )
    return f'"{cut}"'


class Unsendable:
    """A value that its format can hold, and no text can be made of; ``kind``: what it is."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float, Decimal), "a number"),
    (str, "a string"),
    (type(None), "null"),
    (dict, "an object"),
    ((list, tuple), "a list"),
    (datetime, "a timestamp"),
    (date, "a date"),
    ((bytes, bytearray, memoryview), "binary data"),
)


def kind_of(value: object) -> str:
    """Return the kind of a value in the words of its sender, for messages."""
    if isinstance(value, Unsendable):
        return value.kind
    kind = next((words for types, words in _KINDS if isinstance(value, types)), None)
    return kind or f"a {type(value).__name__}"
