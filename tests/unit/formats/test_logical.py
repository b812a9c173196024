"""Avro's logical types: every digit as written, and no value that spoils the record."""

from __future__ import annotations

import json
import struct
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.model import InvalidEvent, Record
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import Schemas, decoder
from consumer.formats.logical import readable

LONG = {"type": "long"}


def schema_of(value: Any, beside: Any = "string") -> dict[str, Any]:
    """Return an event's schema: a field's type, and that of a member that no event asks for."""
    return {
        "type": "record",
        "name": "CodeEvent",
        "fields": [
            {"name": "key_value", "type": "string"},
            {"name": "scm_data", "type": {"type": "map", "values": value}},
            {"name": "beside", "type": beside},
        ],
    }


def row_of(
    kind: Any, plain: Any, value: Any, beside: Any = ("string", "x"), dates: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return the row of an event with one field ``f``; ``plain``: the type as it is in the bytes.

    ``beside``: the type in the schema, the value; one that is written by the type beneath.
    """
    stream = BytesIO()
    beneath = beside[0]
    if isinstance(beneath, dict):
        beneath = {
            name: part
            for name, part in beneath.items()
            if name not in ("logicalType", "precision", "scale")
        }
    written = fastavro.parse_schema(schema_of(plain, beneath))
    event = {"key_value": "AAAA1111", "scm_data": {"f": value}, "beside": beside[1]}
    fastavro.schemaless_writer(stream, written, event)
    schemas = Schemas(lambda: 0.0)
    schemas.learn(7, "AVRO", json.dumps(schema_of(kind, beside[0])))
    read = decoder("auto", schemas)(b"\x00\x00\x00\x00\x07" + stream.getvalue())
    record = Record(Partition("events", 0, 0, None), 0, None, 0)
    (row,) = RowMaker("extended_id", dates).rows(read, record)
    return row.item


def text_of(kind: Any, plain: Any, value: Any, dates: tuple[str, ...] = ()) -> str:
    return row_of(kind, plain, value, dates=dates)["f"]


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def number(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, signed=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.7, "4.7"),
        (0.1, "0.1"),
        (16777216.0, "16777216"),
        (1e-45, "0." + "0" * 44 + "1"),
        (3.4028234663852886e38, "34028235" + "0" * 31),
        (-2.5, "-2.5"),
        (0.0, "0"),
    ],
)
def test_float_has_the_digits_of_its_32_bits(value: float, text: str) -> None:
    assert text_of("float", "float", value) == text
    assert text_of(["null", "float", "string"], ["null", "float", "string"], value) == text
    assert text_of({"type": "float"}, "float", value) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_is_read_back_as_the_same_32_bits(value: float) -> None:
    text = text_of("float", "float", value)
    assert struct.pack("<f", float(text)) == struct.pack("<f", value + 0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_float_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InvalidEvent, match="no number to send"):
        text_of("float", "float", value)


@pytest.mark.parametrize(
    ("unscaled", "scale", "text"),
    [
        (12345678, 2, "123456.78"),  # eight digits, of six
        (-12345678, 2, "-123456.78"),
        (1230, 2, "12.30"),
        (0, 3, "0.000"),
        (10**40 + 1, 6, "1" + "0" * 34 + ".000001"),
    ],
)
def test_decimal_keeps_every_digit_also_beyond_its_precision(
    unscaled: int, scale: int, text: str
) -> None:
    kind = logical("bytes", "decimal", precision=6, scale=scale)
    assert text_of(kind, "bytes", number(unscaled)) == text
    fixed = {"type": "fixed", "name": "Amount", "size": 20}
    raw = unscaled.to_bytes(20, signed=True)
    assert text_of({**fixed, **kind, "type": "fixed"}, fixed, raw) == text


@pytest.mark.parametrize(("precision", "scale"), [(2, 4), (0, 0), (-1, 0), (4, -1), ("9", 2)])
def test_ill_formed_decimal_is_the_bytes_beneath_and_refused(precision: Any, scale: int) -> None:
    with pytest.raises(InvalidEvent, match='"f" is binary data'):
        text_of(logical("bytes", "decimal", precision=precision, scale=scale), "bytes", b"1")


def test_decimal_of_a_megabyte_is_refused_at_once() -> None:
    with pytest.raises(InvalidEvent, match="more than 10,000 digits"):
        text_of(logical("bytes", "decimal", precision=9, scale=2), "bytes", b"1" * 1_000_000)


@pytest.mark.parametrize("local", ["", "local-"])
@pytest.mark.parametrize(("unit", "size"), [("millis", 10**3), ("micros", 10**6), ("nanos", 10**9)])
def test_timestamp_of_any_unit_is_a_date_in_a_date_field_only(
    local: str, unit: str, size: int
) -> None:
    kind = logical("long", f"{local}timestamp-{unit}")
    moment = 1795361400 * size  # 2026-11-22T14:50:00Z
    assert text_of(kind, "long", moment, dates=("f",)) == "2026-11-22"
    with pytest.raises(InvalidEvent, match=r'"f" is a timestamp; .* events\.date_fields'):
        text_of(kind, "long", moment)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [(logical("int", "time-millis"), "int"), (logical("long", "time-micros"), "long")],
)
def test_time_of_day_is_refused(kind: Any, plain: str) -> None:
    with pytest.raises(InvalidEvent, match='"f" is a time of day'):
        text_of(kind, plain, 90_000_000)


@pytest.mark.parametrize(
    ("kind", "plain", "value"),
    [
        (logical("int", "date"), "int", 2**31 - 1),
        (logical("int", "date"), "int", -(2**31)),
        (logical("long", "timestamp-millis"), "long", 2**63 - 1),
        (logical("long", "timestamp-nanos"), "long", -(2**63)),
        (logical("long", "local-timestamp-micros"), "long", -(2**63)),
        (logical("long", "time-micros"), "long", 2**62),
        (logical("int", "time-millis"), "int", -1),
        (logical("bytes", "decimal", precision=2, scale=4), "bytes", b"1"),
        (logical("bytes", "decimal", precision=6, scale=2), "bytes", b""),
        (logical("bytes", "big-decimal"), "bytes", b"1"),
        (logical("string", "uuid"), "string", "none"),
        ("float", "float", float("nan")),
    ],
)
def test_member_that_nobody_asks_for_spoils_nothing(kind: Any, plain: str, value: Any) -> None:
    row = row_of("string", "string", "1", (kind, value))
    assert row == {"extended_id": "AAAA1111", "f": "1"}
    if isinstance(kind, dict) and kind["logicalType"] == "timestamp-nanos":
        return  # every long of nanoseconds is in the calendar
    if plain != "string" and value != b"":
        with pytest.raises(InvalidEvent, match='"f" is '):
            row_of(kind, plain, value, dates=("f",))


def test_dates_at_both_ends_of_the_calendar_are_read() -> None:
    kind = logical("int", "date")
    first, last = (day.toordinal() - date(1970, 1, 1).toordinal() for day in (date.min, date.max))
    assert text_of(kind, "int", first) == "0001-01-01"
    assert text_of(kind, "int", last) == "9999-12-31"


def test_schema_keeps_its_names_and_loses_foreign_logical_types() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "float", "type": "float", "default": 0.5},
            {
                "name": "id",
                "type": {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"},
            },
            {"name": "again", "type": "Id"},
        ],
    }
    read = readable(schema)
    assert read["fields"][0]["type"]["type"] == "float"
    assert read["fields"][0]["default"] == 0.5
    assert "logicalType" not in read["fields"][1]["type"]
    assert read["fields"][2] == {"name": "again", "type": "Id"}


def test_a_private_name_of_a_logical_type_means_nothing() -> None:
    kind = logical("int", "scm-consumer-date")
    assert text_of(kind, "int", 7) == "7"
    assert Decimal(text_of(logical("long", "timestamp-seconds"), "long", 7)) == 7
