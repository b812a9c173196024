"""Decode JSON records: first by the form that nearly all have, then with more care.

An envelope is an object with ``scm_data``, a flat record is one upload item; the third kind is
EPCIS. Integers keep every digit and decimals stay as they are written; msgspec does that at the
speed needed. It takes no lone surrogates, so every text from here can be encoded again.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.validation import MAX_VALUE, Unsendable, kind_of
from consumer.formats.cloudevents import cloud_event, is_cloud_event
from consumer.formats.envelope import Decoder, event_from, is_timestamp
from consumer.formats.epcis import TYPES, ReadMembers
from consumer.formats.frames import FRAME, foreign_frame
from consumer.formats.repeated_names import marks_of, quotation_marks, refuse_repeated_names

#: A field as nearly all are: a text within the length allowed. Checking that here costs nothing.
_Plain = Annotated[str, msgspec.Meta(max_length=MAX_VALUE)]


class _PlainEnvelope(msgspec.Struct, gc=False):
    """An envelope as nearly all are; whatever else is in one is looked at with more care."""

    key_value: str
    scm_data: dict[str, _Plain]
    event_id: str | None = None
    occurred_at: str | None = None
    source: str | None = None
    data_key: str | None = None
    also_update: None = None


_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_any_number = msgspec.json.Decoder(float_hook=lambda text: _number(text)).decode
_decode_plain_flat = msgspec.json.Decoder(dict[str, _Plain]).decode
_decode_plain_envelope = msgspec.json.Decoder(_PlainEnvelope).decode
#: Members that only objects of other kinds have.
_OTHERS = frozenset(("scm_data", "@context", "specversion"))
#: The members of what Kafka Connect's JSON converter makes if it is to write schemas.
_CONNECT = frozenset(("schema", "payload"))
_NULLS = tuple(
    (name, f'"{name}":null'.encode(), f'"{name}": null'.encode())
    for name in ("event_id", "occurred_at", "source", "data_key", "also_update")
)
_NOT_PLAIN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def json_decoder(read_epcis: ReadMembers) -> Decoder:
    """Return the decoder of objects of any kind, which raises InvalidEvent only.

    With ``scm_data`` an object is an envelope. With ``specversion`` and ``data`` it is a CloudEvent
    around any of the others. With ``@context`` or a ``type`` of EPCIS, ``read_epcis`` reads it.
    Else it is flat.
    """

    def read(members: dict[str, Any]) -> Event:
        if "scm_data" not in members and "specversion" in members and is_cloud_event(members):
            # A CloudEvent in another is none: JSON can be nested more deeply than calls can.
            return cloud_event(members, read_event)
        return read_event(members)

    def read_event(members: dict[str, Any]) -> Event:
        if "scm_data" in members:
            return envelope_event(members)
        if "@context" in members or ("type" in members and _is_epcis(members["type"])):
            return read_epcis(members)
        return Event(members)

    def decode(raw: bytes) -> Event:
        try:
            fields = _decode_plain_flat(raw)
            if _OTHERS.isdisjoint(fields) and ("type" not in fields or fields["type"] not in TYPES):
                if raw.count(b'"') != 4 * len(fields):
                    refuse_repeated_names(raw, 4 * len(fields))
                return Event(fields, plain=True)
        except _NOT_PLAIN:
            pass
        event = _plain_envelope(raw)
        return read(read_object(raw)) if event is None else event

    return decode


def _is_epcis(kind: object) -> bool:
    return type(kind) is str and kind in TYPES


def epcis_decoder(read_epcis: ReadMembers, decode_frame: Decoder | None = None) -> Decoder:
    """Return the decoder of EPCIS, bare or in a CloudEvent. Frames as for envelopes."""

    def decode(raw: bytes) -> Event:
        if decode_frame is not None and raw.startswith(FRAME):
            return decode_frame(raw)
        members = read_object(raw)
        return cloud_event(members, read_epcis) if is_cloud_event(members) else read_epcis(members)

    return decode


def envelope_decoder(decode_frame: Decoder | None = None) -> Decoder:
    """Return the decoder of envelopes, bare or in a CloudEvent.

    ``decode_frame`` takes records that begin with 0x00; it is tried only where the quick way
    failed, so it costs other records nothing. The decoder raises InvalidEvent only, or whatever
    ``decode_frame`` raises.
    """

    def decode(raw: bytes) -> Event:
        event = _plain_envelope(raw)
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
            fields = _decode_plain_flat(raw)
            if raw.count(b'"') != 4 * len(fields):
                refuse_repeated_names(raw, 4 * len(fields))
            return Event(fields, plain=True)
        except _NOT_PLAIN:
            if decode_frame is not None and raw.startswith(FRAME):
                return decode_frame(raw)
            return Event(read_object(raw))

    return decode


def _plain_envelope(raw: bytes) -> Event | None:
    """Return the event of an envelope with nothing unusual in it; None: look at it with care."""
    try:
        read = _decode_plain_envelope(raw)
    except _NOT_PLAIN:
        return None
    at, data_key = read.occurred_at, read.data_key
    # Four quotation marks for each member that was kept, two for "scm_data" itself.
    marks = 6 + 4 * (
        len(read.scm_data)
        + (read.event_id is not None)
        + (at is not None)
        + (read.source is not None)
        + (data_key is not None)
    )
    if raw.count(b'"') != marks and not _only_nulls(raw, read, marks):
        return None
    if (at is not None and not is_timestamp(at)) or (data_key is not None and not data_key.strip()):
        return None
    return Event(
        read.scm_data,
        data_key,
        read.key_value,
        read.event_id or None,
        at,
        plain=True,
        source=read.source,
    )


def _only_nulls(raw: bytes, read: _PlainEnvelope, marks: int) -> bool:
    """Return whether nothing is beside what was kept but members that are null.

    Some serializers write null for what is absent. Else a name stands there twice, or an unknown
    one.
    """
    for name, compact, spaced in _NULLS:
        if getattr(read, name) is None and (compact in raw or spaced in raw):
            marks += 2
    return quotation_marks(raw) == marks


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
    refuse_repeated_names(raw, marks_of(value))
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
