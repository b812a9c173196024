"""When reading stops (I6), and that rows that cannot go, of a hot code or a failing window, leave
room for the rows of other partitions (I8).
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.admission.flow import Flow
from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt
from consumer.core.model import Event
from consumer.core.offsets.partition import Partition
from consumer.core.rows.by_task import TaskRowMaker
from consumer.core.uploading.response import Response
from consumer.loop.intake import Intake
from consumer.loop.partition_pauses import PauseReason
from tests.unit.builders import accepted, answered, lost, values
from tests.unit.runner_fakes import Message, World, keys_of, message

pytestmark = pytest.mark.promise("I8")

ROWS = 400


def _hot(world: World, number: int, count: int = 5 * ROWS) -> Partition:
    """A partition with nothing but updates of one code."""
    return world.partition(number, *[f"HOT{number}"] * count)


def _is_hot(attempt: Attempt) -> bool:
    return any(value.startswith("HOT") for value in values(attempt))


def _world(rows: int = ROWS) -> World:
    return World(
        max_unsettled_rows=rows,
        max_processing=5.0,
        concurrency=4,
        retry=RetryPolicy(base=0.5, cap=60, give_up=0),
    )


REPLIES: dict[str, Callable[[Attempt], Response]] = {
    "slow": accepted,
    "failing": lambda _: answered(503),
    "lost": lambda _: lost(),
    "unknown key": lambda _: answered(
        400, {"errors": [{"message": "bad", "key_value": "HOT0", "field": "extended_id"}]}
    ),
}


@pytest.mark.promise("I6")
@pytest.mark.parametrize("how", REPLIES)
@pytest.mark.parametrize("hot", [1, 2, 5])
def test_whatever_hot_codes_do_the_rows_of_other_partitions_are_settled_in_bounded_time(
    how: str, hot: int
) -> None:
    world = _world()
    hots = [_hot(world, number) for number in range(hot)]
    others = [
        world.partition(number, *keys_of(f"G{number}-", 1000)) for number in range(hot, hot + 3)
    ]
    world.api = lambda attempt: REPLIES[how](attempt) if _is_hot(attempt) else accepted(attempt)
    world.start()
    world.turn_until(lambda: all(partition.committed == 1000 for partition in others), 300)
    assert world.pipeline.flow.rows <= ROWS
    assert all(partition.ledger.unsettled > 5 for partition in hots), (
        "they were read, and are there still"
    )


@settings(max_examples=8, deadline=None)
@given(
    rows=st.integers(60, 300),
    logs=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=4),
    fails=st.booleans(),
)
def test_with_any_mix_of_hot_codes_a_healthy_partition_is_settled(
    rows: int, logs: list[list[int]], fails: bool
) -> None:
    """Each number of a partition's log stands for twenty rows.

    0 for good codes, others for a hot one.
    """
    world = _world(rows)
    for number, blocks in enumerate(logs):
        keys = [
            f"HOT{number}-{block}" if block else f"C{number}-{place}-{row}"
            for place, block in enumerate(blocks)
            for row in range(20)
        ]
        world.partition(number, *keys, *[f"HOT{number}"] * rows)
    healthy = world.partition(len(logs), *keys_of("G", 100))
    world.api = lambda attempt: answered(500) if fails and _is_hot(attempt) else accepted(attempt)
    world.start()
    log = world.source.logs[healthy]
    for beat in range(
        100, 1000
    ):  # others come: only then can a row's own fault be told from the API's
        if (healthy.committed or 0) >= 100:
            return
        log.append(message(beat, f"G{beat}"))
        world.turn_for(0.5)
    raise AssertionError(f"I8: settled up to {healthy.committable_offset} of 100 only")


def test_a_crowding_partition_is_read_on_when_its_rows_have_gone() -> None:
    world = _world()
    hot = _hot(world, 0, 2 * ROWS)
    healthy = world.partition(1, *keys_of("G", 100))
    world.latency = 0.01
    world.start()
    world.turn_until(lambda: hot in world.source.held)
    assert world.runner.partition_pauses.paused_for(PauseReason.OVER_QUOTA) == {hot}
    world.turn_until(lambda: hot not in world.source.held)
    world.turn_until(lambda: hot.committed == 2 * ROWS and healthy.committed == 100, 300)
    assert not world.source.held


def test_a_crowding_partition_that_is_taken_away_crowds_no_more() -> None:
    world = _world()
    hot = _hot(world, 0)
    world.start()
    world.turn_until(lambda: hot in world.source.held)
    world.runner.on_revoked([hot], lost=True)
    assert world.runner.partition_pauses.paused_for(PauseReason.OVER_QUOTA) == set()


@pytest.mark.parametrize("rows", [30, 100, ROWS, 20_000])
def test_a_normal_backlog_makes_nothing_rest_however_small_the_bound(rows: int) -> None:
    """Resting drops what was fetched ahead.

    It must not happen while all is well, updates of earlier codes included.
    """
    world = _world(rows)
    partitions = [
        world.partition(number, *(f"G{number}-{row - row % 20 * 3}" for row in range(1000)))
        for number in range(3)
    ]
    world.start()
    while not all(partition.committed == 1000 for partition in partitions):
        world.turn_for(0.1)
        assert world.results.now < 2000
        assert not world.runner.partition_pauses.paused_for(PauseReason.OVER_QUOTA)


@pytest.mark.parametrize(
    "value",
    [b'{"extended_id":"","note":"%d"}', b'{"extended_id":"K%d"}', b'{"note":"%d"}'],
    ids=["blank", "bad", "no key"],
)
def test_a_dead_letter_topic_that_is_away_leaves_room_for_other_partitions(value: bytes) -> None:
    """Rows rejected without being sent wait for nothing but that topic."""
    world = _world()
    world.acknowledges = False
    bad = world.partition(0)
    world.source.logs[bad] = [Message(offset, value % offset) for offset in range(5 * ROWS)]
    healthy = world.partition(1, *keys_of("G", 1000))
    world.start()
    world.turn_until(lambda: healthy.committed == 1000, 300)


def test_in_an_outage_all_partitions_come_to_rest_within_the_bound_and_go_on_after_it() -> None:
    world = _world()
    partitions = [world.partition(number, *keys_of(f"G{number}-", 1000)) for number in range(4)]
    world.api = lambda _: answered(503)
    world.start()
    world.turn_for(600)
    assert world.pipeline.flow.rows <= ROWS
    world.api = accepted
    world.turn_until(lambda: all(partition.committed == 1000 for partition in partitions), 60)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1_000, 100_000), st.booleans())
def test_however_many_partitions_crowd_each_of_the_others_has_room(
    hot: int, others: int, bound: int, in_turn: bool
) -> None:
    """All hot ones together, or one after the other has taken what it could, for ever."""
    flow = Flow(bound, 1e12)
    nobody: set[int] = set()
    step = max(1, bound // 500)
    held: dict[int, tuple[int, int]] = {}
    for hots in [[number] for number in range(hot)] if in_turn else [list(range(hot))]:
        held.update(dict.fromkeys(hots, (0, 0)))
        free = set(hots)
        while free:
            for number in free:
                held[number] = (held[number][0] + step, 0)
            crowding = flow.over_quota(held, nobody, hot + others)
            free -= crowding
    rows = sum(rows for rows, _ in held.values())
    assert bound - rows >= (others + 1) * 0.5 * bound / (hot + others + 1) - hot * step


def test_one_hot_partition_may_take_most_of_the_bound() -> None:
    flow = Flow(20_000, 1e12)
    assert flow.over_quota({0: (9_000, 0)}, set(), 8) == set()
    assert flow.over_quota({0: (9_500, 0)}, set(), 8) == {0}
    assert flow.over_quota({0: (9_000, 0)}, {0}, 8) == {0}, "read on a little later than it rests"
    assert flow.over_quota({0: (7_000, 0)}, {0}, 8) == set()


@pytest.mark.promise("I6")
@pytest.mark.parametrize("what", ["rows", "bytes"])
def test_reading_stops_at_either_bound_and_goes_on_when_a_tenth_of_it_is_free(what: str) -> None:
    """So it does not stutter at the bound."""
    flow = Flow(1000, 1000)

    def change(by: int) -> None:
        (flow.reserve if by > 0 else flow.release)(
            abs(by) if what == "rows" else 0, abs(by) if what == "bytes" else 0
        )

    change(999)
    assert flow.reads()
    change(1)
    assert not flow.reads(), "I6: it is read without room"
    change(-100)
    assert not flow.reads(), "nine tenths are taken"
    change(-1)
    assert flow.reads()
    change(100)
    assert flow.reads(), "up to the bound again"


@pytest.mark.parametrize(
    ("taken", "at_once"),
    [(0, 500), (300, 500), (400, 500), (401, 74), (900, 12), (999, 1), (1000, 1), (1200, 1)],
)
def test_the_more_is_taken_the_less_is_read_at_once_so_that_no_partition_takes_it_all(
    taken: int, at_once: int
) -> None:
    flow = Flow(1000, 1e12)
    flow.reserve(taken, 0)
    assert flow.room_at_once == at_once


def test_bytes_crowd_out_others_as_rows_do() -> None:
    flow = Flow(20_000, 20_000)
    assert flow.over_quota({0: (1, 9_000), 1: (9_000, 1)}, set(), 8) == set()
    assert flow.over_quota({0: (1, 9_500), 1: (9_500, 1)}, set(), 8) == {0, 1}
    flow.reserve(1, 8_001)
    assert flow.near_limit


@pytest.mark.promise("I6")
def test_more_than_the_bound_is_never_read_however_much_of_it_cannot_go() -> None:
    """A record can bring more than the bound, and when that was looked at last, all of it could not
    go.
    """
    flow = Flow(1000, 1e12)
    flow.reserve(1100, 0)
    assert not flow.reads()
    flow.over_quota({0: (1100, 0)}, set(), 2)
    flow.release(95, 0)
    assert not flow.reads(), (
        f"I6: {flow.rows} rows are unsettled, 1000 are allowed, and more is read"
    )


def test_rows_that_cannot_go_do_not_keep_reading_shut_for_those_that_can() -> None:
    """Reading that stopped at the bound goes on when a part of the rest is free, however little the
    rest is.
    """
    flow = Flow(1000, 1e12)
    held = dict.fromkeys(range(31), (31, 0))
    flow.reserve(31 * 31, 0)
    flow.over_quota(held, set(), 32)
    flow.reserve(39, 0)
    assert not flow.reads()
    flow.release(39, 0)
    assert flow.reads()


@pytest.mark.promise("I6")
def test_beyond_the_bound_nothing_is_read_though_rows_that_could_not_go_have_gone_since() -> None:
    """I6: a record of many rows was taken in whole."""
    flow = Flow(20, 1e9)
    flow.reserve(40, 0)
    assert not flow.reads()
    flow.over_quota({0: (40, 0)}, set(), 1)
    flow.release(19, 0)
    assert not flow.reads(), "I6: it is read without room"
    flow.release(3, 0)
    assert flow.reads()


def _units(world: World, number: int, distinct: bool) -> Partition:
    """A partition with nothing but updates of pallets, which go as tasks."""
    partition = world.partition(number)
    for offset in range(5 * ROWS):
        event = {"pallet_code": f"P{offset}", "note": str(offset) if distinct else "x"}
        world.source.logs[partition].append(Message(offset, orjson.dumps(event)))
    return partition


def _tasks(attempt: Attempt) -> Response:
    """Each task is taken, and codes are accepted."""
    return (
        answered(200, {"task_id": f"T{attempt.window.number}"})
        if attempt.by_task
        else accepted(attempt)
    )


def _as_tasks(raw: bytes) -> Event:
    fields = orjson.loads(raw)
    (data_key, value), *_ = fields.items()
    return Event(fields, data_key, value)


@pytest.mark.parametrize("distinct", [False, True])
def test_while_the_tasks_are_full_rows_that_need_none_are_read_and_sent(distinct: bool) -> None:
    world = World(
        intake=Intake(_as_tasks, TaskRowMaker("extended_id", every=False)),
        max_unsettled_rows=20 * ROWS,
        max_rows=50,
        concurrency=2,
        task_deadline=1e6,
    )
    world.task = answered(200, {"state": "running"})
    world.api = _tasks
    units = _units(world, 0, distinct)
    others = [world.partition(number, *keys_of(f"G{number}-", 1000)) for number in (1, 2)]
    world.start()
    world.turn_until(lambda: all(partition.committed == 1000 for partition in others), 300)
    assert world.pipeline.uploads.tasks.full
    world.task = answered(200, {"state": "complete"})
    world.turn_until(lambda: units.committed == 5 * ROWS, 36_000 if distinct else 600)


def test_a_partition_of_rows_that_wait_for_tasks_rests_and_leaves_the_others_room() -> None:
    world = World(
        intake=Intake(_as_tasks, TaskRowMaker("extended_id", every=False)),
        max_unsettled_rows=ROWS,
        max_rows=10,
        concurrency=2,
        task_deadline=1e6,
    )
    world.task = answered(200, {"state": "running"})
    world.api = _tasks
    units = _units(world, 0, distinct=True)
    other = world.partition(1, *keys_of("G", 50))
    world.start()
    log = world.source.logs[other]
    for beat in range(50, 300):
        log.append(message(beat, f"G{beat}"))
        world.turn_for(1)
    assert world.pipeline.uploads.tasks.full
    assert other.committed == 300, "I8: nothing is read for others while tasks are full"
    assert world.runner.partition_pauses.paused_for(PauseReason.OVER_QUOTA) == {units}
    world.task = answered(200, {"state": "complete"})
    world.turn_until(lambda: units not in world.source.held, 600)
