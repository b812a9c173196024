"""A snapshot of a consumer: each number against what was done to it."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.counters import MAX_NAMES, OTHER
from consumer.core.model import Record, Stage
from consumer.core.offsets.partition import Partition
from consumer.loop.partition_pauses import PauseReason
from consumer.loop.ports import WAIT_IDLE_SECONDS
from consumer.ops.snapshot import take
from consumer.ops.status import Snapshot
from tests.unit.builders import (
    Bench,
    accepted,
    answered,
    error_of,
    lost,
    names,
    naming,
    row_of,
    unsent,
    values,
)
from tests.unit.runner_fakes import World, keys_of


def _take(world: World) -> Snapshot:
    return take(world.runner, world.source, world.results.now, world.lag)


def _revoke(world: World, *partitions: Partition) -> None:
    world.source.inside.append(lambda: world.runner.on_revoked(list(partitions), lost=False))
    world.turn_until(lambda: not any(partition.owned for partition in partitions))


# -- the ledger ----------------------------------------------------------------------------------


def test_the_ledger_is_the_sum_of_the_partitions_and_of_those_that_were_taken_away() -> None:
    world = World(max_rows=1, concurrency=20)
    world.api = lambda attempt: None if values(attempt)[0].startswith("B") else accepted(attempt)
    going = world.partition(0, *keys_of("A", 7))
    world.partition(1, *keys_of("B", 5))
    world.start()
    world.turn_until(lambda: going.ledger.accepted == 7)
    _revoke(world, going)
    told = _take(world)
    assert told.ledger.balanced
    assert (told.ledger.consumed, told.ledger.accepted, told.ledger.unsettled) == (12, 7, 5)
    assert told.consumed == {"events": 12}
    assert [(p.partition, p.consumed, p.unsettled) for p in told.partitions] == [(1, 5, 5)]


def test_a_partition_that_comes_back_counts_on_in_its_topic() -> None:
    world = World()
    first = world.partition(0, "A", "B")
    world.start()
    world.turn_until(lambda: first.ledger.accepted == 2)
    _revoke(world, first)
    again = world.partition(0, "A", "B", "C")
    world.runner.on_assigned([again])
    world.turn_until(lambda: again.ledger.accepted == 3)
    told = _take(world)
    assert told.consumed == {"events": 5}
    assert told.ledger.balanced
    assert told.rebalances == 3, "given, taken away, given"


def test_topics_beyond_the_first_ones_are_counted_together() -> None:
    bench = Bench()
    partitions = [Partition(f"topic{number}", 0, 0, 0) for number in range(MAX_NAMES + 3)]
    for partition in partitions:
        bench.pipeline.add_partition(partition)
        bench.pipeline.add_records(partition, [], [], 1, bench.now)
        partition.ledger.consumed = partition.ledger.skipped = 1
    found = bench.pipeline.ledgers.by_topic(bench.pipeline.partitions)
    assert len(found) == MAX_NAMES + 1
    assert found[OTHER].consumed == 3
    bench.pipeline.remove_partitions(partitions[-2:], bench.now)
    assert bench.pipeline.ledgers.by_topic(bench.pipeline.partitions)[OTHER].consumed == 3, (
        "those that went count on"
    )


def test_a_partition_taken_away_twice_counts_once() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A")
    for _ in range(2):
        bench.pipeline.remove_partitions([partition], bench.now)
    assert bench.pipeline.ledger().consumed == 1


# -- partitions ----------------------------------------------------------------------------------


def test_the_lag_is_told_as_soon_as_the_end_is_known_and_counts_from_what_is_committed() -> None:
    world = World()
    world.api = lambda _: None
    partition = world.partition(0, *keys_of("A", 3))
    world.start()
    world.turn_until(lambda: partition.position == 3)
    (told,) = _take(world).partitions
    assert (told.end, told.lag) == (None, None)
    world.source.ends[partition] = 10
    (told,) = _take(world).partitions
    assert (told.committed, told.position, told.end, told.lag) == (0, 3, 10, 10)


def test_without_a_committed_offset_the_lag_counts_from_where_reading_began() -> None:
    world = World()
    partition = Partition("events", 0, 4, None)
    world.source.logs[partition] = []
    world.source.ends[partition] = 10
    world.start()
    (told,) = _take(world).partitions
    assert (told.committed, told.lag) == (None, 6)


def test_an_end_that_is_older_than_what_was_read_is_not_believed() -> None:
    world = World()
    partition = world.partition(0, *keys_of("A", 3))
    world.source.ends[partition] = 1
    world.start()
    world.turn_until(lambda: partition.committed == 3)
    (told,) = _take(world).partitions
    assert (told.end, told.lag) == (3, 0)


def test_the_oldest_unsettled_record_is_as_old_as_the_time_since_it_was_read() -> None:
    world = World(max_rows=1, concurrency=1)
    world.api = lambda attempt: None if values(attempt) == ["B"] else accepted(attempt)
    partition = world.partition(0, "A", "B")
    world.start()
    began = world.results.now  # both are read in the first turn
    world.turn_until(lambda: partition.ledger.accepted == 1)
    world.turn_for(20)
    told = _take(world)
    assert told.oldest_unsettled_seconds == pytest.approx(world.results.now - began, abs=0.2)
    assert told.partitions[0].oldest_unsettled_seconds == told.oldest_unsettled_seconds


def test_with_nothing_unsettled_nothing_is_old() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: partition.ledger.accepted == 1)
    assert _take(world).oldest_unsettled_seconds == 0.0


def test_paused_and_stopped_partitions_are_told_apart() -> None:
    world = World()
    kept, held, gone = (world.partition(number) for number in range(3))
    world.start()
    world.runner.partition_pauses.pause(held, PauseReason.MAP_FULL)
    world.source.stopped[gone] = "out_of_range"
    assert [(p.paused, p.stopped) for p in _take(world).partitions] == [
        (False, None),
        (True, None),
        (False, "out_of_range"),
    ]
    world.source.paused = True
    assert [p.paused for p in _take(world).partitions] == [True, True, False]
    assert kept.owned


# -- rows ----------------------------------------------------------------------------------------


def _parked(bench: Bench) -> dict[str, int]:
    return {cause: count for cause, count in bench.pipeline.parked().items() if count}


def test_rows_that_wait_for_a_retry_and_those_behind_them() -> None:
    bench = Bench(retry=RetryPolicy(base=8, cap=60))
    bench.read(bench.partition(), "A", "B")
    bench.read(next(iter(bench.pipeline.partitions)), "A")
    assert _parked(bench) == {"earlier_row": 1}
    bench.answer(bench.only, answered(503))
    assert _parked(bench) == {"retry": 2, "earlier_row": 1}


def test_rows_whose_key_is_not_known_yet() -> None:
    bench = Bench(retry=RetryPolicy(base=8, cap=60, unknown_key_grace=60))
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, naming(error_of("A", field="extended_id")))
    assert _parked(bench) == {"unknown_key": 1}
    assert bench.pipeline.uploads.resent == {"unknown_key": 1, "rows_named": 1}


def test_rows_that_wait_until_a_lost_call_can_no_longer_take_effect() -> None:
    bench = Bench(retry=RetryPolicy(base=0.001, cap=0.001), max_processing=65)
    partition = bench.partition()
    first, later = bench.read(partition, "A", "A")
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.accept()
    assert first.stage == Stage.CLAIM_HELD
    assert later.stage == Stage.WAITING
    assert _parked(bench) == {"late_answer": 1}
    bench.pass_time(65)
    assert _parked(bench) == {}
    assert values(bench.only) == ["A"]


def test_records_that_wait_for_their_schema_count_as_rows() -> None:
    bench = Bench()
    partition = bench.partition()
    record = Record(partition, 0, b"raw", 100, open=1)
    bench.pipeline.add_records(partition, [record], [], 1, bench.now)
    assert _parked(bench) == {"schema": 1}
    bench.pipeline.add_decoded(partition, [record], [row_of(record, "A")], bench.now)
    assert _parked(bench) == {}


def test_every_row_is_in_one_place() -> None:
    world = World(concurrency=1, linger=60.0, max_rows=3)
    world.api = lambda _: None
    world.acknowledges = False
    world.partition(0, *keys_of("A", 8), "A0", "")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1 and len(world.dead_letters) == 1)
    told = _take(world).rows
    assert (told.in_flight, told.ready, told.dead_letters_pending) == (3, 5, 1)
    assert told.unsettled == told.in_flight + told.ready + told.dead_letters_pending + sum(
        told.parked.values()
    )


# -- windows and requests ------------------------------------------------------------------------


def test_windows_count_when_they_are_closed_and_parts_of_them_do_not() -> None:
    bench = Bench(max_rows=10)
    bench.read(bench.partition(), *names("A", 10), "B", "C")
    assert bench.pipeline.uploads.closed == {"full": 1, "due": 1}
    bench.answer(bench.open[0], answered(413))
    bench.serve(accepted)
    uploads = bench.pipeline.uploads
    assert uploads.closed.total() == 2
    assert sum(uploads.window_rows.counts) == 2
    assert uploads.window_rows.sum == 12


RETRIES: list[tuple[Any, str]] = [
    (answered(503), "failed"),
    (answered(429, retry_after=1), "throttled"),
    (answered(401), "unauthorized"),
    (answered(404), "refused"),
    (answered(302), "unexpected"),
    (lost(), "lost"),
    (unsent(), "unsent"),
]


@pytest.mark.parametrize(("reply", "cause"), RETRIES)
def test_a_window_that_goes_again_is_a_retry_and_its_rows_are_resent_for_that_cause(
    reply: Any, cause: str
) -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, reply)
    uploads = bench.pipeline.uploads
    assert (uploads.requests, uploads.retries, uploads.resent) == (
        {cause: 1},
        {cause: 1},
        {cause: 2},
    )


def test_rows_of_a_divided_window_are_resent_once_for_that() -> None:
    bench = Bench()
    bench.read(bench.partition(), *names("A", 10))
    bench.answer(bench.only, answered(400, {}))
    uploads = bench.pipeline.uploads
    assert (uploads.retries, uploads.resent) == ({}, {"divided": 10})
    bench.serve(accepted)
    assert uploads.resent == {"divided": 10}, (
        "the rest was not sent as a whole: it is divided, not resent"
    )


def test_requests_are_timed_unless_they_were_never_sent() -> None:
    bench = Bench(retry=RetryPolicy(base=0.001, cap=0.001))
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, unsent())
    bench.pass_time(1)
    bench.accept()
    assert sum(bench.pipeline.uploads.request_seconds.counts) == 1


def test_what_is_in_flight_and_what_fills_is_told_with_its_age() -> None:
    world = World(concurrency=1, max_rows=2, linger=60.0)
    world.api = lambda _: None
    world.partition(0, *keys_of("A", 5))
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    sent_at = world.results.now
    world.turn_for(10)
    told = _take(world).windows
    (request,) = told.in_flight
    assert (request.data_key, request.rows, request.attempt) == ("extended_id", 2, 1)
    assert request.seconds == pytest.approx(world.results.now - sent_at, abs=0.1)
    (lane,) = told.lanes
    assert (lane.data_key, lane.fields, lane.rows) == ("extended_id", ("note",), 3)
    assert lane.oldest_seconds == pytest.approx(10, abs=0.2)


# -- time and state ------------------------------------------------------------------------------


def test_a_settled_record_counts_with_the_time_since_it_was_published() -> None:
    world = World(max_rows=3)
    world.latency = 4.0
    partition = world.partition(0, *keys_of("A", 3))
    world.start()
    world.turn_until(lambda: partition.ledger.accepted == 3)
    world.turn_for(0.1)
    told = _take(world).event_to_settled
    assert sum(told.counts) == 3
    assert told.counts[told.bounds.index(5.0)] == 3
    assert told.sum == pytest.approx(12, abs=3 * 1.5 * WAIT_IDLE_SECONDS)


def test_rejected_records_count_when_their_letter_is_acknowledged() -> None:
    world = World()
    world.partition(0, "")
    world.start()
    world.turn_for(5)
    told = _take(world)
    assert told.rows.rejected == {"key_blank": 1}
    assert sum(told.event_to_settled.counts) == 1


def test_why_nothing_is_sent_is_told() -> None:
    world = World(retry=RetryPolicy(base=10, cap=10))
    world.api = lambda _: answered(401)
    world.me = 401
    world.partition(0, "A")
    world.start()
    assert _take(world).api.blocked is None
    world.turn_until(lambda: world.pipeline.gate.pause is not None)
    world.turn_for(7)
    told = _take(world).api
    assert told.blocked == "unauthorized"
    assert 7 <= told.blocked_seconds <= 7.2


def test_while_no_call_is_answered_the_last_failure_is_told_and_since_when() -> None:
    world = World(retry=RetryPolicy(base=1, cap=1))
    world.api = lambda _: unsent()
    partition = world.partition(0, "A")
    world.start()
    told = _take(world).api
    assert (told.last_error, told.failing_seconds) == (None, None)
    world.turn_until(lambda: world.pipeline.uploads.api.failing_since is not None)
    world.turn_for(16)
    told = _take(world).api
    assert told.last_error == unsent().error
    assert told.failing_seconds == pytest.approx(16, abs=0.2)
    world.api = accepted
    world.turn_until(lambda: partition.ledger.accepted == 1)
    told = _take(world).api
    assert (told.last_error, told.failing_seconds) == (None, None)


def test_an_answer_that_rejects_rows_is_an_answer_and_a_5xx_is_told_without_its_body() -> None:
    bench = Bench(max_rows=1, concurrency=2)
    uploads = bench.pipeline.uploads
    bench.read(bench.partition(), "A", "B")
    first, second = bench.open
    bench.answer(first, answered(503, {"detail": "busy", "code": "A"}), tick=False)
    assert (uploads.api.last_error, uploads.api.failing_since) == ("HTTP 503: busy", bench.now)
    bench.answer(second, naming(error_of("B")), tick=False)
    assert (uploads.api.last_error, uploads.api.failing_since) == (None, None)


def test_while_uploading_is_paused_the_question_that_is_not_answered_is_told() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(401))
    assert bench.pipeline.uploads.api.failing_since is None
    bench.pipeline.on_token_check(unsent(), bench.now)
    assert bench.pipeline.uploads.api.last_error == unsent().error
    bench.pipeline.on_token_check(answered(401), bench.now)
    assert bench.pipeline.uploads.api.failing_since is None


def test_commits_count_by_how_they_ended() -> None:
    world = World()
    world.source.commit_answers = "coordinator not available"
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: world.runner.committing.ended["failed"] == 2)
    world.source.commit_answers = "at once"
    world.turn_until(lambda: partition.committed == 1)
    assert _take(world).commits == {"failed": world.runner.committing.ended["failed"], "ok": 1}


def test_the_largest_settled_map_is_told() -> None:
    world = World(max_rows=1)
    world.api = lambda attempt: None if values(attempt) == ["A"] else accepted(attempt)
    partition = world.partition(0, "A", "B")
    world.start()
    world.turn_until(lambda: bool(partition.metadata))
    assert _take(world).commit_metadata_characters == len(partition.metadata) > 0


def test_the_state_is_joining_until_the_group_has_answered() -> None:
    world = World()
    assert _take(world).state == "joining"
    world.runner.on_assigned([])
    assert _take(world).state == "running"
    assert _take(world).partitions == []
    world.runner.signal()
    world.runner.run()
    assert _take(world).state == "stopped"
