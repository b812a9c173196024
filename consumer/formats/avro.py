"""Raw Avro records: the bare datum of the schema that is shipped, without a header of any kind."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from consumer.core.model import BadEvent, Event
from consumer.formats.envelope import event_from
from consumer.formats.schemas import read_schema

SHIPPED = "the shipped schema scm_event.avsc"


def _reading_schema() -> Any:
    """The shipped schema with ``occurred_at`` as the plain milliseconds it is in the bytes.

    That spares making a datetime of each, and no number of milliseconds is out of a long's range.
    """
    schema = read_schema("scm_event.avsc")
    for field in schema["fields"]:
        if field["name"] == "occurred_at":
            field["type"] = "long"
    return parse_schema(schema)


READING_SCHEMA = _reading_schema()


def read_datum(raw: bytes, start: int, schema: Any, name: str) -> Any:
    """The value of the Avro datum from byte ``start`` to the end. Raises BadEvent, ``undecodable`` by that schema."""
    stream = BytesIO(raw)
    if start:
        stream.seek(start)
    try:
        # A damaged length costs no memory: reading from bytes gives no more than there are.
        value = schemaless_reader(stream, schema, None)
    except Exception as error:  # foreign bytes make the reader fail in any way
        raise BadEvent("undecodable", f"not an Avro event by {name} ({type(error).__name__})") from error
    rest = len(raw) - stream.tell()
    if rest:
        raise BadEvent("undecodable", f"not an Avro event by {name}: {rest} bytes are left over after it")
    return value


def decode_shipped(raw: bytes, start: int) -> Event:
    """The event of the shipped schema from byte ``start`` on. Raises BadEvent only."""
    members = read_datum(raw, start, READING_SCHEMA, SHIPPED)
    return event_from(members, members["occurred_at"])


def decode_avro(raw: bytes) -> Event:
    """The event of a raw Avro datum. Raises BadEvent only."""
    members = read_datum(raw, 0, READING_SCHEMA, SHIPPED)
    return event_from(members, members["occurred_at"])
