"""Encode the members of an event as a record that is read back as the same event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from math import isfinite
from typing import Any
from uuid import uuid4

import msgspec
from fastavro import schemaless_writer

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted, timestamp_date
from consumer.core.rows.values import text_of
from consumer.formats.avro import WRITING_SCHEMA
from consumer.formats.envelope import milliseconds

Encoder = Callable[[dict[str, Any]], bytes]

_LONG = range(-(2**63), 2**63)
_TEXT = frozenset({str})

# Integers of any size, and decimals with the digits they have.
_json = msgspec.json.Encoder(decimal_format="number").encode


def encoder(format: str, data_key: str = "extended_id") -> Encoder:  # noqa: A002 - the setting's own name
    """Return the encoder of a configured format. Raise ValueError for another name.

    The formats are ``json`` (also ``auto``), ``flat``, ``avro`` (the bare datum) and ``epcis``,
    which refuses everything: fields do not tell what happened. The encoder takes a dict with the
    members of the shipped schema: event_id, occurred_at (RFC 3339 text), source, data_key,
    key_value, scm_data, also_update. None is absent; only key_value and scm_data must be there.
    It raises InvalidEvent (``invalid_event``) for what the format cannot hold. ``data_key``: the
    one of events that name none, under which flat records have their key.
    """
    encoders: dict[str, Encoder] = {
        "auto": _envelope,
        "json": _envelope,
        "flat": lambda members: _flat(members, data_key),
        "avro": _avro,
        "epcis": _epcis,
    }
    if format not in encoders:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(encoders)}")
    return encoders[format]


def _epcis(_: dict[str, Any]) -> bytes:
    raise InvalidEvent(
        "invalid_event",
        "it is no event of EPCIS, and none can be made of it: "
        "publish it as another format, such as json",
    )


def _envelope(members: dict[str, Any]) -> bytes:
    if None in members.values():
        members = {name: value for name, value in members.items() if value is not None}
    return _json_text(members, members["scm_data"])


def _flat(members: dict[str, Any], default: str) -> bytes:
    """Encode one upload item: it has room for the key and the fields, for nothing else."""
    data_key = members.get("data_key") or default
    key_value, fields = members["key_value"], members["scm_data"]
    if data_key != default:
        raise InvalidEvent(
            "invalid_event",
            f"a flat record is about {quoted(default)}, not {quoted(data_key)}; "
            "publish it as json or avro",
            "data_key",
        )
    if members.get("also_update") is not None:
        raise InvalidEvent(
            "invalid_event",
            'a flat record has no "also_update"; publish it as json or avro',
            "also_update",
        )
    if fields.get(data_key, key_value) != key_value:
        raise InvalidEvent(
            "invalid_event",
            f"the field {quoted(data_key)} differs from the key; "
            "a flat record has room for one of them",
            data_key,
        )
    return _json_text({data_key: key_value, **fields}, fields)


def _json_text(value: dict[str, Any], fields: dict[str, Any]) -> bytes:
    if not _TEXT.issuperset(map(type, fields.values())):
        for name, field in fields.items():
            _refuse_not_finite(name, field)
    try:
        return _json(value)
    except (TypeError, ValueError, RecursionError) as error:  # a lone surrogate is a ValueError
        raise InvalidEvent("invalid_event", f"not to be written as JSON: {error}") from error


def _refuse_not_finite(name: str, value: Any) -> None:
    if (isinstance(value, float) and not isfinite(value)) or (
        isinstance(value, Decimal) and not value.is_finite()
    ):
        raise InvalidEvent(
            "invalid_event", f"{quoted(name)} is {value}, which is no number to send", name
        )


def _avro(members: dict[str, Any]) -> bytes:
    """Encode the datum of the shipped schema, which must have an id and a time.

    A missing id is a new one, a missing time is now.
    """
    fields = members["scm_data"]
    if not _TEXT.issuperset(map(type, fields.values())):
        fields = {name: _avro_value(name, field) for name, field in fields.items()}
    datum = members | {
        "event_id": members.get("event_id") or str(uuid4()),
        "occurred_at": _occurred_at(members.get("occurred_at")),
        "scm_data": fields,
    }
    out = BytesIO()
    try:
        schemaless_writer(out, WRITING_SCHEMA, datum)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidEvent(
            "invalid_event", f"not to be written by the Avro schema: {error}"
        ) from error
    return out.getvalue()


def _avro_value(name: str, value: Any) -> Any:
    """Return a field as the schema has it; numbers that no long or double holds exactly as text."""
    _refuse_not_finite(name, value)
    if isinstance(value, Decimal) or (isinstance(value, int) and value not in _LONG):
        return text_of(name, value)
    return value


def _occurred_at(text: str | None) -> int:
    if text is None:
        at = datetime.now(UTC)
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            # RFC 3339 knows leap seconds, and letters in lower case.
            if timestamp_date(text) is None:
                raise _not_a_time(text) from None
            at = datetime.fromisoformat(text.upper().replace(":60", ":59", 1))
        if at.tzinfo is None:
            raise _not_a_time(text)
    return milliseconds(at)


def _not_a_time(text: str) -> InvalidEvent:
    return InvalidEvent(
        "invalid_event",
        f'"occurred_at" is {quoted(text)}; '
        "RFC 3339 with an offset is needed, such as 2024-05-01T23:30:00+02:00",
        "occurred_at",
    )
