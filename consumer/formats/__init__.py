"""Formats of records: from bytes to an Event. A format knows nothing of Kafka, rows or the API's rules."""

from __future__ import annotations

from collections.abc import Callable

from consumer.core.model import Event
from consumer.formats.auto import decode_auto
from consumer.formats.avro import decode_avro
from consumer.formats.jsonformat import decode_envelope, decode_flat

Decoder = Callable[[bytes], Event]

DECODERS: dict[str, Decoder] = {
    "auto": decode_auto,
    "avro": decode_avro,
    "json": decode_envelope,
    "flat": decode_flat,
}


def decoder(format: str) -> Decoder:  # noqa: A002 - the setting's own name
    """The decoder of a configured format: ``auto``, ``avro``, ``json`` or ``flat``.

    It raises nothing but BadEvent, whatever the bytes: ``undecodable`` if they are not the format at all,
    ``invalid_event`` or ``key_missing`` if they can be read but are no event. ValueError for another name.
    """
    if format not in DECODERS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(DECODERS)}")
    return DECODERS[format]
