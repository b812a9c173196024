"""From events to rows: values to strings, keys, shapes, second codes."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.model import Event, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.core.rows.special_fields import FIELD_RULES
from consumer.core.rows.validation import MAX_VALUE, REASONS
from consumer.core.rows.values import MAX_DIGITS, NOT_WRITTEN_OUT, text_of

MAKER = RowMaker("extended_id", ("packed_on",))


def make(event: Event, maker: RowMaker = MAKER) -> list[Row]:
    return maker.rows(event, Record(Partition("events", 0, 0, None), 0, None, 0))


def one(fields: dict[str, Any], key_value: Any = "K", maker: RowMaker = MAKER) -> Row:
    (row,) = make(Event(fields, None, key_value), maker)
    return row


VALUES = [
    ("text", "Text ä ", "Text ä "),
    ("empty text", "", ""),
    ("true", True, "true"),
    ("false", False, "false"),
    ("zero", 0, "0"),
    ("negative", -12, "-12"),
    ("beyond 64 bits", 2**100, "1267650600228229401496703205376"),
    ("decimal as written", Decimal("1.10"), "1.10"),
    ("decimal with exponent", Decimal("1e3"), "1000"),
    ("decimal with exponent and point", Decimal("1.50E1"), "15.0"),
    ("decimal with negative exponent", Decimal("-2.5e-9"), "-0.0000000025"),
    (
        "decimal beyond a double",
        Decimal("0.1234567890123456789012345"),
        "0.1234567890123456789012345",
    ),
    ("decimal zero with exponent", Decimal("0e3"), "0"),
    ("double that is whole", 100.0, "100"),
    ("double", 0.1, "0.1"),
    ("sum of doubles", 0.1 + 0.2, "0.30000000000000004"),
    ("big double", 1e22, "10000000000000000000000"),
    ("bigger double by its shortest digits", 1.2345678901234568e20, "123456789012345680000"),
    ("small double", 1.5e-7, "0.00000015"),
    ("negative zero", -0.0, "0"),
    ("date", date(2024, 5, 1), "2024-05-01"),
    ("early date", date(1, 2, 3), "0001-02-03"),
]


@pytest.mark.parametrize(
    ("value", "text"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES]
)
def test_value_becomes_text(value: Any, text: str) -> None:
    row = one({"field": value})
    assert row.rejection is None
    assert row.item == {"extended_id": "K", "field": text}


NO_TEXT = [
    *(
        float("nan"),
        float("inf"),
        -float("inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
    ),
    *([], [1], {}, {"a": 1}, b"", b"x", bytearray(), (1,), datetime(2024, 5, 1)),
    pytest.param(object(), id="object"),
]


@pytest.mark.parametrize("value", NO_TEXT, ids=repr)
def test_value_that_has_no_text_makes_the_event_invalid(value: Any) -> None:
    with pytest.raises(InvalidEvent) as raised:
        one({"good": "1", "field": value})
    assert (raised.value.reason, raised.value.field) == ("invalid_event", "field")
    assert '"field"' in raised.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01T23:30:00-05:00", "2024-05-01"),
        ("2024-05-01T00:30:00+14:00", "2024-05-01"),
        ("2024-05-01T23:30:00.123456789123456789123456789123456789123Z", "2024-05-01"),
        (datetime(2024, 5, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5))), "2024-05-01"),
        (date(2024, 5, 1), "2024-05-01"),
        ("", ""),
    ],
)
def test_timestamp_in_a_configured_date_field_is_sent_as_its_own_date(
    value: Any, text: str
) -> None:
    row = one({"packed_on": value})
    assert row.rejection is None
    assert row.item["packed_on"] == text


def test_timestamp_text_in_any_other_field_is_sent_as_it_is() -> None:
    assert one({"seen": "2024-05-01T23:30:00Z"}).item["seen"] == "2024-05-01T23:30:00Z"


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        10**300_000,
        Decimal("1e60"),
        Decimal("1e1000000"),
        Decimal("-1e999999999999999999"),
        Decimal("1e-1000000"),
        Decimal("0e-1000000"),
        Decimal("0." + "9" * 20_000),
        1e300,
        5e-324,
    ],
    ids=lambda value: "an integer" if isinstance(value, int) else str(value)[:12],
)
def test_number_of_absurd_length_is_too_long_and_never_written_out(value: Any) -> None:
    row = one({"field": value})
    assert row.rejection is not None
    assert row.rejection.reason == "value_too_long"
    assert MAX_VALUE < len(row.item["field"]) <= MAX_DIGITS


def test_replaying_a_number_that_was_not_written_out_is_rejected_again() -> None:
    row = one({"field": NOT_WRITTEN_OUT})
    assert row.rejection is not None
    assert row.rejection.reason == "value_too_long"


def test_integer_beyond_pythons_conversion_limit_is_written_in_full() -> None:
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        value, text = 3**9000, str(3**9000)
    finally:
        sys.set_int_max_str_digits(digits)
    assert len(text) < 4300
    sys.set_int_max_str_digits(640)
    try:
        assert text_of("field", value) == text
        assert text_of("field", -(10**4999)) == "-1" + "0" * 4999
    finally:
        sys.set_int_max_str_digits(digits)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (2**70, str(2**70)),
    ],
)
def test_key_of_a_flat_event_may_be_a_whole_number(value: Any, text: str) -> None:
    (row,) = make(Event({"a": "1", "extended_id": value}))
    assert (row.data_key, row.value, row.rejection) == ("extended_id", text, None)
    assert list(row.item.items()) == [("extended_id", text), ("a", "1")]


@pytest.mark.parametrize("value", [Decimal("1.0"), Decimal("1.50"), Decimal("1e17"), 12.0])
def test_key_that_a_program_took_for_a_floating_point_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"a fraction or an exponent.* write it as a string"):
        make(Event({"a": "1", "extended_id": value}))


NO_KEYS = [True, [], {}, b"K", date(2024, 5, 1), float("nan"), Decimal("1e1000000"), 10**20_000]


@pytest.mark.parametrize("value", NO_KEYS, ids=[type(value).__name__ for value in NO_KEYS])
def test_key_of_any_other_kind_makes_the_event_invalid(value: Any) -> None:
    with pytest.raises(InvalidEvent) as raised:
        make(Event({"extended_id": value, "a": "1"}))
    assert raised.value.reason == "invalid_event"


@pytest.mark.parametrize(
    "fields", [{}, {"a": "1"}, {"extended_id": None, "a": "1"}, {"Extended_id": "K"}]
)
def test_flat_event_without_its_key_is_key_missing(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as raised:
        make(Event(fields))
    assert (raised.value.reason, raised.value.field) == ("key_missing", "extended_id")


def test_flat_event_finds_its_key_under_the_default_data_key() -> None:
    (row,) = make(Event({"a": "1", "case_code": "C1"}), RowMaker("case_code"))
    assert (row.data_key, row.value) == ("case_code", "C1")
    assert list(row.item) == ["case_code", "a"]


def test_data_key_of_the_event_wins_over_the_default() -> None:
    (row,) = make(Event({"extended_id": "X", "a": "1"}, "case_code", "C1"))
    assert list(row.item.items()) == [("case_code", "C1"), ("extended_id", "X"), ("a", "1")]


def test_key_is_sent_exactly_as_it_came() -> None:
    assert one({"a": "1"}, " K\u00e9\u200b ").item["extended_id"] == " K\u00e9\u200b "


def test_key_that_is_longer_than_a_value_may_be_is_the_apis_to_judge() -> None:
    (row,) = make(Event({"extended_id": "K" * 80, "a": "1"}))
    assert row.rejection is None


@pytest.mark.promise("I1")
def test_unit_that_is_itself_a_code_gives_two_rows_with_the_same_fields() -> None:
    fields = {
        "ship_date": "2024-05-02",
        "n": 1,
        "case_code": "12",
        "status": 0,
        "activation_status": 1,
    }
    rows = make(Event(fields, "case_code", "12", also_update=("serial_number", "12")))
    assert len(rows) == 2, "I1: one of the two rows that an event asks for is lost"
    first, second = rows
    assert (first.data_key, first.value) == ("case_code", "12")
    assert (second.data_key, second.value) == ("serial_number", "12")
    assert first.item == {
        "case_code": "12",
        "ship_date": "2024-05-02",
        "n": "1",
        "activation_status": "1",
    }
    assert second.item == {"serial_number": "12", **first.item}
    assert next(iter(second.item)) == "serial_number"
    assert first.record is second.record
    assert first.rejection is second.rejection is None


def test_second_code_is_judged_by_itself() -> None:
    first, second = make(
        Event({"serial_number": "9"}, "case_code", "1", also_update=("serial_number", "2"))
    )
    assert first.rejection is None
    assert second.rejection is not None
    assert second.rejection.reason == "key_conflict"
    assert (second.data_key, second.value) == ("serial_number", "2")
    first, second = make(
        Event({"serial_number": "9"}, "case_code", " ", also_update=("serial_number", "9"))
    )
    assert (first.rejection and first.rejection.reason) == "key_blank"
    assert (second.rejection and second.rejection.reason) == "no_fields"


def test_second_code_that_is_the_first_again_makes_the_event_invalid() -> None:
    with pytest.raises(InvalidEvent) as raised:
        make(Event({"a": "1"}, None, "K", also_update=("extended_id", "K")))
    assert (raised.value.reason, raised.value.field) == ("invalid_event", "also_update")
    assert len(make(Event({"a": "1"}, None, "K", also_update=("extended_id", "L")))) == 2


def test_rejected_row_keeps_its_key_and_its_item_for_the_dead_letter() -> None:
    row = one({"note": "x" * 51, "n": 5})
    assert row.rejection is not None
    assert (row.data_key, row.value) == ("extended_id", "K")
    assert row.item == {"extended_id": "K", "note": "x" * 51, "n": "5"}


def test_conflicting_key_field_leaves_the_events_own_key_in_the_item() -> None:
    row = one({"extended_id": "other", "a": "1"})
    assert row.rejection is not None
    assert row.item == {"extended_id": "K", "a": "1"}


def test_record_gets_the_events_id_and_nothing_else() -> None:
    record = Record(Partition("events", 0, 0, None), 5, None, 100)
    MAKER.rows(Event({"a": "1"}, None, "K", "id-1"), record)
    assert (record.event_id, record.open, record.rejected) == ("id-1", 0, False)
    with pytest.raises(InvalidEvent):
        MAKER.rows(Event({"a": []}, None, "K", "id-2"), record)
    assert record.event_id == "id-2"


def test_shape_is_one_object_for_every_order_of_the_same_field_names() -> None:
    maker = RowMaker("extended_id")
    shapes = [
        make(Event({"extended_id": "1", "b": "1", "a": "1"}), maker)[0].shape,
        make(Event({"a": "1", "b": "1"}, None, "2"), maker)[0].shape,
        make(Event({"b": 1, "a": None, "extended_id": "3"}), maker)[0].shape,
        make(Event({"b": 1, "a": 2.0, "extended_id": "3"}), maker)[0].shape,
    ]
    assert shapes[0] == ("a", "b", "extended_id")
    assert shapes[1] is shapes[0]
    assert shapes[2] == ("b", "extended_id")
    assert shapes[3] is shapes[0]


def test_shape_is_empty_when_windows_may_mix_fields() -> None:
    maker = RowMaker("extended_id", uniform_fields=False)
    assert one({"a": "1"}, maker=maker).shape == one({"b": "1"}, maker=maker).shape == ()


def test_ever_new_field_names_do_not_fill_the_memory() -> None:
    maker = RowMaker("extended_id")
    for number in range(5000):
        one({f"field-{number}": "1"}, maker=maker)
    assert len(maker._plans) < 2000
    wide = dict.fromkeys(map(str, range(5000)), "1")
    assert one(wide, maker=maker).shape == tuple(sorted(["extended_id", *wide]))
    assert max(map(len, maker._plans)) < 100


@pytest.mark.parametrize("fields", [{"a": "xyz", "bb": "1"}, {"a": "xyz", "bb": 1}])
def test_size_is_about_the_bytes_of_the_item_in_a_request(fields: dict[str, Any]) -> None:
    raw = orjson.dumps({"extended_id": "K", **fields})
    (row,) = MAKER.rows(
        Event(fields, None, "K"), Record(Partition("events", 0, 0, None), 0, None, len(raw))
    )
    assert abs(row.size - len(orjson.dumps(row.item))) <= 2


names = st.sampled_from([*FIELD_RULES, "extended_id", "packed_on", "note", "case_code"]) | st.text(
    max_size=8
)
texts = st.sampled_from(
    ["", "0", "1", "9", "K", "2024-05-01", "2024-05-01T01:02:03+04:00", "x" * 51]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | texts
    | st.text(max_size=60)
)
keys = st.none() | texts | st.text(max_size=60) | st.integers() | st.decimals()
events = st.builds(
    Event,
    st.dictionaries(names, scalars, max_size=6),
    st.none() | names,
    keys,
    st.none() | st.text(),
    st.none(),
    st.none() | st.tuples(names, keys),
)


@settings(deadline=None)
@given(events)
def test_any_event_gives_rows_of_text_that_survive_json_or_is_refused(event: Event) -> None:
    try:
        rows = make(event)
    except InvalidEvent as bad:
        refused = bad
    else:
        check(rows, event)
        return
    assert refused.reason in ("invalid_event", "key_missing")
    assert refused.message


def check(rows: list[Row], event: Event) -> None:
    assert len(rows) == (1 if event.also_update is None else 2)
    for row in rows:
        assert {type(text) for pair in row.item.items() for text in pair} == {str}
        assert json.loads(orjson.dumps(row.item)) == row.item
        assert next(iter(row.item.items())) == (row.data_key, row.value)
        assert row.shape == tuple(sorted(row.item))
        if row.rejection is not None:
            assert row.rejection.reason in REASONS
            continue
        assert row.value
        assert row.value.strip()
        assert len(row.item) > 1
        fields = {name: text for name, text in row.item.items() if name != row.data_key}
        assert all(len(text) <= MAX_VALUE for text in fields.values())
        assert all(
            rule.passes(fields[name]) for name, rule in FIELD_RULES.items() if name in fields
        )
        assert not {"status", "activation_status"} <= fields.keys()


@settings(deadline=None)
@given(events)
def test_judging_an_item_as_a_whole_and_by_field_agree(event: Event) -> None:
    """The short cut for usual events takes no decision that the long way would not take."""

    def outcome(way: Any) -> Any:
        try:
            rows = way()
        except InvalidEvent as bad:
            return bad.reason, bad.message, bad.field
        return [
            (list(row.item.items()), row.value, row.shape, row.size, row.rejection) for row in rows
        ]

    data_key = event.data_key if event.data_key is not None else "extended_id"
    value = event.key_value if event.key_value is not None else event.fields.get(data_key)
    record = Record(Partition("events", 0, 0, None), 0, None, 0)
    # As a format says it that has seen it while decoding.
    event.plain = all(
        type(field) is str and len(field) <= MAX_VALUE for field in event.fields.values()
    )
    assert outcome(lambda: MAKER.rows(event, record)) == outcome(
        lambda: MAKER._judged_rows(event, record, data_key, value)
    )


@settings(deadline=None)
@given(st.integers(-(10**49) + 1, 10**50 - 1))
def test_integers_are_sent_in_full(value: int) -> None:
    assert int(one({"n": value}).item["n"]) == value


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_are_sent_in_plain_notation_that_means_the_same(value: float) -> None:
    text = one({"n": value}).item["n"]
    assert set(text) <= set("-.0123456789")
    assert float(text) == value


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_are_sent_without_exponent_and_mean_the_same(value: Decimal) -> None:
    text = one({"n": value}).item["n"]
    if text != NOT_WRITTEN_OUT:
        assert set(text) <= set("-.0123456789")
        assert Decimal(text) == value
