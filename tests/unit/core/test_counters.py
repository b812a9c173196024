"""Counts for the metrics: names are bounded, histograms add up."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.counters import MAX_NAME, MAX_NAMES, OTHER, Histogram, Tally
from consumer.core.model import Record, Row
from consumer.core.offsets.partition import Partition, settle
from consumer.core.pipeline import AGES


def test_names_beyond_the_first_ones_are_counted_as_other() -> None:
    tally = Tally()
    for number in range(MAX_NAMES + 10):
        tally.count(f"field{number}", 2)
    tally.count("field0")
    assert len(tally) == MAX_NAMES + 1
    assert tally["field0"] == 3
    assert tally[OTHER] == 20


def test_a_long_name_is_cut() -> None:
    tally = Tally()
    for end in "abc":
        tally.count("x" * 1_000_000 + end)
    ((name, count),) = tally.items()
    assert (len(name), count) == (MAX_NAME, 3)


def test_a_value_on_a_bound_lies_at_or_under_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 14.0


@given(
    st.lists(st.integers(-5, 20_000_000), max_size=300),
    st.integers(1, 20_000_000),
    st.lists(st.sampled_from([0.1, 0.25, 1.0, 2.5, 60.0, 3600.0]), min_size=1, unique=True).map(
        sorted
    ),
)
def test_a_batch_of_ages_is_counted_as_each_of_them_would_be(
    times: list[int], now: int, bounds: list[float]
) -> None:
    batch, single = Histogram(tuple(bounds)), Histogram(tuple(bounds))
    for at in times:
        if at > 0:
            single.observe(max(0, now - at) / 1000)
    batch.observe_ages(now, list(times), per_second=1000)
    assert batch.counts == single.counts
    assert abs(batch.sum - single.sum) < 1e-6 * max(1.0, single.sum)


def test_records_without_a_time_are_not_observed() -> None:
    histogram = Histogram((1.0,))
    histogram.observe_ages(5000.0, [-1, 0, 4500], per_second=1000)
    assert histogram.counts == [1, 0]
    assert histogram.sum == 0.5


@pytest.mark.alone
def test_settling_and_counting_it_costs_less_than_a_microsecond_a_row() -> None:
    """About a third of one on a busy machine.

    The best of many batches, so that a busier one fails nobody.
    """
    partition = Partition("events", 0, 0, 0)
    histogram, tally = Histogram(AGES), Tally()
    now, rows_of_a_batch = 1_700_000_100_000, 100
    best = float("inf")
    for batch in range(300):
        records = [
            Record(partition, n, None, 1, now - 50 * n - batch, open=1)
            for n in range(rows_of_a_batch)
        ]
        rows = [Row(record, "extended_id", "K", {}, (), 0) for record in records]
        partition.ledger.unsettled = rows_of_a_batch
        timestamps: list[int] = []
        began = time.perf_counter()
        settle(rows, timestamps)
        histogram.observe_ages(now, timestamps, per_second=1000)
        tally.count("extended_id", len(rows))
        best = min(best, time.perf_counter() - began)
    assert sum(histogram.counts) == 300 * rows_of_a_batch
    assert best / rows_of_a_batch < 1e-6
