"""Order, fencing, settling and bounds of the whole core (section 7), without a broker."""

from __future__ import annotations

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.commits import Commit, due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.response import Response
from tests.unit.builders import (
    Bench,
    accepted,
    always,
    answered,
    error_of,
    lost,
    names,
    naming,
    row_of,
    values,
)

BLANK = Rejection("key_blank", "the key is blank")


def _multi(
    bench: Bench, partition: Partition, offset: int, *keys: str, size: int = 100
) -> list[Row]:
    """One record of several rows arrives."""
    record = Record(partition, offset, b"raw", size, open=len(keys))
    rows = [row_of(record, key) for key in keys]
    bench.pipeline.add_records(partition, [record], rows, offset + 1, bench.now)
    bench.tick()
    return rows


# -- order ---------------------------------------------------------------------------------------


@pytest.mark.promise("I2", "I4")
def test_two_rows_of_a_key_share_no_request_and_the_later_goes_when_the_earlier_is_settled() -> (
    None
):
    bench = Bench()
    bench.read(bench.partition(), "A", "A", "A")
    for _ in range(3):
        assert values(bench.only) == ["A"]
        bench.accept()
    assert bench.settled()


def test_one_value_under_two_data_keys_needs_no_order() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A", key="extended_id")
    bench.read(partition, "A", key="serial_number")
    assert len(bench.open) == 2


def test_keys_are_exact_and_case_sensitive() -> None:
    bench = Bench()
    bench.read(bench.partition(), "a", "A", " A")
    assert values(bench.only) == ["a", "A", " A"]


@pytest.mark.promise("I4")
def test_a_key_from_two_partitions_is_never_in_flight_twice() -> None:
    bench = Bench()
    bench.read(bench.partition(0), "A")
    bench.read(bench.partition(1), "A")
    assert len(bench.open) == 1
    bench.accept()
    assert len(bench.open) == 1


@pytest.mark.promise("I2")
@pytest.mark.parametrize(
    "response", [answered(503), answered(429), lost(), answered(401), answered(400)]
)
def test_a_retry_lets_no_later_row_of_its_code_pass(response: Response) -> None:
    bench = Bench(max_processing=0.0)
    partition = bench.partition()
    bench.read(partition, "A", "B", note="first")
    bench.read(partition, "A", "B", note="second")
    bench.answer(bench.only, response)
    bench.pass_time(300, always)
    applied = [item for attempt in bench.sent for item in attempt.items]
    for value in "AB":
        notes = [item["note"] for item in applied if item["extended_id"] == value]
        assert notes == sorted(notes), "first, however often, then second"
        assert notes[-1] == "second"


def test_a_row_that_fails_validation_is_dead_lettered_in_its_turn_and_never_sent() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A")
    bench.read(partition, "A", rejection=BLANK)
    bench.read(partition, "A")
    assert bench.dead_letters == [], "the earlier row of the key is not settled"
    bench.accept()
    assert len(bench.dead_letters) == 1
    assert bench.open == []
    bench.acknowledge()
    bench.accept()
    assert bench.settled()
    assert len(bench.sent) == 2


# -- settling ------------------------------------------------------------------------------------


@pytest.mark.promise("I1")
def test_a_record_is_settled_when_all_its_rows_are() -> None:
    bench = Bench(max_rows=1, concurrency=3)
    partition = bench.partition()
    _multi(bench, partition, 0, "A", "B", "C")
    first, second, third = bench.open
    bench.accept(first)
    bench.answer(second, naming(error_of("B")))
    bench.accept(third)
    assert partition.committable_offset == 0
    bench.acknowledge()
    assert partition.committable_offset == 1
    assert partition.ledger.as_dict()["rejected"] == 1, (
        "any row dead-lettered: the record counts as rejected"
    )


def test_a_record_without_rows_is_skipped() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.pipeline.add_records(partition, [Record(partition, 0, None, 50)], [], 1, bench.now)
    assert partition.committable_offset == 1
    assert partition.ledger.skipped == 1
    assert bench.settled()
    assert bench.pipeline.flow.size == 0


def test_an_undecodable_record_without_a_key_goes_to_the_dead_letter_topic_at_once() -> None:
    bench = Bench()
    partition = bench.partition()
    record = Record(partition, 0, b"raw", 10, open=1)
    row = Row(
        record, None, None, {}, (), 0, rejection=Rejection("undecodable", "no JSON", None, "decode")
    )
    bench.pipeline.add_records(partition, [record], [row], 1, bench.now)
    bench.tick()
    assert [letter.rejection.reason for letter in bench.dead_letters] == ["undecodable"]
    bench.acknowledge()
    assert bench.settled()
    assert bench.sent == []


@pytest.mark.promise("I3")
def test_commits_never_pass_an_unsettled_position_whatever_the_order_of_answers() -> None:
    bench = Bench(max_rows=1, concurrency=5)
    partition = bench.partition()
    bench.read(partition, *names("A", 5))
    attempts = list(bench.open)
    for number in (4, 2, 3, 1):
        bench.accept(attempts[number])
        assert [commit.offset for commit in due_commits([partition])] == [0]
    bench.accept(attempts[0])
    assert due_commits([partition]) == [Commit(partition, 5, "")]


@pytest.mark.promise("I5")
def test_a_letter_is_handed_out_once_and_settles_once() -> None:
    bench = Bench()
    partition = bench.partition()
    (row,) = bench.read(partition, "A", rejection=BLANK)
    bench.tick()
    assert len(bench.dead_letters) == 1
    bench.pipeline.on_acknowledged([row], bench.now)
    bench.pipeline.on_acknowledged([row], bench.now)
    assert partition.ledger.rejected == 1
    assert partition.ledger.balanced


@pytest.mark.promise("I5")
def test_the_end_of_an_attempt_counts_once() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A")
    attempt = bench.only
    bench.answer(attempt, answered(503))
    bench.pipeline.on_response(attempt, accepted(attempt), bench.now)
    assert bench.pipeline.unsettled == 1
    bench.pass_time(10)
    bench.accept()
    bench.pipeline.on_response(attempt, accepted(attempt), bench.now)
    assert partition.ledger.as_dict()["accepted"] == 1


@pytest.mark.promise("I6")
def test_no_more_requests_than_the_concurrency_are_open() -> None:
    bench = Bench(max_rows=1, concurrency=3)
    bench.read(bench.partition(), *names("A", 50))
    assert len(bench.open) == 3
    bench.accept(bench.open[0])
    assert len(bench.open) == 3


@pytest.mark.promise("budget")
def test_requests_stay_under_the_rate_and_retries_count_in_it() -> None:
    bench = Bench(max_rows=1, rate=10.0, concurrency=100, retry=RetryPolicy(base=0.1, cap=0.1))
    bench.read(bench.partition(), *names("A", 100), tick=False)
    starts: list[float] = []
    failed: set[str] = set()

    def api(attempt: Attempt) -> Response:
        starts.append(bench.now)
        (value,) = values(attempt)
        if value in failed:
            return accepted(attempt)
        failed.add(value)
        return answered(503)

    bench.pass_time(60, api)
    assert bench.settled()
    assert len(starts) == 200
    assert all(later - first >= 1.0 for first, later in zip(starts, starts[10:], strict=False))


# -- stopping ------------------------------------------------------------------------------------


def test_when_stopping_nothing_new_is_sent_and_answers_still_settle() -> None:
    bench = Bench(max_rows=2, concurrency=1)
    partition = bench.partition()
    bench.read(partition, "A", "B", "C")
    bench.pipeline.uploads_suspended = True
    bench.answer(bench.only, naming(error_of("A")))
    assert bench.open == []
    bench.acknowledge()
    bench.pass_time(100)
    assert bench.open == []
    assert partition.committable_offset == 1, (
        "A is dead-lettered; B and C are neither sent nor lost"
    )
    assert partition.ledger.unsettled == 2


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.promise("I6")
def test_reading_stops_at_the_bound_of_rows_and_goes_on_when_there_is_room() -> None:
    bench = Bench(max_unsettled_rows=100, max_rows=10, concurrency=1)
    partition = bench.partition()
    bench.read(partition, *names("A", 90), tick=False)
    flow = bench.pipeline.flow
    assert flow.reads()
    assert (flow.room, flow.room_at_once) == (10, 1), "a part of it at once"
    bench.read(partition, *names("B", 10))
    assert not flow.reads()
    bench.accept()
    assert not flow.reads(), "it does not stutter at the bound"
    bench.accept()
    assert flow.reads()


@pytest.mark.promise("I6")
def test_reading_stops_at_the_bound_of_bytes() -> None:
    bench = Bench(max_unsettled_bytes=1000, concurrency=1)
    partition = bench.partition()
    _multi(bench, partition, 0, "A", size=999)
    assert bench.pipeline.flow.reads()
    _multi(bench, partition, 1, "B", size=1)
    assert not bench.pipeline.flow.reads()
    bench.pass_time(0, always)
    assert bench.pipeline.flow.reads()
    assert (bench.pipeline.flow.rows, bench.pipeline.flow.size) == (0, 0)


@pytest.mark.promise("I6")
def test_a_record_is_taken_in_whole_even_over_the_bound() -> None:
    bench = Bench(max_unsettled_rows=5)
    partition = bench.partition()
    _multi(bench, partition, 0, *names("A", 20))
    assert bench.pipeline.flow.room == -15
    bench.pass_time(0, always)
    assert bench.settled()


@pytest.mark.promise("I6")
def test_nothing_is_kept_of_what_is_settled() -> None:
    bench = Bench(max_processing=5.0, retry=RetryPolicy(base=0.1, cap=1))
    partition = bench.partition()
    responses = iter([lost(), answered(503), naming(error_of("A001"))])

    def api(attempt: Attempt) -> Response:
        return next(responses, None) or accepted(attempt)

    bench.read(partition, *names("A", 10), *names("A", 10), tick=False)
    bench.pass_time(60, api)
    assert bench.settled()
    pipeline = bench.pipeline
    assert (len(pipeline.claims), len(pipeline.lanes), len(pipeline.windows.live)) == (0, 0, 0)
    assert (pipeline.flow.rows, pipeline.flow.size, pipeline.dead_letters_pending) == (0, 0, 0)
    assert pipeline.wakes_at(bench.now) is None
    assert len(partition.records) <= 20
    assert partition.committable_offset == 20
    assert len(partition.records) == 0


# -- time ----------------------------------------------------------------------------------------


def test_an_idle_pipeline_wants_no_waking() -> None:
    bench = Bench()
    bench.partition()
    assert bench.pipeline.wakes_at(bench.now) is None


def test_the_pipeline_wakes_for_the_pace() -> None:
    bench = Bench(max_rows=1, rate=10.0)
    bench.read(bench.partition(), "A", "B")
    assert len(bench.open) == 1
    wakes_at = bench.pipeline.wakes_at(bench.now)
    assert wakes_at == pytest.approx(bench.now + 1 / 9.5)


@pytest.mark.promise("I8")
def test_waking_exactly_when_asked_is_enough_to_settle_everything() -> None:
    """I8 on the clock: a loop that turns only at ``wakes_at`` and at inputs forgets nothing."""
    bench = Bench(
        max_rows=5, linger=0.3, rate=20.0, concurrency=2, retry=RetryPolicy(base=0.2, cap=3)
    )
    partition = bench.partition()
    for step in range(40):
        bench.read(partition, *names("A", 3), note=str(step), tick=False)
    count = 0

    def api(attempt: Attempt) -> Response:
        nonlocal count
        count += 1
        return (
            accepted(attempt)
            if count % 3
            else (answered(503), answered(429), answered(401))[count % 9 // 3]
        )

    bench.pass_time(600, api)
    assert bench.settled()
    assert partition.committable_offset == 120
