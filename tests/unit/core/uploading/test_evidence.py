"""Whose fault a failure is: the table of what follows for a window."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.uploading.evidence import (
    DIVIDED_BLIND_AFTER,
    REJECTED_ALONE_AFTER,
    Failure,
    Step,
    next_step,
)
from consumer.core.verdict import Verdict

pytestmark = pytest.mark.promise("I1", "I8")

REFUSED, UNEXPECTED, FAILED, LOST, TASK_FAILED = (
    Verdict.REFUSED,
    Verdict.UNEXPECTED,
    Verdict.FAILED,
    Verdict.LOST,
    Verdict.TASK_FAILED,
)
FINE = {"refuses_all": False}  # others were accepted a moment ago


@pytest.mark.parametrize(
    ("verdict", "rows", "failures", "more", "step"),
    [
        # One failure shows nothing; a refusal while nothing is being accepted may be about
        # everybody.
        (FAILED, 9, 1, {}, Step.RETRY),
        (REFUSED, 9, 1, {}, Step.PAUSE),
        (UNEXPECTED, 1, 1, {}, Step.PAUSE),
        (REFUSED, 9, 1, FINE, Step.RETRY),
        # With evidence a window is divided: a refusal sooner than what may be chance, a part of a
        # suspect at once.
        (REFUSED, 9, 1, {"evidence": True, **FINE}, Step.RETRY),
        (REFUSED, 9, 2, {"evidence": True}, Step.DIVIDE),
        (UNEXPECTED, 9, 2, {"evidence": True}, Step.DIVIDE),
        (FAILED, 9, 2, {"evidence": True}, Step.RETRY),
        (FAILED, 9, 3, {"evidence": True}, Step.DIVIDE),
        (LOST, 9, 3, {"evidence": True}, Step.DIVIDE),
        (TASK_FAILED, 9, 3, {"evidence": True}, Step.DIVIDE),
        (FAILED, 9, 1, {"evidence": True, "suspect": True}, Step.DIVIDE),
        (FAILED, 9, 1, {"suspect": True}, Step.RETRY),
        # Without evidence only where nothing else could bring it.
        (FAILED, 9, DIVIDED_BLIND_AFTER, {}, Step.RETRY),
        (FAILED, 9, DIVIDED_BLIND_AFTER - 1, {"nothing_else": True}, Step.RETRY),
        (FAILED, 9, DIVIDED_BLIND_AFTER, {"nothing_else": True}, Step.DIVIDE),
        (REFUSED, 9, DIVIDED_BLIND_AFTER, {"nothing_else": True}, Step.DIVIDE),
        # A single row is rejected when it was tried again after evidence, and the API says no.
        (REFUSED, 1, 5, {"evidence": True, **FINE}, Step.RETRY),
        (REFUSED, 1, 2, {"evidence": True, "refused_again": True}, Step.REJECT),
        (TASK_FAILED, 1, 2, {"evidence": True, "refused_again": True}, Step.REJECT),
        (UNEXPECTED, 1, 9, {"evidence": True, "refused_again": True, **FINE}, Step.RETRY),
        (FAILED, 1, 9, {"evidence": True, "refused_again": True}, Step.RETRY),
        (REFUSED, 1, REJECTED_ALONE_AFTER, {"suspect": True, "only_suspects": True}, Step.REJECT),
        (
            REFUSED,
            1,
            REJECTED_ALONE_AFTER - 1,
            {"suspect": True, "only_suspects": True},
            Step.RETRY,
        ),
        (FAILED, 1, 99, {"suspect": True, "only_suspects": True}, Step.RETRY),
        # Others are given up, in time.
        (FAILED, 1, 9, {"expired": True}, Step.GIVE_UP),
        (UNEXPECTED, 1, 9, {"expired": True}, Step.GIVE_UP),
        (FAILED, 9, 9, {"expired": True}, Step.RETRY),
        (
            LOST,
            1,
            2,
            {"expired": True},
            Step.RETRY,
        ),  # one by chance, and a task that did not end in time
        # Where that is allowed, a row that goes on failing synchronously goes as a task.
        (FAILED, 1, 3, {"may_go_by_task": True, "evidence": True}, Step.GO_BY_TASK),
        (LOST, 1, 3, {"may_go_by_task": True}, Step.RETRY),
        (FAILED, 1, 3, {"may_go_by_task": True, "by_task": True, "evidence": True}, Step.RETRY),
        (REFUSED, 1, 3, {"may_go_by_task": True, "evidence": True, **FINE}, Step.RETRY),
        # A suspect's refusal pauses nobody.
        (REFUSED, 1, 1, {"suspect": True}, Step.RETRY),
    ],
)
def test_next_step(
    verdict: Verdict, rows: int, failures: int, more: dict[str, Any], step: Step
) -> None:
    found = next_step(Failure(verdict, rows, failures, **more))
    assert found is step, (
        f"the API's fault is taken for the rows', or the rows' for the API's: {found}, not {step}"
    )


@pytest.mark.parametrize("verdict", [REFUSED, UNEXPECTED, FAILED, LOST, TASK_FAILED])
@pytest.mark.parametrize("rows", [1, 9])
def test_while_uploading_is_paused_the_answers_to_other_windows_decide_nothing(
    verdict: Verdict, rows: int
) -> None:
    sure = {
        "evidence": True,
        "refused_again": True,
        "suspect": True,
        "expired": True,
        "nothing_else": True,
    }
    found = next_step(Failure(verdict, rows, 99, paused=True, **sure))
    assert found is Step.RETRY, f"what the pause is about is taken for the rows' fault: {found}"


@pytest.mark.parametrize("verdict", [REFUSED, UNEXPECTED, FAILED, LOST, TASK_FAILED])
def test_a_trial_rejects_no_row_for_what_the_pause_may_be_about(verdict: Verdict) -> None:
    sure = {
        "evidence": True,
        "refused_again": True,
        "suspect": True,
        "expired": True,
        "only_suspects": True,
    }
    found = next_step(Failure(verdict, 1, 99, is_probe=True, **sure))
    assert found not in (Step.REJECT, Step.GIVE_UP), f"a trial rejects a row: {found}"
