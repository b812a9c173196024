"""The contract of whoever writes dead letters, as the owner loop relies on it.

The same for the real one and the simulated one.
"""

from __future__ import annotations

import pytest

from consumer.core.model import Stage
from tests.contract.letters import LettersSite, RealLetters, letter_of


def _sent(letters: LettersSite, *values: str) -> list[int]:
    for offset, value in enumerate(values):
        letters.send(letter_of(value, offset))
    return list(range(len(values)))


def _acknowledged(letters: LettersSite) -> list[int]:
    return [row.record.offset for row in letters.acknowledged()]


def _write(letters: LettersSite, offset: int) -> None:
    """Write a letter and wait for its acknowledgement."""
    letters.send(letter_of("A", offset))
    letters.wait_until(lambda: offset in _acknowledged(letters), "it is acknowledged")


@pytest.mark.promise("I1")
def test_a_row_is_acknowledged_only_when_its_letter_is_in_the_topic(letters: LettersSite) -> None:
    offsets = _sent(letters, "A", "B", "C")
    letters.pass_time(1.0)
    assert _acknowledged(letters) == [], "I1: a letter is acknowledged that is nowhere"
    letters.make_writable()
    letters.wait_until(lambda: set(_acknowledged(letters)) == set(offsets), "all are acknowledged")
    assert set(letters.written()) == set(offsets), "I1: a letter is acknowledged that is nowhere"


@pytest.mark.promise("I1")
def test_a_letter_that_the_broker_refuses_is_not_acknowledged_and_tried_again(
    refused_letters: RealLetters,
) -> None:
    _sent(refused_letters, "A")
    refused_letters.pass_time(1.5)
    assert _acknowledged(refused_letters) == [], "I1: a letter is acknowledged that is nowhere"
    refused_letters.make_writable()
    refused_letters.wait_until(lambda: _acknowledged(refused_letters) == [0], "it is acknowledged")
    assert refused_letters.written() == [0], "I1: a letter is acknowledged that is nowhere"


def test_each_row_is_acknowledged_and_written_once_when_nothing_goes_wrong(
    letters: LettersSite,
) -> None:
    letters.make_writable()
    offsets = _sent(letters, *(f"K{number}" for number in range(50)))
    letters.wait_until(lambda: len(_acknowledged(letters)) == 50, "all are acknowledged")
    letters.pass_time(0.2)
    assert sorted(_acknowledged(letters)) == offsets
    assert sorted(letters.written()) == offsets


@pytest.mark.promise("fencing")
def test_a_letter_of_a_partition_that_was_taken_away_is_not_written_any_more(
    letters: LettersSite,
) -> None:
    gone, stays = letter_of("A", 0), letter_of("B", 1)
    letters.send(gone)
    letters.send(stays)
    gone.row.stage = Stage.DONE  # the topic cannot be written yet
    letters.make_writable()
    letters.wait_until(lambda: 1 in _acknowledged(letters), "the other one is acknowledged")
    letters.pass_time(0.2)
    assert letters.written() == [1], "fencing: a letter of a partition that is gone"
    assert _acknowledged(letters) == [1]


def test_letters_of_one_code_that_follow_each_others_acknowledgement_stay_in_order(
    letters: LettersSite,
) -> None:
    """As the claims of their rows have it.

    The later one is handed in when the earlier one is acknowledged.
    """
    letters.make_writable()
    for offset in range(5):
        _write(letters, offset)
    assert letters.written() == [0, 1, 2, 3, 4]
