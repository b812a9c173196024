"""Asynchronous uploads: what a task's life does to its rows (contract, section 8)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from consumer.core.admission.gate import MAX_POLLS
from consumer.core.admission.retry import UNANSWERED_SECONDS, RetryPolicy
from consumer.core.uploading.evidence import TASK_PATIENCE_SECONDS
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import LONGEST_WAIT, TASKS_PER_REQUEST, UNKNOWN_LIMIT
from tests.unit.builders import (
    Bench,
    accepted,
    answered,
    error_of,
    lost,
    names,
    naming,
    unsent,
    values,
)

RUNNING = answered(200, {"task_id": "1", "state": "in-progress"})
COMPLETE = answered(200, {"task_id": "1", "state": "complete"})
FAILED = answered(200, {"task_id": "1", "state": "failed", "message": "no such product"})
GONE = answered(404, {"detail": "Not found."})
DEADLINE = 100.0


def started(task_id: str | int = "t1") -> Response:
    return answered(200, {"task_id": task_id})


def bench_with_a_task(*keys: str, **rules: Any) -> Bench:
    """One partition; its rows of case_code are in the hands of the API."""
    bench = Bench(task_deadline=DEADLINE, **rules)
    bench.read(bench.partition(), *(keys or ("C1", "C2")), key="case_code", by_task=True)
    bench.answer(bench.only, started())
    return bench


# -- packing -------------------------------------------------------------------------------------


@pytest.mark.promise("I1")
def test_rows_of_the_same_data_share_a_call_and_others_do_not() -> None:
    bench = Bench(concurrency=8)
    partition = bench.partition()
    bench.read(
        partition, "C1", "C2", key="case_code", by_task=True, tick=False, ship_date="2026-01-01"
    )
    bench.read(partition, "C3", key="case_code", by_task=True, tick=False, ship_date="2026-01-02")
    bench.read(partition, "C4", key="case_code", by_task=True, tick=False, ship_date="2026-01-01")
    bench.read(partition, "P1", key="pallet_code", by_task=True, tick=False, ship_date="2026-01-01")
    bench.tick()
    for attempt in bench.open:
        sets = {
            tuple(sorted((n, v) for n, v in item.items() if n != attempt.data_key))
            for item in attempt.items
        }
        assert len(sets) == 1, (
            f"I1: a task sets one set of data, and these rows have {len(sets)}: {attempt.items}"
        )
    assert sorted(values(attempt) for attempt in bench.open) == [["C1", "C2", "C4"], ["C3"], ["P1"]]
    assert all(attempt.by_task for attempt in bench.open)


def test_a_field_that_holds_the_separator_of_another_one_is_other_data() -> None:
    bench = Bench(concurrency=8)
    partition = bench.partition()
    bench.read(partition, "C1", key="case_code", by_task=True, tick=False, a="b", c="d")
    bench.read(partition, "C2", key="case_code", by_task=True, tick=False, a="b=c", d="")
    bench.read(partition, "C3", key="case_code", by_task=True, tick=False, **{"a=b": "c", "d": ""})
    bench.tick()
    assert sorted(values(attempt) for attempt in bench.open) == [["C1"], ["C2"], ["C3"]]


def test_a_synchronous_row_of_the_same_fields_goes_in_a_call_of_its_own() -> None:
    bench = Bench(concurrency=8)
    partition = bench.partition()
    bench.read(partition, "C1", key="case_code", by_task=True, tick=False)
    bench.read(partition, "C2", key="case_code", tick=False)
    bench.tick()
    assert sorted((values(attempt), attempt.by_task) for attempt in bench.open) == [
        (["C1"], True),
        (["C2"], False),
    ]


# -- a task's life -------------------------------------------------------------------------------


def test_rows_are_settled_when_the_task_is_complete_and_not_before() -> None:
    bench = bench_with_a_task()
    (partition,) = bench.pipeline.partitions
    assert partition.committable_offset == 0
    bench.pass_time(1)
    bench.tell(RUNNING)
    assert partition.committable_offset == 0
    bench.pass_time(2)
    bench.tell(COMPLETE)
    assert bench.settled()
    assert partition.ledger.accepted == 2
    assert bench.pipeline.rows_accepted == {"case_code": 2}


@pytest.mark.parametrize("word", ["complete", "COMPLETED", "Success", "done"])
@pytest.mark.parametrize("name", ["state", "status", "task_status"])
def test_the_end_of_a_task_is_read_whatever_it_is_called(word: str, name: str) -> None:
    bench = bench_with_a_task()
    bench.pass_time(1)
    bench.tell(answered(200, {name: word}))
    assert bench.settled()


def test_the_state_may_stand_in_an_object_of_its_own() -> None:
    bench = bench_with_a_task()
    bench.pass_time(1)
    bench.tell(answered(200, {"task": {"state": "complete", "codes_affected": 7}}))
    assert bench.settled()
    assert bench.pipeline.uploads.confirming.codes_affected == {"case_code": 7}


@pytest.mark.parametrize(
    "document", [{}, {"state": "pending"}, {"state": "queued"}, {"state": 7}, {"status": None}]
)
def test_any_other_state_is_asked_about_again(document: dict[str, object]) -> None:
    bench = bench_with_a_task()
    bench.pass_time(1)
    bench.tell(answered(200, document))
    assert not bench.settled()
    bench.pass_time(LONGEST_WAIT)
    assert len(bench.questions) == 1


def test_a_task_is_asked_about_less_and_less_often_and_never_twice_at_once() -> None:
    bench = bench_with_a_task(rate=0.0)
    times = []
    while bench.now < 1000.0 + DEADLINE - LONGEST_WAIT:
        wakes_at = bench.pipeline.wakes_at(bench.now)
        assert wakes_at is not None
        bench.pass_time(wakes_at - bench.now)
        assert len(bench.questions) <= 1
        if bench.questions:
            times.append(bench.now)
            bench.tell(RUNNING)
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits == sorted(waits)
    assert waits[0] < 1.0
    assert waits[-1] == pytest.approx(LONGEST_WAIT)
    assert len(times) < 20


def test_a_later_row_of_the_unit_waits_for_the_task() -> None:
    bench = bench_with_a_task("C1")
    (partition,) = bench.pipeline.partitions
    bench.read(partition, "C1", "C9", key="case_code", by_task=True)
    assert values(bench.only) == ["C9"]
    bench.answer(bench.only, started("t2"))
    bench.pass_time(1)
    for task in list(bench.questions):
        bench.tell(COMPLETE, task)
    assert values(bench.only) == ["C1"]


# -- failed, lost, over the deadline -------------------------------------------------------------


def test_a_failed_task_is_divided_until_the_bad_row_is_dead_lettered_with_the_task_s_words() -> (
    None
):
    bench = Bench(concurrency=1)
    bench.read(bench.partition(), *names("C", 20), key="case_code", by_task=True)
    for number in range(60):
        bench.pass_time(20)
        if bench.questions:
            window = bench.questions[0].window
            bad = any(row.value == "C013" for row in window.rows)
            bench.tell(FAILED if bad else COMPLETE)
        elif bench.open:
            bench.answer(bench.only, started(number))
    assert bench.reasons() == {"C013": "rejected_by_api"}
    why = bench.dead_letters[0].rejection
    assert (why.message, why.http_status) == ("the task failed: no such product", None)
    bench.acknowledge()
    assert bench.settled()
    assert bench.pipeline.rows_accepted == {"case_code": 19}


def test_a_task_that_the_api_does_not_know_is_asked_about_again_then_its_rows_go_again() -> None:
    bench = bench_with_a_task(max_processing=30.0)
    for _ in range(UNKNOWN_LIMIT):
        assert bench.open == []
        bench.pass_time(3)
        bench.tell(GONE)
    bench.pass_time(60)
    assert values(bench.only) == ["C1", "C2"]


def test_rows_of_a_task_over_its_deadline_go_again_and_hold_their_claims() -> None:
    bench = Bench(
        task_deadline=DEADLINE, max_processing=30.0, retry=RetryPolicy(base=0.001, cap=0.001)
    )
    (partition,) = [bench.partition()]
    bench.read(partition, "C1", key="case_code", by_task=True)
    bench.answer(bench.only, started())
    while bench.now < 1000.0 + DEADLINE:
        bench.pass_time(1)
        if bench.questions:
            bench.tell(RUNNING)
    while not bench.questions:
        bench.pass_time(1)
    bench.tell(RUNNING)
    lost_at = bench.now
    bench.pass_time(1)
    assert values(bench.only) == ["C1"]
    bench.read(partition, "C1", key="case_code", by_task=True)
    bench.answer(bench.only, started("t2"))
    bench.pass_time(2)
    bench.tell(COMPLETE)
    assert bench.open == [], "the lost task may still take effect"
    bench.pass_time(lost_at + 29.9 - bench.now)
    assert bench.open == []
    bench.pass_time(0.2)
    assert values(bench.only) == ["C1"]


def test_a_call_whose_answer_was_lost_may_have_started_a_task_so_later_rows_wait() -> None:
    bench = Bench(max_processing=30.0, retry=RetryPolicy(base=0.001, cap=0.001))
    partition = bench.partition()
    bench.read(partition, "C1", "C1", key="case_code", by_task=True)
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.answer(bench.only, started())
    bench.pass_time(1)
    bench.tell(COMPLETE)
    bench.pass_time(27.9)
    assert bench.open == []
    bench.pass_time(0.2)
    assert values(bench.only) == ["C1"]


@pytest.mark.parametrize(
    "response", [lost(), unsent(), answered(503), answered(403), answered(200, body=b"<html>")]
)
def test_a_question_without_an_answer_is_asked_again_and_changes_nothing(
    response: Response,
) -> None:
    bench = bench_with_a_task()
    for _ in range(3):
        bench.pass_time(30)
        bench.tell(response)
        if bench.asks_open:
            bench.answer_me()
        assert (bench.reasons(), bench.open, bench.settled()) == ({}, [], False)
    bench.pass_time(30)
    bench.tell(COMPLETE)
    assert bench.settled()


def test_an_answer_to_another_than_the_documented_one_pauses_and_nothing_is_lost() -> None:
    bench = Bench()
    bench.read(bench.partition(), "C1", key="case_code", by_task=True)
    bench.answer(bench.only, answered(200, {"items": {}, "codes_affected": 1}))
    assert bench.pipeline.gate.pause is not None
    bench.pass_time(100)
    bench.answer_me()
    bench.answer(bench.only, started())
    bench.pass_time(1)
    assert bench.pipeline.gate.pause is None
    bench.tell(COMPLETE)
    assert bench.settled()


def test_tasks_that_get_lost_again_and_again_are_started_less_and_less_often() -> None:
    """A wrong path of the tasks, say: every start is answered, and no task is known afterwards."""
    bench = bench_with_a_task("C1", retry=RetryPolicy(base=1.0, cap=60.0))
    (partition,) = bench.pipeline.partitions
    starts = [bench.now]
    for number in range(500):
        bench.read(partition, f"E{number}")  # others pass: it is not the API's trouble
        for attempt in list(bench.open):
            if attempt.by_task:
                starts.append(bench.now)
            bench.answer(attempt, started(number) if attempt.by_task else accepted(attempt))
        for task in list(bench.questions):
            bench.tell(GONE, task)
        bench.pass_time(1)
    waits = [after - before for before, after in itertools.pairwise(starts)]
    assert len(waits) > 8
    assert sum(waits[4:8]) > 2 * sum(waits[:4])


def test_a_task_over_its_deadline_is_logged_as_that_and_not_as_at_work() -> None:
    bench = bench_with_a_task("C1")
    while bench.now <= 1000.0 + DEADLINE + LONGEST_WAIT and not bench.open:
        bench.pass_time(1)
        for task in list(bench.questions):
            bench.tell(RUNNING, task)
    assert [text for text in bench.notices if "request failed" in text] == [
        "a request failed (the task did not end within 100 s), of one row from events[0]@0; "
        "its rows are sent again"
    ]


def test_a_row_whose_tasks_never_end_is_given_up_while_others_pass_and_its_letter_says_why() -> (
    None
):
    bench = Bench(task_deadline=20.0, retry=RetryPolicy(base=0.1, cap=1.0, give_up=200.0))
    partition = bench.partition()
    bench.read(partition, "BAD", key="case_code", by_task=True)
    for number in range(2_000):
        if bench.dead_letters:
            break
        for attempt in list(bench.open):
            bench.answer(attempt, started(number) if attempt.by_task else accepted(attempt))
        for task in list(bench.questions):
            bench.tell(RUNNING, task)
        if number % 5 == 0:
            bench.read(partition, f"E{number}")
        bench.pass_time(1)
    why = bench.dead_letters[0].rejection
    assert (why.reason, why.message, why.http_status) == (
        "api_error",
        "the task did not end within 20 s",
        None,
    )


def test_a_task_may_be_asked_about_for_weeks() -> None:
    bench = Bench(task_deadline=1e9)
    bench.read(bench.partition(), "C1", key="case_code", by_task=True)
    bench.answer(bench.only, started())
    for _ in range(3_000):
        bench.pass_time(LONGEST_WAIT)
        bench.tell(RUNNING)
    bench.pass_time(LONGEST_WAIT)
    bench.tell(COMPLETE)
    assert bench.settled()


def test_that_tasks_cannot_be_asked_about_is_told() -> None:
    bench = bench_with_a_task("C1")
    for _ in range(3):
        bench.pass_time(5)
        bench.tell(answered(403, {"detail": "You do not have permission."}))
    told = "a task cannot be asked about (HTTP 403: You do not have permission.); it is asked again"
    assert bench.notices.count(told) == 1
    bench.pass_time(30)
    bench.tell(answered(403, {"detail": "You do not have permission."}))
    assert bench.notices.count(told) == 2


# -- the gate ------------------------------------------------------------------------------------


def test_a_question_costs_a_request_of_the_budget() -> None:
    bench = Bench(rate=10.0, concurrency=8)
    partition = bench.partition()
    for number in range(30):
        bench.read(
            partition, f"C{number}", key="case_code", by_task=True, tick=False, note=str(number)
        )
        fields: dict[str, Any] = {f"note{number}": "x"}
        bench.read(partition, f"E{number}", tick=False, **fields)
    calls: list[float] = []
    questions = 0
    while bench.now < 1010.0:
        bench.pass_time(0.01)
        for attempt in list(bench.open):
            calls.append(bench.now)
            bench.answer(attempt, started(len(calls)) if attempt.by_task else accepted(attempt))
        for task in list(bench.questions):
            calls.append(bench.now)
            questions += 1
            bench.tell(COMPLETE, task)
    assert len(bench.sent) == 60
    assert questions >= 25
    for index, at in enumerate(calls):
        assert sum(at <= other < at + 1.0 for other in calls[index:]) <= 10


def test_questions_and_uploads_take_turns_when_requests_are_scarce() -> None:
    bench = Bench(rate=1.0, concurrency=8)
    partition = bench.partition()
    for number in range(10):
        bench.read(
            partition, f"C{number}", key="case_code", by_task=True, tick=False, note=str(number)
        )
    for number in range(50):
        fields: dict[str, Any] = {f"note{number}": "x"}
        bench.read(partition, f"E{number}", tick=False, **fields)
    asked = 0
    for _ in range(60):
        bench.pass_time(1.06)
        for attempt in list(bench.open):
            bench.answer(
                attempt, started(bench.now.hex()) if attempt.by_task else accepted(attempt)
            )
        for task in list(bench.questions):
            asked += 1
            bench.tell(RUNNING, task)
    assert 20 <= asked <= 32
    assert 25 <= len(bench.sent) <= 40


@pytest.mark.promise("I6")
def test_as_many_tasks_are_at_work_as_are_allowed_and_other_rows_go_on() -> None:
    bench = Bench(concurrency=2)
    partition = bench.partition()
    most = 2 * TASKS_PER_REQUEST
    for number in range(most + 3):
        bench.read(
            partition, f"C{number}", key="case_code", by_task=True, tick=False, note=str(number)
        )
    bench.tick()
    started_tasks = 0
    while bench.open:
        started_tasks += 1
        bench.answer(bench.open[0], started(started_tasks))
    assert most <= started_tasks < most + 2, (
        "I6: only those that were being started at the bound come on top"
    )
    bench.read(partition, "E1", "E2")
    assert values(bench.only) == ["E1", "E2"]
    bench.accept()
    while not bench.open:
        bench.pass_time(5)
        bench.tell(COMPLETE, bench.questions[0])
    assert all(attempt.by_task for attempt in bench.open)


def test_only_a_few_questions_are_open_at_once() -> None:
    bench = Bench(concurrency=4)
    partition = bench.partition()
    for number in range(8):
        bench.read(
            partition, f"C{number}", key="case_code", by_task=True, tick=False, note=str(number)
        )
    bench.tick()
    while bench.open:
        bench.answer(bench.open[0], started(len(bench.sent)))
    bench.pass_time(60)
    assert len(bench.questions) == MAX_POLLS


def test_a_poll_answered_401_pauses_uploading_and_goes_again_once_the_token_passes() -> None:
    bench = bench_with_a_task()
    bench.pass_time(1)
    bench.tell(answered(401, {"detail": "Invalid token."}))
    assert bench.pipeline.gate.pause is not None
    bench.pass_time(100)
    assert bench.questions == []
    bench.answer_me(200)
    bench.pass_time(30)
    bench.tell(COMPLETE)
    assert bench.settled()


def test_a_throttled_question_holds_back_the_whole_process() -> None:
    bench = bench_with_a_task()
    (partition,) = bench.pipeline.partitions
    bench.pass_time(1)
    bench.tell(answered(429, {"detail": "Request was throttled."}, retry_after=50.0))
    bench.read(partition, "E1")
    bench.pass_time(49)
    assert (bench.open, bench.questions) == ([], [])
    bench.pass_time(2)
    assert values(bench.only) == ["E1"]
    assert len(bench.questions) == 1


def test_a_question_that_is_throttled_slows_the_pace() -> None:
    bench = bench_with_a_task(rate=10.0)
    assert bench.pipeline.gate.pace.budget == 10.0
    bench.pass_time(1)
    bench.tell(answered(429, {"detail": "Request was throttled."}, retry_after=1.0))
    budget = bench.pipeline.gate.pace.budget
    assert budget is not None
    assert budget < 10.0


def test_the_start_of_a_task_ends_a_pause_for_the_token_as_an_accepted_window_does() -> None:
    bench = Bench(concurrency=2)
    partition = bench.partition()
    bench.read(partition, "C1", key="case_code", by_task=True)
    bench.answer(bench.only, answered(401))
    bench.pass_time(100)
    bench.answer_me(200)
    bench.answer(bench.only, started())
    assert bench.pipeline.gate.pause is None


def test_only_a_complete_task_ends_the_pause_for_rejections() -> None:
    bench = Bench(concurrency=1, pause_after_rejections=1)
    partition = bench.partition()
    bench.read(partition, "BAD", key="case_code", by_task=True)
    bench.answer(bench.only, naming(error_of("BAD")))
    assert bench.pipeline.gate.upload_pause.rejecting
    bench.read(partition, "C1", key="case_code", by_task=True, note="2")
    bench.pass_time(100)
    bench.answer(bench.only, started("t2"))
    bench.pass_time(2)
    assert bench.pipeline.gate.pause is not None
    bench.tell(COMPLETE)
    assert bench.pipeline.gate.pause is None


@pytest.mark.promise("I8")
def test_a_trial_that_is_a_task_at_work_does_not_keep_other_windows_from_being_tried() -> None:
    """Its end may be hours away, or never come: the task's partition may be gone."""
    bench = Bench(concurrency=1, pause_after_rejections=1)
    partition = bench.partition()
    bench.read(partition, "BAD", key="case_code", by_task=True)
    bench.answer(bench.only, naming(error_of("BAD")))
    bench.read(partition, "C1", key="case_code", by_task=True, note="2")
    bench.pass_time(100)
    bench.answer(bench.only, started("t2"))
    bench.read(bench.partition(1), "A")
    bench.pipeline.remove_partitions([partition], bench.now)
    bench.pass_time(UNANSWERED_SECONDS)
    assert [values(attempt) for attempt in bench.open] == [["A"]], (
        "I8: nothing else is tried while a task is at work"
    )
    bench.accept()
    assert bench.pipeline.gate.pause is None


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    ("document", "ends"),
    [
        ({"status": "success", "task": {"state": "running"}}, False),
        ({"state": "complete", "result": {"status": "in-progress"}}, False),
        ({"status": "ok", "data": {"task": {"state": "PENDING", "result": "complete"}}}, False),
        ({"state": "complete", "parts": [{"state": "complete"}, {"state": "queued"}]}, False),
        ({"state": "complete", "parts": [{"state": "complete"}, {"state": "complete"}]}, True),
        ({"status": "ok", "task": {"state": "complete"}}, True),
    ],
)
def test_a_task_is_complete_only_if_nothing_in_the_answer_says_that_it_is_at_work(
    document: dict[str, object], ends: bool
) -> None:
    bench = bench_with_a_task()
    bench.pass_time(1)
    bench.tell(answered(200, document))
    assert bench.settled() is ends, "I1: a task at work counts as accepted"


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    "document",
    [
        {"state": "complete", "result": {"status": "failed"}},
        {"status": "success", "task": {"state": "error"}},
        {"state": "complete", "success": False},
    ],
)
def test_a_task_of_which_anything_says_that_it_failed_is_not_complete(
    document: dict[str, object],
) -> None:
    bench = bench_with_a_task()
    bench.pass_time(1)
    bench.tell(answered(200, document))
    assert not bench.settled(), "I1: a failed task counts as accepted"


def test_broken_task_workers_dead_letter_no_row_though_synchronous_calls_pass() -> None:
    """A failed task is the API's fault until rows fail while other tasks pass."""
    bench = Bench(concurrency=4, max_rows=10, retry=RetryPolicy(give_up=3600.0))
    partition = bench.partition()
    bench.read(partition, *names("C", 30), key="case_code", by_task=True, tick=False)
    began, broken, number = bench.now, True, 0
    while bench.now < began + 600:
        number += 1
        broken = bench.now < began + 120
        bench.read(partition, f"E{number}")
        for attempt in list(bench.open):
            bench.answer(
                attempt,
                started(f"{number}-{attempt.window.number}")
                if attempt.by_task
                else accepted(attempt),
            )
        for task in list(bench.questions):
            bench.tell(FAILED if broken else COMPLETE, task)
        bench.pass_time(0.5)
    assert bench.reasons() == {}, "good rows are dead-lettered for the API's fault"
    assert bench.pipeline.rows_accepted["case_code"] == 30


def test_a_row_is_not_rejected_for_its_first_failed_task() -> None:
    bench = Bench(concurrency=4, max_rows=1)
    partition = bench.partition()
    bench.read(partition, "C", key="case_code", by_task=True)
    bench.answer(bench.only, answered(503))
    bench.now += 0.001
    bench.read(partition, "D", key="case_code", by_task=True, note="other")
    (other,) = [attempt for attempt in bench.open if values(attempt) == ["D"]]
    bench.answer(other, started("D"))
    while not bench.questions:
        bench.now += 0.01
        bench.pipeline.uploads_suspended = True  # no upload goes meanwhile
        bench.tick()
    bench.tell(COMPLETE)
    bench.pipeline.uploads_suspended = False
    while not bench.open:
        bench.pass_time(0.1)
    bench.answer(bench.only, started("C"))
    bench.pass_time(1)
    bench.tell(FAILED)
    assert bench.reasons() == {}, "a good row is dead-lettered for its first failed task"


def test_a_row_whose_task_fails_while_other_tasks_pass_is_rejected_with_what_the_task_said() -> (
    None
):
    bench = Bench(concurrency=4, max_rows=10, retry=RetryPolicy(base=0.5, cap=5.0))
    partition = bench.partition()
    bench.read(partition, *names("C", 10), key="case_code", by_task=True, tick=False)
    for number in range(400):
        bench.read(partition, f"D{number}", key="case_code", by_task=True, note="other")
        for attempt in list(bench.open):
            bench.answer(attempt, started(f"{number}-{attempt.window.number}"))
        for task in list(bench.questions):
            bad = any(row.value == "C003" for row in task.window.rows)
            bench.tell(FAILED if bad else COMPLETE, task)
        bench.pass_time(0.5)
    assert bench.reasons() == {"C003": "rejected_by_api"}
    ended = bench.pipeline.uploads.tasks_ended
    assert ended.keys() == {"accepted", "none_named"}, (
        "a failed task is counted under the name that users know"
    )
    assert bench.dead_letters[0].rejection.message == "the task failed: no such product"


def _others_pass_and_tasks_do_not(bench: Bench, start: Response, seconds: float) -> None:
    """Calls pass all the while, each call for a task is answered so, and each task fails."""
    partition, until, number = next(iter(bench.pipeline.partitions)), bench.now + seconds, 0
    while bench.now < until:
        number += 1
        bench.read(partition, f"E{number}")
        for attempt in list(bench.open):
            bench.answer(attempt, start if attempt.by_task else accepted(attempt))
        for task in list(bench.questions):
            bench.tell(FAILED, task)
        if bench.asks_open:
            bench.answer_me()
        bench.acknowledge()
        bench.pass_time(0.5)


@pytest.mark.promise("I8")
def test_rows_of_which_one_after_the_other_fails_as_the_only_task_are_all_rejected_in_time() -> (
    None
):
    """I8: those that were rejected before say nothing of the API's workers any more."""
    bench = Bench(concurrency=4, max_rows=1, retry=RetryPolicy(base=0.5, cap=5.0, give_up=0))
    bench.read(bench.partition(), *["C1"] * 6, key="case_code", by_task=True)
    _others_pass_and_tasks_do_not(bench, started(), 6 * 1.2 * TASK_PATIENCE_SECONDS)
    assert [letter.rejection.reason for letter in bench.buried] == ["rejected_by_api"] * 6, (
        "I8: a row waits for ever"
    )


@pytest.mark.promise("I8")
def test_a_row_whose_task_is_refused_as_the_only_one_is_rejected_in_time_while_calls_pass() -> None:
    """I8: a refusal is an answer about its row as a failed task is, whether or not rows are ever
    given up.
    """
    bench = Bench(concurrency=4, max_rows=1, retry=RetryPolicy(base=0.5, cap=5.0, give_up=0))
    bench.read(bench.partition(), "C1", "C1", key="case_code", by_task=True)
    _others_pass_and_tasks_do_not(bench, answered(403), 2 * 1.2 * TASK_PATIENCE_SECONDS)
    assert [letter.rejection.http_status for letter in bench.buried] == [403, 403], (
        "I8: a row waits for ever"
    )


@pytest.mark.promise("I1")
def test_a_row_that_is_given_up_while_every_task_fails_is_not_said_to_be_rejected() -> None:
    """Nobody knows then whether a failed task says anything about its row."""
    bench = Bench(concurrency=4, max_rows=1, retry=RetryPolicy(base=0.5, cap=5.0, give_up=100))
    bench.read(bench.partition(), *names("C", 5), key="case_code", by_task=True)
    _others_pass_and_tasks_do_not(bench, started(), 300)
    assert bench.buried[0].rejection.reason == "api_error", (
        "I1: a letter's reason is not what is known"
    )


@pytest.mark.promise("I1")
def test_no_row_is_rejected_while_every_task_is_refused() -> None:
    """The right to start tasks may be missing, and calls pass all the same."""
    bench = Bench(concurrency=4, max_rows=1, retry=RetryPolicy(base=0.5, cap=5.0, give_up=0))
    bench.read(bench.partition(), *names("C", 5), key="case_code", by_task=True)
    _others_pass_and_tasks_do_not(bench, answered(403), 3 * TASK_PATIENCE_SECONDS)
    assert bench.buried == [], "I1: good rows are dead-lettered for the API's fault"


# -- a single row that synchronous calls keep failing for ----------------------------------------


def test_a_single_row_that_fails_while_others_pass_goes_asynchronously_where_allowed() -> None:
    bench = Bench(single_rows_by_task=True, concurrency=2, retry=RetryPolicy(base=0.1, cap=1))
    partition = bench.partition()
    bench.read(partition, "BIG", key="case_code")
    for number in range(4):
        (big,) = [attempt for attempt in bench.open if values(attempt) == ["BIG"]]
        if big.by_task:
            break
        bench.answer(big, answered(504))
        bench.read(partition, f"E{number}")
        for attempt in [attempt for attempt in bench.open if values(attempt) != ["BIG"]]:
            bench.accept(attempt)
        bench.pass_time(2)
    (big,) = bench.open
    assert big.by_task
    bench.answer(big, started())
    bench.pass_time(1)
    bench.tell(COMPLETE)
    assert bench.settled()


# -- partitions that go --------------------------------------------------------------------------


def test_a_revocation_finds_a_task_at_work_and_its_late_end_settles_nothing() -> None:
    bench = bench_with_a_task("C1")
    (partition,) = bench.pipeline.partitions
    bench.pipeline.withdraw([partition], bench.now)
    assert bench.pipeline.busy([partition])
    bench.pipeline.remove_partitions([partition], bench.now)
    assert partition.ledger.as_dict()["released"] == 1
    fresh = bench.partition()
    bench.read(fresh, "C1", key="case_code", by_task=True)
    assert bench.open == [], "its code is in the hands of a task still"
    assert not bench.pipeline.awaiting, "a stop need not wait for what settles nothing"
    bench.pass_time(1)
    bench.tell(COMPLETE)
    assert partition.ledger.accepted == 0
    assert values(bench.only) == ["C1"]


def test_a_task_that_ends_in_time_settles_its_rows_though_the_partition_is_about_to_go() -> None:
    bench = bench_with_a_task("C1")
    (partition,) = bench.pipeline.partitions
    bench.pipeline.withdraw([partition], bench.now)
    bench.pass_time(1)
    bench.tell(COMPLETE)
    assert not bench.pipeline.busy([partition])
    assert (partition.committable_offset, partition.ledger.accepted) == (1, 1)


def test_tasks_are_asked_about_while_the_process_stops_and_nothing_new_is_sent() -> None:
    bench = bench_with_a_task("C1")
    (partition,) = bench.pipeline.partitions
    bench.pipeline.uploads_suspended = True
    bench.read(partition, "C2", key="case_code", by_task=True)
    bench.pass_time(1)
    assert bench.open == []
    bench.tell(COMPLETE)
    assert partition.committable_offset == 1


def test_a_second_answer_about_a_task_changes_nothing() -> None:
    bench = bench_with_a_task("C1")
    bench.pass_time(1)
    (task,) = bench.questions
    bench.tell(COMPLETE)
    bench.pipeline.on_task_response(task, FAILED, bench.now)
    assert bench.settled()
    assert bench.reasons() == {}
    partition = bench.partition(1)
    for number in range(4):
        bench.read(
            partition, f"C{number}", key="case_code", by_task=True, tick=False, note=str(number)
        )
    bench.tick()
    while bench.open:
        bench.answer(bench.open[0], started(len(bench.sent)))
    bench.pass_time(60)
    assert len(bench.questions) == MAX_POLLS, "nor does it make room for one more question"
