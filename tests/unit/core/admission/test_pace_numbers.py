"""The numbers that the architecture page gives for the group's pace, to the millisecond and to the
percent.
"""

from __future__ import annotations

import pytest

from consumer.core.admission.pace import Pace

pytestmark = pytest.mark.promise("budget")

RATE = 10.0  #: slots of 1 / 9.5 s


def test_a_slot_lapses_25_ms_after_it_began() -> None:
    """Later than that, the slot and the next member's would lie within a shorter time than the rate
    allows.
    """
    for late, used in ((0.024, True), (0.026, False)):
        pace = Pace(RATE)
        pace.set_share([0], 2, 0.0, 0.0)
        begin = pace.earliest_start(0.0)
        assert (pace.earliest_start(begin + late) == begin + late) == used, (
            f"pace: a slot is used {late} s after it began"
        )


def test_after_a_429_the_pace_is_seven_tenths_and_in_the_end_a_fiftieth() -> None:
    pace = Pace(RATE)
    pace.slow_down(0.0, 1.0)
    assert pace.budget == pytest.approx(7.0), "pace: what a 429 leaves"
    for at in range(2, 60):
        pace.slow_down(float(at), float(at))
    assert pace.budget == pytest.approx(0.2), "pace: the least that 429s leave"


def test_a_success_adds_a_percent_of_the_full_pace_and_near_the_last_429_half_of_the_present() -> (
    None
):
    pace = Pace(RATE)
    pace.slow_down(0.0, 1.0)
    pace.speed_up()
    assert pace.budget == pytest.approx(7.1), "pace: far from where the last 429 came"
    for _ in range(20):
        pace.speed_up()
    before = pace.budget
    assert before is not None
    assert before == pytest.approx(9.1, abs=0.11), "pace: within a tenth of where it came"
    pace.speed_up()
    assert pace.budget == pytest.approx(before * 1.005), "pace: near where the last 429 came"
