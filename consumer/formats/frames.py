"""Decode Confluent's wire format: 0x00, the schema's id in four bytes (big-endian), the datum.

Newer serializers write the schema's GUID instead: 0x01 and 16 bytes. Either may stand in a header
of the record in place of its value (``schema_headers``).

JSON cannot begin with 0x00, so ``auto``, ``json`` and ``flat`` take a record that does for such a
frame. A bare Avro event begins so only if its ``event_id`` is empty: where a registry is
configured, it is taken for a frame; without one, its time distinguishes it from a frame.

The schema's type in the registry says how to read what follows, whatever the configured format.
Avro is read by the schema it was written with, JSON as any other JSON record. JSON is not checked
against its schema: the rules for events are what counts.

No schema is fetched here: decoding raises NeedsSchema, and ``Schemas`` is given what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from consumer.core.model import Event, InvalidEvent
from consumer.formats.avro import SHIPPED, decode_avro
from consumer.formats.envelope import Decoder
from consumer.formats.writer import HEADER_SIZE, WriterSchema

#: The first byte of a frame; no JSON begins with it, and 0x01 would be a negative length in Avro.
FRAME = (b"\x00", b"\x01")
#: Bytes before the datum in a frame with a GUID.
GUID_HEADER_SIZE = 17

#: A schema's id, or its GUID as text.
SchemaId = int | str

#: Reads a whole frame; the decoder is the one for JSON.
_Reader = Callable[[bytes, Decoder], Event]

#: After this time a missing or unreadable schema is requested anew: it may be registered late.
REFUSED_SECONDS = 30.0
#: Far more than a topic has. Beyond it all are forgotten, and fetched anew when they are met.
MAX_SCHEMAS = 2048

_GUID = b"\x01"
_EIGHT_BYTES = b"\x00" * HEADER_SIZE  # ids that four bytes could hold
_APICURIO_HEADER_SIZE = 9
_GLUE_HEADER_SIZE = 18
_OPENS_JSON = (b"{", b"[")  # as the length an Avro event begins with, both would be negative


class NeedsSchema(Exception):  # noqa: N818 - what is the case, no fault
    """A record cannot be decoded before the schema with this id was looked up."""

    def __init__(self, schema_id: SchemaId) -> None:
        super().__init__(schema_id)
        self.schema_id = schema_id


class Schemas:
    """The registry's schemas as far as they are known, by id. For one thread.

    ``clock``: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._readers: dict[bytes, _Reader] = {}
        self._refused: dict[bytes, tuple[float, str]] = {}

    def learn(
        self, schema_id: SchemaId, kind: str, text: str, references: Sequence[str] = ()
    ) -> None:
        """Take in a schema that was found.

        ``kind``: its type as the registry names it. ``references``: the texts of the schemas it
        refers to, deepest first.
        """
        if kind == "JSON":
            reader: _Reader = _read_json
        elif kind == "AVRO":
            try:
                reader = WriterSchema(f"schema {schema_id}", text, references).event
            except Exception as error:  # a foreign text makes the parser fail in any way
                why = " ".join(str(error).split())[:200]
                self.refuse(
                    schema_id,
                    f"schema {schema_id} cannot be read as Avro ({type(error).__name__}: {why})",
                )
                return
        else:
            self.refuse(
                schema_id,
                f"schema {schema_id} is of type {kind}; AVRO and JSON are read: publish in one of "
                "these",
            )
            return
        if len(self._readers) >= MAX_SCHEMAS:
            self._readers.clear()
        self._readers[_bytes(schema_id)] = reader

    def refuse(self, schema_id: SchemaId, why: str) -> None:
        """Make records of this schema ``undecodable`` for half a minute, for this reason."""
        if len(self._refused) >= MAX_SCHEMAS:
            self._refused.clear()
        self._refused[_bytes(schema_id)] = (self._clock() + REFUSED_SECONDS, why)

    def decoder(self, decode_json: Decoder) -> Decoder:
        """Return the decoder of frames, which raises InvalidEvent, or NeedsSchema.

        ``decode_json`` reads what follows the header of a JSON schema.
        """
        readers = self._readers

        def decode(raw: bytes) -> Event:
            has_guid = raw.startswith(_GUID)
            reader = readers.get(raw[1 : GUID_HEADER_SIZE if has_guid else HEADER_SIZE])
            if reader is None:
                raise self._why_not(raw)
            # A reader leaves out as many bytes as a header with an id has.
            return reader(raw[GUID_HEADER_SIZE - HEADER_SIZE :] if has_guid else raw, decode_json)

        return decode

    def _why_not(self, raw: bytes) -> Exception:
        size = GUID_HEADER_SIZE if raw.startswith(_GUID) else HEADER_SIZE
        if len(raw) < size:
            return InvalidEvent(
                "undecodable",
                f"begins with 0x{raw[:1].hex()} as Confluent's wire format does, but has "
                f"{len(raw)} bytes, fewer than its header",
            )
        key = raw[1:size]
        until, why = self._refused.get(key, (0.0, ""))
        if why and self._clock() < until:
            return InvalidEvent("undecodable", why)
        self._refused.pop(key, None)
        if size == GUID_HEADER_SIZE:
            return NeedsSchema(str(UUID(bytes=key)))
        foreign = foreign_frame(raw)
        return NeedsSchema(int.from_bytes(key)) if foreign is None else foreign


def foreign_frame(raw: bytes) -> InvalidEvent | None:
    """Return the error of a record in the frame of another schema registry; None: it is in none.

    AWS Glue writes 0x03, a byte for the compression, and the UUID of a schema's version. Apicurio
    writes 0x00 and an id of eight bytes, unless told otherwise; Confluent's ids begin at 1.
    """
    if raw.startswith((b"\x03\x00", b"\x03\x05")) and len(raw) >= _GLUE_HEADER_SIZE:
        return InvalidEvent(
            "undecodable",
            "begins as records of the AWS Glue Schema Registry do (version "
            f"{UUID(bytes=raw[2:_GLUE_HEADER_SIZE])}), which is not read; publish JSON, or with a "
            "serializer in the Confluent wire format",
        )
    if raw.startswith(_EIGHT_BYTES) and len(raw) >= _APICURIO_HEADER_SIZE:
        return InvalidEvent(
            "undecodable",
            "begins as records of the Apicurio Registry do (an id of eight bytes, "
            f"{int.from_bytes(raw[1:_APICURIO_HEADER_SIZE])}), which is not read; let its "
            "serializer write ids as Confluent's does (apicurio.registry.as-confluent, or the "
            "Legacy4ByteIdHandler or Default4ByteIdHandler as apicurio.registry.id-handler)",
        )
    return None


def without_registry(decode_json: Decoder) -> Decoder:
    """Return the decoder of frames whose schemas cannot be looked up.

    It reads JSON, and Avro by the shipped schema.
    """

    def decode(raw: bytes) -> Event:
        if raw.startswith(_GUID):
            return _by_shipped_schema(raw, decode_json)
        if raw.startswith(_OPENS_JSON, HEADER_SIZE):
            return decode_json(raw[HEADER_SIZE:])
        # What follows is the id of a schema, a positive signed number; or a bare event's time,
        # which in our days takes more than one byte, and so has the highest bit set in the first.
        for start in (HEADER_SIZE, 0) if raw[1:2] >= b"\x80" else (HEADER_SIZE,):
            try:
                return decode_avro(raw, start)
            except InvalidEvent as bad:
                if bad.reason != "undecodable":
                    raise
        if (foreign := foreign_frame(raw)) is not None:
            raise foreign
        schema_id = int.from_bytes(raw[1:HEADER_SIZE])
        message = (
            f"begins with 0x00 as Confluent's wire format does (schema {schema_id}), but what "
            f"follows is neither JSON nor an event by {SHIPPED}; "
            "set schema_registry.url so that it is read by the schema it was written with"
        )
        raise InvalidEvent("undecodable", message)

    return decode


def _by_shipped_schema(raw: bytes, decode_json: Decoder) -> Event:
    """Return the event in a frame with a GUID, whose schema cannot be looked up."""
    if raw.startswith(_OPENS_JSON, GUID_HEADER_SIZE):
        return decode_json(raw[GUID_HEADER_SIZE:])
    try:
        return decode_avro(raw, GUID_HEADER_SIZE)
    except InvalidEvent as bad:
        if bad.reason != "undecodable":
            raise
    raise InvalidEvent(
        "undecodable",
        "begins with 0x01 as Confluent's wire format with a GUID does, but what follows is neither "
        f"JSON nor an event by {SHIPPED}; set schema_registry.url so that it is read by the schema "
        "it was written with",
    )


def _read_json(raw: bytes, decode_json: Decoder) -> Event:
    return decode_json(raw[HEADER_SIZE:])


def _bytes(schema_id: SchemaId) -> bytes:
    if isinstance(schema_id, str):
        return UUID(schema_id).bytes
    return schema_id.to_bytes(HEADER_SIZE - 1)
