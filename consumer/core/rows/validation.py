"""The rules a row must pass before it is uploaded, and the words in which a failure is told.

Where several rules fail, the one that stands first in ``REASONS`` is reported; within one reason,
the first field in the event's own order. Field names are no business of these rules: they are sent
as they are, blank ones too, since the API discards those a campaign does not have; which fields
mean something, and what those may hold, says ``special_fields``. Messages may quote values: they
belong into dead letters, and into logs only where key values may be shown.
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
    """Whether the text is a day of the calendar written YYYY-MM-DD (ASCII digits, years 0001 to
    9999).
    """
    if _DATE.fullmatch(text) is None:  # fromisoformat alone would take 20240501 and 2024-W18-3 too
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def timestamp_date(text: str) -> str | None:
    """The date part, at its own offset, of an RFC 3339 timestamp; None if the text is none."""
    match = _TIMESTAMP.fullmatch(text)
    return match[1] if match is not None and is_date(match[1]) else None


def key_blank(data_key: str) -> Rejection:
    """The key is empty, or only what Unicode calls white space.

    It would select nothing, or anything.
    """
    return Rejection(
        "key_blank", f"the key {quoted(data_key)} is empty or only white space", data_key
    )


def key_conflict(data_key: str, text: str) -> Rejection:
    """The key field stands among the fields with another value.

    It cannot be told which code is meant.
    """
    message = f"the field {quoted(data_key)} is {quoted(text)}, but the key of the event has another value"
    return Rejection("key_conflict", message, data_key)


def no_fields() -> Rejection:
    """Nothing to update is left beside the key."""
    return Rejection(
        "no_fields", "the event sets no field: apart from the key, all are missing or null"
    )


def graver(first: Rejection | None, second: Rejection | None) -> Rejection | None:
    """The one to report of two: by ``REASONS``, and the first of two with one reason."""
    if first is None or second is None:
        return second if first is None else first
    return second if _RANK[second.reason] < _RANK[first.reason] else first


def quoted(text: str) -> str:
    """A name or value as a message quotes it.

    Cut to 60 characters, on one line, always encodable.
    """
    cut = text[:_SHOWN] + "…" if len(text) > _SHOWN else text
    if not cut.isprintable():
        cut = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut
        )
    return f'"{cut}"'


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
    """The kind of a value in the words of its sender, for messages."""
    return next(
        (words for types, words in _KINDS if isinstance(value, types)), f"a {type(value).__name__}"
    )
