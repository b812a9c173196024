"""May a request start now: the latest of what concurrency, pace and three machines demand.

The reasons to hold back that come from the API and from our own bounds are kept here. Each ends by
time or by a result:

* *concurrency*: as many uploads are in flight as may be.
* *pace*: this member's part of the group's rate (``pace``); every call counts, ``GET /me`` too.
* *throttle*: the API asked to wait (``throttle``).
* *circuit breaker*: several distinct windows failed in a row (``circuit``).
* *upload pause*: the API refuses us, or rejects everything (``upload_pause``).

Two reasons stand elsewhere: an expired session lease and a stop suspend uploads in the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable

from consumer.core.admission.circuit import CircuitBreaker
from consumer.core.admission.pace import Pace
from consumer.core.admission.retry import RetryPolicy
from consumer.core.admission.throttle import Throttle
from consumer.core.admission.upload_pause import Pause, UploadPause

#: Polls of tasks that are under way at once.
MAX_POLLS = 2


class Gate:
    """The reasons to hold back; times in seconds of the owner's clock."""

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
        self.throttle = Throttle(policy, rng)
        self.circuit = CircuitBreaker(policy, rng)
        self.upload_pause = UploadPause(policy, rng, pause_after_rejections)
        self._concurrency = concurrency
        self.in_flight = 0  #: uploads whose answers are awaited
        self._polls = 0  # of tasks, not answered yet
        self._slowed = False  # the pace fell, with no success since
        self.token_check_sent_at = 0.0

    @property
    def pause(self) -> Pause | None:
        """Return why uploading is paused; None: it is not."""
        return self.upload_pause.cause

    @property
    def alone(self) -> bool:
        """Return whether the next window is sent alone, as a probe."""
        return self.pause is not None or self.circuit.is_open or self.throttle.untimed

    # -- may a request start ---------------------------------------------------------------------

    def admits(self, now: float) -> bool:
        """Return whether an upload may start now (I6, budget)."""
        at = self.earliest_send(now)
        return at is not None and at <= now

    def earliest_send(self, now: float) -> float | None:
        """Return the earliest time an upload may start, or None if that depends on a response."""
        at = self._earliest_slot(now)
        return None if at is None else self.pace.earliest_start(at)

    def could_have_sent(self, now: float) -> bool:
        """Return whether an upload could have started by now, had there been one."""
        at = self._earliest_slot(now)
        return at is not None and at <= now and self.pace.unused(now)

    def _earliest_slot(self, now: float) -> float | None:
        """Return the same as ``earliest_send``, whatever the pace."""
        if self.in_flight >= self._concurrency:
            return None
        at = self._throttled_until(now)
        if self.pause is None:
            return self.circuit.earliest_send(at)
        return None if self.in_flight else self.upload_pause.earliest_send(at)

    def _throttled_until(self, at: float) -> float:
        return self.throttle.earliest_send(at, under_way=bool(self.in_flight or self._polls))

    def earliest_poll(self, now: float) -> float | None:
        """Return when a task may be polled, or None if that depends on a response.

        A poll is no upload: an open circuit does not hold it back, and a pause only until
        ``GET /me`` has passed.
        """
        if self._polls >= MAX_POLLS or self.upload_pause.holds_back_polls:
            return None
        return self._earliest_small(now)

    def token_check_due_at(self, now: float) -> float | None:
        """Return when ``GET /me`` is due for a pause; None: it is not."""
        at = self.upload_pause.token_check_due_at(now)
        return None if at is None else self.earliest_token_check(at)

    def earliest_token_check(self, at: float) -> float:
        """Return when ``GET /me`` may be called that is due at this time."""
        return self._earliest_small(at)

    def _earliest_small(self, at: float) -> float:
        """Return when a call may start that uploads nothing.

        Without a partition, which gives no share of the rate, few are made, and those may.
        """
        at = self._throttled_until(at)
        return self.pace.earliest_start(at) if self.pace.has_share else at

    # -- calls start and end ---------------------------------------------------------------------

    def take_slot(self, now: float) -> None:
        """Count an upload that starts."""
        self.in_flight += 1
        assert self.in_flight <= self._concurrency, "more uploads than may be in flight"
        self.pace.consume(now)
        for machine in (self.throttle, self.circuit, self.upload_pause):
            machine.on_start(now)

    def release_slot(self) -> None:
        """Count an upload that ended, however."""
        assert self.in_flight > 0, "an upload ends that did not start"
        self.in_flight -= 1

    def start_poll(self, now: float) -> None:
        """Count a poll of a task that starts."""
        self._polls += 1
        assert self._polls <= MAX_POLLS, "more polls than may be under way"
        self.throttle.on_start(now)
        self.pace.consume(now)

    def end_poll(self) -> None:
        """Count a poll that was answered, or got no answer."""
        assert self._polls > 0, "a poll ends that did not start"
        self._polls -= 1

    def start_token_check(self, now: float) -> None:
        """Count a call of ``GET /me`` that starts."""
        self.upload_pause.on_token_check_start()
        self.token_check_sent_at = now
        self.pace.consume(now)

    # -- what results say ------------------------------------------------------------------------

    def on_answer(self) -> int:
        """Take in that the API did its work for a window.

        Return how often it failed since the circuit opened, if that closed it, else 0.
        """
        self._slowed = False
        self.throttle.on_answer()
        self.upload_pause.on_answer()
        return self.circuit.on_answer()

    def on_acceptance(self) -> None:
        """Take in that rows were accepted."""
        self.upload_pause.on_acceptance()
        self.pace.speed_up()

    def on_too_fast(self, sent_at: float, now: float) -> None:
        """Slow the pace down after a 429, once until the API works again (budget).

        While the API refuses whatever comes, more 429s say nothing about the pace. If each slowed
        it down, it would be next to nothing in the end.
        """
        if not self._slowed:
            self._slowed = self.pace.slow_down(sent_at, now)
