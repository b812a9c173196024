"""Decode records: from bytes to an Event, in one of ``FORMATS``.

A format knows nothing of Kafka, rows or the API's rules.
"""

from __future__ import annotations

from consumer.core.model import Event, InvalidEvent
from consumer.formats.auto import auto_decoder
from consumer.formats.avro import decode_avro
from consumer.formats.envelope import Decoder
from consumer.formats.epcis import epcis_reader
from consumer.formats.epcis_rules import EpcisRules
from consumer.formats.epcis_xml import xml_decoder
from consumer.formats.frames import (
    FRAME,
    NeedsSchema,
    SchemaId,
    Schemas,
    foreign_frame,
    without_registry,
)
from consumer.formats.jsonformat import (
    decode_envelope,
    decode_flat,
    envelope_decoder,
    epcis_decoder,
    flat_decoder,
    json_decoder,
)
from consumer.formats.safe_xml import is_xml
from consumer.formats.scan import ScanDecoder
from consumer.formats.scan_rules import Origin, ScanRules
from consumer.formats.schema_headers import SCHEMA_HEADERS, framed

__all__ = [
    "FORMATS",
    "SCHEMA_HEADERS",
    "Decoder",
    "EpcisRules",
    "NeedsSchema",
    "Origin",
    "ScanDecoder",
    "ScanRules",
    "SchemaId",
    "Schemas",
    "decoder",
    "framed",
]


def _avro_decoder(decode_frame: Decoder) -> Decoder:
    def decode(raw: bytes) -> Event:
        if raw.startswith(FRAME):
            return decode_frame(raw)
        try:
            return decode_avro(raw)
        except InvalidEvent:
            if (foreign := foreign_frame(raw)) is not None:
                raise foreign from None
            raise

    return decode


FORMATS = ("auto", "avro", "json", "flat", "epcis", "scan")


def decoder(
    format: str,  # noqa: A002 - the setting's own name
    schemas: Schemas | None = None,
    rules: EpcisRules | None = None,
    scans: ScanRules | None = None,
) -> Decoder:
    """Return the decoder of a configured format. Raise ValueError for another name.

    Whatever the bytes, the decoder raises only InvalidEvent: ``undecodable`` if they are not the
    format at all, ``invalid_event`` or ``key_missing`` if they can be read but are no event.
    ``schemas``: the known schemas of a registry; with it, the decoder also raises NeedsSchema for
    a record that waits for a look-up. ``rules``: what EPCIS names mean; without any, events of
    EPCIS are refused. ``scans``: what scans mean; the decoder of scans is a ScanDecoder, which can
    also be given where a record comes from.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    if format == "scan":
        return ScanDecoder(scans or ScanRules())
    read_epcis = epcis_reader(rules or EpcisRules())
    decode_xml = xml_decoder(rules or EpcisRules())
    decode_json = json_decoder(read_epcis, decode_xml)
    in_frames = {
        "json": decode_envelope,
        "flat": decode_flat,
        "epcis": epcis_decoder(read_epcis, decode_xml),
    }
    frame_json = in_frames.get(format, decode_json)  # how JSON in a frame is read
    decode_frame = without_registry(frame_json) if schemas is None else schemas.decoder(frame_json)
    if format == "auto":
        return auto_decoder(decode_json, decode_frame, decode_xml)
    if format == "avro":
        return _avro_decoder(decode_frame)
    if format == "epcis":
        decode_epcis = epcis_decoder(read_epcis, decode_xml, decode_frame)
        return lambda raw: decode_xml(raw) if is_xml(raw) else decode_epcis(raw)
    return {"json": envelope_decoder, "flat": flat_decoder}[format](decode_frame)
