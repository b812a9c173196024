"""Whose fault a failure is, the API's or that of the request's rows: one rule of evidence decides.

A 400 and a 413 speak about the request. Every other failure (403 to 406, an unexpected response,
5xx, none at all, a task that failed) may be the API's own. It counts against a window only when **a
request that was sent after the window's failure was accepted, and the window fails again**.
Requests that go as tasks and those that do not are evidence only for their own kind: the API's task
workers may be broken while the rest of it works.

Where nothing else is there to show whose fault it is (nothing is ready, and all else has failed as
well), a window that failed several times is divided without evidence: a good part that passes is
the evidence for the rest. When in the end only rows are left that failed while others passed,
``GET /me`` shows that the API is there; so they are given up, too.

``next_step`` is the decision, without any state; ``Evidence`` is what it is decided by.
"""

from __future__ import annotations

from enum import Enum
from math import inf

import msgspec

from consumer.core.admission.circuit import CIRCUIT_WINDOWS
from consumer.core.batching.window import Window
from consumer.core.verdict import Verdict

#: Failures after which a window is divided, given evidence. A refusal is a response, so two are
#: enough; a 5xx or a lost response may be chance.
DIVIDED_AFTER = {Verdict.REFUSED: 2, Verdict.UNEXPECTED: 2}
USUALLY_DIVIDED_AFTER = 3
#: Failures after which a window is divided without evidence, where nothing else is there that could
#: bring it.
DIVIDED_BLIND_AFTER = 3
#: Failures after which a single row is rejected because the other parts of its window have passed,
#: where only suspect rows are left.
REJECTED_ALONE_AFTER = 6
#: A single row whose task has failed, or was refused, for so many seconds, and so often as above,
#: is rejected without evidence, unless several tasks fail and none passes. Less where rows are
#: given up sooner, but not less than a minute.
TASK_PATIENCE_SECONDS = 300.0
LEAST_TASK_PATIENCE_SECONDS = 60.0
#: A window was accepted so lately, seconds, that a first refusal need not be the whole API's.
HEALTHY_SECONDS = 10.0
#: The most that healthy time advances between two accepted windows, so that an outage does not
#: count: seconds, and as a share of the time after which a row is given up.
HEALTHY_GAP = 60.0
HEALTHY_GAP_SHARE = 0.05
#: While only suspect rows are left, the API is asked for a sign of life: seconds between two, and
#: as a share of the time after which a row is given up; once a second at most.
SIGN_SECONDS = 10.0
SIGN_SHARE = 0.1


class Step(Enum):
    """The next step of a window that failed."""

    RETRY = "retry"
    DIVIDE = "divide"
    GO_BY_TASK = "go_by_task"  #: a single row, asynchronously from now on
    REJECT = "reject"  #: a single row: the API has refused it, and takes others
    GIVE_UP = "give_up"  #: a single row: the API failed for it for too long, while it was healthy
    PAUSE = "pause"  #: the API may refuse everybody


class Failure(msgspec.Struct, frozen=True):
    """The facts of a failed window by which its next step is decided."""

    verdict: Verdict
    rows: int
    failures: int  #: in a row, with this one
    evidence: bool = False  #: a request that was sent after its first failure was accepted
    #: its failure before was the same, and others had passed since when it was sent again
    refused_again: bool = False
    #: it failed in spite of such evidence before, or is a part of a window that did
    suspect: bool = False
    #: nothing else is ready or untried that could show whose fault it is
    nothing_else: bool = False
    only_suspects: bool = False  #: it is suspect, and so is all else that could be sent
    refuses_all: bool = True  #: several windows are being refused, or none was accepted lately
    paused: bool = False  #: uploading is paused, and this is not the probe
    is_probe: bool = False  #: it is the pause's probe
    expired: bool = False  #: as a single row it has failed for too long, in healthy time
    #: as a single row its task has failed, or was refused, for long, and few others fail
    lone_task: bool = False
    by_task: bool = False
    may_go_by_task: bool = False


def next_step(failure: Failure) -> Step:
    """Decide what follows for a window whose failure may be the API's fault (I1, I8)."""
    if failure.paused:
        return Step.RETRY
    step = _divided(failure) if failure.rows > 1 else _single(failure)
    if step is not None:
        return step
    refused = failure.verdict in (Verdict.REFUSED, Verdict.UNEXPECTED)
    if refused and not failure.suspect and failure.refuses_all:
        return Step.PAUSE
    return Step.RETRY


def _divided(failure: Failure) -> Step | None:
    """Decide whether a window of several rows is divided; None: it stays whole."""
    least = DIVIDED_AFTER.get(failure.verdict, USUALLY_DIVIDED_AFTER)
    if failure.evidence and (failure.suspect or failure.failures >= least):
        return Step.DIVIDE
    if failure.nothing_else and failure.failures >= DIVIDED_BLIND_AFTER:
        return Step.DIVIDE
    return None


def _single(failure: Failure) -> Step | None:
    """Decide whether a single row is rejected, given up or sent by a task; None: none of them."""
    says_no = failure.verdict in (Verdict.REFUSED, Verdict.TASK_FAILED)
    alone = failure.only_suspects and failure.failures >= REJECTED_ALONE_AFTER
    lone_task = failure.lone_task and failure.failures >= REJECTED_ALONE_AFTER
    if says_no and (failure.refused_again or alone or lone_task) and not failure.is_probe:
        return Step.REJECT
    often = failure.failures >= USUALLY_DIVIDED_AFTER
    # Not for one failure by chance, and a task that did not end in an hour.
    if failure.expired and often and not failure.is_probe:
        return Step.GIVE_UP
    sync = failure.may_go_by_task and not failure.by_task
    refused = failure.verdict in (Verdict.REFUSED, Verdict.UNEXPECTED)
    if sync and often and failure.evidence and not refused:
        return Step.GO_BY_TASK
    return None


class Evidence:
    """The accepted requests, and when they were sent; times in seconds of the owner's clock.

    Healthy time runs only while windows are being accepted: by it single rows are given up.
    """

    def __init__(self, give_up: float) -> None:
        self._give_up = give_up
        self._gap = min(HEALTHY_GAP, HEALTHY_GAP_SHARE * give_up) if give_up else HEALTHY_GAP
        patience = max(give_up, LEAST_TASK_PATIENCE_SECONDS) if give_up else TASK_PATIENCE_SECONDS
        self._task_patience = min(patience, TASK_PATIENCE_SECONDS)
        # windows whose tasks failed, with none complete between
        self._failing_tasks: set[int] = set()
        self.sign_seconds = (
            min(SIGN_SECONDS, max(1.0, SIGN_SHARE * give_up)) if give_up else SIGN_SECONDS
        )
        self._most = max(self._gap, 2 * self.sign_seconds)  # that healthy time advances at once
        self._passed_sent_at = {False: -inf, True: -inf}  # by whether they went as tasks
        self.accepted_at = -inf
        self.healthy_time = 0.0

    def accepted(self, window: Window, now: float) -> None:
        """Take in that the API accepted a window."""
        if window.by_task:
            self._failing_tasks.clear()
        self._passed_sent_at[window.by_task] = max(
            self._passed_sent_at[window.by_task], window.sent_at
        )
        self.advance(now)

    def advance(self, now: float, *, by_sign: bool = False) -> None:
        """Let healthy time go on to now, but over no long gap.

        ``by_sign``: the API gave a sign of life when asked.
        """
        if self.accepted_at > -inf:
            self.healthy_time += min(
                max(0.0, now - self.accepted_at), self._most if by_sign else self._gap
            )
        self.accepted_at = now

    def forget(self, window: Window) -> None:
        """Take in that a window is no more: it was divided, or its row rejected."""
        self._failing_tasks.discard(window.number)

    def passed_since(self, window: Window, since: float | None) -> bool:
        """Return whether a request of the window's kind, sent after ``since``, was accepted.

        ``since`` None: the window has not failed, so nothing counts against it.
        """
        return since is not None and self._passed_sent_at[window.by_task] > since

    def accepted_lately(self, now: float) -> bool:
        """Return whether the API accepted a window a moment ago."""
        return now - self.accepted_at <= HEALTHY_SECONDS

    def expired(self, window: Window, now: float) -> bool:
        """Return whether a single row has failed for so much healthy time that it is given up.

        Its first call starts the count.
        """
        if len(window.rows) != 1 or not self._give_up:
            return False
        if window.failing_since is None:
            # Healthy time that is added at the next advance may have passed before this failure.
            uncounted = max(0.0, now - self.accepted_at) if self.accepted_at > -inf else 0.0
            window.failing_since = self.healthy_time + min(uncounted, self._most)
        return self.healthy_time - window.failing_since >= self._give_up

    def lone_task(self, window: Window, now: float) -> bool:
        """Take in that a task failed, or was refused; return whether its only row is at fault."""
        if not window.by_task:
            return False
        self._failing_tasks.add(window.number)
        first = window.first_failed_at
        long = first is not None and now - first >= self._task_patience
        few = window.suspect or len(self._failing_tasks) < CIRCUIT_WINDOWS
        return len(window.rows) == 1 and long and few
