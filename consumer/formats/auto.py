"""Detect the format of a record by its first byte."""

from __future__ import annotations

from codecs import BOM_UTF8
from contextlib import suppress

from consumer.core.model import Event, InvalidEvent
from consumer.formats.avro import decode_avro
from consumer.formats.envelope import Decoder
from consumer.formats.frames import FRAME, foreign_frame
from consumer.formats.safe_xml import is_xml

_OBJECT = ord("{")
_JSON_SPACE = b" \t\r\n"


def auto_decoder(decode_json: Decoder, decode_frame: Decoder, decode_xml: Decoder) -> Decoder:
    """Return the decoder of records in any format.

    JSON, if the first byte that is not white space opens an object or a list; its members tell of
    which kind. XML, if it is a ``<``. Confluent's wire format (``decode_frame``), if the first byte
    is 0x00. Else raw Avro: it begins with a length, and both brackets would be negative ones. As a
    length, ``<`` is 30: what is no XML is tried as Avro. A byte order mark before JSON or XML is no
    part of it.
    """

    def decode_auto(raw: bytes) -> Event:
        # Nearly all records begin so, and nothing tells it faster.
        if raw and raw[0] == _OBJECT:
            return decode_json(raw)
        if raw.lstrip(_JSON_SPACE).startswith((b"{", b"[")):
            return decode_json(raw)
        if raw.startswith(FRAME):
            return decode_frame(raw)
        if is_xml(raw):
            return _xml_or_avro(raw, decode_xml)
        try:
            return decode_avro(raw)
        except InvalidEvent as bad:
            # A byte order mark, too, would be a negative length.
            if (
                bad.reason == "undecodable"
                and raw.startswith(BOM_UTF8)
                and _is_json(raw[len(BOM_UTF8) :])
            ):
                return decode_json(raw)
            raise _neither(raw, bad) from bad

    return decode_auto


def _xml_or_avro(raw: bytes, decode_xml: Decoder) -> Event:
    try:
        return decode_xml(raw)
    except InvalidEvent as bad:
        if bad.reason == "undecodable":
            with suppress(InvalidEvent):
                return decode_avro(raw)
        raise


def _is_json(raw: bytes) -> bool:
    return raw.lstrip(_JSON_SPACE).startswith((b"{", b"["))


def _neither(raw: bytes, bad: InvalidEvent) -> InvalidEvent:
    """Return the error of a record that may have been meant as JSON or as Avro."""
    if bad.reason != "undecodable":
        return bad
    if (foreign := foreign_frame(raw)) is not None:
        return foreign
    first = raw.lstrip(_JSON_SPACE)[:1]
    shown = (
        repr(first)[1:]
        if first.isascii() and first.decode().isprintable()
        else f"byte 0x{first.hex()}"
    )
    begin = f"it begins with {shown}" if first else "it is empty"
    return InvalidEvent(
        "undecodable", f"neither JSON ({begin}) nor {bad.message.removeprefix('not ')}", bad.field
    )
