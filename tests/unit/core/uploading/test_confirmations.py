"""Rows that a response leaves open: which are resent, for how long, and what is logged."""

from __future__ import annotations

import pytest

from consumer.core.batching.window import Window
from consumer.core.model import Row
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.classification import Outcome
from consumer.core.uploading.confirmations import FRUITLESS_REPEATS, Confirmations
from consumer.core.verdict import Verdict
from tests.unit.builders import rows_of


def _window(*values: str, key: str = "extended_id") -> Window:
    rows = rows_of(Partition("events", 0, 0, 0), *values, key=key)
    return Window(key, rows, "full", 1)


def _of(rows: list[Row], key: str = "extended_id") -> Window:
    return Window(key, rows, "full", 2)


def _fruitless(confirmations: Confirmations, count: int, key: str = "extended_id") -> None:
    """So many rows are left out, sent once more, and left out again."""
    for _ in range(count):
        window = _window("A", key=key)
        again = confirmations.to_resend(window, window.rows)
        assert again == window.rows, "it is sent once more"
        assert confirmations.to_resend(_of(again, key), again) == []


def test_a_row_that_an_answer_leaves_out_is_sent_once_more_and_then_counts_as_unconfirmed() -> None:
    confirmations, window = Confirmations(), _window("A", "B")
    left_out = window.rows[1:]
    assert confirmations.to_resend(window, left_out) == left_out
    assert confirmations.unconfirmed == 0, "it is not accepted yet"
    assert confirmations.to_resend(_of(left_out), left_out) == []
    assert confirmations.unconfirmed == 1


def test_a_row_that_its_repeat_confirms_is_not_counted_as_unconfirmed() -> None:
    confirmations, window = Confirmations(), _window("A")
    again = confirmations.to_resend(window, window.rows)
    assert confirmations.to_resend(_of(again), []) == []
    assert confirmations.unconfirmed == 0


def test_after_so_many_repeats_that_confirm_nothing_no_row_of_that_data_key_is_sent_again() -> None:
    confirmations = Confirmations()
    _fruitless(confirmations, FRUITLESS_REPEATS)
    window, other = _window("A", "B"), _window("P", key="pallet_code")
    assert confirmations.to_resend(window, window.rows) == []
    assert confirmations.unconfirmed == FRUITLESS_REPEATS + 2
    assert confirmations.to_resend(other, other.rows) == other.rows, "each data key by itself"


@pytest.mark.parametrize("confirmed_beside", [True, False])
def test_one_repeat_that_confirms_something_begins_the_count_anew(confirmed_beside: bool) -> None:
    """However many others in its request are left out once more."""
    confirmations = Confirmations()
    _fruitless(confirmations, FRUITLESS_REPEATS - 1)
    window = _window("A", "B") if confirmed_beside else _window("A")
    again = confirmations.to_resend(window, window.rows)
    confirmations.to_resend(_of(again), again[1:])
    _fruitless(confirmations, FRUITLESS_REPEATS)


def test_rows_beside_a_repeat_that_are_confirmed_at_once_are_no_fruit_of_repeats() -> None:
    confirmations = Confirmations()
    _fruitless(confirmations, FRUITLESS_REPEATS - 1)
    window = _window("A")
    again = confirmations.to_resend(window, window.rows)
    confirmations.to_resend(_of([*again, *_window("B").rows]), again)
    late = _window("C")
    assert confirmations.to_resend(late, late.rows) == [], (
        "repeats bring nothing, whatever else passes"
    )


def test_fields_that_an_answer_does_not_list_are_counted_by_name_for_each_row() -> None:
    confirmations = Confirmations()
    for unlisted in ({1: ["note", "batch"], 2: ["note"]}, {3: ["note"]}):
        confirmations.count(_window("A", "B"), Outcome(Verdict.ACCEPTED, unlisted=unlisted))
    assert confirmations.fields_not_confirmed == {"note": 3, "batch": 1}


def test_codes_that_were_changed_are_counted_by_data_key_where_the_api_tells() -> None:
    confirmations = Confirmations()
    for affected in (None, 40, 2):
        confirmations.count(
            _window("P", key="pallet_code"), Outcome(Verdict.ACCEPTED, affected=affected)
        )
    confirmations.count(_window("A"), Outcome(Verdict.ACCEPTED, affected=1))
    assert confirmations.codes_affected == {"pallet_code": 42, "extended_id": 1}


@pytest.mark.parametrize(
    ("key", "affected", "told"),
    [
        ("pallet_code", 1, "2 or more of 3 updates by pallet_code changed nothing"),
        ("pallet_code", 0, "3 or more of 3 updates by pallet_code changed nothing"),
        ("pallet_code", 3, ""),  # nothing is known of which
        ("pallet_code", None, ""),
        ("extended_id", 1, ""),  # an unknown code is an error of its own
        ("serial_number", 0, ""),
    ],
)
def test_updates_by_a_unit_that_no_code_is_in_are_told(
    key: str, affected: int | None, told: str
) -> None:
    outcome = Outcome(Verdict.ACCEPTED, affected=affected)
    said = Confirmations().count(_window("A", "B", "C", key=key), outcome)
    assert said.partition(":")[0] == told
