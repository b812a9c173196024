"""Fencing (section 7): what becomes of rows whose partition is taken away, and of late answers."""

from __future__ import annotations

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.model import Rejection
from consumer.core.offsets.commits import Commit, due_commits
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
    values,
)

pytestmark = pytest.mark.promise("fencing")

BLANK = Rejection("key_blank", "the key is blank")


# -- revocation and fencing ----------------------------------------------------------------------


def test_a_withdrawn_partitions_rows_are_never_sent_again() -> None:
    bench = Bench(max_rows=2, concurrency=1, retry=RetryPolicy(base=0.1, cap=1))
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, *names("G", 6), tick=False)
    bench.read(kept, "K", tick=False)
    bench.tick()
    assert values(bench.only) == ["G000", "G001"]
    bench.pipeline.withdraw([going], bench.now)
    assert bench.pipeline.busy([going])
    bench.answer(bench.only, answered(503))
    bench.pipeline.withdraw([going], bench.now)
    assert not bench.pipeline.busy([going])
    bench.pipeline.remove_partitions([going], bench.now)
    bench.pass_time(100, always)
    assert [values(attempt) for attempt in bench.sent] == [["G000", "G001"], ["K"]]
    assert going.ledger.as_dict()["released"] == 6
    assert going.ledger.balanced
    assert bench.pipeline.unsettled == 0


def test_what_is_in_flight_when_its_partition_is_withdrawn_settles_and_can_be_committed() -> None:
    bench = Bench(max_rows=2)
    going = bench.partition(0)
    bench.read(going, "A", "B")
    bench.pipeline.withdraw([going], bench.now)
    bench.accept()
    assert due_commits([going]) == [Commit(going, 2, "")]
    bench.pipeline.remove_partitions([going], bench.now)
    assert going.ledger.as_dict() == {
        "consumed": 2,
        "accepted": 2,
        "rejected": 0,
        "skipped": 0,
        "released": 0,
        "unsettled": 0,
    }


@pytest.mark.parametrize(
    "response",
    [answered(503), answered(401), answered(413), answered(400), naming(error_of("G")), lost()],
)
def test_a_late_result_of_a_revoked_partition_settles_and_writes_nothing(
    response: Response,
) -> None:
    bench = Bench(max_rows=2, retry=RetryPolicy(base=0.1, cap=1))
    going = bench.partition(0)
    kept = bench.partition(1)
    bench.read(going, "G", tick=False)
    bench.read(kept, "K")
    attempt = bench.only
    bench.pipeline.remove_partitions([going], bench.now)
    before = going.ledger.as_dict()
    bench.answer(attempt, response)
    bench.pass_time(100, always)
    assert going.ledger.as_dict() == before
    assert going.ledger.balanced
    assert not any(letter.row.value == "G" for letter in bench.buried + bench.dead_letters)
    assert sum("G" in values(a) for a in bench.sent) == 1
    assert due_commits([going]) == []
    assert bench.settled()


def test_a_late_acceptance_of_a_revoked_partition_settles_nothing_of_its_next_epoch() -> None:
    bench = Bench()
    old = bench.partition(0)
    bench.read(old, "A")
    attempt = bench.only
    bench.pipeline.remove_partitions([old], bench.now)
    new = bench.partition(0)
    bench.read(new, "A")
    assert len(bench.open) == 1, "the old epoch's row is in flight: the new one waits for it"
    bench.answer(attempt, accepted(attempt))
    assert new.committable_offset == 0
    bench.accept()
    assert new.committable_offset == 1
    assert old.ledger.as_dict()["released"] == 1


def test_after_a_lost_call_of_the_old_epoch_the_new_one_waits_until_it_can_take_no_effect() -> None:
    bench = Bench(max_processing=65.0)
    old = bench.partition(0)
    bench.read(old, "A", "A")
    attempt, sent_at = bench.only, bench.now
    bench.pipeline.remove_partitions([old], bench.now)
    new = bench.partition(0)
    bench.read(new, "A", "A")
    bench.answer(attempt, lost())
    bench.pass_time(sent_at + 64.9 - bench.now)
    assert bench.open == []
    bench.pass_time(0.2)
    bench.accept()
    bench.accept()
    assert bench.settled()


@pytest.mark.promise("I9", "lost-answer")
def test_a_call_that_is_lost_after_its_partition_went_is_known_to_the_next_epoch() -> None:
    """A stop or a hand-over of that one waits for it, too: the next owner knows nothing of it."""
    bench = Bench(max_processing=60.0)
    bench.read(bench.partition(0), "A")
    first, late = bench.only, bench.now
    (gone,) = list(bench.pipeline.partitions)
    bench.pipeline.remove_partitions([gone], bench.now)
    back = bench.partition(0)
    bench.now += 5
    bench.answer(first, lost())
    assert back.lost_until == late + 60.0, (
        "I9: a lost call of the epoch before may overwrite the next owner's rows"
    )
    bench.pipeline.remove_partitions([back], bench.now)
    bench.read(bench.partition(1), "B")
    (gone,) = list(bench.pipeline.partitions)
    bench.pipeline.remove_partitions([gone], bench.now)
    bench.answer(bench.only, lost())
    assert bench.partition(1).lost_until == bench.now + 60.0, (
        "I9: the same, where it comes back only then"
    )


def test_a_parked_row_with_a_lost_call_holds_its_code_after_its_partition_went() -> None:
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1))
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, "A")
    bench.read(kept, "A")
    bench.answer(bench.only, lost())
    bench.pipeline.withdraw([going], bench.now)
    bench.pipeline.remove_partitions([going], bench.now)
    bench.pass_time(64.9)
    assert bench.open == []
    bench.pass_time(0.2)
    assert values(bench.only) == ["A"]
    bench.accept()
    assert bench.settled()


def test_a_row_in_grace_with_a_lost_call_holds_its_code_after_its_partition_went() -> None:
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1, unknown_key_grace=600))
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, "A")
    bench.read(kept, "A")
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.answer(bench.only, naming(error_of("A", field="extended_id")))
    bench.pipeline.remove_partitions([going], bench.now)
    bench.pass_time(63)
    assert bench.open == []
    bench.pass_time(2)
    bench.accept()
    assert bench.settled()


def test_rows_of_kept_partitions_in_a_shared_window_go_on() -> None:
    bench = Bench(retry=RetryPolicy(base=1, cap=1))
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, "G", tick=False)
    bench.read(kept, "K")
    bench.answer(bench.only, answered(503))
    bench.pipeline.remove_partitions([going], bench.now)
    bench.pass_time(1)
    assert values(bench.only) == ["K"]


@pytest.mark.promise("I1")
@pytest.mark.parametrize("status", [400, 413, 403])
def test_an_answer_about_a_window_is_not_held_against_what_a_revocation_left_of_it(
    status: int,
) -> None:
    """A 413 or an unnamed 400 about two rows says nothing about the one that is left."""
    bench = Bench(max_rows=2, linger=0.1, retry=RetryPolicy(base=0.1, cap=1))
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, "bad", tick=False)
    bench.read(kept, "good")
    bench.answer(bench.only, answered(503))
    bench.read(kept, "other", market="cn", tick=False)
    while not any(values(attempt) == ["bad", "good"] for attempt in bench.open):
        bench.pass_time(0.1)
        for attempt in [attempt for attempt in bench.open if values(attempt) == ["other"]]:
            bench.accept(attempt)
    attempt = bench.only
    bench.pipeline.remove_partitions([going], bench.now)
    bench.answer(attempt, answered(status))
    bench.pass_time(60, always)
    assert bench.reasons() == {}, "I1: a good row is rejected for what was said of others"
    assert bench.settled()


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_divided_window_is_withdrawn_whole(parts: int) -> None:
    bench = Bench(max_rows=100)
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, *names("G", 100))
    for _ in range(parts):
        bench.answer(bench.open[0], answered(400))
    for attempt in list(bench.open):
        bench.answer(attempt, answered(401))  # queued
    bench.pipeline.withdraw([going], bench.now)
    bench.pipeline.remove_partitions([going], bench.now)
    sent = len(bench.sent)
    bench.read(kept, "K", tick=False)
    bench.pass_time(100, always)
    assert [values(attempt) for attempt in bench.sent[sent:]] == [["K"]]
    assert bench.settled()
    assert len(bench.pipeline.claims) == 0


def test_a_part_of_a_divided_window_goes_on_when_the_other_part_is_withdrawn() -> None:
    bench = Bench(max_rows=100)
    going, kept = bench.partition(0), bench.partition(1)
    bench.read(going, *names("G", 50), tick=False)
    bench.read(kept, *names("K", 50), tick=False)
    bench.tick()
    bench.answer(bench.only, answered(400))
    assert [values(attempt) for attempt in bench.open] == [names("G", 50), names("K", 50)]
    bench.pipeline.remove_partitions([going], bench.now)
    for attempt in list(bench.open):
        bench.answer(attempt, answered(503))
    bench.pass_time(10, always)
    assert kept.committable_offset == 50
    assert bench.settled()


def test_waiting_rows_of_a_revoked_partition_do_not_block_the_line() -> None:
    bench = Bench()
    first, second, third = (bench.partition(number) for number in range(3))
    bench.read(first, "A")
    bench.read(second, "A", "A")
    bench.read(third, "A")
    bench.pipeline.remove_partitions([second], bench.now)
    bench.accept()
    assert len(bench.open) == 1
    bench.accept()
    assert third.committable_offset == 1
    assert bench.settled()


@pytest.mark.promise("I5")
def test_a_letter_of_a_revoked_partition_settles_nothing_and_frees_its_key() -> None:
    bench = Bench()
    old = bench.partition(0)
    (row,) = bench.read(old, "A", rejection=BLANK)
    bench.pipeline.remove_partitions([old], bench.now)
    new = bench.partition(0)
    bench.read(new, "A")
    assert values(bench.only) == ["A"]
    bench.pipeline.on_acknowledged([row], bench.now)
    assert (old.ledger.released, old.ledger.rejected) == (1, 0), (
        "I5: a late acknowledgement changes a revoked ledger"
    )
    assert bench.pipeline.dead_letters_pending == 0


def test_a_partition_with_a_letter_on_its_way_is_busy_until_it_is_acknowledged() -> None:
    bench = Bench()
    partition = bench.partition(0)
    bench.read(partition, "A", rejection=BLANK)
    bench.pipeline.withdraw([partition], bench.now)
    assert bench.pipeline.busy([partition])
    bench.acknowledge()
    assert not bench.pipeline.busy([partition])
    assert due_commits([partition]) == [Commit(partition, 1, "")]


def test_revoking_gives_back_the_room_that_its_rows_took() -> None:
    bench = Bench(max_rows=10, concurrency=1, retry=RetryPolicy(unknown_key_grace=60))
    going = bench.partition(0)
    bench.read(going, *names("A", 35), *names("A", 5), tick=False)
    bench.read(going, "bad", rejection=BLANK, tick=False)
    bench.tick()
    bench.answer(bench.only, naming(error_of("A003", field="extended_id")))
    bench.pipeline.remove_partitions([going], bench.now)
    assert (bench.pipeline.flow.rows, bench.pipeline.flow.size) == (0, 0)
    bench.serve(always)
    assert (bench.pipeline.flow.rows, bench.pipeline.flow.size) == (0, 0)
    assert going.ledger.balanced


def test_revoke_and_return_keeps_the_order_of_a_key() -> None:
    bench = Bench(
        max_rows=1, concurrency=4, max_processing=10.0, retry=RetryPolicy(base=0.1, cap=1)
    )
    log = [("A", str(number)) for number in range(5)]
    old = bench.partition(0)
    for key, note in log:
        bench.read(old, key, note=note, tick=False)
    bench.tick()
    bench.accept()  # 0
    attempt = bench.only  # 1 is in flight when the partition goes
    committed = old.committable_offset
    bench.pipeline.remove_partitions([old], bench.now)
    new = bench.partition(0, start=committed, committed=committed)
    for key, note in log[committed:]:
        bench.read(new, key, note=note, tick=False)
    bench.tick()
    assert bench.open == [attempt]
    bench.answer(attempt, lost())
    bench.pass_time(60, always)
    assert [item["note"] for a in bench.sent for item in a.items] == ["0", "1", "1", "2", "3", "4"]
    assert new.committable_offset == 5
