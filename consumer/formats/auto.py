"""Telling the format of a record by its first byte."""

from __future__ import annotations

from collections.abc import Callable

from consumer.core.model import Event
from consumer.formats.avro import decode_avro
from consumer.formats.jsonformat import FRAME, decode_json

_JSON_SPACE = b" \t\r\n"


def auto_decoder(decode_frame: Callable[[bytes], Event]) -> Callable[[bytes], Event]:
    """The decoder of records in any format; ``decode_frame`` is that of Confluent's wire format.

    JSON if the first byte that is not white space opens an object or a list: with ``scm_data`` the envelope,
    else flat. Confluent's wire format if the first byte is 0x00. Anything else is raw Avro, which begins with
    a length: both brackets would be negative ones.
    """

    def decode_auto(raw: bytes) -> Event:
        if raw.startswith(b"{") or raw.lstrip(_JSON_SPACE).startswith((b"{", b"[")):
            return decode_json(raw)
        return decode_frame(raw) if raw.startswith(FRAME) else decode_avro(raw)

    return decode_auto
