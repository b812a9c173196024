"""Responses tell of the API's health: what the gate learns, and what is logged how often."""

from __future__ import annotations

import pytest

from consumer.core.admission.circuit import CIRCUIT_WINDOWS
from consumer.core.admission.gate import Gate
from consumer.core.admission.retry import RetryPolicy
from consumer.core.admission.upload_pause import Pause, PauseStep
from consumer.core.batching.window import Window
from consumer.core.uploading.api_health import LOG_AGAIN_SECONDS, ApiHealth
from consumer.core.uploading.classification import Outcome
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task
from consumer.core.verdict import Verdict
from tests.unit.builders import answered, lost, unsent

NOW = 1000.0
RATE = 10.0


def _health() -> tuple[ApiHealth, Gate]:
    gate = Gate(RATE, 8, RetryPolicy(base=1.0, cap=60.0), lambda: 1.0)
    return ApiHealth(gate), gate


def _window(number: int = 1) -> Window:
    return Window("extended_id", [], "full", number, sent_at=NOW - 1)


def _task() -> Task:
    return Task(_window(), "t1", started_at=NOW - 10, poll_at=NOW, polled_at=NOW - 1)


def _told(health: ApiHealth) -> list[tuple[str, str]]:
    """The level and the first words of what was told since the last time."""
    told = [(notice.level, notice.text) for notice in health.notices]
    health.notices.clear()
    return told


def _fail(health: ApiHealth, now: float, *, window: int = 1) -> None:
    health.learn_from(_window(window), Outcome(Verdict.FAILED), answered(500), now)


def _throttle(health: ApiHealth, now: float, seconds: float | None) -> None:
    response = answered(429, retry_after=seconds)
    health.learn_from(_window(), Outcome(Verdict.THROTTLED), response, now)


# -- whether it can be reached -------------------------------------------------------------------


def test_it_fails_since_the_first_of_the_calls_in_a_row_that_failed_and_tells_the_latest() -> None:
    health, _ = _health()
    health.note_reachability(unsent(), NOW, failed=True)
    health.note_reachability(lost(), NOW + 5, failed=True)
    assert (health.failing_since, health.last_error) == (NOW, lost().error)
    health.note_reachability(answered(200), NOW + 6, failed=False)
    assert (health.failing_since, health.last_error) == (None, None)
    health.note_reachability(answered(503), NOW + 7, failed=True)
    assert health.failing_since == NOW + 7, "what was before an answer is over"


@pytest.mark.parametrize(
    ("response", "fails"),
    [(lost(), True), (answered(500), True), (answered(403), False), (answered(429), False)],
)
def test_an_answer_that_refuses_a_question_is_an_answer(response: Response, fails: bool) -> None:
    for learn in ("poll", "token check"):
        health, _ = _health()
        if learn == "poll":
            health.learn_from_poll(_task(), response, NOW)
        else:
            health.learn_from_token_check(response, NOW)
        assert (health.failing_since is not None) == fails, learn


# -- failures of windows -------------------------------------------------------------------------


def test_failures_are_told_once_and_again_only_after_a_while() -> None:
    health, _ = _health()
    _fail(health, NOW)
    assert [level for level, _ in _told(health)] == ["warning"]
    _fail(health, NOW + LOG_AGAIN_SECONDS - 1)
    assert not _told(health)
    _fail(health, NOW + LOG_AGAIN_SECONDS)
    assert len(_told(health)) == 1


def test_that_the_circuit_opens_is_told_though_a_failure_was_told_a_moment_ago() -> None:
    health, gate = _health()
    for number in range(1, CIRCUIT_WINDOWS + 1):
        assert not gate.circuit.is_open
        _fail(health, NOW, window=number)
    assert gate.circuit.is_open
    assert "one request at a time" in _told(health)[-1][1]
    assert health.close_circuit() == 1
    assert _told(health) == [("debug", "the API answers again: full speed")]


def test_an_answer_while_the_circuit_is_closed_is_nothing_to_tell() -> None:
    health, _ = _health()
    _fail(health, NOW)
    _told(health)
    assert health.close_circuit() == 0
    assert not _told(health)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Verdict.REFUSED),
        Outcome(Verdict.UNAUTHORIZED),
        Outcome(Verdict.TASK_FAILED, task_id="t1"),
        Outcome(Verdict.LOST, task_id="t1"),
    ],
    ids=["refusal", "401", "failed task", "lost task"],
)
def test_neither_a_refusal_nor_the_end_of_a_task_opens_the_circuit(outcome: Outcome) -> None:
    health, gate = _health()
    for number in range(3 * CIRCUIT_WINDOWS):
        health.learn_from(_window(number), outcome, answered(200), NOW)
    assert not gate.circuit.is_open


def test_of_a_task_that_failed_is_told_what_it_came_to_and_not_the_last_answer_about_it() -> None:
    health, _ = _health()
    outcome = Outcome(Verdict.LOST, task_id="t1", text="the API knows it no more")
    health.learn_from(_window(), outcome, answered(200, {"status": "at work"}), NOW)
    assert "the API knows it no more" in _told(health)[0][1]


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.NONE_NAMED, Verdict.TOO_LARGE])
def test_what_speaks_about_the_rows_says_nothing_about_the_api(verdict: Verdict) -> None:
    health, gate = _health()
    for number in range(3 * CIRCUIT_WINDOWS):
        health.learn_from(_window(number), Outcome(verdict), answered(400), NOW)
    assert not gate.circuit.is_open
    assert not _told(health)


# -- throttling ----------------------------------------------------------------------------------


@pytest.mark.promise("budget")
@pytest.mark.parametrize(
    ("verdict", "status", "asks", "waits", "slower"),
    [
        (Verdict.THROTTLED, 429, 20.0, True, True),
        (Verdict.THROTTLED, 429, None, True, True),
        (Verdict.FAILED, 503, 20.0, True, False),
        (Verdict.FAILED, 503, None, False, False),
    ],
)
def test_a_429_lowers_the_pace_and_a_5xx_only_waits_for_as_long_as_it_asks(
    verdict: Verdict, status: int, asks: float | None, waits: bool, slower: bool
) -> None:
    health, gate = _health()
    before = gate.pace.budget
    response = answered(status, retry_after=asks)
    health.learn_from(_window(), Outcome(verdict), response, NOW)
    assert (gate.throttle.until > NOW) == waits
    assert asks is None or gate.throttle.until == NOW + asks
    assert (gate.pace.budget != before) == slower


@pytest.mark.promise("budget")
@pytest.mark.parametrize("learn", ["poll", "token check"])
@pytest.mark.parametrize(("status", "slower"), [(429, True), (503, False)])
def test_questions_that_are_throttled_hold_back_as_uploads_do(
    learn: str, status: int, slower: bool
) -> None:
    health, gate = _health()
    before = gate.pace.budget
    gate.start_token_check(NOW - 1)
    if learn == "poll":
        health.learn_from_poll(_task(), answered(status, retry_after=20.0), NOW)
    else:
        health.learn_from_token_check(answered(status, retry_after=20.0), NOW)
    assert gate.throttle.until == NOW + 20.0
    assert (gate.pace.budget != before) == slower


def test_a_throttling_is_told_once_and_again_when_it_goes_on_or_becomes_much_longer() -> None:
    health, _ = _health()
    _throttle(health, NOW, 10.0)
    assert _told(health) == [("info", "the API asks to slow down: no request for 10.0 s")]
    _throttle(health, NOW + 1, 10.0 + LOG_AGAIN_SECONDS - 1)
    assert not _told(health), "by no more than that is not much longer"
    _throttle(health, NOW + 2, 10.0 + LOG_AGAIN_SECONDS)
    assert len(_told(health)) == 1, "it became much longer"
    _throttle(health, NOW + 2 + LOG_AGAIN_SECONDS, 1.0)
    assert len(_told(health)) == 1, "it lasts"


def test_a_throttling_without_a_time_is_told_with_what_that_means() -> None:
    health, _ = _health()
    _throttle(health, NOW, None)
    assert "one at a time, as it does not say for how long" in _told(health)[0][1]


# -- questions -----------------------------------------------------------------------------------


def test_a_401_to_a_question_about_a_task_pauses_uploading() -> None:
    health, gate = _health()
    health.learn_from_poll(_task(), answered(401), NOW)
    assert gate.pause is Pause.UNAUTHORIZED


def test_that_a_task_cannot_be_asked_about_is_told_now_and_then_and_what_is_told_of_it_is_not() -> (
    None
):
    health, _ = _health()
    health.learn_from_poll(_task(), answered(200, {"status": "at work"}), NOW)
    health.learn_from_poll(_task(), answered(404), NOW)
    assert not _told(health)
    for later, told in ((0, 1), (LOG_AGAIN_SECONDS - 1, 0), (LOG_AGAIN_SECONDS, 1)):
        health.learn_from_poll(_task(), answered(500), NOW + later)
        assert len(_told(health)) == told, f"after {later:g} s"


@pytest.mark.parametrize(
    ("response", "step"),
    [
        (answered(200), PauseStep.PROBE_DUE),
        (answered(403), PauseStep.PROBE_DUE),
        (answered(500), PauseStep.PROBE_DUE),
        (answered(401), PauseStep.CHECK_DUE),
        (answered(429), PauseStep.CHECK_DUE),
        (lost(), PauseStep.CHECK_DUE),
    ],
)
def test_after_any_answer_to_who_we_are_but_401_and_429_a_window_is_tried(
    response: Response, step: PauseStep
) -> None:
    health, gate = _health()
    health.pause(Pause.UNAUTHORIZED, "401", NOW)
    gate.start_token_check(NOW + 2)
    health.learn_from_token_check(response, NOW + 3)
    assert gate.upload_pause.step is step


# -- what is told of a pause, and of rows that change nothing ------------------------------------


def test_a_pause_is_told_when_it_begins_and_when_it_ends() -> None:
    health, _ = _health()
    health.pause(Pause.UNAUTHORIZED, "401", NOW)
    [(level, text)] = _told(health)
    assert (level, text.startswith("uploading is paused: 401; nothing is lost; ")) == (
        "error",
        True,
    )
    health.pause(Pause.UNAUTHORIZED, "401", NOW + 1)
    health.pause(Pause.UNAUTHORIZED, "401", NOW + 2, probe=True)
    assert not _told(health), "it is paused still"
    health.end_pause()
    assert _told(health) == [("info", "uploading goes on")]


def test_that_rows_changed_nothing_is_told_now_and_then_whatever_else_is_told() -> None:
    health, _ = _health()
    _fail(health, NOW)
    _told(health)
    for later, told in ((0, 1), (LOG_AGAIN_SECONDS - 1, 0), (LOG_AGAIN_SECONDS, 1)):
        health.changed_nothing("no code has that value", NOW + later)
        assert len(_told(health)) == told, f"after {later:g} s"
