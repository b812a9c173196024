"""Every special field of the table: what it takes, what it refuses, and what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.model import Event, Record
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.core.rows.special_fields import FIELD_RULES, SPECIAL_FIELDS, field_rules
from tests.unit.core.rows.test_validation import reason, rejection


def test_date_consumed_of_null_is_not_looked_at() -> None:
    assert reason({"date_consumed": None, "a": "1"}) is None


STATUSES = (
    ["0", "1", "2", 0, 1, 2, 1.0],
    ["", " ", "3", "-1", "01", "1.0", "active", "true", True, 3, " 1", "१"],
)
NO_DATES = [
    *(
        "2023-02-29",
        "2024-13-01",
        "2024-5-1",
        "20240501",
        "2024-W18-3",
        "01/12/2016",
        "0000-01-01",
        " ",
        "tomorrow",
    ),
    *("2024-05-01 ", "\u0662\u0660\u0662\u0664-05-01", "2024-05-01\n", 20240501, False),
]
DATES = ["", "2024-05-01", "2024-02-29", "0001-01-01", "9999-12-31"]
TIMESTAMP = "2024-05-01T23:30:00-05:00"
#: Values that each entry of the table takes, and that it refuses.
CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "product": (["P1", 17, " "], [""]),
    "activation_status": STATUSES,
    "status": STATUSES,
    "blacklist_reason": (
        ["", *range(11), "0", "10", 10.0],
        ["11", "-1", "00", "1.5", "stolen", " ", 11, True],
    ),
    "intended_market": (["cn", "CN", "", " ", "my-region", "XX"], []),
    "after_sell_by": (DATES, [*NO_DATES, TIMESTAMP]),
    "date_consumed": ([], ["2024-05-01", "", "x", 0, False]),
    "events.logistic_units": (["456", "", " ", 456], []),
    "events.date_fields": ([*DATES, TIMESTAMP], NO_DATES),
}
#: A field of those that a setting lists.
LISTED = {"events.logistic_units": "case_code", "events.date_fields": "packed_on"}


def test_every_entry_of_the_table_has_cases_and_a_source() -> None:
    assert [field.name for field in SPECIAL_FIELDS] == list(CASES)
    assert [field.name for field in SPECIAL_FIELDS if field.setting] == list(LISTED)
    assert [
        field.name for field in SPECIAL_FIELDS if (field.rule is None) != (not CASES[field.name][1])
    ] == []
    assert all(field.source and field.meaning for field in SPECIAL_FIELDS)


@pytest.mark.parametrize(
    ("entry", "value"), [(name, value) for name, (good, _) in CASES.items() for value in good]
)
def test_special_field_takes_what_the_guide_allows(entry: str, value: Any) -> None:
    assert rejection({LISTED.get(entry, entry): value}, date_fields=("packed_on",)) is None


@pytest.mark.parametrize(
    ("entry", "value"), [(name, value) for name, (_, bad) in CASES.items() for value in bad]
)
def test_special_field_refuses_anything_else(entry: str, value: Any) -> None:
    field = LISTED.get(entry, entry)
    found = rejection({field: value, "a": "1"}, date_fields=("packed_on",))
    assert found is not None
    expected = "forbidden_field" if entry == "date_consumed" else "invalid_value"
    assert (found.reason, found.field, found.stage) == (expected, field, "validate")


@pytest.mark.parametrize("field", [*CASES, "production_date", "any other"])
def test_any_field_is_limited_to_fifty_characters(field: str) -> None:
    assert (
        reason({LISTED.get(field, field): "1" * 51}, date_fields=("packed_on",)) == "value_too_long"
    )


@pytest.mark.parametrize(("field", "value"), [("production_date", "01/12/2016"), ("any other", "")])
def test_field_without_a_meaning_of_its_own_holds_anything(field: str, value: str) -> None:
    assert reason({field: value}) is None


def test_value_of_a_unit_is_what_the_row_joins_unless_it_is_empty_or_the_key() -> None:
    maker = RowMaker("extended_id", logistic_units=("case_code", "pallet_code"))

    def joins(fields: dict[str, Any], data_key: str | None = None) -> tuple[tuple[str, str], ...]:
        (row,) = maker.rows(
            Event(fields, data_key, "K"), Record(Partition("events", 0, 0, None), 0, None, 0)
        )
        return row.joins

    assert joins({"case_code": 456}) == (("case_code", "456"),)
    assert joins({"case_code": "456", "pallet_code": "p001"}) == (
        ("case_code", "456"),
        ("pallet_code", "p001"),
    )
    assert joins({"case_code": "", "a": "1"}) == ()
    assert joins({"pallet_code": "p001"}, "case_code") == (("pallet_code", "p001"),)
    assert joins({"a": "1"}, "case_code") == ()


def test_invalid_value_is_told_with_what_is_allowed() -> None:
    found = rejection({"activation_status": "active"})
    assert found is not None
    assert (
        found.message
        == '"activation_status" is "active"; allowed: 0 (inactive), 1 (active) or 2 (blacklisted)'
    )


def test_special_field_keeps_its_own_rule_when_configured_as_date() -> None:
    assert field_rules(["status", "packed_on"])["status"] is FIELD_RULES["status"]


@pytest.mark.parametrize(
    "status", ["0", 2, "nonsense", "", "x" * 51, True, [1], {"a": 1}, float("nan")]
)
def test_status_beside_activation_status_is_dropped_unchecked(status: Any) -> None:
    maker = RowMaker("extended_id")
    for fields in (
        {"status": status, "activation_status": "1"},
        {"activation_status": "1", "status": status},
    ):
        (row,) = maker.rows(
            Event(fields, None, "K"), Record(Partition("events", 0, 0, None), 0, None, 0)
        )
        assert row.rejection is None
        assert row.item == {"extended_id": "K", "activation_status": "1"}


def test_status_beside_an_activation_status_of_null_is_checked_and_sent() -> None:
    assert reason({"status": "9", "activation_status": None}) == "invalid_value"
    assert reason({"status": "2", "activation_status": None}) is None
