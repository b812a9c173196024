"""Verdicts on responses, by the upload guide's responses and the contract's table."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.model import Row
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.classification import BODY_EXCERPT, LineNumbers, Outcome, classify
from consumer.core.uploading.response import Response
from consumer.core.verdict import Verdict
from tests.unit.builders import answered, error_of, lost, naming, rows_of, unsent


def _rows(*values: str, **fields: Any) -> list[Row]:
    return rows_of(Partition("events", 0, 0, 0), *values, **fields)


def _read(rows: list[Row], response: Response, data_key: str = "extended_id") -> Outcome:
    return classify(data_key, rows, response)


def _ok(items: dict[str, Any], affected: Any) -> Response:
    return answered(
        200, {"total_updates": 1, "changes": [], "items": items, "codes_affected": affected}
    )


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, Verdict.NONE_NAMED),
        (401, Verdict.UNAUTHORIZED),
        (403, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (405, Verdict.REFUSED),
        (406, Verdict.REFUSED),
        (408, Verdict.FAILED),
        (413, Verdict.TOO_LARGE),
        (429, Verdict.THROTTLED),
        (500, Verdict.FAILED),
        (502, Verdict.FAILED),
        (503, Verdict.FAILED),
        (504, Verdict.FAILED),
        (599, Verdict.FAILED),
        (201, Verdict.UNEXPECTED),
        (204, Verdict.UNEXPECTED),
        (301, Verdict.UNEXPECTED),
        (302, Verdict.UNEXPECTED),
        (307, Verdict.UNEXPECTED),
        (308, Verdict.UNEXPECTED),
        (402, Verdict.UNEXPECTED),
        (407, Verdict.UNEXPECTED),
        (409, Verdict.UNEXPECTED),
        (418, Verdict.UNEXPECTED),
        (422, Verdict.UNEXPECTED),
    ],
)
def test_each_status_has_its_reading(status: int, verdict: Verdict) -> None:
    assert _read(_rows("A"), answered(status, body=b"<html>no</html>")).verdict is verdict


def test_no_answer_to_a_request_that_was_sent_is_lost_and_to_an_unsent_one_is_not() -> None:
    assert _read(_rows("A"), lost()).verdict is Verdict.LOST
    assert _read(_rows("A"), unsent()).verdict is Verdict.UNSENT


def test_the_documented_200_accepts_every_row() -> None:
    outcome = _read(_rows("A", "B"), _ok({"A": ["note"], "B": ["note"]}, 2))
    assert (outcome.verdict, outcome.missing, outcome.unlisted) == (Verdict.ACCEPTED, [], {})


@pytest.mark.parametrize(
    "response",
    [
        answered(200, body=b"<html>captive portal</html>"),
        answered(200, body=b""),
        answered(200, {}),
        answered(200, {"detail": "ok"}),
        answered(200, {"items": ["A"], "codes_affected": 1}),
        answered(200, {"items": {"A": ["note"]}, "codes_affected": "1"}),
    ],
)
def test_a_200_that_is_not_the_documented_answer_is_unexpected(response: Response) -> None:
    assert _read(_rows("A"), response).verdict is Verdict.UNEXPECTED


def test_keys_left_out_of_items_while_fewer_codes_were_affected_are_missing() -> None:
    rows = _rows("A", "B", "C")
    assert _read(rows, _ok({"A": ["note"]}, 1)).missing == rows[1:]


@pytest.mark.parametrize(
    ("items", "affected", "data_key"),
    [
        ({"A": ["note"]}, 3, "extended_id"),  # every code was affected
        ({}, 0, "extended_id"),  # none is in items: this API does not list them
        ({"A": ["note"]}, 1, "case_code"),  # a key that may name many codes
        ({"A": ["note"]}, None, "extended_id"),
    ],
)
def test_keys_left_out_of_items_mean_nothing_otherwise(
    items: dict[str, Any], affected: int | None, data_key: str
) -> None:
    rows = rows_of(Partition("events", 0, 0, 0), "A", "B", "C")
    outcome = _read(rows, _ok(items, affected), data_key)
    assert (outcome.verdict, outcome.missing) == (Verdict.ACCEPTED, [])


def test_a_repeat_that_is_left_out_again_is_missing_even_when_it_went_alone() -> None:
    (row,) = _rows("A")
    row.left_out_once = True
    assert _read([row], _ok({}, 0)).missing == [row]


def test_fields_that_items_does_not_list_are_told() -> None:
    rows = _rows("A", "B", note="x", market="cn")
    outcome = _read(rows, _ok({"A": ["note"], "B": ["note", "market"]}, 2))
    assert list(outcome.unlisted.values()) == [["market"]]
    assert outcome.verdict is Verdict.ACCEPTED


def test_errors_name_rows_by_key_value() -> None:
    rows = _rows("A", "B", "C")
    outcome = _read(rows, naming(error_of("C"), error_of("A", field="extended_id")))
    assert outcome.verdict is Verdict.ROWS_NAMED
    why = {
        row.value: (r.reason, r.message, r.field, r.stage, r.http_status)
        for row, r in outcome.rejected
    }
    assert why == {
        "C": ("rejected_by_api", "Invalid product", "product", "upload", 400),
        "A": ("unknown_key", "Invalid extended_id", "extended_id", "upload", 400),
    }
    assert outcome.others == [rows[1]]


def test_until_it_is_known_how_lines_are_counted_they_name_rows_to_be_tried_alone() -> None:
    rows = _rows("A", "B", "C", "D")
    errors = [{"message": "bad", "line": "2", "field": "f"}]
    outcome = _read(rows, answered(400, {"errors": errors}))
    assert (outcome.verdict, outcome.rejected) == (Verdict.ROWS_NAMED, [])
    assert [row.value for row in outcome.candidates] == ["B", "C", "A"], (
        "counted from 1, from 0, or with a header"
    )
    assert [row.value for row in outcome.others] == ["D"]


def test_lines_that_only_one_way_of_counting_puts_inside_of_the_window_mean_one_row() -> None:
    rows = _rows("A", "B", "C")
    errors = [
        {"message": "bad", "line": "1", "field": "f"},
        {"message": "bad", "line": 3, "field": "f"},
    ]
    outcome = _read(rows, answered(400, {"errors": errors}))
    assert [row.value for row in outcome.candidates] == ["A"]
    assert outcome.others == rows[1:]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_once_it_is_known_how_lines_are_counted_they_name_their_rows(first: int) -> None:
    lines = LineNumbers()
    lines.learn(first + 1, 1)
    rows = _rows("A", "B", "C")
    errors = [{"message": "bad", "line": first}, {"message": "bad", "line": str(first + 2)}]
    outcome = classify("extended_id", rows, answered(400, {"errors": errors}), lines=lines)
    assert [row.value for row, _ in outcome.rejected] == ["A", "C"]
    assert outcome.others == [rows[1]]


def test_a_key_value_goes_before_a_line() -> None:
    rows = _rows("A", "B")
    outcome = _read(rows, naming(error_of("B", line="1")))
    assert [row.value for row, _ in outcome.rejected] == ["B"]


def test_several_errors_about_one_row_reject_it_once() -> None:
    outcome = _read(_rows("A", "B"), naming(error_of("A", field="one"), error_of("A", field="two")))
    assert [(row.value, why.field) for row, why in outcome.rejected] == [("A", "one")]


@pytest.mark.parametrize(
    "document",
    [
        {"errors": []},
        {"errors": [error_of("elsewhere", line="1")]},
        {"errors": [{"message": "bad", "line": "0"}, {"message": "bad", "line": "3"}]},
        {"errors": [{"message": "bad", "line": "-1"}, {"message": "bad", "line": "²"}]},
        {"errors": ["A", None, 7]},
        {"errors": {"A": "bad"}},
        {"errors": "A"},
        {"detail": "A is wrong"},
        {"errors": [{"message": "bad", "line": True}]},
    ],
)
def test_a_400_that_names_no_row_of_this_window_names_none(document: dict[str, Any]) -> None:
    outcome = _read(_rows("A", "B"), answered(400, document))
    assert (outcome.verdict, outcome.rejected) == (Verdict.NONE_NAMED, [])


def test_a_key_value_that_came_as_a_number_names_its_row() -> None:
    outcome = _read(
        _rows("12", "13"), answered(400, {"errors": [{"message": "bad", "key_value": 13}]})
    )
    assert [row.value for row, _ in outcome.rejected] == ["13"]


def test_what_came_back_is_told_by_at_most_its_first_characters() -> None:
    text = _read(_rows("A"), answered(400, body=b"x" * 10_000)).text
    assert text.startswith("HTTP 400: x")
    assert text.count("x") == BODY_EXCERPT


def test_a_body_that_is_no_text_can_be_told_too() -> None:
    assert "HTTP 502" in _read(_rows("A"), answered(502, body=b"\xff\xfe\x00")).text
