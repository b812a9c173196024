"""The members of one EPCIS event, read by the types that EPCIS gives them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import kind_of, quoted

#: EPCIS 2.0, 7.4.1: from -14:00 to +14:00. ``Z`` is none by the standard, but as clear.
_OFFSET = re.compile(r"([+-])(0\d|1[0-3]|14(?=:00)):([0-5]\d)", re.ASCII)
#: RFC 3339, 5.6, where a second of 60 is a leap second.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_SECOND = timedelta(seconds=1)

Members = dict[str, Any]


def invalid(message: str, field: str | None = None) -> InvalidEvent:
    """Return the error of an event that can be read and breaks a rule."""
    return InvalidEvent("invalid_event", message, field)


def text_member(members: Members, name: str) -> str | None:
    """Return a member that is text; None if it is absent or null."""
    value = members.get(name)
    if value is not None and type(value) is not str:
        raise invalid(f"{quoted(name)} must be a string, not {kind_of(value)}", name)
    return value


def list_member(members: Members, name: str) -> list[str]:
    """Return a member that is a list of texts; an empty list if it is absent or null."""
    value = members.get(name)
    if value is None:
        return []
    if type(value) is not list:
        raise invalid(f"{quoted(name)} must be a list, not {kind_of(value)}", name)
    for item in value:
        if type(item) is not str:
            raise invalid(f"{quoted(name)} must be a list of strings, one is {kind_of(item)}", name)
    return value


def event_time(members: Members) -> tuple[str, str]:
    """Return the event's time as it is written, and its date at the event's own offset.

    Both members must be there: ``eventTime`` alone does not tell the day at the place of the event
    (EPCIS 2.0, 7.4.1). Raise InvalidEvent.
    """
    text, offset = text_member(members, "eventTime"), text_member(members, "eventTimeZoneOffset")
    time = None if text is None else _moment(text)
    if text is None or time is None:
        found = "missing" if text is None else quoted(text)
        raise invalid(
            f'"eventTime" is {found}; '
            "it must be a time with an offset as in RFC 3339, such as 2026-11-22T23:30:00+08:00",
            "eventTime",
        )
    if offset is None:
        raise invalid(
            '"eventTimeZoneOffset" is missing: which day it was at the place of the event; '
            "add it, such as +08:00",
            "eventTimeZoneOffset",
        )
    sign, hours, minutes = _offset(offset)
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        time = time.astimezone(timezone(ahead if sign == "+" else -ahead))
    except OverflowError:
        raise invalid(f'"eventTime" is {quoted(text)}, out of range', "eventTime") from None
    return text, time.date().isoformat()


def _offset(text: str) -> tuple[str, str, str]:
    if text == "Z":
        return "+", "00", "00"
    found = _OFFSET.fullmatch(text)
    if found is None:
        message = f'"eventTimeZoneOffset" is {quoted(text)}; it must be such as +08:00'
        raise invalid(message, "eventTimeZoneOffset")
    return found[1], found[2], found[3]


def _moment(text: str) -> datetime | None:
    """Return a time of RFC 3339, a leap second as the second before it; None: it is none."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    day, minute, second, part, offset = found.groups()
    leap = second == "60"
    second = "59" if leap else second
    try:
        time = datetime.fromisoformat(f"{day}T{minute}:{second}{part or ''}{offset.upper()}")
        if leap:  # they are inserted at the end of a month in UTC (RFC 3339, 5.7)
            utc = time.astimezone(UTC).replace(microsecond=0)
            if (utc + _SECOND).strftime("%d %H:%M:%S") != "01 00:00:00":
                return None
    except (ValueError, OverflowError):
        return None
    return time
