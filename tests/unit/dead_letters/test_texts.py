"""Texts of strangers on a terminal, and complaints that are the same but for their codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.dead_letters.texts import COMPLAINT, complaint, printable, time_text


@given(st.text())
def test_nothing_that_a_terminal_would_obey_is_printed(text: str) -> None:
    assert printable(text).isprintable()


def test_a_long_text_is_cut_and_shows_that_it_is() -> None:
    assert printable("abcdef", 4) == "abc…"
    assert printable("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("message", "key", "said"),
    [
        ('No code "HGDTQ" of yours', "HGDTQ", 'No code "<key>" of yours'),
        ("SKU 4711 unknown, line 3", None, "SKU # unknown, line #"),
        ("case A-12/B, HTTP 400", "A-12/B", "case <key>, HTTP #"),
        ("a bad value", "a", "a bad value"),
        ("", "KEYS", ""),
    ],
)
def test_what_differs_by_code_and_number_is_one_complaint(
    message: str, key: str | None, said: str
) -> None:
    assert complaint(message, key) == said


@given(st.text(min_size=500, max_size=3000), st.none() | st.text(max_size=10))
def test_a_complaint_is_bounded_enough_to_group_by(message: str, key: str | None) -> None:
    assert len(complaint(message, key)) <= 10 * COMPLAINT


def test_a_time_is_told_in_utc() -> None:
    assert time_text(1_800_000_000_123) == "2027-01-15T08:00:00.123Z"
    assert time_text(-1) == "no time"
