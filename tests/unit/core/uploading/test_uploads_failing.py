"""Responses and their results: failures.

408, 429, 5xx, no answer; one window or all of them.
"""

from __future__ import annotations

import msgspec
import pytest

from consumer.core.admission.circuit import CIRCUIT_WINDOWS
from consumer.core.admission.retry import PROBE_SECONDS, RetryPolicy
from consumer.core.effects import Attempt
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
    rejecting,
    unsent,
    values,
)

# -- 408, 429, 5xx -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_the_same_rows_go_again_after_a_back_off(status: int) -> None:
    bench = Bench(retry=RetryPolicy(base=8, cap=60))
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, answered(status))
    assert bench.open == []
    wakes_at = bench.pipeline.wakes_at(bench.now)
    assert wakes_at is not None
    assert bench.now < wakes_at <= bench.now + 8
    bench.pass_time(8)
    assert values(bench.only) == ["A", "B"]
    bench.accept()
    assert bench.settled()


def test_other_codes_go_on_while_a_window_waits_and_later_rows_of_its_codes_do_not() -> None:
    bench = Bench(retry=RetryPolicy(base=1000, cap=1000))
    partition = bench.partition()
    bench.read(partition, "A", "B")
    bench.answer(bench.only, answered(503))
    bench.read(partition, "C", "A", "D", tick=False)
    bench.tick()
    assert values(bench.only) == ["C", "D"]
    bench.accept()
    assert bench.open == []
    assert partition.committable_offset == 0


def test_retry_after_holds_back_the_whole_process() -> None:
    bench = Bench(max_rows=1, concurrency=2)
    partition = bench.partition()
    bench.read(partition, "A", "B")
    first, second = bench.open
    bench.answer(first, answered(429, retry_after=30.0))
    bench.accept(second)
    bench.read(partition, "C")
    bench.pass_time(29.9)
    assert bench.open == []
    bench.pass_time(0.2)
    assert sorted(values(attempt)[0] for attempt in bench.open) == ["A", "C"]


def test_retry_after_of_a_503_holds_back_the_whole_process_too() -> None:
    bench = Bench()
    partition = bench.partition()
    bench.read(partition, "A")
    bench.answer(bench.only, answered(503, retry_after=30.0))
    bench.read(partition, "C")
    bench.pass_time(29.9)
    assert bench.open == []
    bench.pass_time(0.2)
    assert len(bench.open) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_the_question_who_we_are_holds_back_every_call(status: int) -> None:
    bench = Bench()
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(401))
    bench.pass_time(20)
    bench.asks_open -= 1
    bench.pipeline.on_token_check(answered(status, retry_after=300.0), bench.now)
    calls = bench.asks + len(bench.sent)
    bench.pass_time(299)
    assert bench.asks + len(bench.sent) == calls
    bench.pass_time(2)
    assert bench.asks + len(bench.sent) == calls + 1


def test_retry_after_is_bounded() -> None:
    bench = Bench(retry=RetryPolicy(max_retry_after=900))
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(429, retry_after=1e9))
    bench.pass_time(901)
    assert values(bench.only) == ["A"]


def test_throttling_rejects_nothing_however_long_it_lasts() -> None:
    bench = Bench(max_rows=1, retry=RetryPolicy(give_up=60))
    partition = bench.partition()
    bench.read(partition, "A", tick=False)
    api = rejecting(["A"], lambda _, __: answered(429, retry_after=1.0))
    for step in range(200):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(2, api)
    assert bench.reasons() == {}


@pytest.mark.parametrize("told", [None, 0.0, 30.0])
def test_throttling_is_told_once_and_again_at_a_calm_pace(told: float | None) -> None:
    bench = Bench(max_rows=1, concurrency=5)
    partition = bench.partition()
    bench.read(partition, *names("A", 5), tick=False)

    def api(_: Attempt) -> Response:
        return answered(429, retry_after=told)

    bench.tick()
    for _ in range(300):
        bench.pass_time(0.5, api)
    told_of = [text for text in bench.notices if "slow down" in text]
    assert 3 <= len(told_of) <= 6, f"{len(told_of)} lines in 150 s"


def test_a_much_longer_wait_is_told_at_once() -> None:
    bench = Bench(max_rows=1, concurrency=2)
    bench.read(bench.partition(), "A", "B")
    for attempt, seconds in zip(list(bench.open), (1.0, 600.0), strict=True):
        bench.answer(attempt, answered(429, retry_after=seconds))
    told_of = [text for text in bench.notices if "slow down" in text]
    assert ["600.0 s" in text for text in told_of] == [False, True]


def test_a_503_that_asks_to_wait_no_time_is_the_windows_matter_alone() -> None:
    bench = Bench(max_rows=1, concurrency=4)
    bench.read(bench.partition(), "A", "B", "C", "D")
    bench.answer(bench.open[0], answered(503, retry_after=0.0))
    assert not bench.pipeline.gate.throttle.untimed
    assert bench.pipeline.gate.throttle.until <= bench.now


def test_several_windows_failing_open_the_circuit_one_probe_at_a_time_until_any_success() -> None:
    bench = Bench(max_rows=1, concurrency=8)
    partition = bench.partition()
    bench.read(partition, *names("A", 8))
    assert len(bench.open) == 8
    for attempt in list(bench.open):
        bench.answer(attempt, answered(503))
    assert bench.pipeline.gate.circuit.is_open
    bench.read(partition, *names("B", 50))
    for _ in range(10):
        while not bench.open:
            bench.pass_time(0.2)
        assert len(bench.open) == 1, "one probe at a time"
        bench.answer(bench.only, answered(503))
    while not bench.open:
        bench.pass_time(0.2)
    bench.accept()
    assert not bench.pipeline.gate.circuit.is_open
    assert len(bench.open) == 8, "full speed again at once, parked windows too"
    bench.pass_time(0, always)
    assert bench.settled()


def _after_an_hour(response: Response) -> Bench:
    """A bench with 200 rows whose API has been away for an hour."""
    bench = Bench(max_rows=10, concurrency=8, linger=0.1, retry=RetryPolicy(cap=60, give_up=600))
    partition = bench.partition()
    bench.read(partition, *names("A", 200), tick=False)
    bench.pass_time(60, lambda _: response)
    before = len(bench.sent)
    bench.pass_time(3600, lambda _: response)
    assert 3600 / PROBE_SECONDS <= len(bench.sent) - before <= 3600, "a probe every few seconds"
    assert bench.reasons() == {}
    return bench


AWAY = [answered(503), answered(504), lost(), unsent()]


@pytest.mark.parametrize("response", AWAY)
def test_after_an_outage_of_an_hour_everything_goes_within_seconds(response: Response) -> None:
    """Each window has failed many times by then, but never while others passed.

    It is not its own fault.
    """
    bench = _after_an_hour(response)
    bench.pass_time(PROBE_SECONDS + 0.2, always)
    assert bench.settled()


@pytest.mark.parametrize("response", AWAY)
@pytest.mark.parametrize("windows", range(1, CIRCUIT_WINDOWS))
def test_fewer_windows_than_open_the_circuit_go_within_seconds_too(
    response: Response, windows: int
) -> None:
    bench = Bench(max_rows=10, linger=0.1, retry=RetryPolicy(cap=60, give_up=600))
    bench.read(bench.partition(), *names("A", 10 * windows), tick=False)
    bench.pass_time(3600, lambda _: response)
    bench.pass_time(PROBE_SECONDS + 0.2, always)
    assert bench.settled()


def test_after_an_outage_a_window_that_fails_once_more_is_not_taken_for_a_bad_one() -> None:
    bench = _after_an_hour(answered(503))
    failed: set[str] = set()

    def flaky(attempt: Attempt) -> Response:
        (first, *_) = values(attempt)
        if len(bench.sent) % 3 or first in failed:
            return accepted(attempt)
        failed.add(first)
        return answered(503)

    before = len(bench.sent)
    bench.pass_time(PROBE_SECONDS + 2.0, flaky)
    assert bench.settled(), "its back-off begins anew"
    assert failed
    assert len(bench.sent) - before <= 200 / 10 + len(failed) + 2, (
        "what the outage divided is gathered anew"
    )


def test_an_outage_does_not_leave_many_small_windows_behind() -> None:
    """Each probe of an outage takes what is there; afterwards the rows are gathered anew."""
    bench = Bench(max_rows=10, concurrency=8, linger=0.1, retry=RetryPolicy(cap=60, give_up=600))
    partition = bench.partition()
    for number in range(600):
        bench.read(partition, f"T{number}", tick=False)
        bench.pass_time(6, lambda _: answered(503))
    before = len(bench.sent)
    bench.pass_time(10, always)
    assert bench.settled()
    assert len(bench.sent) - before <= 600 / 10 + 15


def test_the_circuit_needs_several_distinct_windows() -> None:
    bench = Bench(max_rows=1)
    partition = bench.partition()
    bench.read(partition, "A", tick=False)
    bench.pass_time(60, lambda _: answered(503))
    assert len(bench.sent) > CIRCUIT_WINDOWS
    assert not bench.pipeline.gate.circuit.is_open


@pytest.mark.promise("I8")
def test_rows_that_fail_by_their_own_fault_cannot_keep_the_circuit_open() -> None:
    """I8: the probe goes to a window that has not failed yet, so those at fault hold up nobody for
    good.
    """
    bench = Bench(max_rows=1, concurrency=2, linger=0.1, max_processing=1.0)
    partition = bench.partition()
    cursed = names("P", 8)
    api = rejecting(cursed, lambda _, __: answered(500))
    bench.read(partition, *cursed, tick=False)
    bench.pass_time(60, api)
    assert bench.pipeline.gate.circuit.is_open
    bench.read(partition, *names("G", 50), tick=False)
    bench.pass_time(120, api)
    assert bench.pipeline.unsettled == len(cursed)
    assert bench.reasons() == {}


def test_after_an_outage_windows_that_failed_by_it_are_probed_before_those_that_fail_on() -> None:
    bench = Bench(max_rows=1, concurrency=8, max_processing=1.0)
    partition = bench.partition()
    cursed = names("P", 5)
    bench.read(partition, *cursed, *names("G", 5), tick=False)
    bench.pass_time(300, lambda _: answered(503))
    assert bench.pipeline.gate.circuit.is_open
    bench.pass_time(900, rejecting(cursed, lambda _, __: answered(500)))
    assert bench.pipeline.unsettled == len(cursed)


# -- one window fails while others pass ----------------------------------------------------------


@pytest.mark.parametrize("response", [answered(500), answered(503), answered(504), lost()])
def test_a_window_that_fails_three_times_while_others_pass_is_halved_down_to_the_row(
    response: Response,
) -> None:
    bench = Bench(
        max_rows=8, linger=0.1, max_processing=1.0, retry=RetryPolicy(base=0.1, cap=1, give_up=300)
    )
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: response)
    bench.read(partition, "P", *names("G", 7), tick=False)
    for step in range(60):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(1, api)
    tries = [len(attempt.items) for attempt in bench.sent if "P" in values(attempt)]
    assert tries[:12] == [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert bench.pipeline.unsettled == 1, "all the others are settled"
    assert bench.reasons() == {}


def test_a_window_that_is_divided_in_an_outage_is_gathered_anew_after_it() -> None:
    """With nothing else to send, dividing it is the only way to learn whose fault it is."""
    bench = Bench(max_rows=100, linger=0.1, retry=RetryPolicy(base=0.1, cap=1))
    bench.read(bench.partition(), *names("A", 100), tick=False)
    bench.pass_time(600, lambda _: answered(503))
    before = len(bench.sent)
    bench.pass_time(60, always)
    assert bench.settled()
    assert len(bench.sent) - before <= 4


@pytest.mark.promise("I1", "I8")
def test_a_single_row_that_fails_while_others_are_accepted_is_given_up() -> None:
    bench = Bench(max_rows=1, linger=0.1, retry=RetryPolicy(base=0.5, cap=5, give_up=600))
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(500, body=b"boom"))
    bench.read(partition, "P", tick=False)
    began = bench.now
    step = 0
    while not bench.reasons() and bench.now < began + 2000:
        step += 1
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(1, api)
    assert bench.reasons() == {"P": "api_error"}
    assert 590 <= bench.now - began <= 620, "I1: a row is given up before its time, or I8: after it"
    assert bench.buried[0].rejection.http_status == 500
    assert "boom" in bench.buried[0].rejection.message


@pytest.mark.parametrize("give_up", [20.0, 600.0])
def test_giving_up_counts_only_time_in_which_others_were_accepted(give_up: float) -> None:
    bench = Bench(max_rows=1, linger=0.1, retry=RetryPolicy(base=0.5, cap=5, give_up=give_up))
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(500))
    bench.read(partition, "P", tick=False)
    for outage in range(10):
        bench.read(partition, f"N{outage}", tick=False)
        bench.me = 200
        bench.pass_time(0.1, api)
        bench.me = 500
        bench.pass_time(give_up * 4, lambda _: answered(500))  # an outage of everything
    assert bench.reasons() == {}, "others were accepted for about a second of all this time"


@pytest.mark.promise("I8")
def test_a_row_whose_followers_fill_the_memory_is_given_up_though_nothing_else_passes() -> None:
    """I8: else nothing would be read or accepted any more, and the row never given up."""
    bench = Bench(
        max_rows=1,
        linger=0.1,
        max_unsettled_rows=10,
        retry=RetryPolicy(base=0.5, cap=5, give_up=600),
    )
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(500))
    bench.read(partition, "P", tick=False)
    bench.pass_time(10, api)
    bench.read(
        partition, *names("N", 9), tick=False
    )  # they are accepted: so it is the row's own fault
    bench.pass_time(1, api)
    bench.read(partition, *["P"] * 9, tick=False)
    assert not bench.pipeline.reads()
    began = bench.now
    while not bench.reasons() and bench.now < began + 2000:
        bench.pass_time(5, api)
        assert not bench.pipeline.reads() or bench.reasons()
    assert bench.reasons() == {"P": "api_error"}, "I8: a row that can never pass is never given up"
    assert 550 <= bench.now - began <= 700


@pytest.mark.promise("I8")
def test_a_part_of_a_window_that_failed_while_others_passed_is_given_up_with_nothing_else() -> None:
    """I8: what showed that the fault is in the whole window holds for its parts."""
    bench = Bench(
        max_rows=2,
        linger=0.1,
        max_unsettled_rows=40,
        retry=RetryPolicy(base=0.5, cap=5, give_up=60),
    )
    partition = bench.partition()
    rejects = rejecting(["P", "Q"], lambda _, __: answered(500))
    bench.read(partition, "P", "Q", tick=False)
    bench.pass_time(0.1, rejects)
    bench.read(partition, "N", tick=False)
    bench.pass_time(0.2, rejects)
    assert {len(attempt.items) for attempt in bench.sent if "P" in values(attempt)} == {2}, (
        "not divided yet"
    )
    bench.read(partition, *["P"] * 40, tick=False)
    assert not bench.pipeline.reads()
    bench.pass_time(300, rejects)
    assert bench.reasons() == {"P": "api_error", "Q": "api_error"}


def test_memory_full_of_rows_of_one_code_is_no_reason_to_give_it_up_in_an_outage() -> None:
    bench = Bench(
        max_rows=1,
        linger=0.1,
        max_unsettled_rows=10,
        retry=RetryPolicy(base=0.5, cap=5, give_up=60),
    )
    bench.read(bench.partition(), *["P"] * 10, tick=False)
    assert not bench.pipeline.reads()
    bench.pass_time(3600, lambda _: answered(503))
    assert bench.reasons() == {}, "nothing shows that it is not the API"


def test_an_outage_gives_no_row_up_of_a_window_that_failed_before_though_memory_fills() -> None:
    """That others fail now that never were at fault shows that it is the API."""
    bench = Bench(
        max_rows=10,
        linger=0.1,
        max_unsettled_rows=200,
        retry=RetryPolicy(base=4, cap=5, give_up=60),
    )
    partition = bench.partition()
    unlucky = rejecting(["U000"], lambda _, __: answered(503))
    bench.read(partition, *names("U", 10), tick=False)
    bench.pass_time(0.1, unlucky)
    window = bench.sent[0].window
    bench.read(partition, *names("N", 10), tick=False)  # these are accepted meanwhile
    while window.failures < 2:
        bench.pass_time(0.05, unlucky)
    assert (bench.pipeline.unsettled, len(window.rows)) == (10, 10)
    bench.read(partition, *names("G", 190), tick=False)
    assert not bench.pipeline.reads()
    bench.pass_time(3600, lambda _: answered(503))
    assert not bench.pipeline.lanes, "everything was tried in the outage"
    assert bench.reasons() == {}, "an outage gives good rows up"
    bench.pass_time(60, always)
    assert bench.settled()
    assert bench.reasons() == {}


@pytest.mark.promise("I8")
def test_a_window_that_goes_on_failing_does_not_take_every_request_where_they_are_few() -> None:
    """I8: its back-off is over before the next request may start, and it is always the oldest."""
    bench = Bench(max_rows=1, rate=0.2, retry=RetryPolicy(base=0.5, cap=5, give_up=0))
    partition = bench.partition()
    bench.read(partition, "P", *names("N", 20), tick=False)
    bench.pass_time(600, rejecting(["P"], lambda _, __: answered(500)))
    assert bench.pipeline.unsettled == 1, "others wait for one that fails"


@pytest.mark.promise("I8")
def test_a_part_that_goes_on_failing_takes_turns_with_other_parts_where_requests_are_few() -> None:
    """I8: of two parts of one window neither is older, and the first one is always due."""
    bench = Bench(max_rows=3, rate=0.2, retry=RetryPolicy(base=0.5, cap=1, give_up=0))
    partition = bench.partition()
    bench.read(partition, "P", "N1", "N2", tick=False)
    bench.pass_time(300, rejecting(["P"], lambda _, __: answered(500)))
    assert bench.pipeline.unsettled == 1, (
        "I8: a part that waits for a request waits for one that fails"
    )


@pytest.mark.promise("I8")
def test_signs_of_life_do_not_take_every_request_from_the_rows_that_they_are_asked_for() -> None:
    """I8: where a member's share is one request for each sign, they and uploads take turns."""
    bench = Bench(max_rows=4, rate=1.0, retry=RetryPolicy(base=0.5, cap=1, give_up=10))
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(500))
    bench.read(partition, "P", *names("N", 3), tick=False)
    bench.pass_time(1, api)
    bench.read(partition, *names("G", 4), tick=False)
    bench.pass_time(120, api)
    assert bench.settled(), "I8: rows wait for questions about the API"
    assert bench.reasons() == {"P": "api_error"}


@pytest.mark.promise("I8")
def test_bad_rows_that_are_all_a_new_process_can_send_are_told_from_good_ones() -> None:
    """I8: what passed before it began, and what other members see pass, it does not know."""
    bench = Bench(
        max_rows=10,
        linger=0.1,
        max_unsettled_rows=30,
        retry=RetryPolicy(base=0.5, cap=5, give_up=60),
    )
    bad = ["A003", "B001", "B008"]
    bench.read(bench.partition(), *names("A", 10), *names("B", 10), *["A000"] * 10, tick=False)
    assert not bench.pipeline.reads()
    bench.pass_time(600, rejecting(bad, lambda _, __: answered(500)))
    assert bench.settled()
    assert bench.reasons() == dict.fromkeys(bad, "api_error")


def test_give_up_zero_is_never() -> None:
    bench = Bench(max_rows=1, linger=0.1, retry=RetryPolicy(base=0.5, cap=5, give_up=0))
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(500))
    bench.read(partition, "P", tick=False)
    for step in range(500):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(30, api)
    assert bench.reasons() == {}


@pytest.mark.parametrize("response", [answered(503), lost()])
@pytest.mark.parametrize("goods", [1, 8])
def test_a_part_of_a_divided_window_that_goes_on_failing_holds_up_no_other_code(
    response: Response, goods: int
) -> None:
    """Only rows that depend on a failing row wait (section 6, last sentence)."""
    bench = Bench(
        max_rows=10, linger=0.1, max_processing=1.0, retry=RetryPolicy(base=0.1, cap=1, give_up=0)
    )
    partition = bench.partition()

    def api(attempt: Attempt) -> Response:
        if "BAD" in values(attempt):
            return answered(400)
        return response if "P" in values(attempt) else accepted(attempt)

    bench.read(partition, "P", *names("G", goods), "BAD", tick=False)
    for step in range(120):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(1, api)
    assert bench.reasons() == {"BAD": "rejected_by_api"}
    assert bench.pipeline.unsettled == 1, "P fails on; all the others are settled"


# -- no answer -----------------------------------------------------------------------------------


@pytest.mark.promise("lost-answer")
def test_a_lost_answer_sends_the_same_rows_again_and_holds_later_rows_of_these_codes() -> None:
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1))
    partition = bench.partition()
    bench.read(partition, "A", "B")
    sent_at = bench.now
    bench.pass_time(10)
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    assert values(bench.only) == ["A", "B"]
    bench.accept()
    assert bench.settled()
    bench.read(partition, "A", "C")
    assert values(bench.only) == ["C"], "other codes go on"
    bench.accept()
    bench.pass_time(sent_at + 65 - bench.now - 0.01)
    assert bench.open == [], "the lost call could still take effect"
    bench.pass_time(0.02)
    assert values(bench.only) == ["A"]


def test_the_wait_counts_from_the_last_lost_call() -> None:
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1))
    partition = bench.partition()
    bench.read(partition, "A", "A")
    for _ in range(3):
        bench.pass_time(20)
        bench.answer(bench.only, lost())
        bench.pass_time(1)
    sent_at = bench.now
    assert bench.only.window.sent_at == pytest.approx(sent_at, abs=1)
    bench.pass_time(5)
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.accept()
    bench.pass_time(sent_at + 63 - bench.now)
    assert bench.open == []
    bench.pass_time(2.1)
    assert values(bench.only) == ["A"]


@pytest.mark.promise("I9", "lost-answer")
def test_the_wait_counts_from_when_the_call_was_made_and_not_from_when_it_was_handed_out() -> None:
    """I9: a process that got no time for a while makes its calls late.

    They can take effect as much later.
    """
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1))
    bench.read(bench.partition(), "A", "A")
    bench.pass_time(30)
    made_at = bench.now
    bench.pass_time(2)
    bench.answer(bench.only, msgspec.structs.replace(lost(), seconds=bench.now - made_at))
    bench.pass_time(1)
    bench.accept()
    bench.pass_time(made_at + 65 - bench.now - 0.01)
    assert bench.open == [], "the lost call could still take effect"
    bench.pass_time(0.02)
    assert values(bench.only) == ["A"]


def test_a_row_rejected_after_a_lost_answer_holds_its_code_too() -> None:
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1))
    bench.read(bench.partition(), "A", "A")
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.answer(bench.only, naming(error_of("A")))
    bench.acknowledge()
    bench.pass_time(63)
    assert bench.open == []
    bench.pass_time(2)
    assert values(bench.only) == ["A"]


def test_a_time_out_longer_than_the_processing_holds_nothing_any_more() -> None:
    bench = Bench(max_processing=65.0, retry=RetryPolicy(base=1, cap=1))
    bench.read(bench.partition(), "A", "A")
    bench.pass_time(75)
    bench.answer(bench.only, lost())
    bench.pass_time(1)
    bench.accept()
    assert values(bench.only) == ["A"], "75 s after it was sent the lost call can take no effect"


def test_a_request_that_never_left_holds_nothing() -> None:
    bench = Bench(retry=RetryPolicy(base=1, cap=1))
    bench.read(bench.partition(), "A", "A")
    bench.answer(bench.only, unsent())
    bench.pass_time(1)
    bench.accept()
    assert values(bench.only) == ["A"]


@pytest.mark.parametrize("status", [500, 503, 504, 408, 429])
def test_a_whole_answer_that_says_failed_holds_nothing(status: int) -> None:
    """A 504 of this API updated nothing (the facts beside the upload guide)."""
    bench = Bench(retry=RetryPolicy(base=1, cap=1))
    bench.read(bench.partition(), "A", "A")
    bench.answer(bench.only, answered(status))
    bench.pass_time(1)
    bench.accept()
    assert values(bench.only) == ["A"]


# -- nothing else arrives ------------------------------------------------------------------------


@pytest.mark.promise("I8")
@pytest.mark.parametrize(
    "response", [answered(500), answered(504), lost(), answered(302), answered(403)]
)
def test_neighbours_of_a_bad_row_are_settled_and_then_the_row_though_nothing_else_arrives(
    response: Response,
) -> None:
    bench = Bench(max_rows=100, linger=0.1, max_processing=1.0, retry=RetryPolicy(give_up=600))
    bench.read(bench.partition(), *names("A", 60), "P", *names("B", 39), tick=False)
    api = rejecting(["P"], lambda _, __: response)
    bench.pass_time(240, api)
    assert bench.pipeline.unsettled <= 1, (
        "I8: good rows wait with a bad one as long as nothing else arrives"
    )
    bench.pass_time(900, api)
    assert bench.settled()
    assert bench.reasons() == {"P": "rejected_by_api" if response.status == 403 else "api_error"}


@pytest.mark.parametrize("response", [answered(500), lost(), answered(403)])
def test_a_row_that_fails_alone_with_no_neighbours_and_no_others_is_not_given_up(
    response: Response,
) -> None:
    """Nothing shows that it is not the API."""
    bench = Bench(max_processing=1.0, retry=RetryPolicy(give_up=60))
    bench.read(bench.partition(), "P", tick=False)
    bench.pass_time(3600, lambda _: response)
    assert bench.reasons() == {}


@pytest.mark.promise("I1")
def test_suspect_rows_left_alone_are_not_given_up_while_the_api_gives_no_sign_of_life() -> None:
    bench = Bench(max_rows=10, linger=0.1, retry=RetryPolicy(give_up=60))
    bench.read(bench.partition(), *names("A", 9), "P", tick=False)
    bench.pass_time(60, rejecting(["P"], lambda _, __: answered(500)))
    assert bench.pipeline.unsettled == 1
    bench.me = 503
    bench.pass_time(3600, lambda _: answered(503))
    assert bench.reasons() == {}, "I1: a row is given up in an outage"
    bench.pass_time(10, always)
    assert bench.settled()


def test_a_row_that_takes_each_call_to_its_end_holds_its_neighbours_for_few_of_them() -> None:
    """A 504 after a minute: a window that fails slowly is divided into many parts at once."""
    bench = Bench(max_rows=100, linger=0.1, concurrency=16)
    partition, step = bench.partition(), 0
    bench.read(partition, *names("A", 60), "P", *names("B", 39))
    began, sent_at = bench.now, {id(attempt): bench.now for attempt in bench.open}
    while bench.pipeline.unsettled > 5:
        assert bench.now < began + 420, "its neighbours wait for more than seven minutes"
        step += 1
        bench.read(partition, f"N{step}")
        for attempt in list(bench.open):
            since = bench.now - sent_at.setdefault(id(attempt), bench.now)
            if "P" not in values(attempt):
                bench.accept(attempt)
            elif since >= 60:
                bench.answer(attempt, msgspec.structs.replace(answered(504), seconds=since))
        bench.pass_time(1)
    assert bench.reasons() == {}


@pytest.mark.promise("I8")
def test_a_failing_part_does_not_keep_the_other_part_from_going_where_requests_are_few() -> None:
    """I8: the failing part is the older one, and its back-off is always over."""
    bench = Bench(max_rows=10, linger=0.1, rate=0.2, retry=RetryPolicy(base=0.5, cap=5, give_up=0))
    bench.read(bench.partition(), "P", *names("A", 9), tick=False)
    bench.pass_time(600, rejecting(["P"], lambda _, __: answered(500)))
    assert bench.pipeline.unsettled == 1, "I8: good rows wait for one that fails"


def test_when_nothing_is_left_to_be_sent_nobody_is_asked_whether_the_api_is_there() -> None:
    bench = Bench(max_rows=1, retry=RetryPolicy(give_up=60))
    partition = bench.partition()
    bench.read(partition, "P", tick=False)
    api = rejecting(["P"], lambda _, __: answered(503))
    asked = []
    for second in range(600):
        if second < 20:
            bench.read(partition, f"N{second}", tick=False)
        bench.pass_time(1, api)
        while bench.asks_open:
            bench.answer_me()
        asked.append(bench.asks)
    assert bench.settled()
    assert asked[300] == asked[-1] > 0, "GET /me is asked for nothing"
