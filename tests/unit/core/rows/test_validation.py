"""Every rule that a row must pass, by name.

Those of the special fields stand in ``test_special_fields``.
"""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.model import Event, Record, Rejection
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.core.rows.special_fields import FIELD_RULES
from consumer.core.rows.validation import (
    REASONS,
    graver,
    is_date,
    quoted,
    timestamp_date,
)


def rejection(
    fields: dict[str, Any], key_value: Any = "K1", *, date_fields: tuple[str, ...] = ()
) -> Rejection | None:
    maker = RowMaker("extended_id", date_fields)
    event = Event(fields, "extended_id", key_value)
    (row,) = maker.rows(event, Record(Partition("events", 0, 0, None), 0, None, 0))
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


@pytest.mark.parametrize(
    "fields", [{}, {"a": None}, {"extended_id": "K1"}, {"extended_id": "K1", "a": None}]
)
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
        field = {
            "value_too_long": "note",
            "forbidden_field": "date_consumed",
            "key_conflict": "extended_id",
        }
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
def test_rfc_3339_timestamp_gives_the_date_at_its_own_offset(
    text: str, expected: str | None
) -> None:
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
