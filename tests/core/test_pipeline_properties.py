"""The invariants I1 to I9 of the architecture, for whatever can happen to one process in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.core.pipeline import Rules
from tests.core.world import PARTITIONS, RULES, Spec, World

KINDS = ("good",) * 10 + ("unknown", "forbidden", "huge", "cursed", "invalid")
REPLIES = ("normal",) * 6 + ("lost", "lost-applied", "lost-late", "unsent", "503", "408", "429", "garbage", "partial")
MODES = ("healthy", "healthy", "unauthorized", "down", "forbidden")

specs = st.builds(
    Spec,
    value=st.sampled_from("ABCDEF"),
    kind=st.sampled_from(KINDS),
    key=st.sampled_from(("extended_id", "extended_id", "case_code")),
    market=st.booleans(),
)
#: A record's rows have different keys: two rows of one event and one key are one row, or no event.
records = st.lists(specs, min_size=0, max_size=3, unique_by=lambda spec: (spec.key, spec.value))
numbers = st.integers(0, PARTITIONS - 1)

steps = st.one_of(
    st.tuples(st.just("publish"), numbers, st.lists(records, min_size=1, max_size=6), st.integers(0, 2)),
    st.tuples(st.just("read"), numbers, st.integers(1, 8)),
    st.tuples(st.just("time"), st.sampled_from((0.0, 0.05, 0.3, 1.0, 3.0))),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(REPLIES)),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(REPLIES)),
    st.tuples(st.just("answer me")),
    st.tuples(st.just("acknowledge"), st.integers(1, 3)),
    st.tuples(st.just("commit")),
    st.tuples(st.just("mode"), st.sampled_from(MODES)),
    st.tuples(st.just("revoke"), numbers, st.booleans()),
    st.tuples(st.just("return"), numbers),
)
script = st.lists(steps, min_size=1, max_size=60)


def _publish(world: World, number: int, batch: list[list[Spec]], gap: int) -> None:
    for record in batch:
        world.logs[number].publish(record, gap)
    world.read(number, 5)


def _answer(world: World, index: int, kind: str) -> None:
    if world.open:
        world.answer(world.open[index % len(world.open)], kind)


ACTIONS: dict[str, Callable[..., None]] = {
    "publish": _publish,
    "read": World.read,
    "time": World.pass_time,
    "answer": _answer,
    "answer me": World.answer_me,
    "acknowledge": World.acknowledge,
    "commit": World.commit,
    "mode": World.become,
    "revoke": lambda world, number, lost: world.revoke(number, lost_already=lost),
    "return": World.assign,
}


def _run(seed: int, todo: list[tuple[Any, ...]], rules: Rules = RULES) -> World:
    world = World(seed, rules)
    for name, *arguments in todo:
        ACTIONS[name](world, *arguments)
        world.tick()
        world.check()
    world.finish()
    return world


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), script)
def test_i1_to_i9_hold_whatever_happens(seed: int, todo: list[tuple[Any, ...]]) -> None:
    _run(seed, todo)
