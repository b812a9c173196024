"""What answers say about the API, whatever becomes of their rows.

Kept, passed to the gate, and told.

Every answer comes by here: to a window, to a question about a task, to ``GET /me``.
"""

from __future__ import annotations

from consumer.core.admission.gate import Gate
from consumer.core.admission.upload_pause import ADVICE, Pause
from consumer.core.batching.windows import Window
from consumer.core.model import Notice
from consumer.core.uploading.classification import Outcome, brief
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task, told_of_task
from consumer.core.verdict import Verdict

#: What goes on is told again after this many seconds.
TELL_AGAIN_SECONDS = 30.0


class ApiHealth:
    """How the API is, as its answers tell it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.notices: list[Notice] = []
        self.last_error: str | None = None  #: how the latest call failed; None: it was answered
        self.failing_since: float | None = (
            None  #: since when no call was answered; None: the latest one was
        )
        self._tell_failure_at = 0.0
        self._tell_no_codes_at = 0.0
        self._tell_throttle_at = 0.0
        self._told_throttle_until = 0.0

    def note_reachability(self, response: Response, now: float, *, failed: bool) -> None:
        """Keep since when the API does not answer, and how the latest call failed."""
        if not failed:
            self.failing_since = self.last_error = None
            return
        self.last_error = brief(response)
        if self.failing_since is None:
            self.failing_since = now

    def learn_from(self, window: Window, outcome: Outcome, response: Response, now: float) -> None:
        """What the outcome of a window says."""
        verdict = outcome.verdict
        if verdict is Verdict.THROTTLED:
            self._gate.on_too_fast(window.sent_at, now)
        if verdict is Verdict.THROTTLED or (verdict is Verdict.FAILED and response.retry_after):
            self._slow_down(response, now)
        if verdict in (Verdict.THROTTLED, Verdict.ACCEPTED, Verdict.NONE_NAMED, Verdict.TOO_LARGE):
            return
        # What a task came to is not in the answer to the question: that it is at work may be the
        # last that was told.
        told = outcome.text if outcome.task_id else brief(response)
        # A task's end says nothing about calls; a refusal is an answer.
        fails = verdict in (Verdict.FAILED, Verdict.LOST, Verdict.UNSENT) and not outcome.task_id
        if fails and self._gate.circuit.on_failure(window.number, now):
            text = f"the API fails for several windows ({told}): one request at a time until it is back"
            self.notices.append(Notice("warning", text))
        elif now >= self._tell_failure_at:
            self.notices.append(
                Notice("warning", f"a request failed ({told}); its rows are sent again")
            )
        else:
            return
        self._tell_failure_at = now + TELL_AGAIN_SECONDS

    def learn_from_poll(self, task: Task, response: Response, now: float) -> None:
        """What the answer to a question about a task says; of the task itself, see ``tasks``."""
        self.note_reachability(
            response, now, failed=response.status is None or response.status >= 500
        )
        if response.status == 401:
            self.pause(Pause.UNAUTHORIZED, brief(response), now)
        elif response.status == 429 or (response.status is not None and response.retry_after):
            if response.status == 429:
                self._gate.on_too_fast(task.asked_at, now)
            self._slow_down(response, now)
        elif not told_of_task(response) and now >= self._tell_failure_at:
            self._tell_failure_at = now + TELL_AGAIN_SECONDS
            self.notices.append(
                Notice(
                    "warning",
                    f"a task cannot be asked about ({brief(response)}); it is asked again",
                )
            )

    def learn_from_token_check(self, response: Response, now: float) -> None:
        """``GET /me`` was answered: unless it says 401, a window is tried; that is what decides."""
        self.note_reachability(
            response, now, failed=response.status is None or response.status >= 500
        )
        if response.status == 429:
            self._gate.on_too_fast(self._gate.token_check_sent_at, now)
        if response.status == 429 or (response.status is not None and response.retry_after):
            self._gate.throttle.on_throttled(now, response.retry_after)
        # Only 401 is certain to be about the token, and only no answer, or 429, about the API as a
        # whole.
        self._gate.upload_pause.on_token_check(now, passed=response.status not in (None, 401, 429))
        if response.status != 200:
            self.notices.append(Notice("debug", f"GET /api/v2/me/: {brief(response)}"))

    def answers_again(self) -> int:
        """The API did its work for a window.

        If that closed the circuit, how often it failed since that opened.
        """
        probes = self._gate.on_answer()
        if probes:
            self.notices.append(Notice("info", "the API answers again: full speed"))
        return probes

    def changed_nothing(self, told: str, now: float) -> None:
        """Rows were accepted by which no code was changed."""
        if now >= self._tell_no_codes_at:
            self._tell_no_codes_at = now + TELL_AGAIN_SECONDS
            self.notices.append(Notice("warning", told))

    def pause(self, pause: Pause, told: str, now: float, *, trial: bool = False) -> None:
        """Uploading makes no sense until somebody has done something about it.

        ``trial``: a trial has shown it.
        """
        if self._gate.upload_pause.begin(pause, now, trial=trial):
            text = f"uploading is paused: {told}; nothing is lost; {ADVICE[pause]}"
            self.notices.append(Notice("error", text))

    def end_pause(self) -> None:
        """The trial passed."""
        self._gate.upload_pause.end()
        self.notices.append(Notice("info", "uploading goes on"))

    def _slow_down(self, response: Response, now: float) -> None:
        """Hold back as the API asks, and tell it.

        Once, at a calm pace again, and when it becomes much longer.
        """
        wait = self._gate.throttle.on_throttled(now, response.retry_after)
        if (
            now < self._tell_throttle_at
            and now + wait <= self._told_throttle_until + TELL_AGAIN_SECONDS
        ):
            return
        self._tell_throttle_at, self._told_throttle_until = now + TELL_AGAIN_SECONDS, now + wait
        text = f"the API asks to slow down: no request for {wait:.1f} s"
        if self._gate.throttle.untimed:
            text += ", then one at a time, as it does not say for how long"
        self.notices.append(Notice("info", text))
