"""The group's rate: each member its share, no second over the rate, and what a 429 does to the
pace.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.admission.pace import Pace, assumed_slot_positions, slot_positions
from consumer.core.offsets.partition import Partition
from tests.unit.builders import Bench

pytestmark = pytest.mark.promise("budget")

RATE = 10.0
#: The wall clock when the owner's clock of a simulated member says 0.
WALL = 1_700_000_000.0


def _dealt(own: list[int], of: int, rate: float = RATE) -> Pace:
    pace = Pace(rate)
    pace.set_share(own, of, WALL, 0.0)
    return pace


def _run(
    pace: Pace, until: float, *, begin: float = 0.0, late: Callable[[], float] = lambda: 0.0
) -> list[float]:
    """Return when a member with enough to send starts requests, its loop late by so much."""
    starts: list[float] = []
    now = begin
    while True:
        now = pace.earliest_start(now)
        if now >= until:
            return starts
        now += late()
        if pace.earliest_start(now) <= now:  # else that slot has lapsed
            pace.consume(now)
            starts.append(now)


def _peak(starts: list[float]) -> int:
    """The most starts in any one second."""
    starts = sorted(starts)
    return max(sum(start <= other < start + 1.0 for other in starts) for start in starts)


# -- alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [Pace(RATE), _dealt([0, 1, 2], 3)])
def test_alone_requests_are_paced_one_by_one_slightly_under_the_rate(pace: Pace) -> None:
    starts = _run(pace, 60)
    assert min(after - before for before, after in pairwise(starts)) > 0.1, "burst 1"
    assert _peak(starts) <= RATE
    assert len(starts) >= 60 * RATE * 0.94, "slightly under the rate, not far under it"


def test_alone_idle_time_saves_up_no_burst_and_costs_no_waiting() -> None:
    pace = Pace(RATE)
    pace.consume(0)
    assert pace.earliest_start(100) == 100
    pace.consume(100)
    assert pace.earliest_start(100) > 100.1


def test_no_rate_is_no_limit() -> None:
    pace = _dealt([3], 8, rate=0)
    assert pace.budget is None
    for _ in range(1000):
        assert pace.earliest_start(5) == 5
        pace.consume(5)


# -- sharing -------------------------------------------------------------------------------------


def test_a_member_gets_the_share_of_its_partitions() -> None:
    for own in (1, 3, 8):
        pace = _dealt(list(range(own)), 24)
        assert pace.budget == pytest.approx(RATE * own / 24)
        assert len(_run(pace, 100)) == pytest.approx(0.95 * 100 * RATE * own / 24, rel=0.03)


def test_without_a_partition_nothing_starts() -> None:
    pace = _dealt([], 8)
    assert pace.budget == 0
    assert not pace.has_share
    assert pace.earliest_start(1000) == float("inf")
    assert not pace.unused(1000)


@settings(max_examples=60, deadline=None)
@given(
    owners=st.lists(st.integers(0, 4), min_size=2, max_size=40),
    rate=st.sampled_from((1.0, 3.0, 10.0, 50.0)),
    seed=st.integers(0, 2**32),
)
def test_together_members_keep_to_the_rate_in_any_second_however_they_come_and_go(
    owners: list[int], rate: float, seed: int
) -> None:
    """Members begin and pause where they like, and their loops are late as they like."""
    draw = random.Random(seed)
    starts: list[float] = []
    for member in set(owners):
        pace = _dealt(
            [place for place, owner in enumerate(owners) if owner == member], len(owners), rate
        )
        begin = 0.0
        for _ in range(3):
            starts += _run(
                pace, begin + 4, begin=begin, late=lambda: draw.choice((0.0, 0.005, 0.02, 0.3))
            )
            begin += 4 + draw.random()
    assert not starts or _peak(starts) <= rate, (
        "the group starts more requests in a second than its rate"
    )


def test_sharing_members_use_nearly_all_of_the_rate() -> None:
    draw = random.Random(1)
    shares = ([0, 3, 6], [1, 4, 7], [2, 5])
    starts = [
        at for own in shares for at in _run(_dealt(own, 8), 60, late=lambda: draw.uniform(0, 0.006))
    ]
    assert len(starts) >= 0.9 * 60 * RATE


@given(st.permutations(list(range(8))), st.integers(1, 7), st.floats(20, 21))
@settings(max_examples=60, deadline=None)
def test_in_the_moment_of_a_rebalance_the_group_stays_at_or_under_the_rate(
    slot_positions: list[int], kept: int, moved_at: float
) -> None:
    """Cooperative: the old owner gives partitions up, later the new one gets them.

    Then it leaves, and they go back.
    """
    old, new = _dealt(list(range(8)), 8), Pace(RATE)
    starts = _run(old, moved_at)
    old.set_share(sorted(slot_positions[:kept]), 8, WALL + moved_at, moved_at)
    given_at = moved_at + 0.004
    new.set_share(sorted(slot_positions[kept:]), 8, WALL + given_at, given_at)
    left_at = moved_at + 10
    starts += _run(old, left_at, begin=moved_at) + _run(new, left_at, begin=given_at)
    new.set_share([], 8, WALL + left_at, left_at)
    back_at = left_at + 0.004
    old.set_share(list(range(8)), 8, WALL + back_at, back_at)
    starts += _run(old, left_at + 10, begin=back_at) + _run(new, left_at + 10, begin=left_at)
    assert _peak(starts) <= RATE, "the group starts more requests in a second than its rate"


def test_a_wall_clock_that_was_set_back_or_forward_holds_nobody_up() -> None:
    pace = _dealt([0, 2], 4)
    _run(pace, 10)
    for number, jump in enumerate((-3600.0, 7200.0)):
        now = 10.0 + number * 10
        pace.set_share([1 - number, 2], 4, WALL + now + jump, now)
        assert pace.earliest_start(now) <= now + 0.6


def test_dealing_the_same_again_changes_nothing() -> None:
    pace = _dealt([0, 2], 4)
    opens_at = pace.earliest_start(10)
    pace.set_share([0, 2], 4, WALL + 10, 10)
    assert pace.earliest_start(10) == opens_at


def test_time_in_which_a_request_could_have_started_is_known_between_the_slots_too() -> None:
    pace = _dealt([0], 4)
    first = pace.earliest_start(1)
    assert first >= 1
    pace.consume(first)
    second = pace.earliest_start(first)
    assert not pace.unused(second - 0.01)
    assert pace.unused(second + 0.2), "the slot was let pass"
    assert pace.earliest_start(second + 0.2) > second + 0.2


# -- what 429 does -------------------------------------------------------------------------------


class Limited:
    """An API that lets so many requests pass in any second, and asks to wait for a second with a
    429.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._passed: list[float] = []
        self.answers: list[tuple[float, int]] = []

    def call(self, now: float) -> bool:
        self._passed = [at for at in self._passed if at > now - 1.0]
        passes = len(self._passed) < self.limit
        if passes:
            self._passed.append(now)
        self.answers.append((now, 200 if passes else 429))
        return passes


def _serve(pace: Pace, api: Limited, begin: float, until: float) -> float:
    now = begin
    while (now := pace.earliest_start(now)) < until:
        pace.consume(now)
        if api.call(now):
            pace.speed_up()
        else:
            pace.slow_down(now, now)
            now += 1.0
    return now


@pytest.mark.parametrize(
    "pace", [Pace(RATE), _dealt([0, 3, 5, 6], 8, rate=20.0)], ids=["alone", "sharing"]
)
def test_the_pace_settles_just_under_what_the_api_allows_and_comes_back(pace: Pace) -> None:
    api = Limited(3)
    now = _serve(pace, api, 0, 60)
    refused = sum(status == 429 for _, status in api.answers)
    assert refused / len(api.answers) < 0.10
    assert sum(status == 200 for at, status in api.answers if at >= 15) / 45 > 2.0
    api.limit = 1000
    budget = pace.budget
    assert budget is not None
    assert budget < 4
    _serve(pace, api, now, now + 25)
    assert pace.budget == RATE, "back at full pace"


def test_a_429_now_and_then_does_not_slow_down_for_good() -> None:
    pace = Pace(RATE)
    served, now = 0, 0.0
    while (now := pace.earliest_start(now)) < 300:
        pace.consume(now)
        served += 1
        pace.slow_down(now, now) if served % 100 == 0 else pace.speed_up()
    assert served / 300 > 0.9 * 9.5


def test_the_answers_of_one_moment_slow_down_once() -> None:
    pace = Pace(RATE)
    assert pace.slow_down(9.0, 10.0)
    budget = pace.budget
    assert not any(pace.slow_down(sent_at, 10.1) for sent_at in (9.1, 9.5, 9.9))
    assert pace.budget == budget
    assert pace.slow_down(10.2, 10.5)


def test_however_many_429_come_a_little_of_the_pace_is_left() -> None:
    pace = Pace(RATE)
    for at in range(100):
        pace.slow_down(at, at)
    assert pace.budget is not None
    assert pace.budget >= 0.2


def test_every_member_finds_each_partition_at_the_same_place_and_each_place_has_one() -> None:
    counts = {"packed": 3, "scanned": 2, "shipped": 4}
    everything = [
        Partition(topic, number, 0, 0) for topic, count in counts.items() for number in range(count)
    ]
    for seed in range(20):
        random.Random(seed).shuffle(everything)
        known = dict(random.Random(seed).sample(list(counts.items()), 3))
        shares = [
            slot_positions(known, everything[:4]),
            slot_positions(dict(reversed(known.items())), everything[4:]),
        ]
        assert sorted(shares[0] + shares[1]) == list(range(9))
    assert slot_positions(
        counts, [Partition("scanned", 1, 0, 0), Partition("packed", 0, 0, 0)]
    ) == [0, 4]


def test_a_partition_that_the_group_is_not_known_to_read_has_no_place() -> None:
    fresh = [
        Partition("packed", 3, 0, 0),
        Partition("unheard", 0, 0, 0),
        Partition("packed", 2, 0, 0),
    ]
    assert slot_positions({"packed": 3}, fresh) == [2]


# -- when the partitions cannot be counted -------------------------------------------------------


def _bench(*numbers: int) -> Bench:
    """A member that owns these partitions of the topic "events"."""
    bench = Bench(rate=RATE)
    for number in numbers:
        bench.partition(number)
    return bench


def _budget(bench: Bench) -> float:
    budget = bench.pipeline.gate.pace.budget
    assert budget is not None
    return budget


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60))
@settings(max_examples=30, deadline=None)
def test_members_that_could_not_count_the_partitions_stay_under_the_rate_together(
    owners: list[int],
) -> None:
    starts: list[float] = []
    for member in set(owners):
        mine = [
            Partition("events", place, 0, 0)
            for place, owner in enumerate(owners)
            if owner == member
        ]
        starts += _run(_dealt(*assumed_slot_positions(mine)), 20)
    assert not starts or _peak(starts) <= RATE, (
        "the group starts more requests in a second than its rate"
    )


def test_a_member_that_could_not_count_the_partitions_takes_little_until_it_can() -> None:
    bench = _bench(0, 1)
    bench.pipeline.set_partition_counts({}, WALL, bench.now)
    assert 0 < _budget(bench) <= RATE / 10, "each member runs at the full rate when counting fails"
    bench.pipeline.set_partition_counts({"events": 8}, WALL, bench.now)
    assert _budget(bench) == pytest.approx(RATE * 2 / 8), "it is known now"


def test_what_was_counted_before_holds_when_counting_fails() -> None:
    bench = _bench(0, 1)
    bench.pipeline.set_partition_counts({"events": 8}, WALL, bench.now)
    bench.pipeline.set_partition_counts({}, WALL, bench.now)
    assert _budget(bench) == pytest.approx(RATE * 2 / 8)


def test_a_member_that_could_not_count_and_owns_nothing_starts_nothing() -> None:
    bench = _bench(0)
    bench.pipeline.set_partition_counts({}, WALL, bench.now)
    bench.pipeline.remove_partitions(list(bench.pipeline.partitions), bench.now)
    assert not bench.pipeline.gate.pace.has_share
