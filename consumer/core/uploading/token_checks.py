"""Token checks (``GET /me``): who are we, for a pause; or a sign of life, for suspect rows.

Where only rows are left that failed while others passed, nothing else can show that the API works.
So its answer to ``GET /me`` lets healthy time go on, by which such rows are given up.
"""

from __future__ import annotations

from math import inf

from consumer.core.admission.gate import Gate
from consumer.core.batching.windows import Windows
from consumer.core.uploading.api_health import ApiHealth
from consumer.core.uploading.evidence import Evidence
from consumer.core.uploading.response import Response


class TokenChecks:
    """When ``GET /me`` is called, and what its response says; times in seconds."""

    def __init__(self, gate: Gate, windows: Windows, api: ApiHealth, evidence: Evidence) -> None:
        self._gate = gate
        self._windows = windows
        self._api = api
        self._evidence = evidence
        self.suspect_failed = False  #: a suspect window was the last to be concluded, and failed
        self.window_sent_at = -inf  #: when a window was sent last
        self._pending = False  # a response is awaited
        self._sent_at = -inf

    def due_at(self, now: float) -> float | None:
        """Return when ``GET /me`` is due; None: it is not."""
        if self._gate.pause is not None or self._pending:
            return self._gate.token_check_due_at(now)
        if not self._sign_wanted:
            return None
        live = self._windows.live
        if self.window_sent_at <= self._sent_at and any(window.waits(now) for window in live):
            # Requests may be so few that each could be a check: uploads and these take turns.
            return None
        return self._gate.earliest_token_check(
            max(now, self._sent_at + self._evidence.sign_seconds)
        )

    def start(self, now: float) -> None:
        """Count a call that starts."""
        self._pending, self._sent_at = True, now
        self._gate.start_token_check(now)

    def handle(self, response: Response, now: float) -> None:
        """Take in the response to ``GET /me``."""
        self._pending = False
        self._api.learn_from_token_check(response, now)
        if response.status == 200 and self._gate.pause is None and self._sign_wanted:
            self._evidence.advance(now, by_sign=True)  # others would pass, were there any

    @property
    def _sign_wanted(self) -> bool:
        return self.suspect_failed and self._windows.only_suspects()
