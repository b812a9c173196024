"""May a request start now.

Concurrency, pace, throttling, circuit and pause, each ended by time or a result.
"""

from __future__ import annotations

import pytest

from consumer.core.admission.circuit import CIRCUIT_WINDOWS
from consumer.core.admission.gate import Gate
from consumer.core.admission.retry import PROBE_SECONDS, UNANSWERED_SECONDS, RetryPolicy
from consumer.core.admission.upload_pause import PAUSE_SECONDS, Pause, PauseStep

POLICY = RetryPolicy(base=1, cap=60, max_retry_after=900)


def _gate(rate: float = 0.0, concurrency: int = 8, draw: float = 1.0) -> Gate:
    return Gate(rate, concurrency, POLICY, lambda: draw)


@pytest.mark.promise("I6")
def test_no_more_requests_than_the_concurrency_are_in_flight() -> None:
    gate = _gate(concurrency=2)
    gate.take_slot(0)
    gate.take_slot(0)
    assert not gate.admits(0)
    assert gate.earliest_send(0) is None, "only an answer can bring the next request"
    gate.release_slot()
    assert gate.admits(0)


@pytest.mark.promise("budget")
def test_asking_who_we_are_counts_in_the_pace() -> None:
    gate = _gate(rate=10)
    gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    asks_at = gate.token_check_due_at(0)
    assert asks_at == 1.0
    gate.start_token_check(asks_at)
    gate.upload_pause.on_token_check(asks_at, passed=True)
    assert not gate.admits(asks_at)
    assert gate.admits(asks_at + 0.11)


def test_no_rate_is_no_limit() -> None:
    gate = _gate(rate=0, concurrency=1000)
    for _ in range(1000):
        assert gate.admits(0)
        gate.take_slot(0)


@pytest.mark.promise("budget")
def test_a_throttle_holds_back_the_whole_process_for_as_long_as_the_api_says() -> None:
    gate = _gate()
    assert gate.throttle.on_throttled(10, 5) == 5
    assert not gate.admits(14.9), "a request starts before the time that the API asked for"
    assert gate.admits(15)
    assert gate.throttle.seconds == 5


@pytest.mark.promise("budget")
def test_a_throttle_is_bounded_by_max_retry_after() -> None:
    assert _gate().throttle.on_throttled(0, 86_400) == 900


@pytest.mark.promise("budget")
def test_a_shorter_throttle_does_not_cut_a_longer_one() -> None:
    gate = _gate()
    gate.throttle.on_throttled(0, 30)
    gate.throttle.on_throttled(1, 2)
    assert not gate.admits(29.9)
    assert gate.throttle.seconds == 30


@pytest.mark.promise("I8", "budget")
@pytest.mark.parametrize("told", [None, 0.0, -5.0])
def test_a_throttle_without_a_time_backs_off_longer_each_time_but_no_longer_than_between_probes(
    told: float | None,
) -> None:
    gate = _gate()
    waits = [gate.throttle.on_throttled(at, told) for at in (0, 10, 20, 30)]
    assert waits == [1, 2, PROBE_SECONDS, PROBE_SECONDS], (
        "I8: the end of the throttling is noticed late"
    )
    gate.on_answer()
    assert gate.throttle.on_throttled(100, told) == 1


@pytest.mark.promise("I6", "I8", "budget")
def test_a_throttle_without_a_time_lets_one_request_go_at_a_time_until_the_api_works() -> None:
    gate = _gate()
    gate.throttle.on_throttled(0, None)
    gate.take_slot(1)
    assert not gate.admits(1), "I6: an API that throttles gets several requests at once"
    assert gate.alone, "any window will do"
    assert gate.earliest_poll(1) == 1 + UNANSWERED_SECONDS
    gate.release_slot()
    gate.throttle.on_throttled(1, None)
    assert not gate.admits(2.9)
    gate.take_slot(3)
    gate.release_slot()
    gate.on_answer()
    for _ in range(8):
        assert gate.admits(3), "I8: it answers, and is still spared"
        gate.take_slot(3)


@pytest.mark.promise("I6")
def test_a_request_that_hangs_while_the_api_throttles_does_not_hold_back_the_next_for_long() -> (
    None
):
    gate = _gate()
    gate.throttle.on_throttled(0, None)
    gate.take_slot(1)
    assert gate.earliest_send(1) == 1 + UNANSWERED_SECONDS
    gate.start_poll(11)
    assert gate.earliest_send(11) == 11 + UNANSWERED_SECONDS, (
        "I6: a question about a task is a request, too"
    )
    gate.end_poll()
    gate.release_slot()
    assert gate.admits(11)


@pytest.mark.promise("budget")
def test_a_time_that_the_api_names_is_kept_and_all_go_on_after_it() -> None:
    gate = _gate()
    gate.throttle.on_throttled(0, 40)
    assert not gate.admits(39.9)
    for _ in range(8):
        assert gate.admits(40)
        gate.take_slot(40)


@pytest.mark.promise("I8", "budget")
def test_while_everything_is_throttled_the_pace_falls_once() -> None:
    """Else an API that is back would get a request every five seconds."""
    gate = _gate(rate=10)
    for at in range(0, 300, 3):
        gate.on_too_fast(at, at + 0.1)
    assert gate.pace.budget == 7, "I8: the API is back, and hardly gets anything"
    gate.on_answer()
    gate.on_too_fast(301, 301.1)
    assert gate.pace.budget == pytest.approx(4.9), "a 429 among answers is about the pace"


def test_the_answers_of_one_moment_of_throttling_count_as_one() -> None:
    """Eight requests in flight that are all throttled must not make a wait of a minute."""
    gate = _gate()
    for at in range(8):
        gate.throttle.on_throttled(at / 100, None)
    assert gate.earliest_send(0) == 1


@pytest.mark.promise("budget")
def test_asking_waits_for_the_throttle_too() -> None:
    gate = _gate()
    gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    gate.throttle.on_throttled(0, 30)
    assert gate.token_check_due_at(0) == 30


def test_one_window_failing_again_and_again_does_not_open_the_circuit() -> None:
    gate = _gate()
    for at in range(100):
        assert not gate.circuit.on_failure(1, at)
    assert not gate.circuit.is_open


def _failing_gate() -> Gate:
    """A gate whose circuit opened at 0 with nothing in flight."""
    gate = _gate()
    opened = [gate.circuit.on_failure(window, 0) for window in range(CIRCUIT_WINDOWS)]
    assert opened == [False] * (CIRCUIT_WINDOWS - 1) + [True], (
        "the circuit opens with so many windows, not before"
    )
    return gate


@pytest.mark.promise("I6")
def test_several_distinct_windows_failing_open_the_circuit_for_one_probe_at_a_time() -> None:
    gate = _failing_gate()
    probe_at = gate.earliest_send(0)
    assert probe_at == 1, "I6: the API fails for several windows, and all go on at once"
    gate.take_slot(1)
    assert not gate.admits(1)
    gate.release_slot()
    gate.circuit.on_failure(7, 1)
    assert not gate.admits(1)
    assert gate.earliest_send(1) == 1 + 2
    gate.circuit.on_failure(8, 3)
    assert gate.earliest_send(3) == 3 + PROBE_SECONDS, "no longer, however often it fails"


def test_however_long_the_api_is_away_it_is_probed_every_few_seconds() -> None:
    gate = _failing_gate()
    now = 0.0
    for _ in range(1000):
        opens_at = gate.earliest_send(now)
        assert opens_at is not None
        assert opens_at - now <= PROBE_SECONDS
        now = opens_at
        gate.take_slot(now)
        gate.release_slot()
        gate.circuit.on_failure(7, now)


def test_probes_keep_their_jitter() -> None:
    gates = [_gate(draw=draw) for draw in (0.1, 0.5, 0.9)]
    for gate in gates:
        for window in range(100):
            gate.circuit.on_failure(window, 0)
    assert [gate.earliest_send(0) for gate in gates] == [
        draw * PROBE_SECONDS for draw in (0.1, 0.5, 0.9)
    ]


def test_a_probe_waits_for_as_long_as_the_api_asks() -> None:
    gate = _failing_gate()
    gate.throttle.on_throttled(0, 120)
    assert gate.earliest_send(0) == 120


def test_a_probe_that_hangs_does_not_keep_the_next_from_noticing_that_the_api_is_back() -> None:
    gate = _failing_gate()
    gate.take_slot(3)
    assert gate.earliest_send(3) == 3 + UNANSWERED_SECONDS
    gate.take_slot(3 + UNANSWERED_SECONDS)
    assert gate.on_answer()
    assert gate.admits(3 + UNANSWERED_SECONDS)


def test_hanging_probes_are_no_more_than_the_concurrency() -> None:
    gate = _gate(concurrency=2)
    for window in range(CIRCUIT_WINDOWS):
        gate.circuit.on_failure(window, 0)
    gate.take_slot(3)
    gate.take_slot(13)
    assert gate.earliest_send(1000) is None


@pytest.mark.promise("I8")
def test_any_success_closes_the_circuit() -> None:
    gate = _failing_gate()
    gate.circuit.on_failure(7, 0)
    assert gate.on_answer() == 2
    assert gate.admits(0), "I8: the circuit stays open though the API answers"
    assert gate.on_answer() == 0, "it was closed already"


def test_a_success_between_failures_keeps_the_circuit_closed() -> None:
    gate = _gate()
    for window in range(100):
        assert not gate.circuit.on_failure(window, 0)
        gate.on_answer()


def test_a_pause_asks_with_back_off_and_admits_no_window_meanwhile() -> None:
    gate = _gate()
    assert gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    now, waits = 0.0, []
    for _ in range(6):
        assert gate.earliest_send(now) is None
        asks_at = gate.token_check_due_at(now)
        assert asks_at is not None
        waits.append(asks_at - now)
        now = asks_at
        gate.start_token_check(now)
        assert gate.token_check_due_at(now) is None
        gate.upload_pause.on_token_check(now, passed=False)
    assert waits == [1, 2, 4, 8, PAUSE_SECONDS, PAUSE_SECONDS], (
        "bounded, so that a new token is noticed soon"
    )


def test_a_member_without_a_partition_can_still_ask_who_it_is() -> None:
    """Else it would be blocked, and say so, until it gets one."""
    gate = _gate(rate=10)
    gate.pace.set_share([], 8, 0, 0)
    gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    assert gate.token_check_due_at(0) == 1
    gate.start_token_check(1)
    gate.upload_pause.on_token_check(1, passed=True)
    assert not gate.admits(1e6), "without a partition there is nothing to send"


def test_after_the_question_passes_one_window_goes_alone_and_only_its_passing_ends_the_pause() -> (
    None
):
    gate = _gate()
    gate.upload_pause.begin(Pause.REFUSED, 0)
    gate.start_token_check(1)
    gate.upload_pause.on_token_check(1, passed=True)
    assert gate.pause is Pause.REFUSED
    assert gate.admits(1)
    gate.take_slot(1)
    assert not gate.admits(1)
    gate.release_slot()
    assert not gate.admits(1)
    gate.upload_pause.end()
    assert gate.pause is None
    assert gate.admits(1)


def test_the_back_off_carries_over_from_a_failed_trial_to_the_next_question() -> None:
    gate = _gate()
    gate.upload_pause.begin(Pause.REFUSED, 0)
    gate.start_token_check(1)
    gate.upload_pause.on_token_check(1, passed=True)
    gate.take_slot(1)
    gate.release_slot()
    assert not gate.upload_pause.begin(Pause.REFUSED, 1, probe=True), "it was paused already"
    assert gate.token_check_due_at(1) == 1 + 2


def test_answers_to_requests_from_before_the_pause_do_not_lengthen_it() -> None:
    gate = _gate()
    gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    asks_at = gate.token_check_due_at(0)
    for _ in range(8):
        assert not gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    assert gate.token_check_due_at(0) == asks_at


def test_when_everything_is_rejected_a_window_is_tried_without_asking() -> None:
    """``GET /me`` passes with the wrong company's token: only a window can tell."""
    gate = _gate()
    gate.upload_pause.begin(Pause.EVERYTHING_REJECTED, 0)
    assert gate.token_check_due_at(0) is None
    assert gate.earliest_send(0) == 1
    gate.take_slot(1)
    gate.release_slot()
    gate.upload_pause.probe_inconclusive(1)
    assert gate.earliest_send(1) == 1 + 2


def test_a_late_answer_to_the_question_changes_nothing() -> None:
    gate = _gate()
    gate.upload_pause.on_token_check(0, passed=False)
    assert gate.pause is None
    gate.upload_pause.begin(Pause.UNAUTHORIZED, 0)
    gate.upload_pause.on_token_check(0, passed=True)
    assert gate.upload_pause.step is PauseStep.CHECK_DUE
