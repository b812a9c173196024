"""Numbers and times as a person says them; texts of events that can only be read."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.ops.view.text import MAX_CHARACTERS, clean, cleaned, duration, number
from tests.support.status_samples import HOSTILE

#: Unicode's categories of what is not seen, and may do something.
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (119.0, "119 s"),
        (180.0, "3 min"),
        (7_100.0, "118 min"),
        (7_200.0, "2.0 h"),
        (200_000.0, "2.3 days"),
        (None, "–"),  # noqa: RUF001
        (math.inf, "–"),  # noqa: RUF001
        (math.nan, "–"),  # noqa: RUF001
    ],
)
def test_a_time_is_told_in_one_unit(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (35_800, "35,800"), (1.26, "1.3"), (190.3, "190"), (None, "–"), (math.nan, "–")],  # noqa: RUF001
)
def test_a_number_is_told_with_thousands_parted(value: float | None, told: str) -> None:
    assert number(value) == told


@given(st.text(alphabet=st.characters(), max_size=3 * MAX_CHARACTERS))
def test_whatever_a_text_holds_is_seen_and_does_nothing(text: str) -> None:
    shown = clean(text)
    assert not {unicodedata.category(character) for character in shown} & UNSEEN
    assert shown.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_seen_as_it_is(text: str) -> None:
    assert clean(text).isprintable()
    if text.isprintable() and len(text) <= MAX_CHARACTERS:
        assert clean(text) == text, "what can be read stays"


def test_a_control_sequence_is_seen_as_one() -> None:
    assert clean("\x1b[31mred\u202e") == r"\x1b[31mred\u202e"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clean("a" * MAX_CHARACTERS) == "a" * MAX_CHARACTERS
    assert clean("a" * 10_000) == f"{'a' * MAX_CHARACTERS}… (9,760 more characters)"


def test_a_whole_document_is_cleaned_keys_and_lists_included() -> None:
    assert cleaned({"\x1b": [("\x07", 1, None)], "n": {"x": "\u200b"}}) == {
        r"\x1b": [[r"\x07", 1, None]],
        "n": {"x": r"\u200b"},
    }
