"""Learn from responses how the API itself is; pass it to the gate, and log it, throttled.

Every response comes by here, whatever becomes of its rows: to a window, to a poll of a task, to
``GET /me``.
"""

from __future__ import annotations

from consumer.core.admission.gate import Gate
from consumer.core.admission.upload_pause import ADVICE, Pause
from consumer.core.batching.window import Window
from consumer.core.model import Notice
from consumer.core.uploading.classification import Outcome, brief
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task, tells_of_task
from consumer.core.verdict import Verdict

#: What goes on is logged again after this many seconds.
LOG_AGAIN_SECONDS = 30.0


class ApiHealth:
    """The API's health by its responses; times in seconds of the owner's clock."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.notices: list[Notice] = []
        self.last_error: str | None = None  #: how the latest call failed; None: it did not
        #: since when every call fails; None: the latest one did not
        self.failing_since: float | None = None
        self.pause_why = ""  #: what the API said for which uploading is paused, or was last
        self._log_failure_at = 0.0
        self._log_no_codes_at = 0.0
        self._log_throttle_at = 0.0
        self._logged_throttle_until = 0.0

    def note_reachability(self, response: Response, now: float, *, failed: bool) -> None:
        """Take in whether a call failed: the API gave no response, or 5xx."""
        if not failed:
            self.failing_since = self.last_error = None
            return
        self.last_error = brief(response)
        if self.failing_since is None:
            self.failing_since = now

    def learn_from(self, window: Window, outcome: Outcome, response: Response, now: float) -> None:
        """Take in what the outcome of a window says."""
        verdict = outcome.verdict
        if verdict is Verdict.THROTTLED:
            self._gate.on_too_fast(window.sent_at, now)
        if verdict is Verdict.THROTTLED or (verdict is Verdict.FAILED and response.retry_after):
            self._slow_down(response, now)
        if verdict in (Verdict.THROTTLED, Verdict.ACCEPTED, Verdict.NONE_NAMED, Verdict.TOO_LARGE):
            return
        # How a task ended is not in the response to the poll: the last one may have said that it
        # is at work.
        why = outcome.text if outcome.task_id else brief(response)
        # A task's end says nothing about calls; a refusal is a response.
        fails = verdict in (Verdict.FAILED, Verdict.LOST, Verdict.UNSENT) and not outcome.task_id
        if fails and self._gate.circuit.on_failure(window.number, now):
            # For people this is a trouble of the ops watch, which knows when it is over.
            text = f"the API fails for several windows ({why}): one request at a time"
            self.notices.append(Notice("debug", f"{text} until it is back"))
        elif now >= self._log_failure_at and not self._gate.circuit.is_open:
            self._warn(f"a request failed ({why}){_first_of(window)}; its rows are sent again")
        else:
            return
        self._log_failure_at = now + LOG_AGAIN_SECONDS

    def learn_from_poll(self, task: Task, response: Response, now: float) -> None:
        """Take in what the response to a poll says of the API; of the task, see ``tasks``."""
        self.note_reachability(
            response, now, failed=response.status is None or response.status >= 500
        )
        if response.status == 401:
            self.pause(Pause.UNAUTHORIZED, brief(response), now)
        elif response.status == 429 or (response.status is not None and response.retry_after):
            if response.status == 429:
                self._gate.on_too_fast(task.polled_at, now)
            self._slow_down(response, now)
        elif not tells_of_task(response) and now >= self._log_failure_at:
            self._log_failure_at = now + LOG_AGAIN_SECONDS
            self._warn(f"a task cannot be asked about ({brief(response)}); it is asked again")

    def learn_from_token_check(self, response: Response, now: float) -> None:
        """Take in the response to ``GET /me``.

        Unless it says 401, a window is the next probe, and that decides.
        """
        self.note_reachability(
            response, now, failed=response.status is None or response.status >= 500
        )
        if response.status == 429:
            self._gate.on_too_fast(self._gate.token_check_sent_at, now)
        if response.status == 429 or (response.status is not None and response.retry_after):
            self._gate.throttle.on_throttled(now, response.retry_after)
        # Only 401 is certain to be about the token, and only no response, or 429, about the API as
        # a whole.
        self._gate.upload_pause.on_token_check(now, passed=response.status not in (None, 401, 429))

    def close_circuit(self) -> int:
        """Take in that the API did its work for a window.

        Return how often it failed since the circuit opened, if that closed it, else 0.
        """
        probes = self._gate.on_answer()
        if probes:
            self.notices.append(Notice("debug", "the API answers again: full speed"))
        return probes

    def changed_nothing(self, warning: str, now: float) -> None:
        """Warn that rows were accepted by which no code was changed, now and then."""
        if now >= self._log_no_codes_at:
            self._log_no_codes_at = now + LOG_AGAIN_SECONDS
            self._warn(warning)

    def pause(self, pause: Pause, why: str, now: float, *, probe: bool = False) -> None:
        """Pause uploading until somebody has done something about the cause.

        ``probe``: the pause's own probe has shown it, so its back-off grows.
        """
        begins = self._gate.upload_pause.begin(pause, now, probe=probe)
        if begins or probe:
            self.pause_why = why
        if begins:
            text = f"uploading is paused: {why}; nothing is lost; {ADVICE[pause]}"
            self.notices.append(Notice("error", text))

    def end_pause(self) -> None:
        """Go on, as the probe passed (I8)."""
        self._gate.upload_pause.end()
        self.notices.append(Notice("info", "uploading goes on"))

    def _warn(self, text: str) -> None:
        self.notices.append(Notice("warning", text))

    def _slow_down(self, response: Response, now: float) -> None:
        """Hold back as the API asks.

        That is logged now and then, and at once when the wait becomes much longer.
        """
        wait = self._gate.throttle.on_throttled(now, response.retry_after)
        longer = now + wait > self._logged_throttle_until + LOG_AGAIN_SECONDS
        if now < self._log_throttle_at and not longer:
            return
        self._log_throttle_at, self._logged_throttle_until = now + LOG_AGAIN_SECONDS, now + wait
        text = f"the API asks to slow down: no request for {wait:.1f} s"
        if self._gate.throttle.untimed:
            text += ", then one at a time, as it does not say for how long"
        self.notices.append(Notice("info", text))


def _first_of(window: Window) -> str:
    """Return how many rows a window has, and where the first comes from, for a line of the log."""
    rows = window.rows
    if not rows:  # all were revoked
        return ""
    record = rows[0].record
    count = f"{len(rows)} rows, the first" if len(rows) > 1 else "one row"
    return f", of {count} from {record.partition}@{record.offset}"
