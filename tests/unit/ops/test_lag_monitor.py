"""Lag, backlog, history and members of a consumer over fakes, in simulated time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.group_look import GroupCommit, GroupLook, GroupMember, LogExtent
from consumer.adapters.kafka.heads import Head
from consumer.adapters.kafka.lag_watch import Seen
from consumer.ops.lag_monitor import LagMonitor, Sizing
from consumer.ops.snapshot import take
from tests.unit.builders import accepted, answered
from tests.unit.runner_fakes import EPOCH, World, keys_of

TICK = 2.5
MEMBER = GroupMember("scm-consumer", "10.0.0.1", "", [])


class FakeWatch:
    """Sees what the test says."""

    def __init__(self) -> None:
        self.saw: Seen | None = None
        self.wanted: dict[PartitionId, int | None] = {}

    def seen(self, now: float) -> Seen | None:
        return self.saw

    def want(self, offsets: dict[PartitionId, int | None]) -> None:
        self.wanted = dict(offsets)


class Watched:
    """A world with a watch, and a monitor that ticks."""

    def __init__(self, sizing: Sizing | None = None, **rules: Any) -> None:
        self.world = World(**rules)
        self.watch = FakeWatch()
        self.lag = LagMonitor(
            self.world.pipeline,
            self.world.source,
            self.world.results.clock,
            lambda: EPOCH + self.world.results.now,
            sizing=sizing or Sizing(),
            watch=self.watch,
        )

    @property
    def now(self) -> float:
        return self.world.results.now

    def see(self, heads: dict[int, Head] | None = None, **more: Any) -> None:
        """Let the watch see partitions ``p0=(begin, end)``."""
        extents = {
            ("events", int(name[1:])): LogExtent(*more.pop(name))
            for name in list(more)
            if name[0] == "p"
        }
        look = GroupLook(
            self.now,
            sorted(extents),
            extents,
            more.get("commits", {}),
            "stable",
            more.get("rebalancing", False),
            more.get("members", [MEMBER]),
            more.get("retention", {"events": 3600.0}),
        )
        self.watch.saw = Seen(look, {("events", n): h for n, h in (heads or {}).items()})

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.world.turn_for(TICK)
            self.lag.tick()


def test_what_is_not_in_memory_is_asked_for_and_what_is_at_its_end_is_not() -> None:
    watched = Watched(max_rows=1, concurrency=20)
    world = watched.world
    world.partition(0)
    done = world.partition(1, *keys_of("B", 4))
    stuck = world.partition(2, *keys_of("C", 4))
    world.api = lambda attempt: accepted(attempt) if "B" in str(attempt.items) else None
    world.start()
    world.turn_until(lambda: done.committed == 4 and stuck.position == 4)
    watched.see(p0=(0, 90), p1=(0, 4), p2=(0, 50))
    world.source.awaiting = {("events", 7): 0.0}
    watched.tick()
    assert watched.watch.wanted == {("events", 0): 0, ("events", 7): None}


def test_the_status_is_the_sum_of_the_partitions_and_the_age_of_the_worst() -> None:
    watched = Watched()
    world = watched.world
    world.api = lambda _: None
    world.partition(0)
    world.partition(1, *keys_of("B", 4))
    world.start()
    world.turn_for(1)
    hours_ago = int((EPOCH + watched.now - 7200) * 1000)
    watched.see({0: Head(0, 0, hours_ago, False, 0.0)}, p0=(0, 30), p1=(0, 10))
    watched.tick()
    told = take(world.runner, world.source, watched.now, watched.lag)
    assert (told.lag.records, told.lag.group_members) == (40, 1)
    assert told.lag.seconds == pytest.approx(7200 + TICK)
    assert [p.lag_seconds for p in told.partitions] == [
        told.lag.seconds,
        pytest.approx(watched.now - 1000),
    ]
    assert told.lag.retention_seconds == {"events": 3600.0}
    assert [(p.begin, p.end) for p in told.partitions] == [(0, 30), (0, 10)]


def test_one_partition_that_is_not_known_makes_the_sum_unknown() -> None:
    watched = Watched()
    watched.world.partition(0)
    watched.world.partition(1)
    watched.world.start()
    watched.see(p0=(0, 0))
    watched.tick()
    told = watched.lag.status(watched.now)
    assert (told.records, told.seconds) == (None, None)
    assert math.isnan(told.backlog_eta_seconds)


def test_a_partition_that_awaits_its_start_is_behind_too() -> None:
    watched = Watched()
    world = watched.world
    world.start()
    world.source.awaiting = {("events", 3): 0.0}
    ago = int((EPOCH + watched.now - 60) * 1000)
    watched.see(
        {3: Head(40, 40, ago, False, 0.0)}, p3=(0, 100), commits={("events", 3): GroupCommit(40)}
    )
    told = watched.lag.status(watched.now)
    assert told.records == 60
    assert told.seconds == pytest.approx(60)
    assert [(a.partition, a.lag) for a in told.awaiting] == [(3, 60)]


# -- desired members -----------------------------------------------------------------------------

#: One member does 1,600 rows a second: 480,000 in the target.
SIZING = Sizing(requests_per_second=0.0)


def test_every_member_is_told_what_the_whole_group_needs() -> None:
    watched = Watched(SIZING)
    watched.world.start()
    watched.see(p0=(0, 400_000), p1=(0, 400_000), p2=(0, 400_000))
    watched.tick()
    told = watched.lag.status(watched.now)
    assert (told.desired_members, told.group_records) == (3, 1_200_000)
    assert told.records == 0, "none of it is this member's"


def test_it_does_not_change_while_the_group_rebalances() -> None:
    watched = Watched(SIZING)
    watched.world.start()
    watched.see(p0=(0, 400_000), p1=(0, 400_000))
    watched.tick()
    watched.see(p0=(0, 400_000), p1=(0, 4_000_000), rebalancing=True)
    watched.tick()
    assert watched.lag.status(watched.now).desired_members == 2


def test_nothing_is_told_before_the_first_look_at_a_group_that_does_not_rebalance() -> None:
    watched = Watched(SIZING)
    watched.world.start()
    watched.tick()
    assert watched.lag.status(watched.now).desired_members is None
    watched.see(p0=(0, 4_000_000), rebalancing=True)
    watched.tick()
    assert watched.lag.status(watched.now).desired_members is None


def test_it_does_not_rise_while_the_api_refuses_everything() -> None:
    watched = Watched(SIZING)
    world = watched.world
    world.api = lambda _: answered(401)
    world.partition(0, *keys_of("A", 5))
    world.start()
    world.turn_until(lambda: world.pipeline.gate.pause is not None)
    watched.see(p0=(0, 9_000_000), p1=(0, 9_000_000), members=[])
    watched.tick()
    assert watched.lag.status(watched.now).desired_members == 1


# -- history -------------------------------------------------------------------------------------


def test_the_history_has_a_sample_every_fifteen_seconds() -> None:
    watched = Watched()
    world = watched.world
    world.partition(0, *keys_of("A", 30))
    watched.lag.tick()
    world.start()
    watched.see(p0=(0, 30))
    watched.tick(24)
    samples = watched.lag.history(watched.now)
    assert len(samples) == 4
    assert sum(sample.rows_per_second for sample in samples) * 15 == pytest.approx(30, abs=1)
    assert samples[-1].records_behind == 0
    assert samples[-1].lag_seconds == 0


def test_without_anybody_who_watches_ends_come_from_the_fetches() -> None:
    world = World()
    partition = world.partition(0, *keys_of("A", 3))
    world.source.ends[partition] = 3
    world.start()
    world.turn_until(lambda: partition.committed == 3)
    told = take(world.runner, world.source, world.results.now, world.lag)
    assert (told.lag.records, told.lag.seconds) == (0, 0)
