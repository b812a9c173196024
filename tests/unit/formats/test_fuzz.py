"""Any input gives rows or a dead letter with a reason, soon.

A short run; ``python -m tests.fuzz`` is a long one.
"""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from consumer.formats import FORMATS
from tests.fuzz.inputs import HUGE, input_of
from tests.fuzz.judge import Judge

pytestmark = pytest.mark.promise("I1")

INPUTS = 15_000
#: What reading may take beside the input itself, in bytes for each of its bytes, and at least.
MOST_FOR_A_BYTE = 300
LEAST = 8_000_000


def test_any_input_gives_rows_or_a_dead_letter_with_a_reason() -> None:
    """To repeat an input by its number: ``python -m tests.fuzz --start NUMBER --inputs 1``."""
    judge = Judge()
    start = random.randrange(10**12)  # others every time
    for number in range(start, start + INPUTS):
        try:
            judge.read(number, input_of(number))
        except Exception as error:
            raise AssertionError(f"input {number}: {type(error).__name__}: {error}") from error
    for form in FORMATS:
        for what in ("rows", "invalid_event", "undecodable"):
            assert judge.made[f"{form}: {what}"] >= INPUTS / 1000, (
                f"hardly any input is {what} as {form}"
            )


@pytest.mark.parametrize("huge", HUGE, ids=range(len(HUGE)))
def test_few_words_that_say_much_take_neither_long_nor_much_memory(huge: object) -> None:
    assert callable(huge)
    raw = huge(100_000)
    judge = Judge()
    began = time.process_time()
    tracemalloc.start()
    try:
        for number in range(1, 2 * len(FORMATS), 2):  # with a registry, and all kinds of rules
            tracemalloc.reset_peak()
            judge.read(number, raw)
            _, peak = tracemalloc.get_traced_memory()
            assert peak < max(LEAST, MOST_FOR_A_BYTE * len(raw)), (
                f"{peak / 1e6:.0f} MB for {len(raw) / 1e6:.1f} MB"
            )
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 60
