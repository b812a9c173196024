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
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.validation import MAX_VALUE, Unsendable, kind_of
from consumer.formats.cloudevents import cloud_event, is_cloud_event
from consumer.formats.envelope import Decoder, event_from, is_timestamp
from consumer.formats.epcis import TYPES, ReadMembers
from consumer.formats.frames import FRAME, foreign_frame
from consumer.formats.repeated_names import quotation_marks, refuse_repeated_names

#: A field as nearly all are: a text within the length allowed. Checking that here costs nothing.
_Plain = Annotated[str, msgspec.Meta(max_length=MAX_VALUE)]


class _Envelope(msgspec.Struct, gc=False):
    """An envelope that has nothing unusual beside its fields."""

    key_value: str
    scm_data: dict[str, Any]
    event_id: str | UnsetType | None = UNSET
    occurred_at: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    data_key: str | UnsetType | None = UNSET
    also_update: UnsetType | None = UNSET


class _PlainEnvelope(_Envelope, gc=False):
    """An envelope as nearly all are."""

    scm_data: dict[str, _Plain]


_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_any_number = msgspec.json.Decoder(float_hook=lambda text: _number(text)).decode
_decode_plain_flat = msgspec.json.Decoder(dict[str, _Plain]).decode
_decode_plain_envelope = msgspec.json.Decoder(_PlainEnvelope).decode
_decode_quick_envelope = msgspec.json.Decoder(_Envelope, float_hook=Decimal).decode
#: The members of what Kafka Connect's JSON converter makes if it is to write schemas.
_CONNECT = frozenset(("schema", "payload"))
#: How the message begins where the first member that is no short text is of a kind that no
#: envelope has.
_NO_ENVELOPE = tuple(f"Expected `str`, got `{kind}`" for kind in ("int", "float", "bool"))
_BOM_BEGINS = BOM_UTF8[:1]
_NOT_PLAIN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
        if last_was_envelope and (event := _quick_envelope(raw)) is not None:
            return event
        try:
            event = _quick_flat(raw)
        except msgspec.ValidationError as error:
            # No envelope has a number or a boolean beside its fields.
            event = None if str(error).startswith(_NO_ENVELOPE) else _quick_envelope(raw)
            last_was_envelope = event is not None
        except _NOT_PLAIN:
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
        event = _quick_envelope(raw)
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
                refuse_repeated_names(raw, fields)
            return Event(fields, plain=True)
        except _NOT_PLAIN:
            if decode_frame is not None and raw.startswith(FRAME):
                return decode_frame(raw)
            return Event(read_object(raw))

    return decode


def _quick_flat(raw: bytes) -> Event | None:
    """Return the event of a flat record of short texts; None: look at it with care.

    Raise an error of msgspec if it has any other members.
    """
    fields = _decode_plain_flat(raw)
    # An object of another kind has one of these members.
    if (
        "scm_data" in fields
        or "@context" in fields
        or "specversion" in fields
        or ("type" in fields and fields["type"] in TYPES)
    ):
        return None
    if raw.count(b'"') != 4 * len(fields):
        refuse_repeated_names(raw, fields)
    return Event(fields, plain=True)


def _quick_envelope(raw: bytes) -> Event | None:
    """Return the event of an envelope with nothing unusual in it; None: look at it with care."""
    plain = True
    try:
        read: _Envelope = _decode_plain_envelope(raw)
        texts = len(read.scm_data)
    except msgspec.ValidationError as error:
        # A field may be a number, or too long; whatever else it is, is looked at with care.
        if "$.scm_data" not in str(error) or (numbers := _with_numbers(raw)) is None:
            return None
        plain = False
        read, texts = numbers
    except _NOT_PLAIN:
        return None
    event_id, at, source = read.event_id, read.occurred_at, read.source
    data_key, also = read.data_key, read.also_update
    # Two quotation marks for each name, and two for each text. If there are more, a name stands
    # there twice, or an unknown one.
    marks = (
        6
        + 2 * (len(read.scm_data) + texts)
        + (0 if event_id is UNSET else 4 if event_id is not None else 2)
        + (0 if at is UNSET else 4 if at is not None else 2)
        + (0 if source is UNSET else 4 if source is not None else 2)
        + (0 if data_key is UNSET else 4 if data_key is not None else 2)
        + (0 if also is UNSET else 2)
    )
    if raw.count(b'"') != marks and quotation_marks(raw) != marks:
        return None
    if (type(at) is str and not is_timestamp(at)) or (
        type(data_key) is str and not data_key.strip()
    ):
        return None
    # What is absent, null or empty is none.
    return Event(
        read.scm_data,
        data_key or None,
        read.key_value,
        event_id or None,
        at or None,
        plain=plain,
        source=source or None,
    )


def _with_numbers(raw: bytes) -> tuple[_Envelope, int] | None:
    """Return an envelope whose fields are no lists or objects, and how many of them are texts."""
    try:
        read = _decode_quick_envelope(raw)
    except (*_NOT_PLAIN, InvalidOperation):
        return None
    kinds = list(map(type, read.scm_data.values()))
    if dict in kinds or list in kinds:
        return None
    return read, kinds.count(str)


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
