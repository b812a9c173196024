"""Upload pause: the API refuses us (token, address) or rejects everything; a probe ends it.

::

    none ──begin──► CHECK_DUE ──GET /me──► CHECKING ──no 401──► PROBE_DUE ──► PROBING ──► none
                       ▲                      │ 401, no answer: back-off         │
                       └──────────────────────┴──── the window fails: back-off ──┘

A window is the judge, ``GET /me`` a hint: a token that may upload need not be able to ask who it
is. While everything is rejected, ``GET /me`` tells nothing, so each back-off ends in PROBE_DUE.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from consumer.core.admission.circuit import CIRCUIT_WINDOWS
from consumer.core.admission.retry import UNANSWERED_SECONDS, RetryPolicy

#: The longest back-off of a pause, seconds: a token that was replaced is noticed soon.
PAUSE_SECONDS = 10.0


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
    Pause.EVERYTHING_REJECTED: (
        "check the company of the token, events.data_key and the dead letters; "
        "`run --accept-rejections` or a restart goes on"
    ),
}


class PauseStep(Enum):
    """Where a pause is in its way to its end."""

    CHECK_DUE = "check_due"  #: ``GET /me`` is due
    CHECKING = "checking"  #: its answer is awaited
    PROBE_DUE = "probe_due"  #: one window alone may be sent
    PROBING = "probing"  #: its answer is awaited


class UploadPause:
    """The pause, if there is one; times in seconds of the owner's clock."""

    def __init__(
        self, policy: RetryPolicy, rng: Callable[[], float], pause_after_rejections: int
    ) -> None:
        self._policy = policy
        self._rng = rng
        self._pause_after = pause_after_rejections  #: 0: never
        self.cause: Pause | None = None  #: None: uploading is not paused
        self.step = PauseStep.CHECK_DUE
        self.since = 0.0
        self._until = 0.0  # when the next step is due
        self._unanswered_until = 0.0  # until then a probe without an answer holds back the next
        self._back_offs = 0
        self.rejecting = False  #: all was being rejected, and nothing has been accepted since
        self.rejections_in_a_row = 0
        self._refused: set[int] = set()  # windows that were refused, with no success between

    def earliest_send(self, at: float) -> float | None:
        """Return when a probe may start, not before ``at``; None: a token check comes first."""
        if self.step is PauseStep.PROBING:
            # The probe may be a task at work: its end may be hours away.
            return max(at, self._unanswered_until)
        return max(at, self._until) if self.step is PauseStep.PROBE_DUE else None

    def token_check_due_at(self, at: float) -> float | None:
        """Return when ``GET /me`` is due, not before ``at``; None: it is not."""
        due = self.cause is not None and self.step is PauseStep.CHECK_DUE
        return max(at, self._until) if due else None

    @property
    def holds_back_polls(self) -> bool:
        """Return whether even questions about tasks wait, as the token may be refused."""
        checks = (PauseStep.CHECK_DUE, PauseStep.CHECKING)
        return self.cause is not None and self.step in checks

    def on_start(self, now: float) -> None:
        """Take in that an upload starts: in a pause it is the probe."""
        if self.cause is not None:
            self.step = PauseStep.PROBING
            self._unanswered_until = now + UNANSWERED_SECONDS

    def on_token_check_start(self) -> None:
        """Take in that ``GET /me`` is called."""
        if self.cause is not None:
            self.step = PauseStep.CHECKING

    def on_token_check(self, now: float, *, passed: bool) -> None:
        """Take in the answer to ``GET /me``."""
        if self.cause is None or self.step is not PauseStep.CHECKING:
            return
        if passed:
            self.step = PauseStep.PROBE_DUE
            self._until = now
        else:
            self._back_off(now)

    def begin(self, cause: Pause, now: float, *, probe: bool = False) -> bool:
        """Pause uploading, or back off after a failed probe (``probe``); return whether it begins.

        An answer to a request from before the pause changes nothing.
        """
        if cause is Pause.EVERYTHING_REJECTED:
            # It outlives other causes of a pause: a refused token in between proves nothing.
            self.rejecting = True
        begins = self.cause is None
        if begins:
            self.since = now
        elif not probe:
            return False
        self.cause = cause
        self._back_off(now)
        return begins

    def end(self) -> None:
        """Go on, as the probe passed (I8)."""
        self.cause = None
        self.rejecting = False
        self._back_offs = 0

    def probe_inconclusive(self, now: float) -> None:
        """Take in that the probe failed for another reason: try again, later."""
        if self.step is PauseStep.PROBING:
            self._back_off(now)

    def probe_again(self, now: float) -> None:
        """Go on without a longer back-off: a part of the probe is left and may do."""
        self.step = PauseStep.PROBE_DUE
        self._until = now

    def on_refusal(self, window: int) -> bool:
        """Count a refused window; return whether the API may be refusing everybody."""
        self._refused.add(window)
        return len(self._refused) >= CIRCUIT_WINDOWS

    def on_rejections(self, count: int) -> bool:
        """Count rejected rows; return whether these are too many with none accepted between."""
        self.rejections_in_a_row += count
        return 0 < self._pause_after <= self.rejections_in_a_row and count > 0

    def on_acceptance(self) -> None:
        """Take in that rows were accepted."""
        self.rejections_in_a_row = 0

    def on_answer(self) -> None:
        """Take in that the API did its work for a window."""
        self._refused.clear()

    def _back_off(self, now: float) -> None:
        self._back_offs += 1
        self._until = now + self._policy.delay(self._back_offs, self._rng(), PAUSE_SECONDS)
        # A rejected company's token passes GET /me all the same, so only a window can tell.
        rejecting = self.cause is Pause.EVERYTHING_REJECTED
        self.step = PauseStep.PROBE_DUE if rejecting else PauseStep.CHECK_DUE
