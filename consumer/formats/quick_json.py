"""Decode JSON records by the form that nearly all have, and leave any other to ``jsonformat``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from consumer.core.model import Event
from consumer.core.rows.validation import MAX_VALUE
from consumer.formats.envelope import is_timestamp
from consumer.formats.epcis import TYPES
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


decode_short_texts = msgspec.json.Decoder(dict[str, _Plain]).decode
_decode_plain_envelope = msgspec.json.Decoder(_PlainEnvelope).decode
_decode_envelope = msgspec.json.Decoder(_Envelope, float_hook=Decimal).decode
#: Errors of these decoders.
NOT_QUICK = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def quick_flat(raw: bytes) -> Event | None:
    """Return the event of a flat record of short texts; None: look at it with care.

    Raise an error of msgspec if it has any other members.
    """
    fields = decode_short_texts(raw)
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


def quick_envelope(raw: bytes) -> Event | None:
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
    except NOT_QUICK:
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
        read = _decode_envelope(raw)
    except (*NOT_QUICK, InvalidOperation):
        return None
    kinds = list(map(type, read.scm_data.values()))
    if dict in kinds or list in kinds:
        return None
    return read, kinds.count(str)
