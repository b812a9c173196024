"""Responses and their results: 200, the kinds of 400, 413."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.admission.upload_pause import Pause
from consumer.core.effects import Attempt
from consumer.core.uploading.response import Response
from tests.unit.builders import (
    Bench,
    accepted,
    always,
    answered,
    error_of,
    names,
    naming,
    rejecting,
    values,
)

ROW_LIMIT_413 = 30


def _sent(bench: Bench) -> list[list[str]]:
    return [values(attempt) for attempt in bench.sent]


def _repeated(bench: Bench, value: str) -> int:
    return sum(value in values(attempt) for attempt in bench.sent)


# -- 200 -----------------------------------------------------------------------------------------


def test_200_settles_every_row() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, *names("A", 100))
    bench.accept()
    assert bench.settled()
    assert partition.committable_offset == 100
    assert bench.pipeline.rows_accepted == {"extended_id": 100}


def test_rows_that_a_200_leaves_out_join_a_later_window_once_and_settle_when_confirmed() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A", "B", "C", tick=False)
    bench.tick()
    bench.answer(bench.only, accepted(bench.only, without="B", affected=2))
    assert _sent(bench) == [["A", "B", "C"], ["B"]]
    assert partition.committable_offset == 1
    bench.accept()
    assert bench.settled()
    assert bench.pipeline.uploads.confirming.unconfirmed == 0


@pytest.mark.promise("I7")
def test_rows_left_out_twice_are_accepted_and_counted_as_unconfirmed() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "B", "C")
    bench.answer(bench.only, accepted(bench.only, without="B", affected=2))
    bench.answer(bench.only, answered(200, {"items": {}, "codes_affected": 0}))
    assert bench.settled(), "I7: a row that is accepted, unconfirmed, is sent once more"
    assert bench.pipeline.uploads.confirming.unconfirmed == 1
    assert bench.reasons() == {}
    assert len(bench.sent) == 2


def test_a_row_left_out_keeps_its_claim_until_the_repeat_is_answered() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "B", "B")
    bench.answer(bench.only, accepted(bench.only, without="B", affected=1))
    assert values(bench.only) == ["B"]
    bench.accept()
    assert values(bench.only) == ["B"]
    bench.accept()
    assert bench.settled()


def test_after_twenty_fruitless_repeats_of_a_data_key_there_are_no_more() -> None:
    bench = Bench(max_rows=2)
    partition = bench.partition()
    for number in range(60):
        bench.read(partition, f"A{number}", f"B{number}")
        while bench.open:
            attempt = bench.open[0]
            left_out = f"B{number}"
            bench.answer(attempt, accepted(attempt, without=[left_out]))
    assert bench.settled()
    assert len(bench.sent) == 60 + 20
    assert bench.pipeline.uploads.confirming.unconfirmed == 60


def test_a_repeat_that_confirms_something_begins_the_count_anew() -> None:
    bench = Bench(max_rows=2)
    partition = bench.partition()
    for number in range(60):
        bench.read(partition, f"A{number}", f"B{number}")
        bench.answer(bench.only, accepted(bench.only, without=[f"B{number}"]))
        if number % 15 == 14:
            bench.accept()
        else:
            bench.answer(bench.only, accepted(bench.only, without=[f"B{number}"]))
    assert len(bench.sent) == 2 * 60


def test_the_fruitless_repeats_of_one_data_key_say_nothing_about_another() -> None:
    bench = Bench(max_rows=2)
    partition = bench.partition()
    for key in ("extended_id", "serial_number"):
        for number in range(30):
            bench.read(partition, f"A{number}", f"B{number}", key=key)
            while bench.open:
                bench.answer(bench.open[0], accepted(bench.open[0], without=[f"B{number}"]))
    assert len(bench.sent) == 2 * (30 + 20)


def test_a_200_without_the_fields_sent_counts_them_and_accepts() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", note="x", market="cn")
    bench.answer(bench.only, answered(200, {"items": {"A": ["note"]}, "codes_affected": 1}))
    assert bench.settled()
    assert bench.pipeline.uploads.confirming.fields_not_confirmed == {"market": 1}


def test_a_200_that_is_not_the_documented_answer_pauses_and_settles_nothing() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(200, body=b"<html>portal</html>"))
    assert bench.pipeline.gate.pause is Pause.UNEXPECTED
    assert bench.pipeline.unsettled == 1
    bench.pass_time(300, always)
    assert bench.settled()


# -- 400 with errors -----------------------------------------------------------------------------


def test_a_400_that_lists_all_its_errors_costs_one_request_more() -> None:
    bench = Bench()
    bench.read(bench.partition(), *names("A", 100), tick=False)
    bad = ["A003", "A050", "A099"]
    bench.pass_time(0, rejecting(bad, lambda _, held: naming(*map(error_of, held))))
    assert [len(attempt.items) for attempt in bench.sent] == [100, 97]
    assert bench.reasons() == dict.fromkeys(bad, "rejected_by_api")
    assert bench.settled()


def test_a_400_that_lists_only_its_first_error_costs_a_request_a_bad_row() -> None:
    bench = Bench()
    bench.read(bench.partition(), *names("A", 100), tick=False)
    bad = ["A003", "A050", "A099"]
    bench.pass_time(0, rejecting(bad, lambda _, held: naming(error_of(held[0]))))
    assert [len(attempt.items) for attempt in bench.sent] == [100, 99, 98, 97]
    assert set(bench.reasons()) == set(bad)


def test_the_others_of_a_400_are_next_to_be_sent() -> None:
    bench = Bench(concurrency=1)
    partition = bench.partition()
    bench.read(partition, *names("A", 3))
    bench.read(partition, *names("B", 100))
    bench.answer(bench.only, naming(error_of("A001")))
    assert values(bench.only) == ["A000", "A002"]


def test_a_rejected_row_carries_message_field_status_and_stage() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, naming(error_of("A")))
    (letter,) = bench.dead_letters
    why = letter.rejection
    assert (why.reason, why.message, why.field, why.stage, why.http_status) == (
        "rejected_by_api",
        "Invalid product",
        "product",
        "upload",
        400,
    )
    assert letter.row.attempts == 1


def test_a_rejected_row_is_settled_only_when_its_letter_is_acknowledged() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A")
    bench.answer(bench.only, naming(error_of("A")))
    bench.pass_time(10_000)
    assert partition.committable_offset == 0
    assert bench.pipeline.dead_letters_pending == 1
    bench.acknowledge()
    assert partition.committable_offset == 1
    assert partition.ledger.rejected == 1
    assert bench.pipeline.rows_rejected == {"rejected_by_api": 1}


def test_a_later_row_of_a_rejected_key_waits_for_the_letter() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "A")
    bench.answer(bench.only, naming(error_of("A")))
    assert bench.open == []
    bench.acknowledge()
    assert values(bench.only) == ["A"]


def test_an_unknown_key_without_grace_is_rejected_at_once() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, naming(error_of("A", field="extended_id")))
    assert bench.reasons() == {"A": "unknown_key"}


@pytest.mark.promise("I8")
def test_an_unknown_key_is_tried_again_for_its_grace_and_then_rejected() -> None:
    bench = Bench(retry=RetryPolicy(unknown_key_grace=600))
    bench.read(bench.partition(), "A", "B", tick=False)
    began = bench.now
    api = rejecting(
        ["A"], lambda _, held: naming(*(error_of(v, field="extended_id") for v in held))
    )
    bench.pass_time(599, api)
    assert bench.reasons() == {}
    assert bench.pipeline.unsettled == 1, "the other row is settled, this one is not"
    assert _repeated(bench, "A") > 5
    bench.pass_time(2, api)
    assert bench.reasons() == {"A": "unknown_key"}, "I8: a row waits for its key beyond the grace"
    assert bench.now - began == pytest.approx(601)
    assert bench.settled()


@pytest.mark.promise("I8")
def test_an_unknown_keys_grace_holds_no_row_of_another_code() -> None:
    bench = Bench(retry=RetryPolicy(unknown_key_grace=600))
    partition = bench.partition()
    bench.read(partition, "A", "B", "C")
    bench.answer(bench.only, naming(error_of("B", field="extended_id")))
    assert [values(attempt) for attempt in bench.open] == [["A", "C"]], (
        "I8: rows wait for another row's unknown key"
    )
    bench.accept()
    bench.read(partition, "D")
    bench.accept()
    assert partition.ledger.accepted == 3, "I8: rows wait for another row's unknown key"


def test_an_unknown_key_that_becomes_known_within_its_grace_is_accepted() -> None:
    bench = Bench(retry=RetryPolicy(unknown_key_grace=600))
    bench.read(bench.partition(), "A", "A", tick=False)
    bench.pass_time(
        60, rejecting(["A"], lambda _, held: naming(error_of(held[0], field="extended_id")))
    )
    assert bench.pipeline.unsettled == 2, "the later row of the key waits"
    bench.pass_time(120, always)
    assert bench.settled()
    assert bench.reasons() == {}


def test_other_errors_do_not_wait_for_the_grace() -> None:
    bench = Bench(retry=RetryPolicy(unknown_key_grace=600))
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, naming(error_of("A", field="product")))
    assert bench.reasons() == {"A": "rejected_by_api"}


def test_one_percent_of_bad_rows_costs_little_more_than_one_request_a_window_with_one() -> None:
    """The issue's figure: at most 1.1 extra requests per window that held a bad row, if all errors
    are listed.
    """
    bench = Bench()
    partition = bench.partition()
    bad = [f"A{window}-{17 * window % 100:03d}" for window in range(50)]
    for window in range(50):
        bench.read(partition, *names(f"A{window}-", 100), tick=False)
    bench.pass_time(1, rejecting(bad, lambda _, held: naming(*map(error_of, held))))
    assert len(bench.sent) - 50 <= 55
    assert set(bench.reasons()) == set(bad)
    assert bench.settled()


# -- 400 that names no row -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        answered(400, body=b"<html>Bad Request</html>"),
        answered(400, {"detail": "Batch was too large"}),
        naming(error_of("a key of nobody", line="1")),
        answered(400),
    ],
)
def test_a_400_that_names_no_row_divides_until_the_bad_row_stands_alone(response: Response) -> None:
    bench = Bench()
    bench.read(bench.partition(), *names("A", 20), tick=False)
    bench.pass_time(0, rejecting(["A007"], lambda _, __: response))
    assert bench.reasons() == {"A007": "rejected_by_api"}
    assert bench.settled()


def test_a_row_that_fails_alone_is_rejected_with_the_beginning_of_the_body() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(400, body=b"y" * 5000))
    why = bench.dead_letters[0].rejection
    assert why.message.count("y") == 500
    assert why.http_status == 400


# -- 413 -----------------------------------------------------------------------------------------


def _small_api(attempt: Attempt) -> Response:
    return accepted(attempt) if len(attempt.items) <= ROW_LIMIT_413 else answered(413)


def test_413_halves_the_window_and_remembers_the_limit() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, *names("A", 100), tick=False)
    bench.pass_time(0, _small_api)
    assert bench.settled()
    before = len(bench.sent)
    bench.read(partition, *names("B", 100), tick=False)
    bench.pass_time(0, _small_api)
    assert bench.settled()
    assert all(len(attempt.items) <= ROW_LIMIT_413 for attempt in bench.sent[before:])
    assert bench.reasons() == {}


def test_413_for_a_single_row_rejects_it_and_is_no_limit_for_others() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A")
    bench.answer(bench.only, answered(413, body=b"too large"))
    assert bench.reasons() == {"A": "rejected_by_api"}
    assert bench.dead_letters[0].rejection.http_status == 413
    bench.read(partition, *names("B", 100))
    assert len(bench.only.items) == 100


def test_a_limit_of_413_that_has_gone_is_forgotten() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, *names("A", 400), tick=False)
    bench.pass_time(
        60, lambda attempt: answered(413) if len(attempt.items) > 2 else accepted(attempt)
    )
    assert bench.settled()
    before = len(bench.sent)
    for step in range(100):
        bench.read(partition, *names(f"B{step}-", 100), tick=False)
        bench.pass_time(1, always)
    assert bench.settled()
    assert len(bench.sent) - before <= 250, "one minute of 413 costs for the life of the process"


def test_a_limit_of_413_that_stays_costs_about_two_requests_a_minute() -> None:
    bench = Bench(linger=0.1)
    partition = bench.partition()
    for step in range(600):
        bench.read(partition, *names(f"A{step}-", 100), tick=False)
        bench.pass_time(1, _small_api)
    too_large = bench.pipeline.uploads.requests["too_large"]
    assert too_large <= 2 + 3 * 600 / 60


# -- lines without key values --------------------------------------------------------------------


def _by_line(first: int, bad: list[str]) -> Callable[[Attempt], Response]:
    """An API that names the first bad row by its line only, and counts lines from ``first``."""

    def response(attempt: Attempt, held: list[str]) -> Response:
        line = first + values(attempt).index(held[0])
        return answered(
            400, {"errors": [{"line": str(line), "field": "product", "message": "bad"}]}
        )

    return rejecting(bad, response)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_rows_named_by_line_only_are_right_however_the_api_counts(first: int) -> None:
    bench = Bench()
    bad = ["A003", "A004", "A050", "A099"]
    bench.read(bench.partition(), *names("A", 100), tick=False)
    bench.pass_time(10, _by_line(first, bad))
    assert bench.settled()
    assert bench.reasons() == dict.fromkeys(bad, "rejected_by_api"), (
        "a good row is dead-lettered for its neighbour"
    )
    assert len(bench.sent) <= 1 + len(bad) + 5, (
        "once it is known how the API counts, a bad row costs one request"
    )


def test_lines_that_mean_nothing_cost_a_search_and_no_good_row() -> None:
    bench = Bench()
    bad = ["A003", "A050", "A099"]
    bench.read(bench.partition(), *names("A", 100), tick=False)
    odd = answered(400, {"errors": [{"line": "7", "message": "bad"}]})
    bench.pass_time(10, rejecting(bad, lambda _, __: odd))
    assert bench.settled()
    assert set(bench.reasons()) == set(bad)


def test_the_counting_of_lines_is_learned_from_errors_that_name_the_key_too() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A", "B", "C")
    bench.answer(bench.only, naming(error_of("B", line="1")))
    bench.pass_time(1, always)
    bench.read(partition, "D", "E", "F")
    bench.answer(bench.only, answered(400, {"errors": [{"line": "2", "message": "bad"}]}))
    assert bench.reasons() == {"B": "rejected_by_api", "F": "rejected_by_api"}


@pytest.mark.promise("I1")
def test_a_200_about_other_codes_is_no_acceptance() -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, answered(200, {"items": {"X": ["note"]}, "codes_affected": 1}))
    assert not bench.settled(), "I1: an answer to another request counts"
    bench.pass_time(60, always)
    assert bench.settled()
