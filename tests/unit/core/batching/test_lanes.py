"""Which lane the next window is cut from.

The same as by looking at all of them, without looking at all of them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.batching.lane import PATIENCE_LINGERS, SPARE_ENTRIES, Lane
from consumer.core.batching.lanes import Lanes
from consumer.core.model import Record, Row, Stage
from consumer.core.offsets.partition import Partition
from consumer.core.rows.by_task import go_by_task
from tests.unit.builders import row_of

MAX_ROWS = 4
LINGER = 1.0
PARTITION = Partition("events", 0, 0, 0)


def row(
    number: int, arrived: float, *, note: str = "x", by_task: bool = False, size: int = 100
) -> Row:
    made = row_of(Record(PARTITION, number, b"", size, open=1), f"K{number}", size=size, note=note)
    made.arrived = arrived
    if by_task:
        go_by_task(made)
    return made


def assert_bounded(lanes: Lanes) -> None:
    """The heaps hold a small multiple of the lanes, whatever was entered in vain."""
    for by_task, order in lanes._orders.items():
        count = sum(lane.by_task == by_task for lane in lanes._lanes.values())
        for heap in (order.by_ready_at, order.by_arrival, order.due, order.full):
            assert len(heap) <= 3 * count + SPARE_ENTRIES + 1, "I6: stale entries fill the heaps"


def by_the_rule(
    lanes: Lanes, now: float, *, due_or_not: bool, tasks: bool
) -> tuple[float, str] | None:
    """Looks at every lane: the arrival of the oldest row of the one that is next, and why it is
    closed.
    """
    full: list[float] = []
    due: list[float] = []
    patience = PATIENCE_LINGERS * LINGER
    for lane in lanes._lanes.values():
        if lane.by_task and not tasks:
            continue
        first = lane.rows[0]
        if len(lane.rows) >= MAX_ROWS or lane.size >= lanes.max_bytes:
            full.append(first.arrived)
        elif (
            due_or_not
            or lane.awaited
            or lanes.sendable - first.ready_at >= LINGER
            or now - first.arrived >= patience
        ):
            due.append(first.arrived)
    if full and (not due or min(full) <= min(due) or now - min(due) < patience):
        return min(full), "full"
    return (min(due), "drain" if due_or_not else "due") if due else None


@pytest.mark.parametrize("seed", range(40))
def test_the_next_window_is_the_one_that_looking_at_every_lane_finds(seed: int) -> None:  # noqa: C901 - a list of acts
    rng = random.Random(seed)
    lanes = Lanes(MAX_ROWS, LINGER)
    now, number = 1000.0, 0
    ready: list[Row] = []
    cuts = 0
    big = [row(0, now, size=600_000), row(0, now, size=600_000)]
    for _ in range(600):
        act = rng.random()
        if act < 0.35:
            fresh = []
            for _ in range(rng.randrange(1, 6)):
                number += 1
                arrived = now - rng.choice(
                    [0.0, 0.0, 0.3, 7.0]
                )  # some waited for an earlier row of their code
                note, size = str(rng.randrange(12)), rng.choice([100, 100, 300_000])
                fresh.append(row(number, arrived, note=note, by_task=rng.random() < 0.5, size=size))
                fresh[-1].awaited = rng.random() < 0.05
            lanes.add(fresh)
            ready += fresh
        elif act < 0.42 and ready:
            chosen = rng.choice([one for one in ready if one.stage == Stage.READY] or [ready[0]])
            if not chosen.awaited:
                chosen.awaited = True
                lanes.expedite([chosen])
        elif act < 0.45 and ready:
            for gone in rng.sample(ready, len(ready) // 3):
                if gone.stage == Stage.READY:
                    gone.stage = Stage.DONE
            lanes.remove_done()
        elif act < 0.46 and lanes.max_bytes > 600_000:
            lanes.limit_bytes(big, now)
        elif act < 0.7:
            now += rng.random()
            lanes.pass_time(now, sendable=rng.random() < 0.6)
        else:
            due_or_not, tasks = rng.random() < 0.2, rng.random() < 0.7
            wanted = by_the_rule(lanes, now, due_or_not=due_or_not, tasks=tasks)
            sure = lanes.next_due(now, tasks=tasks)
            cut = lanes.cut(now, due_or_not=due_or_not, tasks=tasks)
            found = cut and (cut[1][0].arrived, "full" if cut[2] == "bytes" else cut[2])
            assert found == wanted
            if found is not None and not due_or_not:
                assert sure is not None
                assert sure <= now + 1e-9
            if cut is not None:
                cuts += 1
                taken = set(map(id, cut[1]))
                ready = [one for one in ready if id(one) not in taken]
                if rng.random() < 0.2:
                    lanes.add(cut[1])  # they go again
                    ready += cut[1]
        ready = [one for one in ready if one.stage == Stage.READY]
        assert_bounded(lanes)
        assert len(lanes) == len(ready)
        assert lanes.full_windows == sum(
            len(lane.rows) // MAX_ROWS for lane in lanes._lanes.values()
        )
    assert cuts > 50


def lines_run(work: Callable[[], Any]) -> int:
    """Return how many lines of Python ``work`` runs."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("full", [False, True], ids=["tasks may start", "no more tasks"])
def test_a_turn_costs_no_more_with_many_lanes_than_with_few(full: bool) -> None:
    """A lane for each of 5,000 rows, as rows of different data have that go asynchronously."""

    def turn(count: int) -> int:
        lanes = Lanes(100, LINGER)
        lanes.add([row(number, 1000.0, note=str(number), by_task=True) for number in range(count)])
        lanes.pass_time(1000.0, sendable=True)
        lanes.pass_time(1002.0, sendable=True)
        lanes.cut(1002.0)  # what became due together is entered once

        def look() -> None:
            assert (lanes.cut(1002.0, tasks=not full) is None) == full
            lanes.next_due(1002.0, tasks=not full)
            assert lanes.full_windows == 0

        return lines_run(look)

    assert turn(5_000) <= 2 * turn(50)


def test_a_lane_that_is_taken_again_and_again_leaves_nothing_behind() -> None:
    lanes = Lanes(2, LINGER)
    for number in range(2_000):
        lanes.add([row(number, 1000.0 + number)])
        lanes.cut(1000.0 + number)
    entries: list[tuple[float, int, int, Lane]] = []
    for order in lanes._orders.values():
        entries += order.by_arrival + order.by_ready_at + order.due + order.full
    assert len(entries) < 20


def _again_and_again(lanes: Lanes, act: str, now: float) -> None:
    first = next(iter(lanes.rows()), None)
    if act == "remove" and first is not None:
        first.stage = Stage.DONE
        lanes.remove_done()
    elif act == "remove nothing":
        lanes.remove_done()
    elif act == "older in front":
        lanes.add([row(0, now, note="0", by_task=True), row(1, now, note="1", by_task=True)])
    elif act == "urge" and first is not None and not first.awaited:
        first.awaited = True
        lanes.expedite([first])
    elif act == "limit":
        lanes.limit_bytes([row(0, now), row(1, now)], now)
    elif act == "cut":
        lanes.cut(now, due_or_not=True)
    elif act == "cut no tasks":
        lanes.cut(now, tasks=False)


ACTS = ("remove", "remove nothing", "older in front", "urge", "limit", "cut", "cut no tasks")


@given(
    count=st.integers(0, 60),
    acts=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 120)), min_size=1, max_size=8),
)
def test_entries_are_bounded_by_the_lanes_whatever_is_done_again_and_again(
    count: int, acts: list[tuple[str, int]]
) -> None:
    lanes, now = Lanes(MAX_ROWS, LINGER), 1e6
    lanes.add(
        [row(number, now, note=str(number), by_task=number % 5 > 0) for number in range(count)]
    )
    for act, times in acts:
        for _ in range(times):
            now -= 1.0  # each row that comes is older than those before
            _again_and_again(lanes, act, now)
            assert_bounded(lanes)


@pytest.mark.promise("I6")
def test_taking_nothing_out_costs_no_entry() -> None:
    """A revocation that waits withdraws its partitions twenty times a second."""
    lanes = Lanes(MAX_ROWS, LINGER)
    lanes.add([row(number, 1000.0, note=str(number), by_task=True) for number in range(100)])
    lanes.pass_time(1000.0, sendable=True)
    order = lanes._orders[True]
    before = list(order.by_arrival)
    for _ in range(50):
        lanes.remove_done()
    assert order.by_arrival == before, "I6: lanes that lost nothing are entered again"


@pytest.mark.promise("I8")
def test_a_lane_whose_awaited_row_is_awaited_no_more_lingers_again() -> None:
    lanes = Lanes(MAX_ROWS, LINGER)
    first, second = row(0, 1000.0), row(1, 1000.0)
    first.awaited = True
    lanes.add([first, second])
    first.awaited = False  # those that waited for it were taken away
    lanes.remove_done()
    assert lanes.cut(1000.0, due_or_not=True) is not None
    lanes.add([second])
    assert lanes.cut(1000.0) is None, "I8: a lane is due for a row that is gone"
