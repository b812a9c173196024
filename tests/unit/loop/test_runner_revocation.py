"""The owner loop: what happens when partitions are taken away, in simulated time."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.errors import UserError
from tests.unit.builders import accepted, answered, error_of, lost, naming, values
from tests.unit.runner_fakes import (
    REVOKE_SECONDS,
    Call,
    World,
    keys_of,
    message,
)

pytestmark = pytest.mark.promise("fencing")

# -- revocation ----------------------------------------------------------------------------------


def _revoke(world: World, *partitions: Partition, lost: bool = False) -> None:
    world.source.inside.append(lambda: world.runner.on_revoked(list(partitions), lost=lost))


@pytest.mark.promise("I7")
def test_a_revocation_awaits_requests_in_flight_commits_and_sends_no_more_of_the_partition() -> (
    None
):
    world = World(max_unsettled_rows=60)
    world.latency = 3.0
    going = world.partition(0, *keys_of("A", 50))
    world.start()
    world.turn_until(lambda: len(world.sent) == 2)
    began = world.results.now
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert world.results.now - began <= 3.2, "no longer than it takes"
    assert world.source.waited == [{0: 20}], (
        "I7: what ended before the revocation is not committed: it is sent again"
    )
    world.turn_for(30)
    assert len(world.sent_values()) == 20
    assert going.ledger.as_dict()["released"] == going.ledger.consumed - 20
    assert world.runner.ledger().balanced


def test_the_wait_in_a_revocation_is_bounded_and_a_late_answer_settles_nothing() -> None:
    world = World()
    world.api = lambda _: None
    going = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    began = world.results.now
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert REVOKE_SECONDS <= world.results.now - began <= REVOKE_SECONDS + 0.2
    world.results.put((Call(world.unanswered[0]), accepted(world.unanswered[0])))
    world.turn_for(5)
    assert going.ledger.as_dict()["accepted"] == 0
    assert going.ledger.as_dict()["released"] == 1
    assert all(commit.get(0, 0) == 0 for commit in world.source.commits + world.source.waited)


def test_a_revocation_waits_until_a_lost_call_cannot_overwrite_what_the_next_owner_sends() -> None:
    """Fencing, I9: the claims that hold back later rows of its code are known here only."""
    world = World(max_processing=6.0, retry=RetryPolicy(base=0.1, cap=0.1))
    world.api = lambda attempt: lost() if len(world.sent) == 1 else accepted(attempt)
    going = world.partition(0, "A", "B")
    world.start()
    world.turn_until(lambda: going.ledger.accepted == 2)
    sent_at = world.start_by[0][0]
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert world.results.now >= sent_at + 6.0, (
        "I9: a lost call may overwrite what the next owner sends"
    )
    assert world.results.now <= sent_at + 6.2
    assert world.source.waited == [{0: 2}]


def test_a_revocation_waits_for_lost_calls_of_other_partitions_not_at_all() -> None:
    world = World(max_processing=6.0, retry=RetryPolicy(base=0.1, cap=0.1))
    world.api = lambda attempt: lost() if len(world.sent) == 1 else accepted(attempt)
    staying = world.partition(0, "A")
    going = world.partition(1)
    world.start()
    world.turn_until(lambda: staying.ledger.accepted == 1)
    began = world.results.now
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert world.results.now - began <= 0.2


@pytest.mark.promise("I8")
def test_partitions_that_stay_go_on_during_the_wait() -> None:
    world = World(concurrency=4, max_rows=1, max_unsettled_rows=100)
    world.api = lambda attempt: None if values(attempt) == ["G"] else accepted(attempt)
    going, kept = world.partition(0, "G"), world.partition(1, *keys_of("K", 60))
    world.start()
    world.turn_until(lambda: "G" in world.sent_values())
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert sum(value.startswith("K") for value in world.sent_values()) >= 40, (
        "I8: partitions that stay stand still while others are revoked"
    )
    assert kept.owned


def test_an_answer_during_the_wait_that_asks_for_a_retry_is_not_retried() -> None:
    world = World()
    world.latency = 1.0
    world.api = lambda _: answered(503)
    going = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    world.turn_for(120)
    assert len(world.sent) == 1


def test_a_dead_letter_during_the_wait_is_awaited_and_committed() -> None:
    world = World()
    world.latency = 1.0
    world.api = lambda _: naming(error_of("A"))
    going = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert world.source.waited == [{0: 1}]
    assert going.ledger.as_dict()["rejected"] == 1


@pytest.mark.promise("I3")
def test_a_lost_partition_is_neither_awaited_nor_committed() -> None:
    world = World()
    world.api = lambda _: None
    going = world.partition(0, *keys_of("A", 5))
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    began = world.results.now
    _revoke(world, going, lost=True)
    world.turn_until(lambda: not going.owned)
    assert world.source.waited == [], (
        "I3: a lost partition is committed: another member may be beyond"
    )
    assert world.results.now - began <= 0.1


@pytest.mark.promise("I5")
def test_records_that_come_with_a_revocation_of_their_partition_are_not_taken() -> None:
    world = World()
    going = world.partition(0, *keys_of("A", 5))
    world.start()
    batch = [(going, [message(0, "A0")])]
    poll = world.source.poll

    def polled(count: int) -> list[tuple[Partition, list[Any]]]:
        poll(0)
        world.runner.on_revoked([going], lost=True)
        return batch

    world.source.poll = polled  # type: ignore[method-assign]
    world.runner.turn()
    world.source.poll = poll  # type: ignore[method-assign]
    world.turn_for(5)
    assert going.ledger.consumed == 0, "I5: records of a revoked partition are taken in"
    assert world.sent == []


def test_what_comes_back_is_read_again_from_the_commit_and_counted_twice() -> None:
    world = World(max_rows=1, concurrency=1)
    world.latency = 1.0
    first = world.partition(0, *keys_of("A", 4))
    world.start()
    world.turn_until(lambda: len(world.sent) == 2)
    _revoke(world, first)
    world.turn_until(lambda: not first.owned)
    assert first.committed == 2
    second = Partition("events", 0, 2, 2)
    world.source.logs[second] = [message(2, "A2"), message(3, "A3")]
    world.runner.on_assigned([second])
    world.turn_until(lambda: second.committed == 4)
    assert world.sent_values() == keys_of("A", 4), (
        "nothing is sent twice when every request was answered"
    )
    ledger = world.runner.ledger()
    assert ledger.as_dict() == {
        "consumed": 6,
        "accepted": 4,
        "rejected": 0,
        "skipped": 0,
        "released": 2,
        "unsettled": 0,
    }


def test_a_stop_during_a_revocation_is_bounded_too() -> None:
    world = World()
    world.api = lambda _: None
    going = world.partition(0, "A")
    world.results.at(1.0, lambda: _revoke(world, going))
    world.results.at(2.0, lambda: world.runner.signal())
    world.results.at(3.0, lambda: world.runner.signal())
    began = world.results.now
    world.runner.run()
    assert world.results.now - began <= 4.0


def test_a_fault_in_a_hand_over_leaves_nothing_owned_or_committed_and_ends_the_process() -> None:
    """I3: whatever goes wrong inside the callback, the partition is gone."""
    world = World()
    going, kept = world.partition(0, "A"), world.partition(1, "B")
    world.latency = 5.0

    def fails(commits: list[Commit]) -> bool:
        raise RuntimeError("the client was closed")

    def revoke() -> None:
        wait = world.source.commit_and_wait
        world.source.commit_and_wait = fails  # type: ignore[method-assign]
        try:
            world.runner.on_revoked([going], lost=False)
        finally:
            world.source.commit_and_wait = wait  # type: ignore[method-assign]

    world.results.at(1.0, lambda: world.source.inside.append(revoke))
    with pytest.raises(
        UserError,
        match=r"a fault in the program \(RuntimeError\) while events \[0\] were given back",
    ):
        world.runner.run()
    assert not going.owned, "I3: what was given back is still owned, and is committed"
    assert all(0 not in commit for commit in world.source.waited), (
        "I3: what was given back is committed"
    )
    assert kept.committed == 1, "I7: what is owned is not committed at the stop"
    assert world.source.closed, "the group is not left"
    assert world.runner.ledger().balanced
