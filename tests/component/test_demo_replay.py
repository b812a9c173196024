"""The demo's replay: examples worked by hand from the guides and the contract."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from consumer.demo.evidence import FactoryWorld, TopicRecord
from consumer.demo.replay import Expected, replay
from consumer.formats.schemas import read_schema

SCHEMA = read_schema("scm_event.avsc")
WORLD = FactoryWorld(
    codes={
        "CODE-A": {"case_code": "C-1"},
        "CODE-B": {"case_code": "C-1"},
        "CODE-C": {},
        "LABEL-1": {"serial_number": "C-1"},
    },
    products=("TEA",),
    schema=SCHEMA,
    data_key="extended_id",
    date_fields=("made_on",),
)


def records(values: Iterable[bytes | None], partition: int = 0) -> list[TopicRecord]:
    return [TopicRecord("t", partition, offset, b"k", value) for offset, value in enumerate(values)]


def outcome(*values: bytes | None) -> Expected:
    return replay(WORLD, records(values))


def flat(**item: Any) -> bytes:
    return json.dumps({"extended_id": "CODE-A"} | item).encode()


def envelope(data: Any, key: Any = "CODE-A", **members: Any) -> bytes:
    return json.dumps({"key_value": key, "scm_data": data} | members).encode()


def avro(data: dict[str, Any], key: str = "CODE-A", data_key: str | None = None) -> bytes:
    out = BytesIO()
    event = {
        "event_id": "e",
        "occurred_at": datetime(2024, 5, 1, tzinfo=UTC),
        "source": None,
        "data_key": data_key,
        "key_value": key,
        "scm_data": data,
        "also_update": None,
    }
    schemaless_writer(out, parse_schema(SCHEMA), event)
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (
            flat(a="x", b=True, c=12345678901234567890123),
            {"a": "x", "b": "true", "c": "12345678901234567890123"},
        ),
        (
            b'{"extended_id":"CODE-A","a":1.10,"b":1e3,"c":2.5e-5,"d":50.0}',
            {"a": "1.10", "b": "1000", "c": "0.000025", "d": "50.0"},
        ),
        (
            avro({"a": 100.0, "b": 2.5e-05, "c": False, "d": 7}),
            {"a": "100", "b": "0.000025", "c": "false", "d": "7"},
        ),
        (avro({"made_on": date(2024, 5, 2)}), {"made_on": "2024-05-02"}),
        (flat(made_on="2024-05-02T00:30:00+08:00"), {"made_on": "2024-05-02"}),
        (envelope({"a": "1", "b": None}), {"a": "1"}),
        (flat(activation_status=1, status="nonsense"), {"activation_status": "1"}),
        (flat(status=2), {"status": "2"}),
        (envelope({"extended_id": "CODE-A", "a": "1"}), {"a": "1"}),
        (b" \n" + flat(a="1"), {"a": "1"}),
        (
            flat(after_sell_by="", blacklist_reason=""),
            {"after_sell_by": "", "blacklist_reason": ""},
        ),
        (flat(a="x" * 50), {"a": "x" * 50}),
    ],
)
def test_values_become_the_strings_that_are_sent(value: bytes, sent: dict[str, str]) -> None:
    expected = outcome(value)
    assert expected.letters == []
    assert expected.updates == {("extended_id", "CODE-A"): [sent]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\xfe\x00", "undecodable"),
        (avro({"a": "1"}) + b"\x00", "undecodable"),
        (avro({"a": "1"})[:-2], "undecodable"),
        (b'{"extended_id": "CODE-A"', "undecodable"),
        (b'{"extended_id": "\xff"}', "undecodable"),
        (b"[]", "invalid_event"),
        (flat(a=[1]), "invalid_event"),
        (flat(a={"b": 1}), "invalid_event"),
        (flat(a=math.nan), "invalid_event"),
        (avro({"a": math.inf}), "invalid_event"),
        (envelope("text"), "invalid_event"),
        (envelope({"a": "1"}, key=5), "invalid_event"),
        (
            envelope({"a": "1"}, also_update={"data_key": "extended_id", "key_value": "CODE-A"}),
            "invalid_event",
        ),
        (b'{"a": "1"}', "key_missing"),
        (envelope({"a": "1"}, key=None), "key_missing"),
        (flat(extended_id="", a="1"), "key_blank"),
        (flat(extended_id="\u3000", a="1"), "key_blank"),
        (flat(a="x" * 51), "value_too_long"),
        (flat(date_consumed="2024-05-01"), "forbidden_field"),
        (flat(activation_status=3), "invalid_value"),
        (flat(status="on"), "invalid_value"),
        (flat(product=""), "invalid_value"),
        (flat(blacklist_reason=11), "invalid_value"),
        (flat(after_sell_by="2024-02-30"), "invalid_value"),
        (flat(after_sell_by="20240229"), "invalid_value"),
        (flat(made_on="01/12/2016"), "invalid_value"),
        (envelope({"extended_id": "CODE-B", "a": "1"}), "key_conflict"),
        (flat(), "no_fields"),
        (envelope({"a": None}), "no_fields"),
        (flat(extended_id="STRANGER", a="1"), "unknown_key"),
        (avro({"a": "1"}, "C-9", "case_code"), "unknown_key"),
        (flat(product="COFFEE"), "rejected_by_api"),
    ],
)
def test_a_bad_record_is_a_dead_letter_and_changes_nothing(value: bytes, reason: str) -> None:
    expected = outcome(value)
    assert [letter.reason for letter in expected.letters] == [reason]
    assert expected.letters[0].record.value == value
    assert not expected.updates
    assert expected.state == WORLD.codes


def test_later_rows_overwrite_and_empty_text_erases() -> None:
    expected = outcome(flat(a="1", b="1"), flat(a="2", b=""), flat(status="2"))
    assert expected.state["CODE-A"] == {"case_code": "C-1", "a": "2", "activation_status": "2"}
    assert len(expected.updates["extended_id", "CODE-A"]) == 3


def test_a_row_by_case_reaches_every_code_in_it_and_its_label_when_that_is_named_too() -> None:
    also = {"data_key": "serial_number", "key_value": "C-1"}
    expected = outcome(
        envelope({"ship_date": "2024-05-02"}, "C-1", data_key="case_code", also_update=also)
    )
    reached = {code for code, fields in expected.state.items() if "ship_date" in fields}
    assert reached == {"CODE-A", "CODE-B", "LABEL-1"}
    assert set(expected.updates) == {("case_code", "C-1"), ("serial_number", "C-1")}


def test_records_count_in_the_order_of_their_offsets_however_they_are_handed_in() -> None:
    published = records([flat(a="1"), flat(a="2"), flat(a="3")])
    assert replay(WORLD, published[::-1]).state["CODE-A"]["a"] == "3"


def test_a_tombstone_is_skipped() -> None:
    expected = outcome(None)
    assert (expected.skipped, expected.letters, expected.state) == (1, [], WORLD.codes)
