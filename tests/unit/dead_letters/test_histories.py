"""A replay never undoes a newer event: thousands of histories, judged by a model of the API.

More of them: ``python -m tests.unit.dead_letters.test_histories 200000``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.dead_letters.letter import Letter
from consumer.dead_letters.plan import Step
from consumer.dead_letters.verdicts import Verdict
from consumer.dead_letters.watching import Kind
from tests.unit.dead_letters.history import Said, World

pytestmark = pytest.mark.promise("replay")

HISTORIES = 2000

#: What records say. Fields are few, so that they meet.
PUBLISHED: list[list[Said]] = [
    [("extended_id", "A", {"f": "1"})],
    [("extended_id", "A", {"f": "2", "g": "2"})],
    [("extended_id", "A", {"g": "3", "status": "0"})],
    [("extended_id", "A", {"activation_status": "2", "blacklist_reason": "4"})],
    [("extended_id", "A", {"blacklist_reason": ""})],
    [("extended_id", "A", {"case_code": "X"})],
    [("extended_id", "A", {"case_code": "Y", "f": "4"})],
    [("extended_id", "A", {"case_code": ""})],
    [("serial_number", "1", {"f": "5"})],
    [("serial_number", "1", {"h": "5"})],
    [("extended_id", "B", {"f": "6", "case_code": "X"})],
    [("extended_id", "B", {"g": ""})],
    [("serial_number", "2", {"pallet_code": "P"})],
    [("case_code", "X", {"f": "7"})],
    [("case_code", "X", {"g": "8", "pallet_code": "P"})],
    [("case_code", "X", {"pallet_code": "Q"})],
    [("case_code", "Y", {"h": "9"})],
    [("pallet_code", "P", {"f": "10"})],
    [("pallet_code", "P", {"h": "11"})],
    [("extended_id", "A", {"f": "12"}), ("extended_id", "B", {"f": "12"})],
    [("extended_id", "A", {"f": "13"}), ("extended_id", "A", {"f": "14", "g": "14"})],
    [("case_code", "X", {"h": "15"}), ("serial_number", "1", {"h": "15"})],
    [("extended_id", "C", {"case_code": "X"}), ("case_code", "X", {"f": "16"})],
]

# What is drawn is one number for each event and each replay: it is taken apart below. (Each draw
# takes Hypothesis longer than what is done with it.)
_EVENTS = 2 * len(PUBLISHED) * 4 * 4
_REPLAYS = 2 * 8 * 7 * 7

events = st.lists(st.integers(0, _EVENTS - 1), min_size=2, max_size=9)
more_events = st.lists(st.integers(0, _EVENTS - 1), max_size=3)
rounds = st.lists(st.tuples(st.integers(0, _REPLAYS - 1), more_events), min_size=1, max_size=3)


class Happening(NamedTuple):
    """An event, and how the consumer goes on after it."""

    partition: int
    said: list[Said]
    jitter: int  #: how wrong the clock is, milliseconds
    consumed: int  #: records that the consumer takes in then
    first: int  #: the partition that it begins with

    @classmethod
    def of(cls, number: int) -> Happening:
        """Return what a drawn number stands for."""
        number, partition = divmod(number, 2)
        number, jitter = divmod(number, 4)
        which, consumed = divmod(number, 4)
        return cls(partition, PUBLISHED[which], jitter * 7, consumed, which)


class Replaying(NamedTuple):
    """A replay, and how the consumer goes on after it."""

    only_missing: bool
    wanted: int  #: which letters: see ``wanted_by``
    killed: int  #: after so many were published
    consumed: int

    @classmethod
    def of(cls, number: int) -> Replaying:
        """Return what a drawn number stands for."""
        number, only_missing = divmod(number, 2)
        number, wanted = divmod(number, 8)
        return cls(bool(only_missing), wanted, *divmod(number, 7))


def wanted_by(number: int) -> Any:
    """Return a filter: all letters, or those of some codes or fields."""

    def wanted(letter: Letter) -> bool:
        if number < 4:
            return True
        if number < 6:
            return (letter.key_value or "") in ("A", "X") or letter.place.offset % 2 == number % 2
        return letter.place.offset % 3 != number % 3

    return wanted


def live(world: World, happened: list[int]) -> None:
    """Publish events, and let the consumer go on in between."""
    for each in map(Happening.of, happened):
        world.publish(each.partition % world.partitions, each.said, jitter=each.jitter)
        for at in range(each.consumed):
            world.consume((at + each.first) % world.partitions)


def answers(rejections: list[bool]) -> Iterator[bool]:
    """Yield whether the next row is rejected."""
    return cycle(rejections or [False])


def check_history(
    partitions: int,
    happened: list[int],
    rejections: list[bool],
    replays: list[tuple[int, list[int]]],
    gone: int,
    has_receipts: bool,
) -> None:
    """Live through a history, replaying now and then; the world judges every write."""
    outcomes = answers(rejections)
    world = World(partitions, lambda: next(outcomes), has_receipts)
    live(world, happened)
    world.begins = [min(gone, done) for done in world.read]
    for drawn, more in replays:
        replay = Replaying.of(drawn)
        options: Any = {"only_missing": replay.only_missing, "wanted": wanted_by(replay.wanted)}
        planned, verdicts = world.plan(**options)
        going = {step.letter for step in planned}
        assert going == {each.letter for each in verdicts if each.kind is Kind.REPLAY}
        world.carry_out(planned[: replay.killed])
        again, verdicts = world.plan(**options)
        check_again(again, planned[replay.killed :], verdicts, partitions)
        if replay.killed % 2:
            world.carry_out(again)
            assert not world.plan(**options)[0], "run twice, it sends something"
        for at in range(replay.consumed):
            world.consume((at + replay.wanted) % partitions)
        live(world, more)
    while any(done < len(log) for done, log in zip(world.read, world.logs, strict=True)):
        for partition in range(partitions):
            world.consume(partition)


def check_again(
    again: list[Step], rest: list[Step], verdicts: list[Verdict], partitions: int
) -> None:
    """Hold that a replay that was killed goes on with the rest.

    A letter may have to wait for a copy in another partition that is not settled yet.
    """
    if partitions == 1:
        assert again == rest, f"killed and run again: {again}, not {rest}"
    unknown = {each.letter for each in verdicts if each.kind is Kind.UNKNOWN}
    goes = {step.letter: step for step in again}
    assert list(goes) == [
        step.letter for step in rest if step.letter in goes or step.letter not in unknown
    ]
    for step in rest:
        if step.letter in goes:
            assert step.without <= goes[step.letter].without


history = given(
    partitions=st.integers(1, 2),
    happened=events,
    rejections=st.lists(st.booleans(), min_size=3, max_size=11),
    replays=rounds,
    gone=st.integers(0, 3),
    has_receipts=st.booleans(),
)


@settings(max_examples=HISTORIES, suppress_health_check=list(HealthCheck))
@history
def test_a_replay_undoes_nothing_newer_and_a_killed_one_goes_on_where_it_was(**drawn: Any) -> None:
    check_history(**drawn)


if __name__ == "__main__":
    many = settings(
        max_examples=int(sys.argv[1]),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    many(history(lambda **drawn: check_history(**drawn)))()
    print(f"{sys.argv[1]} histories: nothing undone")  # noqa: T201
