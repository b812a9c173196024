"""Desired members: never more than help, at once more, slowly fewer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.ops.scaling import FALL_SECONDS, Capacity, DesiredMembers, Need, members_for

TARGET = 300.0
#: What one member does: 8 requests of half a second with 100 rows each, 1,600 rows a second.
NO_LIMIT = Capacity(8, 100.0)

needs = st.builds(
    Need,
    behind=st.integers(0, 10**9),
    per_second=st.floats(0, 1e6),
    partitions=st.integers(1, 500),
)
capacities = st.builds(
    Capacity,
    concurrency=st.integers(1, 512),
    rows_per_request=st.floats(0.1, 100),
    request_seconds=st.floats(0.0, 75),
    rows_per_record=st.floats(0.1, 1000),
    requests_per_second=st.floats(0, 1000),
    measured_rows=st.none() | st.floats(0, 1e5),
)


@given(needs, capacities, st.floats(1, 1e5))
def test_at_least_one_at_most_the_partitions_and_what_the_budget_feeds(
    need: Need, capacity: Capacity, target: float
) -> None:
    number = members_for(need, capacity, target)
    assert 1 <= number <= need.partitions
    if capacity.requests_per_second and number > 1:
        others = (number - 1) * capacity.member_requests
        assert others < capacity.requests_per_second, "without the last one all were used already"


@given(needs, capacities, st.integers(0, 10**9), st.floats(1, 1e5))
def test_more_behind_never_takes_fewer_members(
    need: Need, capacity: Capacity, more: int, target: float
) -> None:
    larger = Need(need.behind + more, need.per_second, need.partitions)
    assert members_for(larger, capacity, target) >= members_for(need, capacity, target)


@pytest.mark.parametrize(
    ("behind", "comes", "members"),
    [
        (0, 0.0, 1),
        (480_000, 0.0, 1),
        (480_001, 0.0, 2),
        (0, 1600.0, 1),
        (0, 1700.0, 2),
        (480_000, 1600.0, 2),
        (10**9, 0.0, 24),
    ],
)
def test_the_least_number_that_clears_the_lag_in_time_and_keeps_up(
    behind: int, comes: float, members: int
) -> None:
    assert members_for(Need(behind, comes, 24), NO_LIMIT, TARGET) == members


def test_ten_requests_a_second_feed_one_member_however_much_is_behind() -> None:
    api = Capacity(8, 100.0, 0.2, requests_per_second=10.0)
    assert members_for(Need(10**9, 1e5, 24), api, TARGET) == 1


def test_slow_requests_take_more_members_to_use_the_budget() -> None:
    slow = Capacity(8, 100.0, 4.0, requests_per_second=10.0)
    assert members_for(Need(10**9, 0.0, 24), slow, TARGET) == 5


def test_what_a_member_was_measured_to_do_counts_where_it_is_less() -> None:
    busy = Capacity(8, 100.0, 0.001, measured_rows=10_000.0)
    assert members_for(Need(12_000_000, 0.0, 24), busy, TARGET) == 4


def test_records_of_many_rows_are_more_work() -> None:
    documents = Capacity(8, 100.0, rows_per_record=100.0)
    assert members_for(Need(9_600, 0.0, 24), documents, TARGET) == 2


# -- over time -----------------------------------------------------------------------------------


def _observe(desired: DesiredMembers, at: float, needed: int, **more: object) -> int | None:
    hold = bool(more.get("hold"))
    most = more.get("most")
    desired.observe(at, needed, hold=hold, most=most if isinstance(most, int) else None)
    return desired.number


def test_nothing_is_told_before_anything_is_known() -> None:
    assert DesiredMembers().number is None


def test_it_rises_at_once_and_falls_when_ten_minutes_needed_no_more() -> None:
    desired = DesiredMembers()
    assert _observe(desired, 0, 2) == 2
    assert _observe(desired, 10, 7) == 7
    for at in range(20, 610, 10):
        assert _observe(desired, at, 1) == 7
    assert _observe(desired, 10 + FALL_SECONDS, 1) == 1


def test_it_falls_to_the_largest_of_the_ten_minutes_not_to_the_latest() -> None:
    desired = DesiredMembers()
    _observe(desired, 0, 9)
    _observe(desired, 300, 4)
    assert _observe(desired, 601, 1) == 4
    assert _observe(desired, 899, 1) == 4
    assert _observe(desired, 901, 1) == 1


def test_it_stays_while_the_group_rebalances_and_what_is_needed_then_does_not_count() -> None:
    desired = DesiredMembers()
    _observe(desired, 0, 3)
    assert _observe(desired, 10, 12, hold=True) == 3
    assert _observe(desired, 700, 1, hold=True) == 3, "nor does it fall"
    assert _observe(desired, 710, 2) == 2


def test_it_is_never_more_than_the_partitions_that_are_left() -> None:
    desired = DesiredMembers()
    _observe(desired, 0, 12)
    assert _observe(desired, 10, 3, most=6) == 6


@given(st.lists(st.tuples(st.floats(0, 120), st.integers(1, 50), st.booleans()), max_size=60))
def test_it_is_what_was_needed_at_most_in_ten_minutes_whatever_comes(
    steps: list[tuple[float, int, bool]],
) -> None:
    desired, at = DesiredMembers(), 0.0
    counted: list[tuple[float, int]] = []
    for seconds, needed, hold in steps:
        before, at = desired.number, at + seconds
        told = _observe(desired, at, needed, hold=hold)
        if hold:
            assert told == before
            continue
        counted.append((at, needed))
        assert told == max(number for when, number in counted if when > at - FALL_SECONDS)
        assert told is not None
        assert told >= needed, "it rises at once"


def test_a_budget_without_limit_feeds_any_number() -> None:
    assert NO_LIMIT.fed == math.inf
