"""Responses and their results while everything is being rejected."""

from __future__ import annotations

from consumer.core.admission.upload_pause import Pause
from consumer.core.effects import Attempt
from consumer.core.model import Rejection
from consumer.core.uploading.response import Response
from tests.unit.builders import (
    Bench,
    always,
    answered,
    error_of,
    names,
    naming,
    rejecting,
    values,
)

# -- everything is rejected ----------------------------------------------------------------------


def _reject_all(attempt: Attempt) -> Response:
    return naming(*(error_of(value, field="extended_id") for value in values(attempt)))


def test_so_many_rejections_in_a_row_pause_and_nothing_more_is_dead_lettered() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=1)
    partition = bench.partition()
    bench.read(partition, *names("A", 200), tick=False)
    bench.pass_time(3600, _reject_all)
    assert len(bench.reasons()) == 30, "uploading goes on though everything is rejected"
    assert bench.pipeline.gate.pause is Pause.EVERYTHING_REJECTED
    assert bench.pipeline.unsettled == 170
    assert partition.committable_offset == 30


def test_answers_of_requests_in_flight_at_the_pause_dead_letter_nothing_either() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=8)
    bench.read(bench.partition(), *names("A", 200), tick=False)
    bench.pass_time(3600, _reject_all)
    assert len(bench.reasons()) == 30


def test_only_an_accepted_window_ends_that_pause_and_its_rejected_rows_are_tried_again() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=2)
    bench.read(bench.partition(), *names("A", 100), tick=False)
    bench.pass_time(3600, _reject_all)
    assert bench.pipeline.gate.pause is Pause.EVERYTHING_REJECTED
    known = set(bench.reasons())
    bench.pass_time(600, rejecting(["A099"], lambda _, held: naming(*map(error_of, held))))
    assert bench.pipeline.gate.pause is None
    assert bench.settled()
    assert set(bench.reasons()) == known | {"A099"}


def test_good_rows_behind_bad_ones_end_that_pause() -> None:
    """A bad batch of a line must not stop the others for good.

    Rows that were tried let others be tried first.
    """
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=2)
    bad = names("B", 55)
    bench.read(bench.partition(), *bad, *names("G", 20), tick=False)
    bench.pass_time(3600, rejecting(bad, lambda _, held: naming(*map(error_of, held))))
    assert bench.settled()
    assert set(bench.reasons()) == set(bad)


def test_a_refusal_in_between_does_not_end_that_pause() -> None:
    """The token is refused for a while, then everything is rejected again.

    Still nothing was accepted.
    """
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=1)
    bench.read(bench.partition(), *names("A", 200), tick=False)
    bench.pass_time(600, _reject_all)
    bench.pass_time(600, lambda _: answered(401))
    bench.pass_time(3600, _reject_all)
    assert len(bench.reasons()) == 30
    assert bench.pipeline.gate.pause is not None
    bench.pass_time(600, always)
    assert bench.settled()


def test_a_refusal_before_the_limit_does_not_begin_the_count_anew() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=1)
    partition = bench.partition()
    for step in range(20):
        bench.read(partition, *names(f"A{step}-", 10), tick=False)
        bench.pass_time(60, _reject_all)
        bench.read(partition, *names(f"B{step}-", 10), tick=False)
        bench.pass_time(60, lambda _: answered(401))
    bench.pass_time(3600, _reject_all)
    assert len(bench.reasons()) <= 40


def test_any_accepted_window_begins_the_count_anew() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=30, concurrency=1)
    partition = bench.partition()
    for step in range(20):
        bench.read(partition, *names(f"A{step}-", 20), tick=False)
        bench.pass_time(1, _reject_all)
        bench.read(partition, f"G{step}", tick=False)
        bench.pass_time(1, always)
    assert bench.pipeline.gate.pause is None
    assert len(bench.reasons()) == 400


def test_rejections_by_our_own_rules_count_for_nothing() -> None:
    bench = Bench(pause_after_rejections=30)
    partition = bench.partition()
    bench.read(partition, *names("A", 200), rejection=Rejection("key_blank", "blank"), tick=False)
    bench.pass_time(1, always)
    assert bench.pipeline.gate.pause is None
    assert bench.settled()


def test_pause_after_rejections_zero_is_never() -> None:
    bench = Bench(max_rows=100, pause_after_rejections=0)
    bench.read(bench.partition(), *names("A", 3000), tick=False)
    bench.pass_time(1, _reject_all)
    assert len(bench.reasons()) == 3000


def test_a_firewalls_400_counts_as_rejections_too() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=30)
    bench.read(bench.partition(), *names("A", 200), tick=False)
    bench.pass_time(3600, lambda _: answered(400, body=b"<html>blocked</html>"))
    assert bench.pipeline.gate.pause is Pause.EVERYTHING_REJECTED
    assert len(bench.reasons()) <= 30
    bench.pass_time(3600, always)
    assert bench.settled()


def test_a_trial_whose_named_rows_were_all_taken_away_goes_again_with_the_others() -> None:
    bench = Bench(max_rows=10, pause_after_rejections=10, concurrency=1)
    going, staying = bench.partition(0), bench.partition(1)
    bench.read(going, *names("A", 15), tick=False)
    bench.read(staying, *names("B", 5), tick=False)
    bench.pass_time(0, _reject_all)
    assert bench.pipeline.gate.pause is Pause.EVERYTHING_REJECTED
    while not bench.open:
        bench.pass_time(1)
    taken = [value for value in values(bench.only) if value.startswith("A")]
    assert (len(taken), len(values(bench.only))) == (5, 10), "rows of both partitions are tried"
    bench.pipeline.remove_partitions([going], bench.now)
    bench.answer(bench.only, naming(*map(error_of, taken)))
    bench.pass_time(60, always)
    assert bench.settled()
