"""The invariants I1 to I9 of the architecture, for whatever can happen to one process in whatever
order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.core.pipeline import Rules
from tests.unit.world import PARTITIONS, RULES, Spec, World

pytestmark = pytest.mark.promise(
    "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "fencing", "lost-answer"
)

KINDS = ("good",) * 10 + ("unknown", "forbidden", "huge", "cursed", "invalid")
REPLIES = ("normal",) * 6 + (
    "lost",
    "lost-applied",
    "lost-late",
    "unsent",
    "503",
    "408",
    "429",
    "garbage",
    "partial",
)
QUESTIONS = ("normal",) * 6 + ("503", "429", "404", "lost")
MODES = ("healthy", "healthy", "unauthorized", "down", "forbidden")

specs = st.builds(
    Spec,
    value=st.sampled_from("ABCDEF"),
    kind=st.sampled_from(KINDS),
    key=st.sampled_from(("extended_id", "extended_id", "case_code", "pallet_code")),
    market=st.booleans(),
    joins=st.sampled_from(("", "", "A", "B")),
)
#: A record's rows may be of one key, or wait for each other as child and unit: a document of
#: several events.
records = st.lists(specs, min_size=0, max_size=4)
numbers = st.integers(0, PARTITIONS - 1)

steps = st.one_of(
    st.tuples(
        st.just("publish"), numbers, st.lists(records, min_size=1, max_size=6), st.integers(0, 2)
    ),
    st.tuples(st.just("read"), numbers, st.integers(1, 8)),
    st.tuples(st.just("time"), st.sampled_from((0.0, 0.05, 0.3, 1.0, 3.0))),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(REPLIES)),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(REPLIES)),
    st.tuples(st.just("answer me")),
    st.tuples(st.just("answer question"), st.integers(0, 5), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("answer again"), st.integers(0, 50)),
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


def _answer_question(world: World, index: int, kind: str) -> None:
    if world.questions:
        world.answer_question(world.questions[index % len(world.questions)], kind)


ACTIONS: dict[str, Callable[..., None]] = {
    "publish": _publish,
    "read": World.read,
    "time": World.pass_time,
    "answer": _answer,
    "answer me": World.answer_me,
    "answer question": _answer_question,
    "answer again": World.answer_again,
    "acknowledge": World.acknowledge,
    "commit": World.commit,
    "mode": World.become,
    "revoke": lambda world, number, lost: world.revoke(number, lost_already=lost),
    "return": World.assign,
}


def _rules(pause_after: int = 0, grace: float = 0.0, rate: float = 0.0, max_rows: int = 4) -> Rules:
    retry = msgspec.structs.replace(RULES.retry, unknown_key_grace=grace)
    return msgspec.structs.replace(
        RULES, pause_after_rejections=pause_after, rate=rate, max_rows=max_rows, retry=retry
    )


def _run(seed: int, todo: Iterable[tuple[Any, ...]], rules: Rules, *, tasks: bool) -> World:
    world = World(seed, rules, tasks=tasks)
    for name, *arguments in todo:
        ACTIONS[name](world, *arguments)
        world.tick()
        world.check()
    world.finish()
    return world


rules = st.builds(
    _rules,
    pause_after=st.sampled_from((0, 0, 3, 8)),
    grace=st.sampled_from((0.0, 0.0, 1.0, 5.0)),
    rate=st.sampled_from((0.0, 20.0)),
    max_rows=st.sampled_from((4, 4, 1, 10)),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), script, rules, st.booleans())
def test_i1_to_i9_hold_whatever_happens(
    seed: int, todo: list[tuple[Any, ...]], rules: Rules, tasks: bool
) -> None:
    _run(seed, todo, rules, tasks=tasks)


def _long_script(draw: random.Random) -> Iterator[tuple[Any, ...]]:
    """A busy life: much traffic, many answers, some trouble.

    Drawn by a seed alone, so that it is long every time.
    """
    kinds = draw.choice(
        (KINDS, ("good",), ("good",) * 5 + ("forbidden",), ("good",) * 3 + ("unknown",))
    )
    values = "ABCDEFGHIJKLMNOP"[: draw.choice((3, 6, 16))]
    revocations = draw.choice((0, 1, 2))
    weights = {
        "publish": 6, "read": 4, "time": 6, "answer": 16, "answer me": 3, "answer again": 1,
        "acknowledge": 3, "commit": 3, "answer question": 6, "mode": draw.choice((0, 1)),
        "revoke": revocations, "return": 3,
    }  # fmt: skip

    def record() -> list[Spec]:
        return [
            Spec(
                draw.choice(values),
                draw.choice(kinds),
                draw.choice(
                    ("extended_id", "extended_id", "case_code", "case_code", "pallet_code")
                ),
                draw.random() < 0.3,
                draw.choice(("", "", values[0])),
            )
            for _ in range(draw.choice((0, 1, 1, 1, 2, 3, 5)))
        ]

    arguments: dict[str, Callable[[], tuple[Any, ...]]] = {
        "publish": lambda: (
            draw.randrange(PARTITIONS),
            [record() for _ in range(draw.randint(1, 6))],
            draw.choice((0, 0, 1, 2)),
        ),
        "read": lambda: (draw.randrange(PARTITIONS), draw.randint(1, 8)),
        "time": lambda: (draw.choice((0.0, 0.05, 0.3, 1.0, 3.0)),),
        "answer": lambda: (draw.randrange(6), draw.choice(REPLIES)),
        "answer question": lambda: (draw.randrange(6), draw.choice(QUESTIONS)),
        "answer again": lambda: (draw.randrange(50),),
        "acknowledge": lambda: (draw.randint(1, 3),),
        "mode": lambda: (draw.choice(MODES),),
        "revoke": lambda: (draw.randrange(PARTITIONS), draw.random() < 0.5),
        "return": lambda: (draw.randrange(PARTITIONS),),
    }  # fmt: skip
    for _ in range(120):
        name = draw.choices(list(weights), list(weights.values()))[0]
        yield name, *(arguments[name]() if name in arguments else ())


def test_i1_to_i9_hold_in_long_lives_and_each_hard_case_is_met_in_a_tenth_of_them() -> None:
    """Each seed replays exactly: ``_life(seed)``."""
    seeds = range(60)
    met: Counter[str] = Counter()
    for seed in seeds:
        try:
            met.update(_life(seed).seen)
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
    for case in (
        "revoke-and-return",
        "late result",
        "second answer",
        "lost-applied",
        "lost-late",
        "given up",
        "forbidden",
        "down",
        "settled before",
        "task",
        "lost task",
    ):
        assert met[case] >= len(seeds) / 10, (
            f"{case} is met by {met[case]} of {len(seeds)} seeds only"
        )


def _life(seed: int) -> World:
    draw = random.Random(seed)
    rules = _rules(
        draw.choice((0, 0, 3, 8)),
        draw.choice((0.0, 0.0, 1.0, 5.0)),
        draw.choice((0.0, 20.0)),
        draw.choice((4, 4, 1, 10)),
    )
    return _run(seed, _long_script(draw), rules, tasks=seed % 3 == 0)


@pytest.mark.parametrize(("rows", "size"), [(12, 900.0), (1000, 500.0)])
def test_i6_reading_stops_at_the_bound_and_nothing_is_lost_by_it(rows: int, size: float) -> None:
    """With room for little, and rows that all can settle, everything still comes through."""
    small = msgspec.structs.replace(RULES, max_unsettled_rows=rows, max_unsettled_bytes=size)
    for seed in range(20):
        draw = random.Random(seed)
        world = World(seed, small)
        for _ in range(60):
            batch = [[Spec(draw.choice("ABCDEFGH"))] for _ in range(draw.randint(1, 9))]
            _publish(world, draw.randrange(PARTITIONS), batch, 0)
            for number in range(PARTITIONS):
                world.read(number, 9)
            assert world.pipeline.flow.rows <= rows, "I6: more rows than the bound"
            assert world.pipeline.flow.size < size + 9 * 50, (
                "I6: more bytes than the bound and one read"
            )
            _answer(world, draw.randrange(6), draw.choice(REPLIES))
            world.pass_time(draw.choice((0.0, 0.3)))
            world.answer_me()
            world.check()
        assert not world.pipeline.flow.reads() or world.pipeline.flow.rows < rows
        world.finish()
