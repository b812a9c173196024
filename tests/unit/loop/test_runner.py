"""The owner loop over fakes of its adapters, in simulated time: reading, commits, back-pressure."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import DeadLetter
from consumer.core.offsets.settled_map import SettledMap
from consumer.loop.ports import WAIT_IDLE_SECONDS
from consumer.loop.reading import BATCH
from tests.unit.builders import accepted, answered, error_of, naming, values
from tests.unit.runner_fakes import (
    COMMIT_INTERVAL,
    SESSION_SECONDS,
    Call,
    FakeLetters,
    Message,
    World,
    keys_of,
)

# -- the main path -------------------------------------------------------------------------------


def test_what_is_read_is_sent_settled_and_committed() -> None:
    world = World()
    partition = world.partition(0, *keys_of("A", 25))
    world.start()
    world.turn_until(lambda: partition.committed == 25)
    assert world.sent_values() == keys_of("A", 25)
    assert world.runner.ledger().as_dict()["accepted"] == 25


def test_tombstones_are_skipped_and_bad_records_go_to_the_dead_letter_topic_with_themessage() -> (
    None
):
    world = World()
    partition = world.partition(0, "A")
    world.source.logs[partition] += [
        Message(1, None),
        Message(2, b'{"extended_id": " ", "note": "x"}'),
    ]
    world.start()
    world.turn_until(lambda: partition.committed == 3)
    assert world.runner.ledger().as_dict() == {
        "consumed": 3,
        "accepted": 1,
        "rejected": 1,
        "skipped": 1,
        "released": 0,
        "unsettled": 0,
    }
    assert [letter.rejection.reason for letter in world.dead_letters] == ["key_blank"]


def test_the_dead_letter_still_has_the_original_message_when_it_is_written() -> None:
    raws: list[Any] = []

    class Spy(FakeLetters):
        def send(self, letter: DeadLetter) -> None:
            raws.append(letter.row.record.raw.value())
            super().send(letter)

    class SpyWorld(World):
        def make_dead_letters(self) -> Spy:
            return Spy(self)

    world = SpyWorld()
    partition = world.partition(0, "A")
    world.api = lambda _: naming(error_of("A"))
    world.start()
    world.turn_until(lambda: partition.committed == 1)
    assert raws == [orjson.dumps({"extended_id": "A", "note": "0"})]


def test_a_turn_takes_a_bounded_number_of_records() -> None:
    world = World()
    world.partition(0, *keys_of("A", 3 * BATCH))
    world.start()
    world.turn_for(1.0)
    assert max(count for _, count in world.source.polls) <= BATCH


@pytest.mark.promise("fencing")
def test_no_attempt_may_start_later_than_the_session_time_out_after_the_last_poll() -> None:
    world = World(concurrency=1, rate=5.0)
    world.partition(0, *keys_of("A", 200))
    world.start()
    world.turn_until(lambda: len(world.sent) == 20)
    for now, start_by in world.start_by:
        polled = max(at for at, _ in world.source.polls if at <= now)
        assert start_by <= polled + SESSION_SECONDS, (
            "fencing: a request may start after the session has expired"
        )
        assert start_by > now


@pytest.mark.promise("fencing")
def test_after_the_process_was_suspended_nothing_is_sent_before_the_group_was_heard() -> None:
    """Another member may own the partitions by now.

    An attempt that may not start any more is dropped unsent.
    """
    world = World(max_unsettled_rows=20, max_rows=1, concurrency=1)
    world.api = lambda _: None
    world.partition(0, *keys_of("A", 100))
    world.start()
    world.turn_until(lambda: not world.pipeline.flow.reads())
    world.turn_for(0.5)
    world.results.now += 600.0
    first = world.unanswered.pop()
    world.results.put((Call(first), accepted(first)))
    world.turn_until(lambda: len(world.sent) == 2)
    now, start_by = world.start_by[-1]
    assert start_by <= max(at for at, _ in world.source.polls if at <= now) + SESSION_SECONDS


def _stand_still(world: World, seconds: float = 60.0) -> None:
    """Time passes, and answers come, while the loop does not turn."""
    world.results.stand_still(seconds)
    while world.unanswered:
        attempt = world.unanswered.pop()
        world.results.put((Call(attempt), accepted(attempt)))


def _acknowledge(world: World, error: str | None = None) -> None:
    """The commit in flight ends."""
    world.source.inside.append(lambda: world.source._committed(world.source.on_its_way, error))


@pytest.mark.promise("fencing")
def test_after_standing_still_only_the_answer_to_a_commit_sent_since_then_lets_uploads_go_on() -> (
    None
):
    world = World(max_rows=1, concurrency=1)
    world.api = lambda _: None
    world.partition(0, *keys_of("A", 100))
    world.start()
    world.source.commit_answers = None
    world.turn_until(lambda: len(world.sent) == 1)
    world.source._committed(world.source.on_its_way, None)  # the first, of where it begins
    _stand_still(world, 0.0)
    world.turn_until(lambda: world.source.committing and len(world.unanswered) == 1)
    assert world.source.commits[-1] == {0: 1}
    sent = len(world.sent)
    _stand_still(world)
    world.turn_for(5)
    _acknowledge(world)  # of the commit that was sent before: it says nothing of now
    world.turn_for(5)
    assert len(world.sent) == sent, "the group was not heard"
    _acknowledge(world)
    world.turn_until(lambda: len(world.sent) > sent, 1.0)


@pytest.mark.promise("fencing")
def test_in_doubt_a_commit_is_sent_even_when_nothing_moved_and_again_when_it_fails() -> None:
    world = World(max_rows=1, concurrency=1)
    world.api = lambda _: None
    world.partition(0, "A", "B")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1 and not world.source.committing)
    world.turn_for(3)
    before = len(world.source.commits)
    world.source.commit_answers = None
    world.results.stand_still(60.0)
    world.turn_until(lambda: world.source.committing, 0.1)
    assert world.source.commits[before:] == [{0: 0}]
    _acknowledge(world, "unknown member")
    _stand_still(world, 0.0)
    world.turn_for(2 * COMMIT_INTERVAL)
    assert len(world.sent) == 1, "the answer settles, and nothing new is sent"
    assert world.source.commits[before + 1 :] == [{0: 1}]
    _acknowledge(world)
    world.turn_until(lambda: len(world.sent) == 2, 1.0)


@pytest.mark.promise("fencing")
def test_standing_still_inside_a_revocation_is_noticed_too() -> None:
    world = World(max_rows=1, concurrency=2, max_unsettled_rows=50)
    world.api = lambda attempt: None if "G0" in values(attempt) else accepted(attempt)
    going, kept = world.partition(0, "G0"), world.partition(1, *keys_of("K", 40))
    world.start()
    world.source.commit_answers = None
    world.turn_until(lambda: "G0" in world.sent_values())
    sent: list[int] = []

    def stand_still() -> None:
        sent.append(len(world.sent))
        world.results.stand_still(9.0)

    world.results.at(1.0, stand_still)
    world.source.inside.append(lambda: world.runner.on_revoked([going], lost=False))
    world.turn_until(lambda: not going.owned)
    world.turn_for(5)
    assert sent == [len(world.sent)], "of the partitions that stay, too, nothing is sent"
    assert kept.owned


def test_a_reader_that_is_no_member_never_waits_for_a_group() -> None:
    world = World(max_rows=1, concurrency=1, session_seconds=math.inf)
    world.partition(0, *keys_of("A", 100))
    world.start()
    world.turn_until(lambda: len(world.sent) == 3)
    world.source.commit_answers = None
    world.results.stand_still(600.0)
    world.turn_until(lambda: len(world.sent) == 6, 2.0)


# -- commits -------------------------------------------------------------------------------------


def test_commits_follow_each_other_at_the_interval_and_only_when_something_moved() -> None:
    world = World(rate=20.0)
    partition = world.partition(0, *keys_of("A", 200))
    world.start()
    began = world.results.now
    world.turn_until(lambda: partition.committed == 200)
    took = world.results.now - began
    assert len(world.source.commits) <= took / COMMIT_INTERVAL + 1
    before = len(world.source.commits)
    world.turn_for(10)
    assert len(world.source.commits) == before


def test_a_partition_without_a_committed_offset_is_committed_as_it_stands() -> None:
    world = World()
    partition = world.partition(0, committed=None)
    partition.position = 7
    world.start()
    world.turn_until(lambda: partition.committed == 7)


def test_one_commit_is_in_flight_at_a_time() -> None:
    world = World()
    partition = world.partition(0, *keys_of("A", 50))
    world.source.commit_answers = None
    world.start()
    world.turn_for(20)
    assert len(world.source.commits) == 1
    world.source.committing = False
    world.source.commit_answers = "at once"
    world.turn_until(lambda: partition.committed == 50)


@pytest.mark.promise("I3")
def test_a_failed_commit_is_not_sent_again_but_a_new_one_is_built() -> None:
    world = World(rate=5.0)
    partition = world.partition(0, *keys_of("A", 50))
    world.source.commit_answers = "broker away"
    world.start()
    world.turn_for(3)
    assert partition.committed == 0, "I3: a failed commit is recorded as committed"
    offsets = [commit[0] for commit in world.source.commits]
    assert offsets == sorted(offsets)
    assert len(set(offsets)) > 1
    world.source.commit_answers = "at once"
    world.turn_until(lambda: partition.committed == 50)


# -- back-pressure -------------------------------------------------------------------------------


@pytest.mark.promise("I6")
def test_without_room_nothing_is_read_and_soon_the_partitions_are_paused() -> None:
    world = World(max_unsettled_rows=20)
    world.api = lambda _: None
    world.partition(0, *keys_of("A", 100))
    world.start()
    world.turn_until(lambda: not world.pipeline.flow.reads())
    began = world.results.now
    world.turn_for(0.9)
    assert not world.source.paused, "what was fetched ahead is dropped though the stall is short"
    assert all(at <= began for at, _ in world.source.polls)
    world.turn_for(0.2)
    assert world.source.paused
    world.turn_for(60)
    assert world.pipeline.unsettled == 20, "I6: reading goes on without room"
    last = [at for at, _ in world.source.polls][-20:]
    assert last[-1] - last[0] < 20, (
        "paused, it is polled all the same: the group must know that this member lives"
    )


def test_with_enough_in_stock_a_record_a_second_is_read_as_a_sign_of_life() -> None:
    world = World(max_rows=1, concurrency=1)
    world.api = lambda _: None
    partition = world.partition(0, *keys_of("A", 2000))
    world.start()
    world.turn_until(lambda: not world.pipeline.reads())
    before = partition.position
    world.turn_for(10.5)
    assert partition.position == before + 10
    assert not world.source.paused


@pytest.mark.promise("I8")
def test_reading_goes_on_when_there_is_room_again() -> None:
    world = World(max_unsettled_rows=20)
    world.api = lambda _: None
    partition = world.partition(0, *keys_of("A", 100))
    world.start()
    world.turn_until(lambda: world.source.paused)
    world.api = accepted
    for attempt in world.unanswered:
        world.results.put((Call(attempt), accepted(attempt)))
    world.turn_until(lambda: partition.committed == 100)
    assert not world.source.paused, "I8: paused though there is room"


@pytest.mark.promise("I7")
def test_a_partition_whose_map_has_no_room_is_held_and_read_on_when_it_has() -> None:
    world = World(concurrency=400, max_rows=1)
    world.api = lambda attempt: None if int(values(attempt)[0][1:]) < 300 else accepted(attempt)
    partition = world.partition(0, *keys_of("A", 3000))
    partition.room = 500
    world.start()
    world.turn_for(10)
    assert partition in world.source.held, (
        "I7: reading goes on though the settled map has no room left"
    )
    assert partition.position < 3000
    for attempt in world.unanswered:
        world.results.put((Call(attempt), accepted(attempt)))
    world.turn_until(lambda: partition.committed == 3000)


def test_a_partition_with_nothing_unsettled_is_read_on_however_much_room_its_map_takes() -> None:
    """An earlier owner settled much of it, with many gaps: only reading on makes room."""
    world = World()
    partition = world.partition(0, *keys_of("A", 9500))
    partition.already_settled = SettledMap((start, start + 29) for start in range(500, 9500, 30))
    partition.room = 500
    world.start()
    world.turn_until(lambda: partition in world.source.held)
    world.turn_until(lambda: partition.committed == 9500)
    assert len(world.sent_values()) == 500 + 300


def test_a_short_stall_pauses_nothing() -> None:
    world = World(max_unsettled_rows=20)
    world.latency = 0.5
    partition = world.partition(0, *keys_of("A", 200))
    world.start()
    world.turn_until(lambda: partition.committed == 200)
    assert not any(paused for _, paused in world.source.pauses)


# -- retries of the process ----------------------------------------------------------------------


def test_the_loop_wakes_for_a_retry_in_time() -> None:
    world = World(retry=RetryPolicy(base=2, cap=2))
    replies = iter([answered(503)])
    world.api = lambda attempt: next(replies, None) or accepted(attempt)
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: partition.committed == 1, 4.0)
    assert len(world.sent) == 2


def test_while_nothing_is_unsettled_a_turn_waits_the_longest() -> None:
    world = World()
    world.partition(0)
    world.start()
    world.turn_for(10)
    assert len(world.source.polls) <= 10 / WAIT_IDLE_SECONDS + 2


def test_a_commit_that_fails_on_and_on_is_told_at_a_calm_pace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.partition(0, *keys_of("A", 5))
    world.source.commit_answers = "may not"
    world.start()
    world.turn_for(100.0)
    lines = [line for line in caplog.messages if "commit failed (may not)" in line]
    assert world.runner.committing.ended["failed"] > 20
    assert 2 <= len(lines) <= 5, "what lasts is told again, at a calm pace"
    world.source.commit_answers = "at once"
    world.turn_for(10.0)
    world.runner.on_committed([], "may not")
    told = [line for line in caplog.messages if "commit failed (may not)" in line]
    assert len(told) == len(lines) + 1, "trouble that was over and comes again is told at once"
