"""Half-open circuit breaker: several windows failed in a row, so one probe at a time is sent."""

from __future__ import annotations

from collections.abc import Callable

from consumer.core.admission.retry import PROBE_SECONDS, UNANSWERED_SECONDS, RetryPolicy

#: The circuit opens when this many distinct windows failed with no success between.
CIRCUIT_WINDOWS = 4


class CircuitBreaker:
    """The state of the circuit; times in seconds of the owner's clock.

    *closed*: requests flow. *open*: a probe every few seconds, one at a time; the first answer that
    shows that the API works closes it.
    """

    def __init__(self, policy: RetryPolicy, rng: Callable[[], float]) -> None:
        self._policy = policy
        self._rng = rng
        self.is_open = False
        self._failing: set[int] = set()  # windows that failed, with no success between
        self._probe_at = 0.0
        self._failures = 0  # since it opened

    def earliest_send(self, at: float) -> float:
        """Return when an upload may start, not before ``at``."""
        return max(at, self._probe_at) if self.is_open else at

    def on_start(self, now: float) -> None:
        """Take in that an upload starts.

        Without an answer it holds back the next probe for a while.
        """
        self._probe_at = now + UNANSWERED_SECONDS

    def on_failure(self, window: int, now: float) -> bool:
        """Count a window's failure that may be the API's fault.

        Return whether that opened the circuit.
        """
        self._failing.add(window)
        opens = not self.is_open and len(self._failing) >= CIRCUIT_WINDOWS
        self.is_open = self.is_open or opens
        if self.is_open:
            self._failures += 1
            delay = self._policy.delay(self._failures, self._rng(), PROBE_SECONDS)
            self._probe_at = now + delay
        return opens

    def on_answer(self) -> int:
        """Close the circuit, as the API did its work.

        Return how often it failed since it opened.
        """
        self._failing.clear()
        self.is_open = False
        failures, self._failures = self._failures, 0
        return failures
