"""An encoded record is read back as the same event, in every format, or is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.model import Event, InvalidEvent, Record
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import decoder
from consumer.formats.encode import encoder

WHEN = "2024-05-01T23:30:00.123+02:00"
MEMBERS: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": WHEN,
    "source": "line-3",
    "data_key": "extended_id",
    "key_value": "K",
    "scm_data": {"a": "1", "b": None, "n": 5, "t": True},
    "also_update": {"data_key": "serial_number", "key_value": "13"},
}
ALSO = ("serial_number", "13")
NOTHING = dict.fromkeys(["event_id", "occurred_at", "source", "data_key", "also_update"])

#: Every format but epcis, of which nothing is made.
ENCODED = ("auto", "avro", "json", "flat")


def members(**changes: Any) -> dict[str, Any]:
    return MEMBERS | changes


def refusal(form: str, event: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(InvalidEvent) as raised:
        encoder(form)(event)
    assert raised.value.message
    return raised.value.reason, raised.value.field


def item(event: Event) -> dict[str, str]:
    """Return what would be sent of an event."""
    return (
        RowMaker("extended_id")
        .rows(event, Record(Partition("events", 0, 0, None), 0, None, 0))[0]
        .item
    )


@pytest.mark.parametrize("form", ["json", "auto"])
def test_envelope_has_every_member(form: str) -> None:
    raw = encoder(form)(MEMBERS)
    assert json.loads(raw) == MEMBERS
    assert decoder("json")(raw) == Event(
        MEMBERS["scm_data"], "extended_id", "K", "e-1", WHEN, ALSO, source="line-3"
    )


def test_envelope_leaves_out_what_is_absent() -> None:
    assert encoder("json")(NOTHING | {"key_value": "K", "scm_data": {"a": None}}) == (
        b'{"key_value":"K","scm_data":{"a":null}}'
    )


def test_avro_has_every_member() -> None:
    raw = encoder("avro")(MEMBERS)
    assert decoder("avro")(raw) == Event(
        MEMBERS["scm_data"], "extended_id", "K", "e-1", 1714599000123, ALSO, source="line-3"
    )


@pytest.mark.parametrize("missing", [{}, NOTHING])
def test_avro_event_without_id_and_time_gets_an_id_of_its_own_and_the_time_of_now(
    missing: dict[str, Any],
) -> None:
    before = datetime.now(UTC).timestamp() * 1000
    events = [
        decoder("avro")(encoder("avro")({**missing, "key_value": "K", "scm_data": {"a": "1"}}))
        for _ in "12"
    ]
    assert events[0].event_id != events[1].event_id
    for event in events:
        assert event.event_id
        assert isinstance(event.occurred_at, int)
        assert before - 1 <= event.occurred_at <= datetime.now(UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2016-12-31t23:59:60z", 1483228799000),
        ("2024-05-01T23:30:00+02:00", 1714599000000),
        ("2024-05-01 23:30:00.123456-01:30", 1714611600123),
    ],
)
def test_avro_time_is_the_moment_it_names(text: str, milliseconds: int) -> None:
    assert decoder("avro")(encoder("avro")(members(occurred_at=text))).occurred_at == milliseconds


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-05-01", "2024-05-01T23:30:00", "2024-02-30T00:00:00Z"]
)
def test_avro_time_that_is_none_is_refused(text: str) -> None:
    assert refusal("avro", members(occurred_at=text)) == ("invalid_event", "occurred_at")


def test_flat_record_is_the_key_and_the_fields() -> None:
    flat = members(also_update=None)
    assert encoder("flat")(flat) == b'{"extended_id":"K","a":"1","b":null,"n":5,"t":true}'
    assert encoder("flat")(flat | {"data_key": None}) == encoder("flat")(flat)
    lots = encoder("flat", "lot")({"key_value": "L", "scm_data": {"a": "1"}})
    assert lots == b'{"lot":"L","a":"1"}'


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data_key": "case_code"}, "data_key"),
        ({"also_update": MEMBERS["also_update"]}, "also_update"),
        ({"scm_data": {"extended_id": "another"}}, "extended_id"),
    ],
)
def test_flat_record_has_no_room_for_more(changes: dict[str, Any], field: str) -> None:
    assert refusal("flat", members(also_update=None) | changes) == ("invalid_event", field)


def test_flat_record_may_have_its_key_among_the_fields_too() -> None:
    assert encoder("flat")({"key_value": "K", "scm_data": {"a": "1", "extended_id": "K"}}) == (
        b'{"extended_id":"K","a":"1"}'
    )


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")]
)
def test_number_that_is_none_is_refused_and_never_lost(form: str, value: Any) -> None:
    assert refusal(form, members(also_update=None, scm_data={"a": value})) == ("invalid_event", "a")


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize("value", ["\ud800", object(), [object()]])
def test_what_a_format_cannot_hold_is_refused(form: str, value: Any) -> None:
    assert refusal(form, members(also_update=None, scm_data={"a": value}))[0] == "invalid_event"


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (10**30, str(10**30)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (2**63 - 1, str(2**63 - 1)),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (0.5, "0.5"),
    ],
)
def test_numbers_arrive_as_they_are_written(form: str, value: Any, sent: str) -> None:
    raw = encoder(form)(members(also_update=None, scm_data={"a": value}))
    assert item(decoder("auto")(raw)) == {"extended_id": "K", "a": sent}


def test_of_fields_no_event_of_epcis_is_made() -> None:
    with pytest.raises(InvalidEvent, match="no event of EPCIS") as raised:
        encoder("epcis")(MEMBERS)
    assert raised.value.reason == "invalid_event"


def test_unknown_format_is_an_error_of_the_program() -> None:
    with pytest.raises(ValueError, match="known: auto, json, flat, avro, epcis"):
        encoder("xml")


texts = st.text(st.characters(exclude_categories=["Cs"]))
#: JSON decimals stay as they are written, 100.0 with its point: in other formats it is the number
#: 100.
fractions = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer()
)
values = st.none() | texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | fractions


@settings(deadline=None)
@given(
    st.sampled_from(ENCODED),
    texts,
    st.dictionaries(texts.filter(lambda n: n not in ("extended_id", "scm_data")), values),
)
def test_what_is_sent_of_an_event_is_the_same_in_every_format(
    form: str, key: str, data: dict[str, Any]
) -> None:
    event = NOTHING | {"event_id": "e", "key_value": key, "scm_data": data}
    assert item(decoder("auto")(encoder(form)(event))) == item(Event(data, None, key))
