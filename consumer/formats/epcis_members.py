"""The members of one EPCIS event, read by the types that EPCIS gives them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import kind_of, quoted

_OFFSET = re.compile(r"([+-])([01]\d|2[0-3]):([0-5]\d)", re.ASCII)

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
    """Return the event's time as it is written, and its date at the event's own offset."""
    text, offset = text_member(members, "eventTime"), text_member(members, "eventTimeZoneOffset")
    try:  # a leap second is taken for the one before it
        time = datetime.fromisoformat((text or "").upper().replace(":60", ":59", 1))
    except ValueError:
        time = datetime.min
    if text is None or time.tzinfo is None:
        found = "missing" if text is None else quoted(text)
        raise invalid(
            f'"eventTime" is {found}; '
            "it must be a time with an offset, such as 2026-11-22T23:30:00+08:00",
            "eventTime",
        )
    if offset is not None and offset != "Z":
        found_offset = _OFFSET.fullmatch(offset)
        if found_offset is None:
            message = f'"eventTimeZoneOffset" is {quoted(offset)}; it must be such as +08:00'
            raise invalid(message, "eventTimeZoneOffset")
        sign, hours, minutes = found_offset.groups()
        ahead = timedelta(hours=int(hours), minutes=int(minutes))
        try:
            time = time.astimezone(timezone(ahead if sign == "+" else -ahead))
        except OverflowError:
            raise invalid(f'"eventTime" is {quoted(text)}, out of range', "eventTime") from None
    return text, time.date().isoformat()
