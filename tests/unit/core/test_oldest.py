"""The oldest unsettled record of a partition names its wait: each wait, brought about."""

from __future__ import annotations

import time

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt
from consumer.core.model import Record, Rejection
from consumer.core.offsets.partition import Partition
from consumer.core.oldest import Oldest, Wait
from consumer.core.uploading.response import Response
from tests.unit.builders import (
    Bench,
    accepted,
    answered,
    error_of,
    lost,
    names,
    naming,
    row_of,
    values,
)


def oldest(bench: Bench, partition: Partition | None = None) -> Oldest:
    found = bench.pipeline.oldest(bench.now, older_than=0.0)
    return found[partition or next(iter(bench.pipeline.partitions))]


def test_a_partition_with_nothing_unsettled_has_none() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.accept()
    assert bench.pipeline.oldest(bench.now, older_than=0.0) == {}


def test_a_record_that_was_read_a_moment_ago_is_left_out() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.now += 0.9
    assert bench.pipeline.oldest(bench.now, older_than=1.0) == {}
    bench.now += 0.1
    assert len(bench.pipeline.oldest(bench.now, older_than=1.0)) == 1


def test_it_is_the_record_that_the_committed_offset_waits_for() -> None:
    bench = Bench(max_rows=1, concurrency=3)
    partition = bench.partition(start=7)
    bench.read(partition, "A", "B", "C")
    bench.accept(bench.open[0])
    assert oldest(bench).record.offset == 8 == partition.committable_offset


def test_a_row_in_a_lane_waits_for_its_window() -> None:
    bench = Bench(linger=60.0)
    bench.read(bench.partition(), "A")
    found = oldest(bench)
    assert (found.waits_for, found.attempts, found.last_response) == (Wait.WINDOW, 0, "")
    assert found.row is not None
    assert found.row.value == "A"


def test_a_row_in_flight_waits_for_the_response() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    found = oldest(bench)
    assert (found.waits_for, found.attempts) == (Wait.RESPONSE, 1)


def test_a_row_that_failed_waits_for_its_retry_with_the_last_response() -> None:
    bench = Bench(retry=RetryPolicy(base=8, cap=60))
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(503, {"detail": "no database", "code": "A"}))
    found = oldest(bench)
    assert (found.waits_for, found.attempts) == (Wait.RETRY, 1)
    assert found.last_response == "HTTP 503: no database", "never a body: it may hold codes"
    assert found.retry_at == bench.pipeline.windows.wakes_at()
    assert not found.suspect
    bench.pass_time(60)
    assert oldest(bench).last_response == "HTTP 503: no database", "while it is in flight again"


def test_a_lost_response_is_told_too() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, lost())
    assert oldest(bench).last_response == lost().error


def test_a_throttled_window_waits_for_a_request() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(429, {"detail": "slow down"}, retry_after=30))
    found = oldest(bench)
    assert (found.waits_for, found.last_response) == (Wait.REQUEST, "HTTP 429: slow down")


def test_a_poison_row_is_found_at_its_own_fault_while_others_pass() -> None:
    bench = Bench(max_rows=4, concurrency=1, retry=RetryPolicy(base=0.5, cap=5))
    partition, other = bench.partition(0), bench.partition(1)
    bench.read(partition, *names("A", 2), "POISON", "Z")
    bench.read(other, *names("B", 40))

    def api(attempt: Attempt) -> Response:
        return answered(500, {}) if "POISON" in values(attempt) else accepted(attempt)

    for second in range(20):
        bench.read(other, *names(f"C{second}", 4))
        bench.pass_time(1, api)
    found = oldest(bench, partition)
    assert found.record.offset == 2
    assert found.suspect
    assert found.attempts >= 3
    assert found.last_response == "HTTP 500"


def test_a_row_whose_key_is_not_known_yet_tells_when_it_goes_again() -> None:
    bench = Bench(retry=RetryPolicy(base=8, cap=60, unknown_key_grace=60))
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, naming(error_of("A", field="extended_id")))
    found = oldest(bench)
    assert found.waits_for is Wait.UNKNOWN_KEY
    assert found.retry_at is not None
    assert bench.now < found.retry_at <= bench.now + 60


def test_a_row_behind_an_earlier_one_of_its_code_names_its_record() -> None:
    bench = Bench()
    first, second = bench.partition(0), bench.partition(1)
    bench.read(first, "A")
    bench.read(second, "A")
    found = oldest(bench, second)
    assert found.waits_for is Wait.EARLIER_ROW
    assert found.behind is not None
    assert (found.behind.partition, found.behind.offset) == (first, 0)


def test_a_row_behind_a_record_of_several_rows_names_that_record() -> None:
    bench = Bench(max_rows=1, concurrency=2)
    first, second = bench.partition(0), bench.partition(1)
    record = Record(first, 0, b"raw", 100, open=2)
    rows = [row_of(record, "A"), row_of(record, "B")]
    bench.pipeline.add_records(first, [record], rows, 1, bench.now)
    bench.tick()
    bench.accept(next(attempt for attempt in bench.open if values(attempt) == ["A"]))
    bench.read(second, "A")
    found = oldest(bench, second)
    assert (found.waits_for, found.behind) == (Wait.EARLIER_ROW, record)
    held = oldest(bench, first)
    assert held.row is rows[1], "the row that is done holds nothing up"


def test_a_row_behind_a_lost_call_tells_until_when() -> None:
    bench = Bench(retry=RetryPolicy(base=0.001, cap=0.001), max_processing=65)
    partition = bench.partition()
    bench.read(partition, "A", "A")
    sent_at = bench.now
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.accept()
    found = oldest(bench)
    assert (found.record.offset, found.waits_for) == (1, Wait.LOST_CALL)
    assert found.retry_at == pytest.approx(sent_at + 65)
    assert found.behind is not None
    assert found.behind.offset == 0


def test_a_rejected_row_waits_for_its_dead_letter_and_an_accepted_one_for_its_receipt() -> None:
    bench = Bench(receipts=True)
    first, second = bench.partition(0), bench.partition(1)
    bench.read(first, "A")
    record = Record(second, 0, b"raw", 100, open=1)
    bad = row_of(record, "B", rejection=Rejection("no_fields", "nothing"))
    bench.pipeline.add_records(second, [record], [bad], 1, bench.now)
    bench.accept()
    assert oldest(bench, first).waits_for is Wait.RECEIPT
    assert oldest(bench, second).waits_for is Wait.DEAD_LETTER
    bench.now += 5
    assert bench.pipeline.receipts_oldest(bench.now) == pytest.approx(5)
    assert bench.pipeline.dead_letters_oldest(bench.now) == pytest.approx(5)
    bench.acknowledge()
    assert bench.pipeline.dead_letters_oldest(bench.now) == 0.0


def test_a_task_at_work_is_waited_for() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", by_task=True)
    bench.answer(bench.only, answered(200, {"task_id": "7"}))
    assert oldest(bench).waits_for is Wait.TASK


def test_a_record_whose_rows_are_not_made_waits_for_them() -> None:
    bench = Bench()
    partition = bench.partition()
    record = Record(partition, 0, b"raw", 100, open=1)
    bench.pipeline.add_records(partition, [record], [], 1, bench.now)
    found = oldest(bench)
    assert (found.waits_for, found.row) == (Wait.ROWS, None)


def test_a_row_that_failed_tells_before_one_that_was_not_sent() -> None:
    bench = Bench(max_rows=1, concurrency=1, retry=RetryPolicy(base=8, cap=60))
    partition = bench.partition()
    record = Record(partition, 0, b"raw", 100, open=2)
    rows = [row_of(record, "A"), row_of(record, "B", linger="x")]
    bench.pipeline.add_records(partition, [record], rows, 1, bench.now)
    bench.tick()
    failed = values(bench.only)
    bench.answer(bench.only, answered(503), tick=False)
    found = oldest(bench)
    assert found.row is not None
    assert [found.row.value] == failed


def test_what_is_left_of_a_divided_window_keeps_its_last_response() -> None:
    bench = Bench(max_rows=4)
    bench.read(bench.partition(), *names("A", 4))
    bench.answer(bench.only, answered(413, {"detail": "too much"}), tick=False)
    assert {window.last_response for window in bench.pipeline.windows.live} == {
        "HTTP 413: too much"
    }


def test_rows_that_were_not_named_have_not_failed() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, naming(error_of("A")))
    (window,) = bench.pipeline.windows.live
    assert (len(window.rows), window.last_response) == (1, "")


@pytest.mark.alone
def test_with_20_000_rows_unsettled_it_takes_less_than_fifteen_milliseconds() -> None:
    bench = Bench(linger=60.0, max_rows=100, concurrency=8, max_unsettled_rows=30_000)
    partitions = [bench.partition(number) for number in range(16)]
    for number, partition in enumerate(partitions):
        bench.read(partition, *names(f"P{number}-", 1250), tick=False)
    bench.tick()
    assert bench.pipeline.unsettled == 20_000
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        found = bench.pipeline.oldest(bench.now, older_than=0.0)
        best = min(best, time.perf_counter() - began)
        assert len(found) == 16
    assert best < 0.015
