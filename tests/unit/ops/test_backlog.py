"""The end of a backlog, as told: against drains that are simulated to their end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.ops.backlog import Backlog
from consumer.ops.work import Estimate, Totals, Work

TICK = 2.5


@dataclass
class Lane:
    """A partition of a simulated drain: what is behind, and its own most a second."""

    behind: float
    most: float = math.inf
    abreast: float | None = None
    stopped: bool = False
    done: float = 0.0

    @property
    def work(self) -> Work:
        return Work(int(self.done), int(self.done + self.behind), self.abreast, self.stopped)


@dataclass
class Drain:
    """Partitions that share a capacity: those with something behind equally, up to their own."""

    lanes: list[Lane]
    capacity: Callable[[float], float] = lambda _: 1000.0
    comes: float = 0.0  #: records a second, over all
    share: Callable[[float], float | None] = lambda _: None
    blocked: Callable[[float], bool] = lambda _: False
    rows: float = 0.0
    requests: float = 0.0
    now: float = 0.0
    backlog: Backlog = field(default_factory=lambda: Backlog(10.0))
    told: list[tuple[float, Estimate]] = field(default_factory=list)

    def step(self) -> None:
        """Pass one tick."""
        left = self.capacity(self.now) * TICK
        limit = {id(lane): lane.most * TICK for lane in self.lanes}
        for lane in self.lanes:
            lane.behind += self.comes * TICK / len(self.lanes)
        while left > 1e-6:
            able = [x for x in self.lanes if not x.stopped and min(x.behind, limit[id(x)]) > 1e-9]
            if not able:
                break
            part = left / len(able)
            for lane in able:
                did = min(part, lane.behind, limit[id(lane)])
                lane.behind -= did
                lane.done += did
                limit[id(lane)] -= did
                left -= did
                self.rows += did
                self.requests += did / 100
        self.now += TICK
        self.observe()

    def observe(self) -> None:
        works: dict[Hashable, Work] = {number: x.work for number, x in enumerate(self.lanes)}
        totals = Totals(
            int(self.rows),
            int(self.requests),
            self.requests * 0.1,
            self.share(self.now),
            blocked=self.blocked(self.now),
        )
        self.backlog.observe(self.now, works, totals)
        self.told.append((self.now, self.backlog.estimate(self.now)))

    def run(self, seconds: float = 3600.0) -> float:
        """Run until nothing is behind; return when that was."""
        self.observe()
        while self.now < seconds and any(x.behind >= 1 for x in self.lanes if not x.stopped):
            self.step()
        return self.now

    def error_at(self, share: float) -> float:
        """Return the error of what was told at a share of the time it took."""
        end = self.now
        at, told = min(self.told, key=lambda pair: abs(pair[0] - share * end))
        return told.eta / (end - at) - 1


def skewed(total: float, *weights: float) -> list[Lane]:
    return [Lane(total * weight / sum(weights)) for weight in weights]


SHAPES: dict[str, Callable[[], Drain]] = {
    "even": lambda: Drain(skewed(60_000, *[1] * 8)),
    "one has 70 %": lambda: Drain(skewed(60_000, 16, *[1] * 7)),
    "32, uneven": lambda: Drain(skewed(60_000, *[1 / n for n in range(1, 33)])),
    "held back from the start": lambda: Drain(
        [*skewed(40_000, 1, 1, 1), Lane(2000, 25, abreast=1.0)]
    ),
    "twice as fast since a while": lambda: Drain(
        skewed(100_000, 1, 1), lambda now: 500.0 if now < 20 else 1000.0
    ),
    "noise": lambda: Drain(
        skewed(60_000, *[1] * 8), lambda now: random.Random(now).uniform(600, 1400)
    ),
    "a third as much comes": lambda: Drain(skewed(1_200_000, *[1] * 8)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_told_end_is_true_within_fifteen_percent_at_half_time(name: str) -> None:
    drain = SHAPES[name]()
    drain.run()
    assert abs(drain.error_at(0.5)) < 0.15


@given(
    weights=st.lists(st.floats(0.05, 20), min_size=1, max_size=12),
    pace=st.floats(50, 20_000),
    seconds=st.floats(60, 900),
)
def test_whatever_the_skew_the_told_end_is_true_at_a_steady_pace(
    weights: list[float], pace: float, seconds: float
) -> None:
    drain = Drain(skewed(pace * seconds, *weights), lambda _: pace)
    drain.run()
    assert abs(drain.error_at(0.5)) < 0.1
    assert abs(drain.error_at(0.75)) < 0.15


def test_a_partition_that_holds_itself_back_says_when_the_end_is_not_the_sum() -> None:
    drain = Drain([*skewed(20_000, 1, 1, 1), Lane(2000, 10, abreast=1.0)])
    end = drain.run()
    assert end == pytest.approx(200, abs=5)
    assert abs(drain.error_at(0.25)) < 0.15, "most of the time only the one is left"


def test_a_partition_that_holds_itself_back_goes_faster_once_the_others_are_done() -> None:
    """Its rows follow each other, one a request: beside others six a second, then nine and a half.

    As a drain of the real consumer went: others until about a third of the time.
    """
    drain = Drain([*skewed(28_000, 1, 1, 1), Lane(800, 6, abreast=1.0)], share=lambda _: 10.0)

    def step() -> None:
        others = any(lane.behind >= 1 for lane in drain.lanes[:3])
        drain.lanes[3].most = 6.0 if others else 9.5
        Drain.step(drain)

    drain.observe()
    while drain.lanes[3].behind >= 1:
        step()
    for share in (0.2, 0.5, 0.8):
        assert abs(drain.error_at(share)) < 0.15


def test_an_outage_says_nothing_about_the_pace() -> None:
    away = (60.0, 180.0)
    drain = Drain(
        skewed(100_000, 1, 1),
        lambda now: 0.0 if away[0] <= now < away[1] else 1000.0,
        blocked=lambda now: away[0] < now <= away[1],
    )
    drain.run()
    during = next(told for at, told in drain.told if at > 120)
    assert during.eta == math.inf
    after = next((at, told) for at, told in drain.told if at > 190)
    assert after[1].eta == pytest.approx(drain.now - after[0], rel=0.1)


def test_a_larger_share_of_the_requests_counts_at_once() -> None:
    drain = Drain(
        skewed(100_000, 1, 1),
        lambda now: 500.0 if now < 60 else 1000.0,
        share=lambda now: 5.0 if now < 60 else 10.0,
    )
    drain.run()
    at, told = next((at, told) for at, told in drain.told if at > 62)
    assert told.eta == pytest.approx(drain.now - at, rel=0.1)


# -- what is told of what is not known, and of what does not end ---------------------------------


def test_in_the_first_minute_of_a_backlog_its_end_is_not_known() -> None:
    drain = Drain(skewed(200_000, 1, 1), backlog=Backlog())
    drain.run()
    early = [told.eta for at, told in drain.told if at < 59]
    assert early
    assert all(map(math.isnan, early))
    assert all(math.isfinite(told.eta) for at, told in drain.told if at > 62)


def test_with_nothing_behind_it_is_zero_from_the_first_moment() -> None:
    drain = Drain([Lane(0)], backlog=Backlog())
    drain.observe()
    assert drain.told[-1][1] == Estimate(0, 0.0, False, 0.0, 0.0)


def test_an_end_that_is_not_known_makes_it_unknown() -> None:
    backlog = Backlog(0.0)
    backlog.observe(0.0, {1: Work(5, None)}, Totals())
    assert math.isnan(backlog.estimate(0.0).eta)


def test_while_it_grows_there_is_no_end_and_it_says_so() -> None:
    drain = Drain(skewed(50_000, 1, 1), comes=1200.0)
    drain.run(120)
    told = drain.told[-1][1]
    assert (told.eta, told.growing) == (math.inf, True)


def test_it_ends_though_nearly_as_much_comes() -> None:
    drain = Drain(skewed(50_000, 1, 1), comes=600.0)
    drain.run(60)
    told = drain.told[-1][1]
    assert not told.growing
    assert math.isfinite(told.eta)


def test_what_is_always_under_way_is_no_backlog_and_does_not_grow() -> None:
    """Records come at a steady pace, and each is settled a moment later."""
    drain = Drain([Lane(3), Lane(2)], lambda _: 100_000.0, comes=200.0)
    for _ in range(200):
        drain.step()
        drain.lanes[0].behind += 40
        drain.observe()
        drain.lanes[0].behind -= 40
        drain.lanes[0].done += 40
        assert not drain.told[-1][1].growing
        if drain.now > 15:
            assert drain.told[-1][1].eta < 5


def test_an_idle_hour_says_nothing_about_the_pace_of_a_backlog() -> None:
    drain = Drain([Lane(0)])
    for _ in range(1440):
        drain.step()
    drain.lanes[0].behind = 40_000
    drain.observe()
    began = drain.now
    drain.run(began + 3600)
    at, told = next((at, told) for at, told in drain.told if at > began + 15)
    assert told.eta == pytest.approx(drain.now - at, rel=0.1)


def test_a_stopped_partition_with_something_behind_never_ends() -> None:
    drain = Drain([Lane(10_000), Lane(5, stopped=True)])
    drain.run(30)
    assert drain.told[-1][1].eta == math.inf
    assert not drain.told[-1][1].growing


def test_nothing_settles_so_there_is_no_end() -> None:
    drain = Drain([Lane(10_000)], lambda _: 0.0)
    drain.run(120)
    assert drain.told[-1][1].eta == math.inf
    assert not drain.told[-1][1].growing


def test_a_partition_that_comes_anew_is_not_what_came_or_was_done() -> None:
    backlog = Backlog(0.0)
    backlog.observe(0.0, {"a": Work(0, 100)}, Totals())
    backlog.observe(10.0, {"a": Work(50, 100), "b": Work(5_000_000, 5_000_100)}, Totals(50, 1))
    told = backlog.estimate(10.0)
    assert (told.records, told.records_per_second) == (150, 5.0)
    assert not told.growing


def test_what_it_remembers_is_bounded() -> None:
    drain = Drain([Lane(1e9)])
    for _ in range(2000):
        drain.step()
    assert len(drain.backlog._intervals) <= 300 / TICK + 1


# -- what a member was seen to do ----------------------------------------------------------------


def test_what_requests_bounded_says_nothing_about_what_a_member_can_do_else() -> None:
    drain = Drain(skewed(100_000, 1, 1), share=lambda _: 10.0)
    drain.run(60)
    measured = drain.backlog.measured
    assert measured is not None
    assert measured.rows_per_second is None
    assert measured.rows_per_request == pytest.approx(100, rel=0.05)
    assert measured.request_seconds == pytest.approx(0.1, rel=0.05)
    assert measured.rows_per_record == pytest.approx(1, rel=0.05)


def test_without_a_bound_on_requests_what_it_did_under_a_backlog_counts() -> None:
    drain = Drain(skewed(100_000, 1, 1))
    drain.run(60)
    measured = drain.backlog.measured
    assert measured is not None
    assert measured.rows_per_second == pytest.approx(1000, rel=0.05)


def test_rows_that_wait_for_each_other_do_not_count_as_what_a_member_can_do() -> None:
    drain = Drain([Lane(5000, 20, abreast=1.0)])
    drain.run(60)
    measured = drain.backlog.measured
    assert measured is not None
    assert measured.rows_per_second is None
