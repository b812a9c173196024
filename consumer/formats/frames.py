"""Confluent's wire format.

0x00, the schema's id in four bytes (big-endian), and then what that schema describes.

JSON cannot begin with 0x00, so ``auto``, ``json`` and ``flat`` take a record that does for such a
frame. A bare Avro event begins so only if its ``event_id`` is empty: where a registry is
configured, it is taken for a frame; without one, its time tells it from a frame. What follows the
five bytes is told by the schema's type in the registry, whatever the configured format: Avro is
read by the schema it was written with, JSON as any other JSON record (it is not checked against its
schema: the rules for events are).

No schema is fetched here: decoding raises NeedsSchema, and ``Schemas`` is taught what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consumer.core.model import Event, InvalidEvent
from consumer.formats.avro import SHIPPED, decode_avro
from consumer.formats.envelope import Decoder
from consumer.formats.writer import HEADER_SIZE, WriterSchema

#: The first byte of a frame; no JSON begins with it.
FRAME = b"\x00"

#: Reads a whole frame; the decoder is the one for JSON.
_Reader = Callable[[bytes, Decoder], Event]

#: A schema that is not there, or not to be read, is asked for again after this time: it may be
#: registered late.
REFUSED_SECONDS = 30.0
#: Far more than a topic has; beyond it all are forgotten, and fetched again when they are met.
MAX_SCHEMAS = 2048

_OPENS_JSON = (b"{", b"[")  # as the length an Avro event begins with, both would be negative


class NeedsSchema(Exception):  # noqa: N818 - what is the case, no fault
    """A record cannot be decoded before the schema with this id was looked up."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(schema_id)
        self.schema_id = schema_id


class Schemas:
    """What is known of the registry's schemas, by id.

    Used by one thread. ``clock`` is in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._readers: dict[bytes, _Reader] = {}
        self._refused: dict[bytes, tuple[float, str]] = {}

    def learn(self, schema_id: int, kind: str, text: str, references: Sequence[str] = ()) -> None:
        """A schema was found: its type as the registry names it, its text, and those it refers to,
        deepest first.
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
                f"schema {schema_id} is of type {kind}; AVRO and JSON are read: publish in one of these",
            )
            return
        if len(self._readers) >= MAX_SCHEMAS:
            self._readers.clear()
        self._readers[_bytes(schema_id)] = reader

    def refuse(self, schema_id: int, why: str) -> None:
        """Records of this schema are ``undecodable`` for the next half minute, and this is why."""
        if len(self._refused) >= MAX_SCHEMAS:
            self._refused.clear()
        self._refused[_bytes(schema_id)] = (self._clock() + REFUSED_SECONDS, why)

    def decoder(self, decode_json: Decoder) -> Decoder:
        """The decoder of frames. Raises BadEvent, or NeedsSchema while the schema is not known."""
        readers = self._readers

        def decode(raw: bytes) -> Event:
            reader = readers.get(raw[1:HEADER_SIZE])
            if reader is None:
                raise self._why_not(raw)
            return reader(raw, decode_json)

        return decode

    def _why_not(self, raw: bytes) -> Exception:
        if len(raw) < HEADER_SIZE:
            message = f"begins with 0x00 as Confluent's wire format does, but has {len(raw)} bytes, fewer than its header"
            return InvalidEvent("undecodable", message)
        key = raw[1:HEADER_SIZE]
        until, why = self._refused.get(key, (0.0, ""))
        if why and self._clock() < until:
            return InvalidEvent("undecodable", why)
        self._refused.pop(key, None)
        return NeedsSchema(int.from_bytes(key))


def without_registry(decode_json: Decoder) -> Decoder:
    """The decoder of frames whose schemas cannot be looked up.

    JSON, or Avro by the shipped schema.
    """

    def decode(raw: bytes) -> Event:
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
        schema_id = int.from_bytes(raw[1:HEADER_SIZE])
        message = (
            f"begins with 0x00 as Confluent's wire format does (schema {schema_id}), but what follows is neither JSON "
            f"nor an event by {SHIPPED}; set schema_registry.url so that it is read by the schema it was written with"
        )
        raise InvalidEvent("undecodable", message)

    return decode


def _read_json(raw: bytes, decode_json: Decoder) -> Event:
    return decode_json(raw[HEADER_SIZE:])


def _bytes(schema_id: int) -> bytes:
    return schema_id.to_bytes(HEADER_SIZE - 1)
