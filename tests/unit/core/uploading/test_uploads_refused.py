"""Responses and their results: refusals.

401, 403 and the others that are no fault of a row, or of one only.
"""

from __future__ import annotations

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt
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
    rejecting,
    unsent,
    values,
)

# -- 401, 403 and what else is no fault of a row -------------------------------------------------


REFUSALS = [401, 403, 404, 405, 406, 301, 302, 307, 402, 409, 418, 422, 204]


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_pauses_asks_who_we_are_tries_one_window_and_goes_on(status: int) -> None:
    bench = Bench(max_rows=1, concurrency=3)
    bench.read(bench.partition(), *names("A", 6), tick=False)
    bench.tick()
    for attempt in list(bench.open):
        bench.answer(attempt, answered(status))
    assert bench.open == [], "a request is sent while uploading is paused"
    while not bench.asks:
        bench.pass_time(0.1)
    assert len(bench.sent) == 3, "nothing is sent before the question is answered"
    bench.answer_me(200)
    assert len(bench.open) == 1, "one window alone"
    bench.pass_time(100)
    assert len(bench.open) == 1
    bench.accept()
    assert bench.pipeline.gate.pause is None
    bench.pass_time(0, always)
    assert bench.settled()
    assert bench.reasons() == {}


@pytest.mark.promise("I1")
@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_of_everything_for_hours_rejects_nothing(status: int) -> None:
    """A real loss of permission in the middle of work: no row is ever dead-lettered for it."""
    bench = Bench(
        max_rows=4, concurrency=3, linger=0.1, retry=RetryPolicy(base=0.5, cap=60, give_up=600)
    )
    partition = bench.partition()
    for step in range(20):
        bench.read(partition, *names(f"A{step}-", 5), tick=False)
        bench.pass_time(0.2, always)
    for step in range(60):
        bench.read(partition, *names(f"B{step}-", 5), tick=False)
        bench.pass_time(120, lambda _: answered(status))
    assert bench.pipeline.unsettled == 300
    assert bench.reasons() == {}
    bench.pass_time(3600, always)
    assert bench.settled()
    assert bench.reasons() == {}


@pytest.mark.parametrize("status", [401, 403])
def test_rows_that_were_refused_keep_their_order(status: int) -> None:
    bench = Bench()
    bench.read(bench.partition(), "A", "A", "B", tick=False)
    bench.pass_time(60, lambda _: answered(status))
    bench.pass_time(60, always)
    assert bench.settled()
    assert all(values(attempt).count("A") <= 1 for attempt in bench.sent)


def test_while_the_question_fails_no_window_is_sent_and_the_back_off_grows() -> None:
    bench = Bench(seed=3)
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(401))
    asked_at = []
    for _ in range(12):
        while not bench.asks_open:
            bench.pass_time(0.05)
        asked_at.append(bench.now)
        bench.answer_me(401)
    assert len(bench.sent) == 1
    assert asked_at[-1] - asked_at[5] > asked_at[5] - asked_at[0]


def test_a_400_that_names_rows_ends_the_pause_too() -> None:
    bench = Bench(max_rows=2)
    bench.read(bench.partition(), "A", "B", "C", tick=False)
    bench.tick()
    for attempt in list(bench.open):
        bench.answer(attempt, answered(401))
    while not bench.asks_open:
        bench.pass_time(0.1)
    bench.answer_me()
    bench.answer(bench.only, naming(error_of("A")))
    assert bench.pipeline.gate.pause is None
    assert bench.reasons() == {"A": "rejected_by_api"}


@pytest.mark.parametrize(
    "response",
    [answered(503), answered(429), lost(), unsent(), answered(400), answered(413), answered(302)],
)
def test_no_other_answer_ends_the_pause(response: Response) -> None:
    bench = Bench(max_rows=2)
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, answered(401))
    for _ in range(3):
        while not bench.open:
            bench.pass_time(0.1)
            if bench.asks_open:
                bench.answer_me()
        bench.answer(bench.open[0], response)
        assert bench.pipeline.gate.pause is not None
    assert bench.reasons() == {}
    bench.pass_time(300, always)
    assert bench.settled()


@pytest.mark.parametrize("status", [403, 404, 405, 406])
def test_a_refusal_for_one_window_while_others_pass_rejects_only_the_row_it_is_about(
    status: int,
) -> None:
    bench = Bench(max_rows=10, linger=0.1)
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(status, body=b"refused"))
    bench.read(partition, "P", *names("G", 9), tick=False)
    for step in range(400):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(1, api)
    bench.pass_time(300, api)
    assert bench.reasons() == {"P": "rejected_by_api"}
    assert bench.buried[0].rejection.http_status == status
    assert bench.settled()


@pytest.mark.promise("I1")
def test_a_refused_row_alone_with_no_other_traffic_is_not_rejected() -> None:
    """Without another window that passes, nobody can tell the row's fault from ours."""
    bench = Bench()
    bench.read(bench.partition(), "P", tick=False)
    bench.pass_time(7200, lambda _: answered(403))
    assert bench.reasons() == {}
    assert bench.pipeline.unsettled == 1


@pytest.mark.promise("I1")
def test_a_window_accepted_before_the_loss_of_permission_is_no_sign_that_others_pass() -> None:
    bench = Bench(max_rows=1, concurrency=2)
    bench.read(bench.partition(), "A", "B", "C", tick=False)
    bench.tick()
    refused, slow = bench.open
    bench.pass_time(1)
    bench.answer(refused, answered(403))
    bench.pass_time(0.01)
    bench.accept(slow)  # sent before the refusal, answered after it
    bench.pass_time(3600, lambda _: answered(403))
    assert bench.reasons() == {}


def _suspect(bench: Bench, partition: Partition) -> None:
    """A window of a refused row and a good one, sought so far that each stands alone, the good one
    unanswered.
    """
    api = rejecting(["P"], lambda _, __: answered(403))
    bench.read(partition, "P", "G", tick=False)
    step = 0
    while ["G"] not in map(values, bench.open):
        step += 1
        assert step < 100, "the window is not divided"
        bench.read(partition, f"N{step}", market="cn", tick=False)
        bench.pass_time(0.5)
        while bench.open and ["G"] not in map(values, bench.open):
            bench.answer(bench.open[0], api(bench.open[0]))
        if bench.asks_open:
            bench.answer_me()


@pytest.mark.promise("I1")
def test_permission_lost_while_a_refused_row_is_sought_rejects_no_good_row() -> None:
    """An acceptance before the loss is no sign that others pass, however late it is known."""
    bench = Bench(max_rows=2, linger=0.1, concurrency=4)
    partition = bench.partition()
    _suspect(bench, partition)
    bench.read(partition, "slow", market="cn", tick=False)
    bench.pass_time(0.2)
    for attempt in [a for a in bench.open if values(a) != ["slow"]]:
        bench.answer(attempt, answered(403))
    bench.pass_time(0.001)
    for attempt in [a for a in bench.open if values(a) == ["slow"]]:
        bench.accept(attempt)
    bench.pass_time(3600, lambda _: answered(403))
    assert bench.reasons().keys() <= {"P"}, (
        "only the row that the others' passing had left to be at fault"
    )
    for step in range(200):
        bench.read(partition, f"L{step}", market="cn", tick=False)
        bench.pass_time(5, rejecting(["P"], lambda _, __: answered(403)))
    assert bench.reasons() == {"P": "rejected_by_api"}


def _again(bench: Bench, value: str, *, asks: int = 200) -> Attempt:
    """Let time pass until the row of this value goes again.

    The question who we are is answered meanwhile.
    """
    for _ in range(400):
        found = [attempt for attempt in bench.open if values(attempt) == [value]]
        if found:
            return found[0]
        bench.pass_time(0.1)
        if bench.asks_open:
            bench.answer_me(asks)
    raise AssertionError(f"I8: {value} does not go again")


@pytest.mark.promise("I8", "I1")
@pytest.mark.parametrize("response", [lost(), unsent(), answered(503), answered(302)])
def test_a_row_that_failed_otherwise_is_not_rejected_for_its_first_refusal(
    response: Response,
) -> None:
    """The permission may have been withdrawn meanwhile.

    Only a refusal that is repeated after others passed counts.
    """
    bench = Bench(max_rows=1, concurrency=4, max_processing=1.0)
    partition = bench.partition()
    bench.read(partition, "warm")
    bench.accept()
    bench.read(partition, "A")
    bench.answer(bench.only, response)
    bench.now += 0.001
    bench.read(partition, "N")
    bench.accept(_again(bench, "N"))
    bench.answer(_again(bench, "A"), answered(403))
    assert bench.reasons() == {}, "a good row is dead-lettered for its first refusal"
    bench.now += 0.001
    bench.read(partition, "M")
    bench.accept(_again(bench, "M"))
    bench.answer(_again(bench, "A"), answered(403))
    assert bench.reasons() == {"A": "rejected_by_api"}, "I8: refused twice, others passing between"


def test_a_401_of_the_window_that_was_tried_is_not_held_against_it_later() -> None:
    bench = Bench(max_rows=1, concurrency=2)
    bench.read(bench.partition(), "A", "B")
    for attempt in list(bench.open):
        bench.answer(attempt, answered(401))
    bench.answer(_again(bench, "A"), answered(401))
    bench.accept(_again(bench, "B"))
    assert bench.pipeline.gate.pause is None
    bench.answer(_again(bench, "A"), answered(403))
    assert bench.reasons() == {}, "a good row is dead-lettered for its first refusal after a 401"


def test_a_401_divides_no_window() -> None:
    """A 401 is never the window's fault, though it may be all that there is to try."""
    bench = Bench(max_rows=100, linger=0.1)
    bench.read(bench.partition(), *names("A", 100), tick=False)
    bench.pass_time(600, lambda _: answered(401))
    before = len(bench.sent)
    bench.pass_time(60, always)
    assert bench.settled()
    assert len(bench.sent) == before + 1, "a window was divided for a 401"


@pytest.mark.promise("I1")
def test_401_for_one_window_while_others_pass_rejects_nothing() -> None:
    bench = Bench(max_rows=1, linger=0.1, retry=RetryPolicy(base=0.1, cap=1, give_up=100))
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: answered(401))
    bench.read(partition, "P", tick=False)
    for step in range(300):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(2, api)
    bench.pass_time(600, api)
    assert bench.reasons() == {}
    assert bench.pipeline.unsettled == 1, "the others are settled"


@pytest.mark.promise("I1")
def test_during_a_pause_everything_read_stays_unsettled_and_uncommitted() -> None:
    bench = Bench(max_rows=5)
    partition = bench.partition()
    bench.read(partition, *names("A", 5))
    bench.answer(bench.only, answered(401))
    for step in range(50):
        bench.read(partition, *names(f"B{step}-", 5))
        bench.pass_time(10)
        if bench.asks_open:
            bench.answer_me(401)
    assert partition.committable_offset == 0
    assert bench.pipeline.unsettled == 5 * 51
    assert len(bench.sent) == 1


# -- answers while uploading is paused -----------------------------------------------------------


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    "response", [answered(400, body=b"<html>blocked</html>"), answered(413), answered(403), lost()]
)
def test_while_paused_answers_to_other_windows_reject_nothing(response: Response) -> None:
    """The cause of a pause may be what rejects everything.

    Only a 400 that names its rows is about them.
    """
    bench = Bench(max_rows=1, concurrency=8, retry=RetryPolicy(base=0.1, cap=1.0, give_up=0.1))
    bench.read(bench.partition(), *names("A", 8))
    first, *others = list(bench.open)
    bench.answer(first, answered(401))
    for attempt in others:
        bench.answer(attempt, response)
    assert bench.reasons() == {}, "a good row is dead-lettered while uploading is paused"
    bench.pass_time(300, always)
    assert bench.settled()
    assert bench.reasons() == {}


def test_while_paused_a_400_that_names_rows_of_another_window_rejects_them() -> None:
    bench = Bench(max_rows=2, concurrency=2)
    bench.read(bench.partition(), "A", "B", "C", "D")
    first, second = list(bench.open)
    bench.answer(first, answered(401))
    bench.answer(second, naming(error_of("D")))
    assert bench.reasons() == {"D": "rejected_by_api"}


@pytest.mark.parametrize("response", [answered(429, retry_after=5.0), answered(503), unsent()])
def test_a_trial_that_tells_nothing_of_its_rows_leaves_no_small_windows(response: Response) -> None:
    bench = Bench(max_rows=100, rate=10.0)
    bench.read(bench.partition(), *names("A", 100))
    bench.answer(bench.only, answered(401))
    bench.pass_time(1800, lambda _: response)
    before = len(bench.sent)
    bench.pass_time(60, always)
    assert bench.settled()
    assert len(bench.sent) - before <= 4, "one window has become many"


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_whatever_who_we_are_is_answered_but_401_a_window_decides(status: int) -> None:
    """A token that may upload need not be able to ask who it is."""
    bench = Bench()
    bench.me = status
    bench.read(bench.partition(), "A")
    bench.answer(bench.only, answered(403))
    bench.pass_time(60, always)
    assert bench.settled(), "the pause never ends, though uploads would pass"


# -- one row that is refused, or answered in an unexpected way -----------------------------------

ODD = [
    answered(302),
    answered(422, {"detail": "no"}),
    answered(200, body=b"<html>portal</html>"),
    answered(403),
]


def _feed(
    bench: Bench, seconds: int, response: Response, per_second: int = 20, latency: float = 0.3
) -> None:
    """A steady line with one bad row in it; every answer takes a while."""
    partition, number = bench.partition(), 0
    due: list[tuple[float, Attempt]] = []
    for _ in range(seconds * 10):
        for _ in range(per_second // 10):
            number += 1
            bench.read(partition, "POISON" if number == 100 else f"N{number}", tick=False)
        bench.tick()
        due += [
            (bench.now + latency, attempt)
            for attempt in bench.open
            if attempt not in [a for _, a in due]
        ]
        while due and due[0][0] <= bench.now:
            attempt = due.pop(0)[1]
            bench.answer(attempt, response if "POISON" in values(attempt) else accepted(attempt))
        if bench.asks_open:
            bench.answer_me()
        bench.now += 0.1


@pytest.mark.promise("I8")
@pytest.mark.parametrize("response", ODD)
def test_one_odd_row_in_a_steady_stream_pauses_nothing_and_frees_its_neighbours_soon(
    response: Response,
) -> None:
    bench = Bench(max_rows=100, concurrency=8, linger=1.0, rate=10.0)
    _feed(bench, 60, response)
    assert not [text for text in bench.notices if "paused" in text], "I8: others are held up"
    unsettled = [
        row.value
        for window in bench.pipeline.windows.live
        for row in window.rows
        if window.failures
    ]
    assert unsettled in (["POISON"], []), "I8: neighbours of a bad row are not freed"


@pytest.mark.parametrize("response", ODD)
def test_an_odd_row_ends_in_a_dead_letter_and_its_neighbours_do_not(response: Response) -> None:
    bench = Bench(max_rows=100, linger=0.1, retry=RetryPolicy(give_up=60))
    partition = bench.partition()
    api = rejecting(["P"], lambda _, __: response)
    bench.read(partition, *names("A", 50), "P", *names("B", 49), tick=False)
    for step in range(300):
        bench.read(partition, f"N{step}", tick=False)
        bench.pass_time(1, api)
    assert bench.reasons() == {"P": "rejected_by_api" if response.status == 403 else "api_error"}
    assert bench.settled()


def test_a_row_in_a_hundred_that_is_refused_costs_no_pause() -> None:
    bench = Bench(max_rows=10, linger=0.1, concurrency=8)
    partition = bench.partition()
    bad = [f"N{number}" for number in range(50, 3000, 100)]
    api = rejecting(bad, lambda _, __: answered(403))
    for step in range(0, 3000, 10):
        bench.read(partition, *[f"N{number}" for number in range(step, step + 10)], tick=False)
        bench.pass_time(0.5, api)
    bench.pass_time(60, api)
    assert set(bench.reasons()) == set(bad)
    assert sum("paused" in text for text in bench.notices) <= 1
