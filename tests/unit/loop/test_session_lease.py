"""A member that is cut off from its group, but not from the API.

Fencing by the group's last sign.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from consumer.loop.partition_pauses import PauseReason
from consumer.loop.ports import WAIT_IDLE_SECONDS
from consumer.loop.session_lease import SessionLease
from tests.unit.builders import accepted
from tests.unit.runner_fakes import SESSION_SECONDS, World, keys_of, message

pytestmark = pytest.mark.promise("fencing")


def _cut_off(world: World) -> float:
    """From now on no commit is answered; when that was."""
    world.source.commit_answers = "never"
    return world.results.now


def test_a_member_without_a_sign_of_its_group_sends_nothing_after_two_thirds_of_the_session() -> (
    None
):
    world = World(max_rows=1, concurrency=1)
    world.latency = 1.0
    world.partition(0, *keys_of("A", 500))
    world.start()
    world.turn_for(5)
    since = _cut_off(world)
    world.turn_for(120)
    last = max(at for at, _ in world.start_by)
    assert last <= since + 2 / 3 * SESSION_SECONDS, (
        "fencing: rows are sent though the group may have given them away"
    )
    assert last >= since + SESSION_SECONDS / 2, "a short silence of the group stops nothing"


def test_it_goes_on_when_the_group_answers_again() -> None:
    world = World(max_rows=1, concurrency=1)
    world.latency = 1.0
    partition = world.partition(0, *keys_of("A", 60))
    world.start()
    world.turn_for(5)
    _cut_off(world)
    world.turn_for(60)
    sent = len(world.sent)
    world.source.commit_answers, world.source.committing = "at once", False
    world.turn_until(lambda: partition.committed == 60, 120)
    assert len(world.sent) == 60 > sent


@pytest.mark.promise("I8")
def test_while_there_is_work_the_group_is_asked_in_time_though_nothing_new_is_settled() -> None:
    """A request takes longer than the session; others must not wait for it."""
    world = World(max_rows=1, concurrency=2)
    world.api = lambda attempt: (
        None if attempt.items[0]["extended_id"] == "A0" else accepted(attempt)
    )
    partition = world.partition(0, "A0")
    world.start()
    world.turn_for(3 * SESSION_SECONDS)
    asked = len(world.source.commits)
    assert 3 <= asked <= 15, "once in a third of the session, and not all the time"
    world.source.logs[partition].append(message(1, "B"))
    began = world.results.now
    world.turn_until(lambda: len(world.sent) == 2)
    assert world.results.now - began <= 0.2, (
        "I8: a row waits for the group's sign though there was one"
    )


def test_an_idle_member_commits_nothing_and_asks_at_once_when_work_comes() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: partition.committed == 1)
    before = len(world.source.commits)
    world.turn_for(10 * SESSION_SECONDS)
    assert len(world.source.commits) == before
    world.source.logs[partition].append(message(1, "B"))
    began = world.results.now
    world.turn_until(lambda: partition.committed == 2)
    assert world.results.now - began <= 1.0 + WAIT_IDLE_SECONDS


@pytest.mark.promise("I8")
def test_the_answer_to_a_commit_from_before_a_gap_ends_no_doubt_though_another_was_sent_since() -> (
    None
):
    """Fencing: an answer confirms as of the time its own commit was sent, whenever it is read."""
    world = World(max_rows=1, concurrency=1)
    world.partition(0, *keys_of("A", 100))
    world.start()
    world.turn_for(2)
    world.source.commit_answers = None
    world.turn_until(lambda: world.source.committing)
    before = world.source.on_its_way
    world.results.stand_still(60.0)
    world.source.committing = False  # it was not answered for so long that it holds back no other
    world.turn_until(lambda: world.source.committing)
    since = world.source.on_its_way
    sent = len(world.sent)
    world.source.inside.append(lambda: world.runner.on_committed(before, None))
    world.turn_for(1.0)
    assert len(world.sent) == sent, (
        "fencing: an old answer ends the doubt, and rows are sent that others may own"
    )
    world.source.inside.append(lambda: world.source._committed(since, None))
    world.turn_for(1.0)
    assert len(world.sent) > sent, "I8: the answer that counts ends no doubt"


@pytest.mark.promise("I8")
def test_a_sign_of_the_group_is_as_old_as_the_commit_that_it_answers() -> None:
    member = SessionLease(SESSION_SECONDS)
    member.on_poll(0.0)
    member.on_assigned(0.0)
    member.on_poll(4.0)
    member.on_confirmed(5.0)  # read at whatever time
    assert not member.expired(5.0 + 2 / 3 * SESSION_SECONDS), (
        "I8: a sign counts for less than two thirds of a session"
    )
    assert member.expired(5.1 + 2 / 3 * SESSION_SECONDS), (
        "fencing: an answer is taken for one to a later commit"
    )
    member.on_confirmed(3.0)
    assert not member.expired(30.0), "one that was overtaken makes nothing older"


def test_an_assignment_that_was_queued_before_a_gap_is_as_old_as_the_poll_before_it() -> None:
    member = SessionLease(SESSION_SECONDS)
    member.on_poll(0.0)
    member.on_assigned(40.0)
    assert member.expired(40.0), (
        "fencing: it may have been given away again since the client got it"
    )


@pytest.mark.promise("I8")
@pytest.mark.parametrize("interval", [0.5, 15.0, 31.0, 60.0, 300.0])
def test_the_group_is_asked_in_time_whatever_the_interval_between_commits(interval: float) -> None:
    """I8: commit cadence and the session's lease are two things."""
    world = World(max_rows=1, concurrency=1)
    world.runner.committing._interval = interval
    world.latency = 0.5
    world.partition(0, *keys_of("A", 5000))
    world.start()
    world.turn_for(600)
    sent = [at for at, _ in world.start_by]
    silences = [
        round(after - before, 1) for before, after in itertools.pairwise(sent) if after - before > 2
    ]
    assert not silences, f"I8: nothing is sent for {silences} s, as the group was not asked"
    assert len(world.source.commits) <= 2 + 600 / min(interval, SESSION_SECONDS / 3 - 1), (
        "no oftener than it takes"
    )


def test_a_sign_that_is_refused_is_not_asked_for_in_every_turn() -> None:
    world = World(max_rows=1, concurrency=1)
    world.runner.committing._interval = 300.0
    world.partition(0, *keys_of("A", 5000))
    world.start()
    world.source.commit_answers = "rebalance in progress"
    world.turn_for(60)
    assert len(world.source.commits) <= 60 / 0.5


@pytest.mark.promise("I8")
def test_partitions_that_rest_are_looked_at_on_a_clock_of_their_own() -> None:
    """I8: with rare commits, too, reading goes on soon after there is room."""
    world = World()
    world.runner.committing._interval = 300.0
    partition = world.partition(0, "A")
    world.start()
    world.turn_for(1)
    world.runner.partition_pauses.pause(partition, PauseReason.MAP_FULL)
    world.source.logs[partition].append(message(1, "B"))
    world.turn_until(lambda: len(world.sent) == 2, 2.0)


# -- until when what was handed out may be sent --------------------------------------------------


def _connecting(world: World) -> Callable[[], float]:
    """One upload is handed out, and its worker waits for a connection.

    Until when it may be sent, asked at any time.
    """
    world.api = lambda _: None
    world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    (lease,) = world.leases
    return lease


def test_an_upload_may_wait_for_its_connection_while_the_owner_polls_and_is_confirmed() -> None:
    world = World()
    lease = _connecting(world)
    for _ in range(60):
        world.turn_for(1)
        assert lease() > world.results.now, (
            "I8: an upload whose connection takes long is never sent"
        )


def test_an_upload_is_not_sent_when_the_whole_process_stood_still() -> None:
    world = World()
    lease = _connecting(world)
    world.results.now += 6
    assert lease() < world.results.now, (
        "fencing: a worker that wakes first sends what may be another member's"
    )


def test_an_upload_from_before_a_gap_is_not_sent_after_it_even_when_the_member_is_confirmed() -> (
    None
):
    """The member may have been thrown out, and let in again.

    The rows are another member's since.
    """
    world = World()
    lease = _connecting(world)
    world.results.now += 60
    world.turn_for(10)
    assert lease() < world.results.now, "fencing: an upload from before the gap is sent after it"


def test_an_upload_is_not_sent_when_the_group_was_not_heard_of_for_two_thirds_of_the_session() -> (
    None
):
    world = World()
    lease = _connecting(world)
    since = _cut_off(world)
    world.turn_for(SESSION_SECONDS)
    assert lease() <= since + 2 / 3 * SESSION_SECONDS, "fencing: a member that is cut off sends"


@pytest.mark.parametrize("lost", [True, False])
def test_an_upload_of_a_partition_that_went_is_not_sent_any_more(lost: bool) -> None:
    world = World()
    lease = _connecting(world)
    (partition,) = world.source.logs
    world.runner.on_revoked([partition], lost=lost)
    assert lease() < world.results.now, (
        "fencing: an upload is sent after the last commit of its partition"
    )


def test_an_upload_that_waits_for_its_connection_at_the_end_of_a_stop_is_not_sent_any_more() -> (
    None
):
    world = World()
    lease = _connecting(world)
    world.runner.signal()
    world.runner.lifecycle.stop_by = (
        world.results.now + 1
    )  # before the last poll is too long ago anyway
    world.runner._drain.drain()
    assert lease() < world.results.now, "fencing: an upload is sent after the last commit of a stop"
