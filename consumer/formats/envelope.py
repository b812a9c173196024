"""Make an event of an envelope's members, which are the same in every format that has them.

They are those of the shipped schemas.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.special_fields import SPECIAL_FIELDS
from consumer.core.rows.validation import kind_of, quoted, timestamp_date

#: Makes an event of a record's bytes.
Decoder = Callable[[bytes], Event]

#: Fields that mean something to the API.
_SPECIAL = frozenset(field.name for field in SPECIAL_FIELDS if not field.setting)
_fromisoformat = datetime.fromisoformat
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_from(members: dict[str, Any], occurred_at: str | int | None) -> Event:
    """Return the event of an envelope's members; unknown ones are ignored, null ones are absent.

    ``occurred_at`` is checked by the format, since its type differs. The values in ``scm_data``
    are judged when they become text. Raise InvalidEvent: ``invalid_event`` for a member of a wrong
    type, then ``key_missing``.
    """
    fields = members.get("scm_data")
    if type(fields) is not dict:
        raise InvalidEvent(
            "invalid_event", f'"scm_data" must be an object, not {kind_of(fields)}', "scm_data"
        )
    if not _SPECIAL.isdisjoint(members):
        _refuse_beside(members, fields)
    get = members.get
    event_id, data_key, key_value, source = (
        get("event_id"),
        get("data_key"),
        get("key_value"),
        get("source"),
    )
    for value in (event_id, data_key, key_value, source):
        if type(value) is not str and value is not None:
            raise _not_text(members)
    if data_key is not None:
        _refuse_blank(data_key, "data_key")
    also = get("also_update")
    also_update = None if also is None else _other_key(also)
    if key_value is None:
        raise InvalidEvent(
            "key_missing",
            '"key_value" is missing or null: which code the event is about',
            "key_value",
        )
    return Event(
        fields,
        data_key,
        key_value,
        event_id or None,
        occurred_at,
        also_update,
        source=source or None,
    )


def _refuse_beside(members: dict[str, Any], fields: dict[str, Any]) -> None:
    """Raise InvalidEvent for a special field that stands beside the fields, where it does nothing.

    Unknown members are ignored; but whoever writes one of these means the API's field.
    """
    for name in sorted(_SPECIAL.intersection(members)):
        if members[name] is not None and name not in fields:
            raise InvalidEvent(
                "invalid_event",
                f'{quoted(name)} stands beside "scm_data", where it would do nothing; '
                'fields to set belong into "scm_data"',
                name,
            )


def is_timestamp(value: object) -> bool:
    """Return whether the value is a time with an offset.

    It serves tracing only, so other spellings of ISO 8601 than RFC 3339's are taken, too.
    """
    if type(value) is not str:
        return False
    try:
        return _fromisoformat(value).tzinfo is not None
    except ValueError:  # RFC 3339 knows leap seconds, and letters in lower case
        return timestamp_date(value) is not None


def milliseconds(moment: datetime) -> int:
    """Return milliseconds since 1970; a time without an offset is taken as UTC."""
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)


def _not_text(members: dict[str, Any]) -> InvalidEvent:
    names = ("event_id", "data_key", "key_value", "source")
    name = next(name for name in names if not isinstance(members.get(name), str | None))
    return InvalidEvent(
        "invalid_event", f"{quoted(name)} must be a string, not {kind_of(members[name])}", name
    )


def _refuse_blank(data_key: str, name: str) -> None:
    if not data_key or data_key.isspace():
        raise InvalidEvent(
            "invalid_event",
            f"{quoted(name)} is blank: it names the field that selects the codes",
            name,
        )


def _other_key(also: Any) -> tuple[str, str]:
    if type(also) is not dict:
        raise InvalidEvent(
            "invalid_event", f'"also_update" must be an object, not {kind_of(also)}', "also_update"
        )
    texts: list[str] = []
    for name in ("data_key", "key_value"):
        value = also.get(name)
        if type(value) is not str:
            message = f'"{name}" of "also_update" must be a string, not {kind_of(value)}'
            raise InvalidEvent("invalid_event", message, "also_update")
        texts.append(value)
    data_key, key_value = texts
    _refuse_blank(data_key, "also_update")
    return data_key, key_value
