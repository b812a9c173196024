"""From lines to records: what is published the consumer reads, and the rest is not published."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consumer.core.model import InvalidEvent, Record
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import decoder
from consumer.formats.schemas import read_schema
from consumer.publish.checking import JsonEvents
from consumer.publish.damage import refuse_damage
from consumer.publish.doubts import PADDED, Doubt
from consumer.publish.making import Making
from consumer.publish.table_events import TableEvents
from tests.unit.epcis import ITEM, SSCC, aggregation, object_event, rules

AVRO = fastavro.parse_schema(read_schema("scm_event.avsc"))
FORMATS = ["auto", "json", "flat", "avro"]
WHEN = "2024-05-01T23:30:00+02:00"


def making(**changes: Any) -> Making:
    usual: dict[str, Any] = {
        "format": "auto",
        "configured_key": "extended_id",
        "data_key": "extended_id",
        "date_fields": (),
        "source": "codes.csv",
    }
    return Making(**(usual | changes))


def ignored(_: int, __: Doubt) -> None:
    """Do nothing: nobody listens."""


def is_damaged(names: list[str], cells: list[str]) -> bool:
    try:
        refuse_damage(names, cells)
    except InvalidEvent:
        return True
    return False


def from_table(
    names: list[str], cells: list[str], *, empty_erases: bool = False, **changes: Any
) -> tuple[str, bytes]:
    return TableEvents(making(**changes), names, ignored, empty_erases=empty_erases).make(
        17, list(cells)
    )


def from_json(text: str | dict[str, Any], **changes: Any) -> tuple[str, bytes]:
    line = text if isinstance(text, str) else json.dumps(text)
    return JsonEvents(making(**changes), ignored).make(17, line.encode())


def sent(
    value: bytes, form: str = "auto", date_fields: tuple[str, ...] = ()
) -> list[dict[str, str]]:
    """Return what the consumer sends for a record; fail if it would refuse any of it."""
    rows = RowMaker("extended_id", date_fields).rows(
        decoder(form)(value), Record(Partition("events", 0, 0, None), 0, None, 0)
    )
    assert [row.rejection for row in rows] == [None] * len(rows)
    return [row.item for row in rows]


def members(value: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value)
    return found


# -- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_line_of_a_table_is_read_back_as_it_stands_in_every_format(form: str) -> None:
    key, value = from_table(["market", "extended_id", "size"], ["cn", "A1", "001"], format=form)
    assert key == "A1"
    assert sent(value, form) == [{"extended_id": "A1", "market": "cn", "size": "001"}]


def test_an_envelope_tells_where_it_comes_from_and_when() -> None:
    make = TableEvents(
        making(source="shift.csv"), ["extended_id", "a"], ignored, empty_erases=False
    ).make
    first, second = (members(make(line, ["A1", "1"])[1]) for line in (2, 3))
    assert first["event_id"].endswith("-2")
    assert second["event_id"] == first["event_id"][:-1] + "3"
    assert first["source"] == "shift.csv"
    assert decoder("json")(json.dumps(first).encode()).occurred_at == first["occurred_at"]
    other = TableEvents(making(), ["extended_id", "a"], ignored, empty_erases=False).make
    assert members(other(2, ["A1", "1"])[1])["event_id"] != first["event_id"], (
        "another run, another id"
    )


def test_avro_holds_the_whole_event() -> None:
    _, value = from_table(["extended_id", "a"], ["A1", "1"], format="avro")
    datum = fastavro.schemaless_reader(BytesIO(value), AVRO, None)
    assert isinstance(datum, dict)
    assert datum["event_id"].endswith("-17")
    assert (datum["source"], datum["data_key"], datum["key_value"]) == (
        "codes.csv",
        "extended_id",
        "A1",
    )


def test_a_key_with_white_space_at_an_end_is_told_and_kept() -> None:
    told: list[int] = []

    def warn(line: int, doubt: Doubt) -> None:
        assert doubt is PADDED
        told.append(line)

    make = TableEvents(making(), ["a", "extended_id"], warn, empty_erases=False).make
    assert [make(line, ["x", key])[0] for line, key in enumerate(["A 1", "A1 ", "\tA1", "A1"])] == [
        "A 1",
        "A1 ",
        "\tA1",
        "A1",
    ]
    with pytest.raises(InvalidEvent):
        make(9, ["x" * 51, "A1 "])
    make_json = JsonEvents(making(), warn).make
    assert make_json(17, b'{"extended_id": " A1", "a": "x"}')[0] == " A1"
    make_json(18, b'{"extended_id": "A1", "a": " x"}')
    assert told == [1, 2, 17], "a refused line is told as such"


def test_an_empty_cell_is_not_sent_or_erases_on_demand() -> None:
    names, cells = ["extended_id", "a", "b"], ["A1", "", "x"]
    assert sent(from_table(names, cells)[1]) == [{"extended_id": "A1", "b": "x"}]
    assert sent(from_table(names, cells, empty_erases=True)[1]) == [
        {"extended_id": "A1", "a": "", "b": "x"}
    ]


@pytest.mark.parametrize("form", ["auto", "json", "avro"])
def test_another_column_can_be_the_data_key_and_the_event_names_it(form: str) -> None:
    names, cells = ["extended_id", "case_code", "a"], ["A1", "C7", "x"]
    key, value = from_table(names, cells, data_key="case_code", format=form)
    assert key == "C7"
    assert sent(value, form) == [{"case_code": "C7", "extended_id": "A1", "a": "x"}]


def test_the_flat_format_has_no_room_for_another_data_key_and_says_so() -> None:
    with pytest.raises(InvalidEvent, match="publish it as json or avro"):
        from_table(["case_code", "a"], ["C7", "x"], data_key="case_code", format="flat")


def test_the_records_key_can_be_a_column() -> None:
    names = ["extended_id", "case_code"]
    key, value = from_table(names, ["A1", "C7"], order_by="case_code")
    assert key == "C7"
    assert sent(value) == [{"extended_id": "A1", "case_code": "C7"}]
    with pytest.raises(InvalidEvent) as raised:
        from_table([*names, "a"], ["A1", "", "x"], order_by="case_code")
    assert (raised.value.reason, raised.value.field) == ("key_missing", "case_code")


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"extended_id": " "}, "key_blank", "extended_id"),
        ({"extended_id": ""}, "key_blank", "extended_id"),
        ({"a": "x" * 51}, "value_too_long", "a"),
        ({"activation_status": "3"}, "invalid_value", "activation_status"),
        ({"activation_status": "1 "}, "invalid_value", "activation_status"),
        ({"after_sell_by": "2026-02-30"}, "invalid_value", "after_sell_by"),
        ({"made": "22.11.2026"}, "invalid_value", "made"),
        ({"date_consumed": "2026-01-01"}, "forbidden_field", "date_consumed"),
        ({"a": ""}, "no_fields", None),
    ],
)
def test_what_the_consumer_would_dead_letter_is_refused_with_that_reason(
    changed: dict[str, str], reason: str, field: str | None
) -> None:
    row = {"extended_id": "A1", "a": "x"} | changed
    with pytest.raises(InvalidEvent) as raised:
        from_table(list(row), list(row.values()), date_fields=("made",))
    assert (raised.value.reason, raised.value.field) == (reason, field)


cell = st.one_of(
    st.text(max_size=60), st.sampled_from(["", "0", "1", "2", "2026-11-22", " ", "x" * 51])
)


@given(st.lists(cell, min_size=5, max_size=5), st.sampled_from(FORMATS), st.booleans())
def test_a_line_is_published_exactly_if_the_consumer_would_upload_its_row(
    cells: list[str], form: str, empty_erases: bool
) -> None:
    names = ["extended_id", "activation_status", "after_sell_by", "a", "b"]
    assume(not is_damaged(names, cells))
    fields = dict(zip(names[1:], cells[1:], strict=True))
    if not empty_erases:
        fields = {name: text for name, text in fields.items() if text}
    raw = json.dumps({"key_value": cells[0], "scm_data": fields}).encode()
    (row,) = RowMaker("extended_id").rows(
        decoder("json")(raw), Record(Partition("events", 0, 0, None), 0, None, 0)
    )
    if row.rejection is not None:
        with pytest.raises(InvalidEvent) as raised:
            from_table(names, cells, format=form, empty_erases=empty_erases)
        assert raised.value.reason == row.rejection.reason
        return
    key, value = from_table(names, cells, format=form, empty_erases=empty_erases)
    assert key == cells[0]
    assert sent(value, form) == [row.item]


# -- lines of JSON -------------------------------------------------------------------------------

FLAT = (
    '{"market": "cn",  "extended_id": "A1", "weight": 1.10, '
    '"n": 123456789012345678901234567890, "gone": null}'
)
FLAT_ROW = {
    "extended_id": "A1",
    "market": "cn",
    "weight": "1.10",
    "n": "123456789012345678901234567890",
}
ENVELOPE: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": WHEN,
    "source": "line-3",
    "data_key": "case_code",
    "key_value": "12",
    "scm_data": {"a": "1", "b": None, "sealed": True},
    "also_update": {"data_key": "serial_number", "key_value": "13"},
}
ENVELOPE_ROWS = [
    {"case_code": "12", "a": "1", "sealed": "true"},
    {"serial_number": "13", "a": "1", "sealed": "true"},
]


@pytest.mark.parametrize("form", ["auto", "flat"])
def test_a_flat_line_of_the_configured_format_is_published_byte_for_byte(form: str) -> None:
    assert from_json(FLAT, format=form) == ("A1", FLAT.encode())


@pytest.mark.parametrize("form", ["auto", "json"])
def test_an_envelope_of_the_configured_format_is_published_byte_for_byte(form: str) -> None:
    assert from_json(ENVELOPE, format=form) == ("12", json.dumps(ENVELOPE).encode())


@pytest.mark.parametrize("form", ["json", "avro"])
def test_a_flat_line_becomes_an_event_of_another_format(form: str) -> None:
    key, value = from_json(FLAT, format=form)
    assert key == "A1"
    (row,) = sent(value, form)
    assert row == FLAT_ROW


def test_an_envelope_becomes_avro_with_all_that_it_tells() -> None:
    key, value = from_json(ENVELOPE, format="avro")
    assert key == "12"
    assert sent(value, "avro") == ENVELOPE_ROWS
    datum = fastavro.schemaless_reader(BytesIO(value), AVRO, None)
    assert isinstance(datum, dict)
    assert (datum["event_id"], datum["source"], datum["occurred_at"].isoformat()) == (
        "e-1",
        "line-3",
        "2024-05-01T21:30:00+00:00",
    )


def test_an_envelope_becomes_flat_where_flat_has_room_for_it() -> None:
    plain = {"key_value": "A1", "scm_data": {"a": 1, "b": None}}
    assert sent(from_json(plain, format="flat")[1], "flat") == [{"extended_id": "A1", "a": "1"}]
    for more in ({"data_key": "case_code"}, {"also_update": ENVELOPE["also_update"]}):
        with pytest.raises(InvalidEvent, match="publish it as json or avro"):
            from_json(plain | more, format="flat")


@pytest.mark.parametrize("form", ["auto", "json", "avro"])
def test_lines_that_name_no_data_key_get_the_one_that_was_asked_for(form: str) -> None:
    """The consumer would take its own key for them; one that names its key keeps it."""
    flat = from_json('{"serial_number": "S1", "a": "x"}', format=form, data_key="serial_number")
    assert flat[0] == "S1"
    assert sent(flat[1], form) == [{"serial_number": "S1", "a": "x"}]
    nameless = from_json(
        {"key_value": "S2", "scm_data": {"a": "x"}}, format=form, data_key="serial_number"
    )
    assert sent(nameless[1], form) == [{"serial_number": "S2", "a": "x"}]
    assert (
        sent(from_json(ENVELOPE, format=form, data_key="serial_number")[1], form) == ENVELOPE_ROWS
    )


def test_the_records_key_can_be_a_field_also_where_that_field_is_the_data_key() -> None:
    """So a unit's own events and those of its children get one key."""
    assert from_json('{"extended_id": "A1", "case_code": "C7"}', order_by="case_code")[0] == "C7"
    unit = {"data_key": "case_code", "key_value": "C7", "scm_data": {"pallet_code": "P"}}
    assert from_json(unit, order_by="case_code")[0] == "C7"
    with pytest.raises(InvalidEvent, match=r'"case_code" is missing or empty.*--key'):
        from_json('{"extended_id": "A1", "a": "x"}', order_by="case_code")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "undecodable"),
        ('{"extended_id": "A1", "a": "x"', "undecodable"),
        ("[]", "invalid_event"),
        ("null", "invalid_event"),
        ('{"extended_id": "A1", "a": [1]}', "invalid_event"),
        ('{"extended_id": "A1", "a": NaN}', "invalid_event"),
        ('{"a": "x"}', "key_missing"),
        ('{"scm_data": {"a": "x"}}', "key_missing"),
        ('{"extended_id": "  ", "a": "x"}', "key_blank"),
        ('{"extended_id": "A1", "a": null}', "no_fields"),
        ('{"key_value": "A1", "scm_data": {"extended_id": "A2", "a": "x"}}', "key_conflict"),
        (
            '{"key_value": "A1", "scm_data": {"a": "x"}, "occurred_at": "yesterday"}',
            "invalid_event",
        ),
        (
            '{"key_value": "1", "data_key": "a", "scm_data": {"b": "x"}, '
            '"also_update": {"data_key": "c", "key_value": " "}}',
            "key_blank",
        ),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_line_that_makes_no_row_is_refused_in_every_format(
    line: str, reason: str, form: str
) -> None:
    with pytest.raises(InvalidEvent) as raised:
        from_json(line, format=form)
    assert raised.value.reason == reason


# -- EPCIS and CloudEvents -----------------------------------------------------------------------

PACKED = json.dumps(aggregation(SSCC, ITEM, "ABCDEFGH-2"))


@pytest.mark.parametrize("form", ["auto", "epcis"])
def test_an_event_of_epcis_is_published_byte_for_byte(form: str) -> None:
    assert from_json(PACKED, format=form, epcis=rules()) == ("HGDTQD54D5SD86EEDFS", PACKED.encode())
    key, _ = from_json(PACKED, format=form, epcis=rules(), order_by="case_code")
    assert key == "095060000000000015"


@pytest.mark.parametrize("form", ["json", "flat", "avro"])
def test_no_other_format_is_made_of_an_event_of_epcis(form: str) -> None:
    with pytest.raises(
        InvalidEvent, match=r'publish it with events\.format = "epcis" or "auto"'
    ) as raised:
        from_json(PACKED, format=form, epcis=rules())
    assert raised.value.reason == "invalid_event"


def test_an_event_of_epcis_that_would_be_refused_or_skipped_is_not_published() -> None:
    with pytest.raises(InvalidEvent, match=r"no rule of epcis\.codes"):
        from_json(aggregation(SSCC, "?"), epcis=rules())
    with pytest.raises(InvalidEvent, match="the consumer would skip it"):
        from_json(object_event(ITEM, bizStep="storing"), epcis=rules(steps=("storing =",)))


def test_of_other_lines_no_event_of_epcis_is_made() -> None:
    with pytest.raises(InvalidEvent, match="no event of EPCIS, and none can be made of it"):
        from_json({"extended_id": "A1", "a": "x"}, format="epcis")


@pytest.mark.parametrize(
    "data",
    [
        {"extended_id": "A1", "a": "x"},
        {
            "key_value": "A1",
            "scm_data": {"a": "x"},
            "also_update": {"data_key": "serial_number", "key_value": "B"},
        },
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_what_a_cloud_event_holds_is_published_in_every_format(
    data: dict[str, Any], form: str
) -> None:
    event = json.dumps(
        {"specversion": "1.0", "id": "c-1", "time": WHEN, "source": "/l", "type": "t", "data": data}
    )
    if form == "flat" and "also_update" in data:
        with pytest.raises(InvalidEvent, match='has no "also_update"'):
            from_json(event, format=form)
        return
    _, value = from_json(event, format=form)
    assert sent(value, form) == sent(json.dumps(data).encode())
    if form in ("json", "auto") and value != event.encode():
        assert (members(value)["event_id"], members(value)["occurred_at"]) == ("c-1", WHEN)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        ({"source": "line-3", "key_value": "A1", "scm_data": {"a": "1"}}, "line-3"),
        ({"key_value": "A1", "scm_data": {"a": "1"}}, "/plant/2"),
        ({"extended_id": "A1", "a": "1"}, "/plant/2"),
        ({"extended_id": "A1", "source": "a field"}, "/plant/2"),
    ],
)
def test_source_is_the_event_s_own_before_that_of_the_cloud_event_around_it(
    data: dict[str, Any], source: str
) -> None:
    around = {"specversion": "1.0", "id": "c-17", "source": "/plant/2", "type": "t", "data": data}
    _, value = from_json(around, format="avro")
    event: Any = fastavro.schemaless_reader(BytesIO(value), AVRO, None)
    assert event["source"] == source
    if "scm_data" in data:
        _, value = from_json(data, format="avro")
        bare: Any = fastavro.schemaless_reader(BytesIO(value), AVRO, None)
        assert bare["source"] == data.get("source", "codes.csv")


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        (["1.23457E+17", "1"], "extended_id"),
        (["1,23457E+17", "1"], "extended_id"),
        (['="000123"', "1"], "extended_id"),
        (["#N/A", "1"], "extended_id"),
        (["A1", "#REF!"], "a"),
        (["A1", "1E+05"], "a"),
        (["A1", '="5"'], "a"),
        (["A\u200b1", "1"], "extended_id"),
        (["\ufeffA1", "1"], "extended_id"),
    ],
)
def test_what_a_spreadsheet_did_to_a_cell_is_refused(cells: list[str], field: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        from_table(["extended_id", "a"], cells)
    assert (raised.value.reason, raised.value.field) == ("invalid_event", field)


@pytest.mark.parametrize("cell", ["#1", "A+B", "a=b", "12E5", "E+5", "=", "\u00e9", "x1E+05"])
def test_what_only_looks_like_it_is_published(cell: str) -> None:
    _, value = from_table(["extended_id", "a"], [cell, cell])
    assert sent(value) == [{"extended_id": cell, "a": cell}]


def test_constants_stand_in_every_line_and_are_no_columns() -> None:
    _, value = from_table(["a", "extended_id"], ["x", "A1"], constants={"product": "p"})
    assert sent(value) == [{"extended_id": "A1", "a": "x", "product": "p"}]
