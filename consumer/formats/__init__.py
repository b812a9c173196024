"""Formats of records: from bytes to an Event. A format knows nothing of Kafka, rows or the API's rules."""

from __future__ import annotations

from collections.abc import Callable

from consumer.formats.auto import auto_decoder
from consumer.formats.avro import decode_avro
from consumer.formats.envelope import Decoder
from consumer.formats.frames import FRAME, NeedsSchema, Schemas, without_registry
from consumer.formats.jsonformat import (
    decode_envelope,
    decode_flat,
    decode_json,
    envelope_decoder,
    flat_decoder,
)

__all__ = ["FORMATS", "Decoder", "NeedsSchema", "Schemas", "decoder"]


def _avro_decoder(decode_frame: Decoder) -> Decoder:
    return lambda raw: decode_frame(raw) if raw.startswith(FRAME) else decode_avro(raw)


#: How a format reads its records, given a decoder of frames; and how it reads the JSON in a frame.
_FORMATS: dict[str, tuple[Callable[[Decoder], Decoder], Decoder]] = {
    "auto": (auto_decoder, decode_json),
    "avro": (_avro_decoder, decode_json),
    "json": (envelope_decoder, decode_envelope),
    "flat": (flat_decoder, decode_flat),
}
FORMATS = tuple(_FORMATS)


def decoder(format: str, schemas: Schemas | None = None) -> Decoder:  # noqa: A002 - the setting's own name
    """The decoder of a configured format: ``auto``, ``avro``, ``json`` or ``flat``.

    It raises BadEvent, whatever the bytes: ``undecodable`` if they are not the format at all, ``invalid_event`` or
    ``key_missing`` if they can be read but are no event. ``schemas``: what is known of a schema registry; with it,
    NeedsSchema tells that a record waits for a look-up. ValueError for another name.
    """
    if format not in _FORMATS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    make, frame_json = _FORMATS[format]
    return make(without_registry(frame_json) if schemas is None else schemas.decoder(frame_json))
