"""Decode raw Avro: the bare datum of the shipped schema, without a header of any kind."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from consumer.core.model import Event, InvalidEvent
from consumer.formats.envelope import event_from
from consumer.formats.logical import readable
from consumer.formats.schemas import read_schema

SHIPPED = "the shipped schema scm_event.avsc"


#: Units of ``occurred_at`` in a millisecond, by its logical type; without one it is milliseconds.
_PER_MILLISECOND = {
    f"{local}timestamp-{unit}": count
    for local in ("", "local-")
    for unit, count in (("millis", 1), ("micros", 1000), ("nanos", 1_000_000))
}


def plain_time(schema: Any) -> int:
    """Change a schema so that ``occurred_at`` is read as the plain number it is in the bytes.

    Return how many of its units a millisecond has. A plain number spares making a datetime of
    each, and no long is out of range.
    """
    per_millisecond = 1
    fields = schema.get("fields", ()) if isinstance(schema, dict) else ()
    for field in fields:
        if field["name"] == "occurred_at":
            for branch in field["type"] if isinstance(field["type"], list) else [field["type"]]:
                if isinstance(branch, dict) and branch.get("logicalType") in _PER_MILLISECOND:
                    per_millisecond = _PER_MILLISECOND[branch.pop("logicalType")]
    return per_millisecond


def _shipped_schema() -> Any:
    schema = read_schema("scm_event.avsc")
    plain_time(schema)
    return schema


#: The shipped schema, with ``occurred_at`` in milliseconds.
WRITING_SCHEMA = parse_schema(_shipped_schema())
_READING_SCHEMA = parse_schema(readable(_shipped_schema()))


def read_datum(raw: bytes, start: int, schema: Any, name: str) -> Any:
    """Return the value of the Avro datum from byte ``start`` to the end.

    Raise InvalidEvent (``undecodable``) if it is none by that schema, which messages call ``name``.
    """
    stream = BytesIO(raw)
    if start:
        stream.seek(start)
    try:
        # A damaged length costs no memory: reading from bytes gives no more than there are.
        value = schemaless_reader(stream, schema, None)
    except Exception as error:  # foreign bytes make the reader fail in any way
        raise InvalidEvent(
            "undecodable", f"not an Avro event by {name} ({type(error).__name__})"
        ) from error
    left = len(raw) - stream.tell()
    if left:
        raise InvalidEvent(
            "undecodable", f"not an Avro event by {name}: {left} bytes are left over after it"
        )
    return value


def decode_avro(raw: bytes, start: int = 0) -> Event:
    """Return the event of a datum of the shipped schema from byte ``start`` on.

    Raise InvalidEvent only.
    """
    members = read_datum(raw, start, _READING_SCHEMA, SHIPPED)
    return event_from(members, members["occurred_at"])
