"""Exponential back-off with full jitter: an immutable policy, whose next delay is a function."""

from __future__ import annotations

import math

import msgspec

#: The longest back-off between probes, seconds: an API that is back is noticed soon, however long
#: it was away.
PROBE_SECONDS = 3.0
#: A probe whose answer does not come holds back the next one for so long, seconds.
UNANSWERED_SECONDS = 10.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """When a failed call is tried again; times in seconds.

    Full jitter (a uniform draw from zero to the bound) spreads the retries of many members best.
    """

    base: float = 0.5
    cap: float = 60.0
    max_retry_after: float = 900.0
    give_up: float = 3600.0  #: of time in which other rows were accepted; 0: never
    unknown_key_grace: float = 0.0

    def delay(self, attempt: int, draw: float, cap: float = math.inf) -> float:
        """Return the seconds before the try that follows failed try number ``attempt`` (from 1).

        ``draw``: a random number from [0, 1). ``cap``: a bound of its own, where the policy's is
        too long.
        """
        assert attempt > 0, "a retry of what has not failed"
        return draw * min(cap, self.cap, self.base * 2.0 ** min(attempt - 1, 60))
