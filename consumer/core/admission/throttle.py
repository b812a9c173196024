"""Throttle: wait for as long as the API asks, or probe where it does not say for how long."""

from __future__ import annotations

from collections.abc import Callable

from consumer.core.admission.retry import PROBE_SECONDS, UNANSWERED_SECONDS, RetryPolicy


class Throttle:
    """The wait that 429s and ``Retry-After`` demand of the whole process.

    Times in seconds of the owner's clock.

    Two states: *timed*, nothing starts before ``until``; *untimed*, the API asked to wait and did
    not say for how long: one request at a time, a back-off after each that is refused, until the
    API does its work for one.
    """

    def __init__(self, policy: RetryPolicy, rng: Callable[[], float]) -> None:
        self._policy = policy
        self._rng = rng
        self.until = 0.0
        self.seconds = 0.0  #: spent throttled, all together
        self._untimed = 0  # refusals that told no time, with no success between
        self._unanswered_until = 0.0  # until then a request without an answer holds back the next

    @property
    def untimed(self) -> bool:
        """Return whether the API asked to wait without a time, and has done no work since."""
        return self._untimed > 0

    def earliest_send(self, at: float, *, under_way: bool) -> float:
        """Return when a call may start, not before ``at``.

        ``under_way``: the answer to one is awaited.
        """
        at = max(at, self.until)
        return max(at, self._unanswered_until) if self.untimed and under_way else at

    def on_start(self, now: float) -> None:
        """Take in that a call starts."""
        self._unanswered_until = now + UNANSWERED_SECONDS

    def on_answer(self) -> None:
        """Take in that the API did its work for a window."""
        self._untimed = 0

    def on_throttled(self, now: float, retry_after: float | None) -> float:
        """Take in that the API asked to wait; return the seconds until a call may go (budget)."""
        if (
            not retry_after or retry_after < 0
        ):  # no time to wait: the answer would come back at once
            if now < self.until:
                return self.until - now  # of a request from before the throttle: it adds nothing
            self._untimed += 1
            wait = self._policy.delay(self._untimed, self._rng(), PROBE_SECONDS)
        else:
            wait = min(retry_after, self._policy.max_retry_after)
        until = max(self.until, now + wait)
        self.seconds += until - max(self.until, now)
        self.until = until
        return until - now
