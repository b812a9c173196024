"""Raw Avro records: the bare datum of the schema that is shipped, without a header of any kind."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from consumer.core.model import BadEvent, Event
from consumer.formats.envelope import event_from
from consumer.formats.schemas import read_schema


def _reading_schema() -> Any:
    """The shipped schema with ``occurred_at`` as the plain milliseconds it is in the bytes.

    That spares making a datetime of each, and no number of milliseconds is out of a long's range.
    """
    schema = read_schema("scm_event.avsc")
    for field in schema["fields"]:
        if field["name"] == "occurred_at":
            field["type"] = "long"
    return parse_schema(schema)


_SCHEMA = _reading_schema()


def decode_avro(raw: bytes) -> Event:
    """The event of a raw Avro datum. Raises BadEvent only."""
    stream = BytesIO(raw)
    try:
        # A damaged length costs no memory: reading from bytes gives no more than there are.
        members: Any = schemaless_reader(stream, _SCHEMA, None)
    except Exception as error:  # foreign bytes make the reader fail in any way
        message = f"not an Avro event by the shipped schema scm_event.avsc ({type(error).__name__})"
        raise BadEvent("undecodable", message) from error
    rest = len(raw) - stream.tell()
    if rest:
        message = f"not an Avro event by the shipped schema scm_event.avsc: {rest} bytes are left over after it"
        raise BadEvent("undecodable", message)
    return event_from(members, members["occurred_at"])
