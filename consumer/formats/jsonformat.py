"""Decode JSON records: first by the form that nearly all have, then with more care.

An envelope is an object with ``scm_data``, a flat record is one upload item; the third kind is
EPCIS. Integers keep every digit and decimals stay as they are written; msgspec does that at the
speed needed. It takes no lone surrogates, so every text from here can be encoded again.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.validation import Unsendable, kind_of
from consumer.formats.cloudevents import cloud_event, is_cloud_event
from consumer.formats.envelope import Decoder, event_from, is_timestamp
from consumer.formats.epcis import TYPES, ReadMembers
from consumer.formats.frames import FRAME, foreign_frame
from consumer.formats.quick_json import (
    NOT_QUICK,
    decode_short_texts,
    quick_envelope,
    quick_flat,
)
from consumer.formats.repeated_names import refuse_repeated_names

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_any_number = msgspec.json.Decoder(float_hook=lambda text: _number(text)).decode
#: The members of what Kafka Connect's JSON converter makes if it is to write schemas.
_CONNECT = frozenset(("schema", "payload"))
#: How the message begins where the first member that is no short text is of a kind that no
#: envelope has.
_NO_ENVELOPE = tuple(f"Expected `str`, got `{kind}`" for kind in ("int", "float", "bool"))
_BOM_BEGINS = BOM_UTF8[:1]


def json_decoder(read_epcis: ReadMembers, decode_xml: Decoder | None = None) -> Decoder:
    """Return the decoder of objects of any kind, which raises InvalidEvent only.

    With ``scm_data`` an object is an envelope. With ``specversion`` and ``data`` it is a CloudEvent
    around any of the others, or around XML (``decode_xml``). With ``@context`` or a ``type`` of
    EPCIS, ``read_epcis`` reads it. Else it is flat.
    """
    read = _reader(read_epcis, decode_xml)
    # No record is both flat and an envelope, so the order is only a matter of time. Records of a
    # topic are mostly alike.
    last_was_envelope = False

    def decode(raw: bytes) -> Event:
        nonlocal last_was_envelope
        if last_was_envelope and (event := quick_envelope(raw)) is not None:
            return event
        try:
            event = quick_flat(raw)
            last_was_envelope = False
        except msgspec.ValidationError as error:
            # No envelope has a number or a boolean beside its fields.
            event = None if str(error).startswith(_NO_ENVELOPE) else quick_envelope(raw)
            last_was_envelope = event is not None
        except NOT_QUICK:
            event = None
        return read(read_object(raw)) if event is None else event

    return decode


def _reader(
    read_epcis: ReadMembers, decode_xml: Decoder | None
) -> Callable[[dict[str, Any]], Event]:
    """Return what reads the members of an object of any kind."""

    def read(members: dict[str, Any]) -> Event:
        if "scm_data" not in members and "specversion" in members and is_cloud_event(members):
            # A CloudEvent in another is none: JSON can be nested more deeply than calls can.
            return cloud_event(members, read_event, decode_xml)
        return read_event(members)

    def read_event(members: dict[str, Any]) -> Event:
        if "scm_data" in members:
            return envelope_event(members)
        if "@context" in members or ("type" in members and _is_epcis(members["type"])):
            return read_epcis(members)
        return Event(members)

    return read


def _is_epcis(kind: object) -> bool:
    return type(kind) is str and kind in TYPES


def epcis_decoder(
    read_epcis: ReadMembers, decode_xml: Decoder, decode_frame: Decoder | None = None
) -> Decoder:
    """Return the decoder of EPCIS in JSON, bare or in a CloudEvent, which may hold XML.

    Frames as for envelopes.
    """

    def decode(raw: bytes) -> Event:
        if decode_frame is not None and raw.startswith(FRAME):
            return decode_frame(raw)
        members = read_object(raw)
        if is_cloud_event(members):
            return cloud_event(members, read_epcis, decode_xml)
        return read_epcis(members)

    return decode


def envelope_decoder(decode_frame: Decoder | None = None) -> Decoder:
    """Return the decoder of envelopes, bare or in a CloudEvent.

    ``decode_frame`` takes records that begin with 0x00; it is tried only where the quick way
    failed, so it costs other records nothing. The decoder raises InvalidEvent only, or whatever
    ``decode_frame`` raises.
    """

    def decode(raw: bytes) -> Event:
        event = quick_envelope(raw)
        if event is not None:
            return event
        if decode_frame is not None and raw.startswith(FRAME):
            return decode_frame(raw)
        members = read_object(raw)
        if "scm_data" not in members and is_cloud_event(members):
            return cloud_event(members, envelope_event)
        return envelope_event(members)

    return decode


def flat_decoder(decode_frame: Decoder | None = None) -> Decoder:
    """Return the decoder of flat records: all members are fields, one of them the key.

    Frames as for envelopes.
    """

    def decode(raw: bytes) -> Event:
        try:
            fields = decode_short_texts(raw)
            if raw.count(b'"') != 4 * len(fields):
                refuse_repeated_names(raw, fields)
            return Event(fields, plain=True)
        except NOT_QUICK:
            if decode_frame is not None and raw.startswith(FRAME):
                return decode_frame(raw)
            return Event(read_object(raw))

    return decode


def envelope_event(members: dict[str, Any]) -> Event:
    """Return the event of an envelope that was read from JSON. Raise InvalidEvent."""
    occurred_at = members.get("occurred_at")
    if occurred_at is not None and not is_timestamp(occurred_at):
        message = '"occurred_at" must be RFC 3339 with an offset, such as 2024-05-01T23:30:00+02:00'
        raise InvalidEvent("invalid_event", message, "occurred_at")
    return event_from(members, occurred_at)


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the members of a JSON object.

    A byte order mark before it, which some editors and libraries of .NET write, is no part of it.
    Raise InvalidEvent: ``undecodable``, or ``invalid_event`` for other JSON.
    """
    if raw[:1] == _BOM_BEGINS:
        raw = raw.removeprefix(BOM_UTF8)
    try:
        try:
            value = _decode(raw)
        except InvalidOperation:
            value = _decode_any_number(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation) as error:
        raise _failure(raw, error) from error
    if type(value) is not dict:
        raise InvalidEvent(
            "invalid_event", f"the JSON value is {kind_of(value)}; an event is an object"
        )
    refuse_repeated_names(raw, value)
    if (
        len(value) == 2
        and value.keys() == _CONNECT
        and (value["schema"] is None or type(value["schema"]) is dict)
    ):
        raise InvalidEvent(
            "invalid_event",
            "the event stands in Kafka Connect's wrapper of schema and payload; "
            "set value.converter.schemas.enable=false at the connector",
            "payload",
        )
    return value


def _number(text: str) -> Decimal | Unsendable:
    """Return a number; one with an exponent beyond any spoils nothing unless it is to be sent."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Unsendable("a number that is too large to be read")


def _failure(raw: bytes, error: Exception) -> InvalidEvent:
    """Tell what is no JSON at all from JSON with something in it that no event may hold."""
    if (foreign := foreign_frame(raw)) is not None:
        return foreign
    if isinstance(error, UnicodeDecodeError):
        return InvalidEvent("undecodable", "the text is not UTF-8")
    if isinstance(error, RecursionError):
        return InvalidEvent(
            "invalid_event", "the JSON is nested too deeply; an event is a flat object"
        )
    if isinstance(error, (msgspec.ValidationError, InvalidOperation)):
        return InvalidEvent("invalid_event", "the JSON holds a number that is too large to be read")
    # NaN and its kind are no JSON, but widely written: the standard library knows them.
    literals: list[str] = []
    try:
        json.loads(raw.decode(), parse_constant=literals.append)
    except (ValueError, RecursionError):
        return InvalidEvent("undecodable", f"not JSON: {error}")
    if literals:
        return InvalidEvent(
            "invalid_event", f"the JSON holds {literals[0]}, which is no number to send"
        )
    return InvalidEvent("invalid_event", f"the JSON holds text that is not Unicode: {error}")


decode_envelope = envelope_decoder()
decode_flat = flat_decoder()
