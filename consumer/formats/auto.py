"""Telling the format of a record by its first byte."""

from __future__ import annotations

from consumer.core.model import Event
from consumer.formats.avro import decode_avro
from consumer.formats.jsonformat import NOT_PLAIN, decode_json, decode_plain_flat

_JSON_SPACE = b" \t\r\n"


def decode_auto(raw: bytes) -> Event:
    """The event of a record in whichever format it is. Raises BadEvent only.

    JSON if the first byte that is not white space opens an object or a list: with ``scm_data`` the envelope,
    else flat. Anything else is raw Avro, which begins with a length: both brackets would be negative ones.
    """
    if raw.startswith(b"{") or raw.lstrip(_JSON_SPACE).startswith((b"{", b"[")):
        try:
            fields = decode_plain_flat(raw)
        except NOT_PLAIN:
            return decode_json(raw)
        if "scm_data" not in fields:
            return Event(fields, plain=True)
        return decode_json(raw)
    return decode_avro(raw)
