"""From bytes to events: JSON envelope, flat JSON, raw Avro, and how they are told apart."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.model import Event, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import FORMATS, decoder
from consumer.formats.schemas import read_schema
from tests.unit.epcis import ITEM, SSCC, aggregation, document, rules

AVRO_SCHEMA = fastavro.parse_schema(read_schema("scm_event.avsc"))
WHEN = "2024-05-01T23:30:00+02:00"
ENVELOPE = {
    "event_id": "e-1",
    "occurred_at": WHEN,
    "source": "line-3",
    "data_key": "case_code",
    "key_value": "12",
    "scm_data": {"a": "1", "b": None},
    "also_update": {"data_key": "serial_number", "key_value": "13"},
}
AVRO_EVENT = {**ENVELOPE, "occurred_at": datetime(2024, 5, 1, 21, 30, tzinfo=UTC)}


def avro(event: dict[str, Any]) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, AVRO_SCHEMA, event)
    return stream.getvalue()


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def envelope(**members: Any) -> bytes:
    return dumped(ENVELOPE | members)


def refusal(form: str, raw: bytes) -> tuple[str, str | None]:
    with pytest.raises(InvalidEvent) as raised:
        decoder(form)(raw)
    assert raised.value.message
    assert "\n" not in raised.value.message
    return raised.value.reason, raised.value.field


# -- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "auto"])
def test_envelope_is_read_with_all_its_members(form: str) -> None:
    event = decoder(form)(envelope())
    assert event == Event(
        {"a": "1", "b": None},
        "case_code",
        "12",
        "e-1",
        WHEN,
        also_update=("serial_number", "13"),
        source="line-3",
    )


@pytest.mark.parametrize("form", ["json", "auto"])
def test_envelope_needs_its_key_and_fields_only(form: str) -> None:
    raw = b'{"key_value": "K", "scm_data": {}}'
    assert decoder(form)(raw) == Event({}, None, "K", plain=True)
    nothing = dict.fromkeys(["event_id", "occurred_at", "source", "data_key", "also_update"])
    assert decoder(form)(dumped({"key_value": "K", "scm_data": {}, **nothing})).key_value == "K"


def test_unknown_members_of_an_envelope_are_ignored() -> None:
    assert decoder("json")(envelope(schema_version=3, extra={"a": [1]})) == decoder("json")(
        envelope()
    )


WRONG: dict[str, list[Any]] = {
    "event_id": [1, True, [], {}],
    "source": [1, {}],
    "data_key": [1, [], "", " "],
    "key_value": [1, 1.5, False, [], {}],
    "scm_data": [None, [], "x", 1],
    "occurred_at": [
        *(1714600000000, 1.5, True, {}, "", "yesterday", "2024-05-01"),
        *("2024-05-01T23:30:00", "2024-05-01T25:30:00Z", "2024-02-30T00:00:00Z"),
    ],
    "also_update": [
        *(
            [],
            "x",
            1,
            {},
            {"data_key": "d"},
            {"key_value": "k"},
            {"data_key": "d", "key_value": None},
        ),
        *(
            {"data_key": 1, "key_value": "k"},
            {"data_key": "d", "key_value": 1},
            {"data_key": "", "key_value": "k"},
        ),
    ],
}
WRONG_MEMBERS = [(member, value) for member, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("member", "value"), WRONG_MEMBERS)
def test_member_of_a_wrong_type_makes_the_event_invalid(member: str, value: Any) -> None:
    raw = envelope(**{member: value})
    assert refusal("json", raw) == refusal("auto", raw) == ("invalid_event", member)


@pytest.mark.parametrize(
    "text",
    [WHEN, "2024-05-01t23:30:00z", "2016-12-31T23:59:60Z", "2024-05-01T23:30:00.123456789-00:00"],
)
def test_occurred_at_is_kept_as_it_was_written(text: str) -> None:
    assert decoder("json")(envelope(occurred_at=text)).occurred_at == text


@pytest.mark.parametrize("form", ["json", "auto"])
def test_envelope_without_key_is_key_missing_even_if_a_field_has_its_name(form: str) -> None:
    assert refusal(form, envelope(key_value=None)) == ("key_missing", "key_value")
    raw = b'{"scm_data": {"extended_id": "K", "a": "1"}}'
    assert refusal(form, raw) == ("key_missing", "key_value")


def test_blank_key_is_readable_and_left_to_the_rules() -> None:
    assert decoder("json")(envelope(key_value="")).key_value == ""


@pytest.mark.parametrize("form", ["flat", "auto"])
def test_flat_object_is_one_item_with_the_key_among_its_fields(form: str) -> None:
    event = decoder(form)(b' {"extended_id": "K", "event_id": 5, "intended_market": "cn"}')
    assert event == Event({"extended_id": "K", "event_id": 5, "intended_market": "cn"})


def test_object_without_scm_data_is_no_envelope() -> None:
    assert refusal("json", b'{"extended_id": "K", "a": "1"}') == ("invalid_event", "scm_data")


@pytest.mark.parametrize("form", ["flat", "json", "auto"])
@pytest.mark.parametrize("raw", [b"[]", b'[{"extended_id": "K"}]', b"[1]"])
def test_json_list_is_no_event(form: str, raw: bytes) -> None:
    assert refusal(form, raw) == ("invalid_event", None)


@pytest.mark.parametrize("raw", [b"1", b"null", b"true", b'"x"', b"1.5", b"-1e3"])
def test_json_scalar_is_no_event(raw: bytes) -> None:
    assert refusal("flat", raw) == refusal("json", raw) == ("invalid_event", None)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("form", ["flat", "json", "auto"])
def test_nan_and_infinity_are_readable_but_no_event(form: str, literal: str) -> None:
    raw = f'{{"extended_id": "K", "n": {literal}}}'.encode()
    assert refusal(form, raw) == ("invalid_event", None)
    assert refusal(form, raw[:-1]) == ("undecodable", None)


NOT_JSON = [
    *(
        b"{",
        b'{"a"',
        b'{"a":}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1} x',
        b'{"a":1}{"a":2}',
        b'{"a":01}',
        b"{a:1}",
    ),
    *(
        b'{"a":nan}',
        b'{"a":"\x01"}',
        b'{"a":"\\x"}',
        b'{"a":.5}',
        b'{"a":TRUE}',
        b"[1",
        b"[NaN",
        b'{"a":"x}',
    ),
    *(b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\x80"}', b'{"\xf4\x90\x80\x80":1}'),
]


@pytest.mark.parametrize("raw", NOT_JSON)
def test_what_is_no_json_is_undecodable(raw: bytes) -> None:
    assert (
        refusal("flat", raw)
        == refusal("json", raw)
        == refusal("auto", raw)
        == ("undecodable", None)
    )


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["no mark", "byte order mark"])
def test_a_byte_order_mark_before_json_is_no_part_of_it(mark: bytes) -> None:
    flat, envelope = (
        b' {"extended_id": "A1", "a": "x"}',
        b'\n{"key_value": "A1", "scm_data": {"a": "x"}}',
    )
    for form, raw in (("auto", flat), ("flat", flat), ("auto", envelope), ("json", envelope)):
        event = decoder(form)(mark + raw)
        assert (event.key_value, event.fields["a"]) == ("A1" if raw is envelope else None, "x")
    assert refusal("auto", mark + b"[1]") == ("invalid_event", None)
    assert refusal("auto", mark + b'{"a": 1') == ("undecodable", None)
    with pytest.raises(InvalidEvent, match="not JSON"):
        decoder("auto")(mark + b'{"a": 1')


@pytest.mark.parametrize(
    ("raw", "begin"),
    [
        (b"hello", "it begins with 'h'"),
        (b" \n'x", 'it begins with "\'"'),
        (b"\xfchello", "it begins with byte 0xfc"),
        (b"\x7f", "it begins with byte 0x7f"),
        (b"\xef\xbb\xbfhello", "it begins with byte 0xef"),
        (b" ", "it is empty"),
        (b"", "it is empty"),
    ],
)
def test_what_is_in_no_format_is_told_by_how_it_begins(raw: bytes, begin: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        decoder("auto")(raw)
    words = f"neither JSON ({begin}) nor an Avro event by the shipped schema scm_event.avsc ("
    assert raised.value.message.startswith(words)
    assert raised.value.reason == "undecodable"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"\n",
        b"\x00",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbfhello",
        b"hello",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_nothing_at_all_is_undecodable(raw: bytes) -> None:
    for form in FORMATS:
        assert refusal(form, raw) == ("undecodable", None)


@pytest.mark.parametrize(
    "text",
    [
        r"\ud800",
        r"\udc00",
        r"\ud800\ud800",
        r"\udc00\ud800",
        r"\ud800\u0041",
        r"\ud800x",
        r"x\uDFFF",
    ],
)
@pytest.mark.parametrize(
    "raw", ['{"extended_id":"K","a":"%s"}', '{"extended_id":"K","%s":"a"}', '{"a":"%s']
)
def test_lone_surrogates_reach_no_event(text: str, raw: str) -> None:
    assert refusal("auto", (raw % text).encode())[0] in ("invalid_event", "undecodable")


def test_surrogate_pair_is_one_character() -> None:
    assert decoder("flat")(rb'{"a":"\ud83d\ude00"}').fields == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1e99999999999999999999}',
        b'{"a":-1e-99999999999999999999}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=["digits", "exponent", "negative exponent", "deep object", "deep list", "deep and closed"],
)
def test_json_beyond_any_use_is_no_event(raw: bytes) -> None:
    for form in ("flat", "json", "auto"):
        assert refusal(form, raw) == ("invalid_event", None)


@settings(deadline=None)
@given(st.integers(-(10**300), 10**300))
def test_json_integers_keep_every_digit(value: int) -> None:
    assert decoder("flat")(b'{"n":%d}' % value).fields == {"n": value}


@settings(deadline=None)
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}", fullmatch=True))
def test_json_decimals_stay_as_they_are_written(text: str) -> None:
    value = decoder("flat")(b'{"n":%s}' % text.encode()).fields["n"]
    assert type(value) is Decimal
    (row,) = RowMaker("k").rows(
        Event({"n": value}, None, "K"), Record(Partition("events", 0, 0, None), 0, None, 0)
    )
    assert row.item["n"] == text


# -- Avro ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["avro", "auto"])
def test_avro_event_is_read_with_all_its_members(form: str) -> None:
    event = decoder(form)(avro(AVRO_EVENT))
    also = ("serial_number", "13")
    fields = {"a": "1", "b": None}
    assert event == Event(fields, "case_code", "12", "e-1", 1714599000000, also, source="line-3")


def test_avro_values_keep_their_types() -> None:
    fields = {"s": "x", "t": True, "n": -(2**63), "d": 100.0, "day": date(2024, 5, 1), "none": None}
    read = decoder("avro")(avro({**AVRO_EVENT, "scm_data": fields})).fields
    assert read == fields
    assert list(map(type, read.values())) == list(map(type, fields.values()))


def test_avro_event_without_optional_members_names_no_data_key() -> None:
    when = AVRO_EVENT["occurred_at"]
    event = decoder("avro")(
        avro({"event_id": "", "occurred_at": when, "key_value": "K", "scm_data": {}})
    )
    assert event == Event({}, None, "K", None, 1714599000000)


def test_avro_time_out_of_any_calendar_is_read() -> None:
    """Milliseconds are a long: an absurd clock is no reason to lose an event's data."""
    schema = read_schema("scm_event.avsc")
    schema["fields"][1]["type"] = "long"
    stream = BytesIO()
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(schema), {**ENVELOPE, "occurred_at": -(2**63)}
    )
    assert decoder("avro")(stream.getvalue()).occurred_at == -(2**63)


def test_avro_date_out_of_the_calendar_is_refused() -> None:
    raw = avro({**AVRO_EVENT, "scm_data": {"day": date(1970, 1, 2)}})
    day = b"\x06day\x0a\x02"  # the name, branch 5 of the union, one day since 1970-01-01
    assert raw.count(day) == 1
    assert refusal("avro", raw.replace(day, b"\x06day\x0a\xfe\xff\xff\xff\x0f")) == (
        "undecodable",
        None,
    )


def test_every_truncation_and_any_trailing_byte_is_undecodable() -> None:
    raw = avro(AVRO_EVENT)
    for end in range(len(raw)):
        assert refusal("avro", raw[:end]) == ("undecodable", None)
    for rest in (b"\x00", b"x", raw):
        assert refusal("avro", raw + rest) == ("undecodable", None)


def test_avro_text_that_is_not_utf_8_is_undecodable() -> None:
    raw = avro({**AVRO_EVENT, "key_value": "\u20ac"})
    assert refusal("avro", raw.replace("\u20ac".encode(), b"\xed\xa0\x80")) == ("undecodable", None)


@pytest.mark.parametrize("length", [2**20, 2**31, 2**40, 2**62, 2**63 - 1, -1, -(2**63)])
def test_absurd_length_prefix_costs_no_memory(length: int) -> None:
    prefix = BytesIO()
    fastavro.schemaless_writer(prefix, "long", length)
    head = avro({**AVRO_EVENT, "scm_data": {}, "also_update": None})[
        :-2
    ]  # up to the map's first block
    for raw in (prefix.getvalue() + b"rest", head + prefix.getvalue() + b"\x02a\x00"):
        tracemalloc.start()
        try:
            assert refusal("avro", raw) == ("undecodable", None)
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


def test_avro_data_key_that_is_blank_makes_the_event_invalid() -> None:
    assert refusal("avro", avro({**AVRO_EVENT, "data_key": ""})) == ("invalid_event", "data_key")


# -- telling them apart --------------------------------------------------------------------------


@pytest.mark.parametrize("space", [b"", b" ", b"\r\n\t  "])
def test_auto_looks_at_the_first_byte_that_is_not_white_space(space: bytes) -> None:
    auto = decoder("auto")
    assert auto(space + envelope()) == decoder("json")(envelope())
    assert auto(space + b'{"extended_id":"K"}') == Event({"extended_id": "K"}, plain=True)
    assert refusal("auto", space + b"[]") == ("invalid_event", None)


@pytest.mark.parametrize("event_id", ["", "x" * 5, "x" * 16, "x" * 45, "x" * 61, "x" * 300])
def test_auto_reads_avro_whatever_the_length_it_begins_with(event_id: str) -> None:
    raw = avro({**AVRO_EVENT, "event_id": event_id})
    assert decoder("auto")(raw).event_id == (event_id or None)


def test_unknown_format_is_an_error_of_the_program() -> None:
    with pytest.raises(ValueError, match="known: auto, avro, json, flat, epcis"):
        decoder("xml")


# -- properties ----------------------------------------------------------------------------------

MAKER = RowMaker("extended_id", ("packed_on",))
RULES = rules()
PACKED = document(aggregation(SSCC, ITEM, "ABCDEFGH-1"))
CLOUD = {"specversion": "1.0", "id": "c-1", "data": ENVELOPE}
pieces = st.sampled_from(
    [
        *(
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b'"',
            b'"scm_data"',
            b'"key_value"',
            b'"K"',
            b"NaN",
            b"1e9",
        ),
        *(
            b"\\ud800",
            b"-",
            b"0",
            b"null",
            b" ",
            b"\x00",
            b"\xff",
            b"\xed\xa0\x80",
            b"\xfe" + b"\xff" * 8 + b"\x01",
        ),
    ]
)
broken = st.builds(
    lambda raw, at, junk: raw[: at % len(raw)] + junk + raw[at % len(raw) + len(junk) :],
    st.sampled_from(
        [
            avro(AVRO_EVENT),
            envelope(),
            b'{"extended_id":"K","n":1.5}',
            dumped(PACKED),
            dumped(CLOUD),
        ]
    ),
    st.integers(0, 1000),
    st.binary(max_size=3),
)
any_bytes = st.binary(max_size=200) | st.lists(pieces, max_size=20).map(b"".join) | broken


@settings(deadline=None)
@given(st.sampled_from(sorted(FORMATS)), any_bytes)
def test_any_bytes_give_an_event_or_are_refused_and_every_row_can_be_sent(
    form: str, raw: bytes
) -> None:
    rows: list[Row] = []
    refused: InvalidEvent | None = None
    try:
        rows = MAKER.rows(
            decoder(form, rules=RULES)(raw), Record(Partition("events", 0, 0, None), 0, None, 0)
        )
    except InvalidEvent as bad:
        refused = bad
    for row in rows:
        assert json.loads(orjson.dumps(row.item)) == row.item
    if refused is not None:
        assert refused.reason in ("undecodable", "invalid_event", "key_missing")
        assert refused.message.encode()
    assert rows or refused


json_values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
#: Members that tell one format of JSON from another.
TELLING = ("extended_id", "scm_data", "@context", "type")
fields = st.dictionaries(st.text().filter(lambda name: name not in TELLING), json_values)


@settings(deadline=None)
@given(st.text(), fields)
def test_flat_and_envelope_of_the_same_data_give_equal_rows(key: str, data: dict[str, Any]) -> None:
    flat = decoder("flat")(dumped({"extended_id": key, **data}))
    wrapped = decoder("json")(dumped({"key_value": key, "scm_data": data}))
    record = Record(Partition("events", 0, 0, None), 0, None, 0)
    (one,), (other,) = MAKER.rows(flat, record), MAKER.rows(wrapped, record)
    assert list(one.item.items()) == list(other.item.items())
    assert (one.rejection, one.shape, one.size) == (other.rejection, other.shape, other.size)
    assert decoder("auto")(dumped({"extended_id": key, **data})) == flat


@pytest.mark.parametrize("other", [{}, {"n": 1}, {"n": None}])
@pytest.mark.parametrize("telling", [{"@context": "x"}, {"type": "ObjectEvent"}])
def test_what_kind_an_object_is_does_not_depend_on_the_kinds_of_its_values(
    telling: dict[str, str], other: dict[str, Any]
) -> None:
    with pytest.raises(InvalidEvent):
        decoder("auto")(dumped({"extended_id": "ABC", **telling, "a": "b", **other}))


def test_a_type_that_is_none_of_epcis_is_a_field() -> None:
    event = decoder("auto")(dumped({"extended_id": "ABC", "type": "box"}))
    assert event == Event({"extended_id": "ABC", "type": "box"}, plain=True)


avro_values = (
    st.none()
    | st.text()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
)


@settings(deadline=None)
@given(
    st.text(),
    st.text(),
    st.none() | st.text().filter(str.strip),
    st.dictionaries(st.text(), avro_values | st.dates()),
    st.none() | st.tuples(st.text().filter(str.strip), st.text()),
)
def test_avro_round_trip(
    event_id: str,
    key: str,
    data_key: str | None,
    data: dict[str, Any],
    also: tuple[str, str] | None,
) -> None:
    members = AVRO_EVENT | {
        "event_id": event_id,
        "key_value": key,
        "data_key": data_key,
        "scm_data": data,
    }
    members["also_update"] = None if also is None else {"data_key": also[0], "key_value": also[1]}
    assert decoder("avro")(avro(members)) == Event(
        data, data_key, key, event_id or None, 1714599000000, also, source="line-3"
    )


# -- the shipped schemas -------------------------------------------------------------------------


def test_both_schemas_describe_the_same_members() -> None:
    avro_members = [field["name"] for field in read_schema("scm_event.avsc")["fields"]]
    described = read_schema("scm_event.schema.json")
    assert list(described["properties"]) == avro_members
    assert described["required"] == ["key_value", "scm_data"]
    also = described["properties"]["also_update"]
    assert list(also["properties"]) == also["required"] == ["data_key", "key_value"]


def test_examples_of_the_json_schema_are_events_that_pass_every_rule() -> None:
    for example in read_schema("scm_event.schema.json")["examples"]:
        rows = MAKER.rows(
            decoder("json")(dumped(example)), Record(Partition("events", 0, 0, None), 0, None, 0)
        )
        assert [row.rejection for row in rows] == [None] * (2 if "also_update" in example else 1)


@pytest.mark.parametrize("shipped", ["consumer/schemas", "schemas"])
def test_schemas_are_found_in_a_wheel_and_in_a_checkout(
    shipped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / shipped).mkdir(parents=True)
    (tmp_path / shipped / "x.json").write_text('{"a": 1}', encoding="utf-8")
    monkeypatch.setattr("consumer.formats.schemas.files", lambda package: tmp_path / package)
    assert read_schema("x.json") == {"a": 1}
