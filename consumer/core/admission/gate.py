"""May a request start now: concurrency, pace, throttling, the circuit, and the pause.

Every reason to hold back is kept here, and every one of them ends by time or by a result:

* *pace*: this member's part of the group's rate (see ``pace``); every call counts, ``GET /me`` too.
* *throttle*: the API said how long to wait (``Retry-After``); the whole process waits. When it did
  not say, it is tried as with an open circuit: one request every few seconds, one at a time, until
  the API does its work for one.
* *circuit*: several distinct windows failed in a row; one probe every few seconds until one
  succeeds.
* *pause*: the API refuses us (token, address) or rejects everything. A state machine::

      open ──refused──► ask ──GET /me: no 401──► trial ──one window passes──► open
                         ▲ └──401, no answer: back-off──┐  │ └──────────◄───────────────────┴──┴──
                         the window fails: back-off, longer each time

  A window is the judge, ``GET /me`` a hint: a token that may upload need not be able to ask who it
  is.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from consumer.core.admission.pace import Pace
from consumer.core.admission.retry import RetryPolicy

#: Questions about tasks that are under way at once.
MAX_POLLS = 2
#: The circuit opens when this many distinct windows failed with no success between.
CIRCUIT_WINDOWS = 4
#: The longest back-off between probes, seconds: an API that is back is noticed soon, however long
#: it was away.
PROBE_SECONDS = 3.0
#: A probe whose answer does not come holds back the next one for so long, seconds.
UNANSWERED_SECONDS = 10.0
#: The longest back-off of a pause, seconds: a token that was replaced is noticed soon.
ASK_SECONDS = 10.0


class Pause(Enum):
    """Why uploading is paused."""

    UNAUTHORIZED = "unauthorized"  #: 401
    REFUSED = "refused"  #: 403, 404, 405, 406
    UNEXPECTED = "unexpected_answer"  #: a redirect, or a 200 that is not the documented answer
    EVERYTHING_REJECTED = "everything_rejected"


#: What a person can do about a pause.
ADVICE = {
    Pause.UNAUTHORIZED: "check api.token or the token file; a new token file is taken up by itself",
    Pause.REFUSED: "check the token's permissions, api.base_url and the API's version",
    Pause.UNEXPECTED: "check api.base_url and what stands between (proxy, firewall, portal)",
    Pause.EVERYTHING_REJECTED: "check the company of the token, events.data_key and the dead letters; "
    "`run --accept-rejections` or a restart goes on",
}


class PauseStep(Enum):
    """Where a pause is in its way to its end."""

    CHECK_DUE = "ask"  #: GET /me is due at ``pause_until``
    CHECKING = "asking"  #: its answer is awaited
    PROBE_DUE = "trial"  #: one window alone may be sent from ``pause_until`` on
    PROBING = "trying"  #: its answer is awaited


class Gate:
    """The state of all reasons to hold back. Times in seconds of the owner's clock."""

    def __init__(
        self,
        rate: float,
        concurrency: int,
        policy: RetryPolicy,
        rng: Callable[[], float],
        *,
        pause_after_rejections: int = 0,
    ) -> None:
        self.pace = Pace(rate)
        self._concurrency = concurrency
        self._policy = policy
        self._rng = rng
        self._pause_after = pause_after_rejections  #: 0: never
        self.in_flight = 0
        self._polls = 0  # about tasks, not answered yet
        self.throttled_until = 0.0
        self.throttled_seconds = 0.0
        self._slowed = False  # the pace fell, with no success since
        self._throttles = 0  # that told no time, with no success between
        self._unanswered_until = (
            0.0  # while these last: a request whose answer does not come holds back the next
        )
        self._failing: set[int] = set()  # windows that failed, with no success between
        self._refused: set[int] = set()  # windows that were refused, with no success between
        self.circuit_open = False
        self.probe_at = 0.0
        self._probes = 0
        self.rejections_in_a_row = 0
        self.pause: Pause | None = None
        self.rejecting = (
            False  #: everything was being rejected, and nothing has been accepted since
        )
        self.step = PauseStep.CHECK_DUE
        self.paused_since = 0.0
        self.pause_until = 0.0
        self.token_check_sent_at = 0.0
        self._pauses = 0

    # -- may a request start ---------------------------------------------------------------------

    def admits(self, now: float) -> bool:
        """Whether an upload may start now (I6, budget)."""
        at = self.earliest_send(now)
        return at is not None and at <= now

    def earliest_send(self, now: float) -> float | None:
        """From when on an upload may start, as far as time decides.

        None: only a result can bring that.
        """
        at = self._earliest_slot(now)
        return None if at is None else self.pace.earliest_start(at)

    def could_have_sent(self, now: float) -> bool:
        """Whether an upload could have started by now, had there been one."""
        at = self._earliest_slot(now)
        return at is not None and at <= now and self.pace.unused(now)

    def _earliest_slot(self, now: float) -> float | None:
        """As ``earliest_send``, whatever the pace."""
        if self.in_flight >= self._concurrency:
            return None
        at = self._throttle_end(now)
        if self.pause is None:
            return max(at, self.probe_at) if self.circuit_open else at
        if self.in_flight:
            return None
        if self.step is PauseStep.PROBING:
            return max(at, self.probe_at)  # the trial is a task at work: its end may be hours away
        return max(at, self.pause_until) if self.step is PauseStep.PROBE_DUE else None

    @property
    def alone(self) -> bool:
        """Whether the next window is sent alone, as a trial or a probe."""
        return self.pause is not None or self.circuit_open or self.throttled_blindly

    @property
    def throttled_blindly(self) -> bool:
        """Whether the API asked to wait and did not say for how long, and has done its work for no
        window since.
        """
        return self._throttles > 0

    def _throttle_end(self, at: float) -> float:
        """When a call may start, as far as throttling decides."""
        at = max(at, self.throttled_until)
        under_way = self.throttled_blindly and (self.in_flight or self._polls)
        return max(at, self._unanswered_until) if under_way else at

    def take_slot(self, now: float) -> None:
        """An upload starts."""
        self.in_flight += 1
        self.pace.consume(now)
        if self.pause is not None:
            self.step = PauseStep.PROBING
        self.probe_at = self._unanswered_until = now + UNANSWERED_SECONDS

    def earliest_poll(self, now: float) -> float | None:
        """From when on a task may be asked about; None: only a result can bring that.

        A question is no upload: an open circuit does not hold it back, a pause only until
        ``GET /me`` has passed.
        """
        if self._polls >= MAX_POLLS or (
            self.pause is not None and self.step in (PauseStep.CHECK_DUE, PauseStep.CHECKING)
        ):
            return None
        return self._earliest_small(self._throttle_end(now))

    def start_poll(self, now: float) -> None:
        """A question about a task starts."""
        self._polls += 1
        self._unanswered_until = now + UNANSWERED_SECONDS
        self.pace.consume(now)

    def end_poll(self) -> None:
        """A question about a task was answered, or got none."""
        self._polls -= 1

    def _earliest_small(self, at: float) -> float:
        """When a call that uploads nothing may start.

        Few are made without a partition, which gives no share.
        """
        return self.pace.earliest_start(at) if self.pace.has_share else at

    def token_check_due_at(self, now: float) -> float | None:
        """When ``GET /me`` is due for a pause; None: it is not."""
        if self.pause is None or self.step is not PauseStep.CHECK_DUE:
            return None
        return self.earliest_token_check(max(now, self.pause_until))

    def earliest_token_check(self, at: float) -> float:
        """When ``GET /me`` may be called at the earliest, if it is due at a time."""
        return self._earliest_small(self._throttle_end(at))

    def start_token_check(self, now: float) -> None:
        """``GET /me`` starts."""
        if self.pause is not None:
            self.step = PauseStep.CHECKING
        self.token_check_sent_at = now
        self.pace.consume(now)

    # -- what results say ------------------------------------------------------------------------

    def release_slot(self) -> None:
        """An upload ended, however."""
        self.in_flight -= 1

    def on_answer(self) -> int:
        """The API did its work for a window.

        If that closed the circuit, how often it failed since it opened.
        """
        self._failing.clear()
        self._refused.clear()
        probes, self._probes = self._probes, 0
        self._throttles = 0
        self._slowed = False
        self.circuit_open = False
        return probes

    def on_failure(self, window: int, now: float) -> bool:
        """A window failed in a way that may be the API's fault; True if that opened the circuit."""
        self._failing.add(window)
        opens = not self.circuit_open and len(self._failing) >= CIRCUIT_WINDOWS
        self.circuit_open = self.circuit_open or opens
        if self.circuit_open:
            self._probes += 1
            self.probe_at = now + self._policy.delay(self._probes, self._rng(), PROBE_SECONDS)
        return opens

    def on_refusal(self, window: int) -> bool:
        """Count a refused window.

        True if so many were, with no success between, that the API may refuse everybody.
        """
        self._refused.add(window)
        return len(self._refused) >= CIRCUIT_WINDOWS

    def too_fast(self, sent_at: float, now: float) -> None:
        """A request was answered with 429: the pace falls, once until the API works again (budget).

        While it refuses whatever comes, that says nothing about the pace, which would else be next
        to nothing after.
        """
        if not self._slowed:
            self._slowed = self.pace.slow_down(sent_at, now)

    def throttled(self, now: float, retry_after: float | None) -> float:
        """The API asked to wait; seconds from now until it may be called again (budget)."""
        if (
            not retry_after or retry_after < 0
        ):  # that is no time to wait: the answer would come back at once
            if now < self.throttled_until:
                return (
                    self.throttled_until - now
                )  # of a request from before the throttle: it adds nothing
            self._throttles += 1
            wait = self._policy.delay(self._throttles, self._rng(), PROBE_SECONDS)
        else:
            wait = min(retry_after, self._policy.max_retry_after)
        until = max(self.throttled_until, now + wait)
        self.throttled_seconds += until - max(self.throttled_until, now)
        self.throttled_until = until
        return until - now

    def on_acceptance(self) -> None:
        """Rows were accepted."""
        self.rejections_in_a_row = 0
        self.pace.speed_up()

    def on_rejections(self, count: int) -> bool:
        """So many rows were rejected; True if these are too many with none accepted between."""
        self.rejections_in_a_row += count
        return 0 < self._pause_after <= self.rejections_in_a_row and count > 0

    # -- the pause -------------------------------------------------------------------------------

    def start_pause(self, pause: Pause, now: float, *, trial: bool = False) -> bool:
        """Pause uploading, or go back to asking after a failed ``trial``.

        True if it was not paused before.
        """
        if pause is Pause.EVERYTHING_REJECTED:
            # it outlives other causes of a pause: a refused token in between proves nothing
            self.rejecting = True
        fresh = self.pause is None
        if fresh:
            self.pause = pause
            self.paused_since = now
        elif not trial:
            return False  # an answer to a request from before the pause: it adds nothing
        self.pause = pause
        self._back_off(now)
        return fresh

    def probe_inconclusive(self, now: float) -> None:
        """The one window that was tried failed for another reason: try again, later."""
        if self.step is PauseStep.PROBING:
            self._back_off(now)

    def probe_again(self, now: float) -> None:
        """A part of the trial's window is left and may do: go on without a longer back-off."""
        self.step = PauseStep.PROBE_DUE
        self.pause_until = now

    def _back_off(self, now: float) -> None:
        self._pauses += 1
        self.pause_until = now + self._policy.delay(self._pauses, self._rng(), ASK_SECONDS)
        # A rejected company's token passes GET /me all the same, so only a window can tell.
        self.step = (
            PauseStep.PROBE_DUE if self.pause is Pause.EVERYTHING_REJECTED else PauseStep.CHECK_DUE
        )

    def on_token_check(self, now: float, *, passed: bool) -> None:
        """``GET /me`` was answered."""
        if self.pause is None or self.step is not PauseStep.CHECKING:
            return
        if passed:
            self.step = PauseStep.PROBE_DUE
            self.pause_until = now
        else:
            self._back_off(now)

    def end_pause(self) -> None:
        """The trial passed: uploading goes on (I8)."""
        self.pause = None
        self.rejecting = False
        self._pauses = 0
