"""The measurement of a long outage: each of its bounds is seen when it is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.outage import Run, _rates, judge

GOOD = Run(
    peak_mib=100.0,
    peak_before_mib=95.0,
    steady=50_000.0,
    back_after=3.0,
    afterwards=50_000.0,
    generations=1,
    repeated=0,
    problems=[],
)


def test_a_run_within_the_bounds_passes() -> None:
    assert judge(GOOD, replace(GOOD, peak_mib=119.0)) == []


@pytest.mark.parametrize(
    ("away", "problem"),
    [
        (replace(GOOD, peak_mib=121.0), "peak of memory"),
        (replace(GOOD, back_after=5.1), "full speed"),
        (replace(GOOD, back_after=None), "full speed"),
        (replace(GOOD, generations=2), "2 generations"),
        (replace(GOOD, problems=["not all is committed"]), "not all is committed"),
    ],
)
def test_each_bound_is_judged(away: Run, problem: str) -> None:
    assert [problem in found for found in judge(GOOD, away)] == [True]


def test_rates_are_taken_over_a_second_of_samples() -> None:
    samples = [(number * 0.2, number * 100) for number in range(7)]
    assert _rates(samples) == pytest.approx([500.0, 500.0])
