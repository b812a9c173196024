"""Every rule that a row must pass, by name."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.model import Event, Record, Rejection
from consumer.core.rows import RowMaker
from consumer.core.validation import (
    FIELD_RULES,
    REASONS,
    field_rules,
    graver,
    is_date,
    quoted,
    timestamp_date,
)


def rejection(fields: dict[str, Any], key_value: Any = "K1", *, date_fields: tuple[str, ...] = ()) -> Rejection | None:
    maker = RowMaker("extended_id", date_fields)
    event = Event(fields, "extended_id", key_value)
    (row,) = maker.rows(event, Record(None, 0, None, 0))
    return row.rejection


def reason(fields: dict[str, Any], key_value: Any = "K1", **options: Any) -> str | None:
    found = rejection(fields, key_value, **options)
    return None if found is None else found.reason


WHITE_SPACE = "\t\n\v\f\r \x85\u00a0\u1680\u2000\u2007\u200a\u2028\u2029\u202f\u205f\u3000"


@pytest.mark.parametrize("key", ["", " ", "   \t", *WHITE_SPACE, WHITE_SPACE])
def test_key_of_nothing_but_white_space_is_blank(key: str) -> None:
    found = rejection({"a": "1"}, key)
    assert found is not None
    assert (found.reason, found.field, found.stage) == ("key_blank", "extended_id", "validate")


@pytest.mark.parametrize("key", [" K1 ", "\u3000K", "\u200b", "0", "\ufeff", "K" * 500])
def test_any_other_key_is_left_to_the_api(key: str) -> None:
    """Never trimmed, however long; zero-width characters are no white space to Unicode."""
    assert reason({"a": "1"}, key) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 50, None),
        ("x" * 51, "value_too_long"),
        ("é" * 50, None),
        ("\U0001f600" * 50, None),
        ("\U0001f600" * 51, "value_too_long"),
        (10**49, None),
        (10**50, "value_too_long"),
        (-(10**49), "value_too_long"),
    ],
)
def test_value_has_at_most_50_characters(value: Any, expected: str | None) -> None:
    assert reason({"note": value}) == expected


def test_too_long_value_is_told_with_its_length_and_its_beginning() -> None:
    found = rejection({"note": "abc" * 30})
    assert found is not None
    assert found.field == "note"
    assert found.message == f'"note" has 90 characters, at most 50 are allowed: "{"abc" * 20}…"'


@pytest.mark.parametrize("value", ["2024-05-01", "", "x", 0, False])
def test_date_consumed_is_forbidden_with_any_value(value: Any) -> None:
    assert reason({"date_consumed": value, "a": "1"}) == "forbidden_field"


def test_date_consumed_of_null_is_not_looked_at() -> None:
    assert reason({"date_consumed": None, "a": "1"}) is None


STATUSES_ALLOWED = ["0", "1", "2", 0, 1, 2, 1.0]
STATUSES_REFUSED = ["", " ", "3", "-1", "01", "1.0", "active", "true", True, 3, " 1", "१"]
REASONS_ALLOWED = ["", *range(11), "0", "10", 10.0]
REASONS_REFUSED = ["11", "-1", "00", "1.5", "stolen", " ", 11, True]
DATES_ALLOWED = ["", "2024-05-01", "2024-02-29", "0001-01-01", "9999-12-31"]
DATES_REFUSED = [
    *("2023-02-29", "2024-13-01", "2024-5-1", "20240501", "2024-W18-3", "01/12/2016", "0000-01-01", " "),
    *(
        "2024-05-01 ",
        "2024-05-01T10:00:00Z",
        "\u0662\u0660\u0662\u0664-05-01",
        "2024-05-01\n",
        "tomorrow",
        20240501,
        False,
    ),
]
SPECIAL = [
    *(("activation_status", value, None) for value in STATUSES_ALLOWED),
    *(("activation_status", value, "invalid_value") for value in STATUSES_REFUSED),
    *(("status", value, None) for value in STATUSES_ALLOWED),
    *(("status", value, "invalid_value") for value in STATUSES_REFUSED),
    *(("blacklist_reason", value, None) for value in REASONS_ALLOWED),
    *(("blacklist_reason", value, "invalid_value") for value in REASONS_REFUSED),
    *(("after_sell_by", value, None) for value in DATES_ALLOWED),
    *(("after_sell_by", value, "invalid_value") for value in DATES_REFUSED),
    *(("product", value, None) for value in ["P1", 17, " "]),
    ("product", "", "invalid_value"),
    *(("intended_market", value, None) for value in ["cn", "CN", "", " ", "my-region", "XX"]),
    ("production_date", "01/12/2016", None),
    ("any other", "", None),
]


@pytest.mark.parametrize(("field", "value", "expected"), SPECIAL)
def test_special_field_holds_what_the_guide_allows(field: str, value: Any, expected: str | None) -> None:
    found = rejection({field: value})
    assert (None if found is None else (found.reason, found.field)) == (expected and (expected, field))


@pytest.mark.parametrize("value", DATES_ALLOWED)
def test_configured_date_field_takes_a_real_date_or_empty_text(value: str) -> None:
    assert reason({"packed_on": value}, date_fields=("packed_on",)) is None


@pytest.mark.parametrize("value", [v for v in DATES_REFUSED if v != "2024-05-01T10:00:00Z"])
def test_configured_date_field_refuses_anything_else(value: Any) -> None:
    assert reason({"packed_on": value}, date_fields=("packed_on",)) == "invalid_value"


def test_invalid_value_is_told_with_what_is_allowed() -> None:
    found = rejection({"activation_status": "active"})
    assert found is not None
    assert found.message == '"activation_status" is "active"; allowed: 0 (inactive), 1 (active) or 2 (blacklisted)'


def test_special_field_keeps_its_own_rule_when_configured_as_date() -> None:
    assert field_rules(["status", "packed_on"])["status"] is FIELD_RULES["status"]


@pytest.mark.parametrize("status", ["0", 2, "nonsense", "", "x" * 51, True, [1], {"a": 1}, float("nan")])
def test_status_beside_activation_status_is_dropped_unchecked(status: Any) -> None:
    maker = RowMaker("extended_id")
    for fields in (
        {"status": status, "activation_status": "1"},
        {"activation_status": "1", "status": status},
    ):
        (row,) = maker.rows(Event(fields, None, "K"), Record(None, 0, None, 0))
        assert row.rejection is None
        assert row.item == {"extended_id": "K", "activation_status": "1"}


def test_status_beside_an_activation_status_of_null_is_checked_and_sent() -> None:
    assert reason({"status": "9", "activation_status": None}) == "invalid_value"
    assert reason({"status": "2", "activation_status": None}) is None


def test_key_field_among_the_fields_with_another_value_is_a_conflict() -> None:
    found = rejection({"a": "1", "extended_id": "K2"})
    assert found is not None
    assert (found.reason, found.field) == ("key_conflict", "extended_id")


@pytest.mark.parametrize("value", ["K1", None])
def test_key_field_among_the_fields_with_the_same_value_or_null_is_dropped(value: Any) -> None:
    for fields in ({"extended_id": value, "a": "1"}, {"a": "1", "extended_id": value}):
        assert reason(fields) is None


def test_key_field_is_compared_as_text_and_exactly() -> None:
    assert reason({"a": "1", "extended_id": 7}, "7") is None
    assert reason({"a": "1", "extended_id": "k1"}, "K1") == "key_conflict"
    assert reason({"a": "1", "extended_id": "K1 "}, "K1") == "key_conflict"


@pytest.mark.parametrize("fields", [{}, {"a": None}, {"extended_id": "K1"}, {"extended_id": "K1", "a": None}])
def test_event_that_sets_nothing_has_no_fields(fields: dict[str, Any]) -> None:
    assert reason(fields) == "no_fields"


def test_null_fields_are_dropped_before_any_rule_looks() -> None:
    fields = dict.fromkeys([*FIELD_RULES, "extended_id", "packed_on", "a" * 80]) | {"a": "1"}
    assert reason(fields, date_fields=("packed_on",)) is None


@pytest.mark.parametrize("name", ["", " ", "x" * 200, "Ünïcode", "product "])
def test_field_names_are_sent_as_they_are(name: str) -> None:
    assert reason({name: "1"}) is None


def test_gravest_failure_is_reported_whatever_the_order_of_the_fields() -> None:
    failing: dict[str, Any] = {
        "activation_status": "9",
        "extended_id": "other",
        "date_consumed": "2024-05-01",
        "note": "x" * 51,
    }
    found = []
    while len(failing) > 0:
        forward = reason(failing, "K1")
        assert reason(dict(reversed(failing.items())), "K1") == forward
        found.append(forward)
        field = {"value_too_long": "note", "forbidden_field": "date_consumed", "key_conflict": "extended_id"}
        del failing[field.get(str(forward), "activation_status")]
    assert found == ["value_too_long", "forbidden_field", "invalid_value", "key_conflict"]
    assert reason({"note": "x" * 51}, " ") == "key_blank"
    assert reason({}, " ") == "key_blank"


def test_of_two_failures_with_one_reason_the_first_field_is_reported() -> None:
    found = rejection({"a": "1", "status": "8", "blacklist_reason": "x"})
    assert found is not None
    assert found.field == "status"


def test_reasons_rank_as_they_are_listed() -> None:
    ranked = [Rejection(reason, "") for reason in REASONS]
    for index, first in enumerate(ranked):
        assert graver(first, None) is graver(None, first) is first
        for second in ranked[index + 1 :]:
            assert graver(first, second) is graver(second, first) is first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T23:30:00Z", "2024-05-01"),
        ("2024-05-01T23:30:00-05:00", "2024-05-01"),
        ("2024-05-01t23:30:00.123456789z", "2024-05-01"),
        ("2024-12-31T23:59:59.9999999Z", "2024-12-31"),
        ("2016-12-31 23:59:60Z", "2016-12-31"),
        ("2024-05-01T23:30:00", None),
        ("2024-05-01T24:00:00Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-05-01T23:30Z", None),
        ("2024-05-01T23:30:00+0500", None),
        ("2024-05-01", None),
        ("2024-05-01T23:30:00Z\n", None),
        ("", None),
    ],
)
def test_rfc_3339_timestamp_gives_the_date_at_its_own_offset(text: str, expected: str | None) -> None:
    assert timestamp_date(text) == expected


def test_date_is_a_day_of_the_calendar() -> None:
    assert is_date("2024-02-29")
    assert not is_date("1900-02-29")
    assert not is_date("")


def test_message_quotes_values_on_one_line_and_cut() -> None:
    assert quoted("ab") == '"ab"'
    assert quoted("x" * 61) == '"' + "x" * 60 + '…"'
    assert quoted("a\nb\x00\u2028\ud800") == r'"a\nb\x00\u2028\ud800"'
    quoted("\ud800").encode()
