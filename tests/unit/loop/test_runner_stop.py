"""The owner loop: how it stops, by a signal, by a failure, by its end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.uploading.response import Response
from consumer.errors import UserError
from consumer.loop.lifecycle import Phase
from consumer.loop.patience import BLOCKED_SECONDS
from tests.unit.builders import accepted, answered, error_of, lost, naming, unsent, values
from tests.unit.runner_fakes import (
    STOP_SECONDS,
    World,
    keys_of,
)

# -- stop ----------------------------------------------------------------------------------------


def _run(world: World, signal_at: float | None = None, code: int = 0) -> int:
    if signal_at is not None:
        world.results.at(signal_at, lambda: world.runner.signal(code))
    return world.runner.run()


@pytest.mark.promise("I7")
def test_a_stop_reads_and_sends_no_more_awaits_what_is_in_flight_commits_and_leaves() -> None:
    world = World(max_unsettled_rows=60)
    world.latency = 5.0
    partition = world.partition(0, *keys_of("A", 1000))
    assert _run(world, signal_at=1.0) == 0, (
        "I7: a stop leaves requests in flight: they are sent again"
    )
    assert len(world.sent_values()) == 20, (
        "two windows in flight at the signal, and no more after it"
    )
    assert partition.committed == 20
    assert world.source.closed
    assert world.runner.lifecycle.phase is Phase.STOPPED
    ledger = world.runner.final_ledger
    assert ledger is not None
    assert ledger.balanced
    assert (ledger.accepted, ledger.unsettled) == (20, ledger.consumed - 20)
    assert all(count <= 1 for at, count in world.source.polls if at > 1001.1)


@pytest.mark.parametrize(
    ("at", "words"),
    [(0.5, "no requests in flight"), (1.5, "1 request in flight"), (2.5, "2 requests in flight")],
)
def test_a_stop_tells_what_is_waited_for_and_how_it_can_be_cut_short(at: float, words: str) -> None:
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("consumer.loop.drain")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        world = World(max_rows=1, concurrency=2, rate=1 / 0.95)
        world.latency = 10.0
        world.partition(0, "A", "B", "C")
        world.pipeline.gate.pace.consume(1000.0)  # so the first request starts a second later
        _run(world, signal_at=at)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    assert (
        f"stopping: {words}, waited for up to {STOP_SECONDS:g} s; a second signal leaves at once"
        in told
    )


def test_a_stop_awaits_the_acknowledgement_of_dead_letters() -> None:
    world = World()
    world.acknowledges = False
    world.api = lambda _: naming(error_of("A"))
    partition = world.partition(0, "A")
    world.results.at(10.0, lambda: world.results.put([world.dead_letters[0].row]))
    assert _run(world, signal_at=1.0) == 0
    assert partition.committed == 1
    assert world.results.now >= 1010


def test_a_rejection_that_comes_while_stopping_is_still_dead_lettered() -> None:
    world = World()
    world.latency = 5.0
    world.api = lambda _: naming(error_of("A"))
    partition = world.partition(0, "A")
    assert _run(world, signal_at=1.0) == 0
    assert partition.committed == 1


def test_a_failed_answer_while_stopping_is_not_sent_again() -> None:
    world = World()
    world.latency = 5.0
    world.api = lambda _: answered(503)
    partition = world.partition(0, "A", "B")
    assert _run(world, signal_at=1.0) == 0
    assert len(world.sent) == 1
    assert partition.committed == 0


def test_the_bound_of_the_stop_ends_it_with_exit_1_and_what_is_settled_is_committed() -> None:
    world = World(concurrency=2, max_rows=1)
    world.api = lambda attempt: accepted(attempt) if values(attempt) == ["A"] else None
    partition = world.partition(0, "A", "B")
    began = world.results.now
    assert _run(world, signal_at=1.0) == 1
    assert STOP_SECONDS <= world.results.now - began <= STOP_SECONDS + 2
    assert partition.committed == 1


@pytest.mark.promise("I7")
@pytest.mark.parametrize(("refusals", "exit_code"), [(3, 0), (10_000, 1)])
def test_a_last_commit_that_is_refused_in_a_rebalance_is_tried_on_for_a_while(
    refusals: int, exit_code: int
) -> None:
    """I7: a stop that falls into a rebalance repeats nothing.

    Each try comes after a poll, which lets it take part.
    """
    world = World()
    partition = world.partition(0, "A", "B")
    world.source.refusals = refusals
    assert _run(world, signal_at=2.0) == exit_code
    assert len(world.source.waited) > min(refusals, 3)
    assert partition.committed == (2 if exit_code == 0 else partition.committed)
    assert world.source.closed


def test_a_last_commit_is_retried_while_a_dead_members_session_keeps_a_rebalance_waiting() -> None:
    """I7: the broker keeps it behind this member's own joining until then."""
    world = World(session_seconds=12.0)
    partition = world.partition(0, "A", "B")
    world.source.refusals = 10_000

    def the_session_is_over() -> None:
        world.source.refusals = 0

    world.results.at(14.0, the_session_is_over)
    assert _run(world, signal_at=2.0) == 0
    assert partition.committed == 2


@pytest.mark.promise("I7")
def test_a_stop_awaits_the_commit_that_is_on_its_way_before_it_sends_the_last() -> None:
    """I7: the client may send it once more, and must not put the group back."""
    world = World()
    partition = world.partition(0, "A", "B")
    world.source.commit_answers = None

    def it_is_answered() -> None:
        assert not world.source.waited, "I7: the last commit goes while another is on its way"
        world.source.committing = False

    world.results.at(5.0, it_is_answered)
    assert _run(world, signal_at=2.0) == 0
    assert world.results.now >= 5.0
    assert partition.committed == 2


def test_a_second_signal_ends_at_once_with_exit_1() -> None:
    world = World()
    world.api = lambda _: None
    world.partition(0, "A")
    world.results.at(2.0, lambda: world.runner.signal())
    assert _run(world, signal_at=1.0) == 1
    assert world.results.now <= 1002.2


def test_the_exit_code_of_the_signal_is_kept() -> None:
    world = World(until_end=True)
    world.partition(0, "A")
    assert _run(world, signal_at=1.0, code=143) == 143


def test_a_stop_with_nothing_in_flight_is_quick() -> None:
    world = World()
    world.partition(0)
    assert _run(world, signal_at=1.0) == 0
    assert world.results.now < 1001.2


def test_a_failure_from_outside_stops_in_order_and_is_raised() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.results.at(
        1.0, lambda: world.results.put(lambda: world.runner.stop(UserError("no broker")))
    )
    with pytest.raises(UserError, match="no broker"):
        world.runner.run()
    assert partition.committed == 1
    assert world.source.closed


def test_with_an_end_to_reach_a_stopped_partition_is_a_failure() -> None:
    world = World(until_end=True)
    partition = world.partition(0, "A")
    world.source.stopped[partition] = "out_of_range"
    with pytest.raises(UserError, match="out_of_range"):
        world.runner.run()


def test_with_an_end_to_reach_a_long_pause_of_the_api_is_a_failure_and_loses_nothing() -> None:
    world = World(until_end=True)
    world.api = lambda _: answered(401)
    world.me = 401
    partition = world.partition(0, "A")
    with pytest.raises(UserError, match="unauthorized"):
        world.runner.run()
    assert BLOCKED_SECONDS <= world.results.now - 1000 <= BLOCKED_SECONDS + 5
    assert partition.committed == 0
    assert world.dead_letters == []
    assert len(world.asked) > 3


def test_without_an_end_to_reach_a_pause_is_waited_out() -> None:
    world = World()
    world.api = lambda _: answered(401)
    world.me = 401
    partition = world.partition(0, "A")
    world.start()
    world.turn_for(2 * BLOCKED_SECONDS)
    world.me = 200
    world.api = accepted
    world.turn_until(lambda: partition.committed == 1, 200)


@pytest.mark.promise("I9", "fencing", "lost-answer")
@pytest.mark.parametrize("signalled", [True, False])
def test_a_stop_waits_for_lost_calls_also_when_the_end_was_reached(signalled: bool) -> None:
    """Fencing, I9: what the next owner sends, or the next run, must not be overwritten by a call
    that was lost.
    """
    world = World(max_processing=6.0, retry=RetryPolicy(base=0.1, cap=0.1))
    world.api = lambda attempt: lost() if len(world.sent) == 1 else accepted(attempt)
    partition = world.partition(0, "A")
    world.results.at(1.0, world.runner.signal if signalled else lambda: world.runner.stop(0))
    assert world.runner.run() == 0
    waited = world.results.now - world.start_by[0][0]
    assert 6.0 <= waited <= 6.2, (
        "I9: it leaves while a lost call may still overwrite what the next run sends"
    )
    assert partition.committed == 1


@pytest.mark.promise("I7")
@pytest.mark.parametrize("sticky", [True, False])
def test_a_client_that_dies_with_a_commit_on_its_way_is_left_in_order(sticky: bool) -> None:
    world = World()
    world.latency = 3.0
    partition = world.partition(0, "A", "B")
    world.results.at(2.0, lambda: setattr(world.source, "commit_answers", None))

    def dies() -> None:
        poll, raised = world.source.poll, False

        def polled(count: int) -> list[Any]:
            nonlocal raised
            if sticky or not raised:
                raised = True
                raise UserError("Kafka: fenced")
            return poll(count)

        world.source.poll = polled  # type: ignore[method-assign]
        world.source.committing = True

    world.results.at(2.5, dies)
    with pytest.raises(UserError, match="fenced"):
        world.runner.run()
    assert world.source.closed, (
        "the group is not left: its partitions wait for the end of the session"
    )
    assert world.runner.lifecycle.phase is Phase.STOPPED
    assert partition.committed == 2, "I7: what was in flight is awaited and committed"


@pytest.mark.promise("I1", "I8")
@pytest.mark.parametrize("response", [unsent(), lost(), answered(503)])
def test_with_an_end_to_reach_an_api_that_fails_for_minutes_is_a_failure_and_loses_nothing(
    response: Response,
) -> None:
    world = World(until_end=True)
    world.api = lambda _: response
    partition = world.partition(0, "A", *keys_of("B", 30))
    world.results.at(BLOCKED_SECONDS + 200, world.runner.signal)
    told = ""
    try:
        world.runner.run()
    except UserError as error:
        told = str(error)
    assert "no call of the API has succeeded for 300 s" in told, (
        "an API that is away is waited for without a bound"
    )
    # A stop waits for lost calls, within its bound.
    assert BLOCKED_SECONDS <= world.results.now - 1000 <= BLOCKED_SECONDS + STOP_SECONDS + 10
    assert partition.committed == 0
    assert world.dead_letters == []


def test_with_an_end_to_reach_an_api_that_fails_now_and_then_is_waited_for() -> None:
    world = World(until_end=True, max_rows=1, concurrency=1)
    world.api = lambda attempt: answered(503) if len(world.sent) % 4 else accepted(attempt)
    world.partition(0, *keys_of("A", 2000))
    world.start()
    world.turn_for(2 * BLOCKED_SECONDS)
    assert not world.runner.stopping


def test_with_an_end_to_reach_what_lasts_for_minutes_at_kafka_is_a_failure() -> None:
    world = World(until_end=True)
    world.partition(0, "A")
    since = world.results.now
    world.source.lasting = [(since, "this member has had no part in the group")]
    world.results.at(BLOCKED_SECONDS + 200, world.runner.signal)
    told = ""
    try:
        world.runner.run()
    except UserError as error:
        told = str(error)
    assert "for 300 s: this member has had no part" in told, "what lasts is waited for without end"
    assert BLOCKED_SECONDS <= world.results.now - since <= BLOCKED_SECONDS + STOP_SECONDS + 10


def test_without_an_end_to_reach_what_lasts_at_kafka_is_waited_out() -> None:
    world = World()
    world.partition(0, "A")
    world.source.lasting = [(world.results.now, "this member has had no part in the group")]
    world.start()
    world.turn_for(2 * BLOCKED_SECONDS)
    assert not world.runner.stopping
