"""The last fifteen minutes as samples."""

from __future__ import annotations

from itertools import pairwise

from consumer.ops.history import EVERY_SECONDS, SAMPLES, History


def test_a_sample_is_what_happened_since_the_one_before() -> None:
    history = History()
    history.add(0.0, rows=100, rejected=1, behind=50, lag_seconds=3.0)
    assert history.samples(0.0) == [], "nothing has happened since the first count"
    history.add(15.0, rows=400, rejected=16, behind=20, lag_seconds=None)
    (sample,) = history.samples(20.0)
    assert (sample.seconds, sample.rows_per_second, sample.rejected_per_second) == (5.0, 20.0, 1.0)
    assert (sample.records_behind, sample.lag_seconds) == (20, None)


def test_it_keeps_fifteen_minutes_and_no_more_the_oldest_first() -> None:
    history = History()
    for number in range(200):
        history.add(15.0 * number, rows=number, rejected=0, behind=number, lag_seconds=0.0)
    samples = history.samples(15.0 * 199)
    assert len(samples) == SAMPLES
    assert [sample.records_behind for sample in samples] == list(range(140, 200))
    assert samples[0].seconds == 15.0 * 59


def test_one_is_due_every_fifteen_seconds_whatever_the_tick() -> None:
    history = History()
    taken = []
    for tick in range(241):
        now = tick * 2.5 * 1.01  # a thread is always a little late
        if history.due(now):
            history.add(now, rows=0, rejected=0, behind=0, lag_seconds=0.0)
            taken.append(now)
    gaps = {round(after - before) for before, after in pairwise(taken)}
    assert gaps == {round(EVERY_SECONDS)}
