"""A 400: which rows are dead-lettered, sent alone, or given grace; and when they are too many.

A row whose key the API does not know may be ahead of its code: within a grace it is tried again.
After very many rejections with nothing accepted between, uploading pauses: then the token, not the
rows, is suspect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from consumer.core.admission.gate import Gate
from consumer.core.admission.retry import RetryPolicy
from consumer.core.admission.upload_pause import Pause
from consumer.core.batching.window import PART, Window
from consumer.core.batching.windows import Windows
from consumer.core.model import Rejection, Row
from consumer.core.uploading.api_health import ApiHealth
from consumer.core.uploading.classification import LineNumbers, Outcome
from consumer.core.uploading.evidence import Evidence
from consumer.core.uploading.result import Result


class Rejections:
    """Carry rejections out on rows and windows; times in seconds of the owner's clock."""

    def __init__(
        self,
        gate: Gate,
        windows: Windows,
        api: ApiHealth,
        evidence: Evidence,
        policy: RetryPolicy,
        rng: Callable[[], float],
        resent: Counter[str],
    ) -> None:
        """``resent``: rows that go again, by cause; it is counted on."""
        self._gate = gate
        self._windows = windows
        self._api = api
        self._evidence = evidence
        self._policy = policy
        self._rng = rng
        self._resent = resent
        self.lines = LineNumbers()

    def reject_named(self, window: Window, outcome: Outcome, result: Result, now: float) -> None:
        """Reject the rows that are named, and send the others again."""
        for row, why in outcome.rejected:
            if why.reason == "unknown_key" and self._has_grace(row, result, now):
                continue
            result.rejected.append((row, why))
        self._count(len(result.rejected), now)
        self._try_alone(window, outcome.candidates)
        self._go_on_with(window, outcome.others)

    def resend_named(self, window: Window, outcome: Outcome, now: float, *, probe: bool) -> None:
        """Send the rows that are named apart from the others; reject none of them.

        While everything is rejected, rows that were not named may be accepted, and so may rows that
        were not tried yet: they go before the ones that were.
        """
        named = [row for row, _ in outcome.rejected] + outcome.candidates
        if named:  # else all that were named were revoked meanwhile
            part = self._windows.make(window.data_key, named, PART)
            part.failures = window.failures + 1
            part.last_response = window.last_response
            self._windows.queue(part)
            self._resent["rows_named"] += len(named)
        if probe and outcome.others:
            self._gate.upload_pause.probe_again(now)
        elif probe:
            self._gate.upload_pause.begin(Pause.EVERYTHING_REJECTED, now, probe=True)
        self._go_on_with(window, outcome.others)

    def reject_all(
        self,
        window: Window,
        outcome: Outcome,
        result: Result,
        now: float,
        reason: str = "rejected_by_api",
    ) -> None:
        """Reject all rows of a window, which is no more."""
        why = Rejection(reason, outcome.text, None, "upload", outcome.status)
        result.rejected = [(row, why) for row in window.rows]
        self._evidence.forget(window)
        self._windows.end(window)
        self._count(len(result.rejected), now)

    def _go_on_with(self, window: Window, others: list[Row]) -> None:
        if others:
            window.rows = others
            window.begin_anew()
            self._windows.queue(window)
        else:
            self._windows.end(window)

    def _try_alone(self, window: Window, rows: list[Row]) -> None:
        """Send each of these rows alone, as it is not known which of them an error is about."""
        if not rows:
            return
        self.lines.count_try()
        self._resent["divided"] += len(rows)
        for row in rows:
            self._windows.queue(self._windows.make(window.data_key, [row], PART))

    def _has_grace(self, row: Row, result: Result, now: float) -> bool:
        """Return whether a row whose key the API does not know is tried again."""
        grace = self._policy.unknown_key_grace
        if not grace:
            return False
        if not row.unknown_tries:
            row.unknown_since = now
        until = row.unknown_since + grace
        if now >= until:
            return False
        row.unknown_tries += 1
        row.suspect = True
        at = min(until, now + self._policy.delay(row.unknown_tries, self._rng()))
        result.retry_at.append((at, row))
        self._resent["unknown_key"] += 1
        return True

    def _count(self, rejections: int, now: float) -> None:
        if self._gate.upload_pause.on_rejections(rejections):
            in_a_row = self._gate.upload_pause.rejections_in_a_row
            text = f"{in_a_row} rejections in a row and nothing accepted"
            self._api.pause(Pause.EVERYTHING_REJECTED, text, now)
