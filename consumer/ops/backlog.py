"""Estimate when a backlog will be gone: exponentially weighted pace over five minutes.

Total work over total pace, but never less than a partition takes that holds itself back (most of it
waits for earlier rows of its codes): at its present pace until the others are done, then as fast as
its rows can follow each other. Only intervals with more to do than was done tell of the pace. The
rules for users stand in docs/lag.md.

Work is counted in offsets: it is what is known of records that are not read. Pure: the caller's
clock, in seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping

import msgspec

from consumer.core.admission.pace import PACE_SHARE
from consumer.ops.work import Estimate, Measured, Totals, Work

#: What is older says nothing about the pace.
WINDOW_SECONDS = 300.0
#: An interval that ended so long ago counts half; of one that holds itself back, whose pace is
#: steadier, sooner.
HALF_LIFE_SECONDS, HELD_HALF_LIFE_SECONDS = 30.0, 10.0
#: A backlog is observed so long before its end is told.
MINIMUM_SECONDS = 60.0
#: So long before a partition that holds itself back counts with its own pace, and before it counts
#: as not moving.
HELD_SECONDS, STUCK_SECONDS = 5.0, 60.0
#: The mean that is told as the present pace.
PRESENT_SECONDS = 60.0
#: Growing begins above this share of the pace, and ends below the other.
GROWS_ABOVE, GROWS_NOT_BELOW = 1.02, 0.98
#: Of this share of the budget on, the requests were what bounded the pace.
LIMITED = 0.8


class _Interval(msgspec.Struct, frozen=True, gc=False):
    at: float  # when it ended
    seconds: float
    settled: int
    came: int
    rows: int
    requests: int
    request_seconds: float
    more: bool  # there was more to do than was done
    busy: bool  # so it was before it, too, and nothing changed: its pace is the full one
    free: bool  # neither requests nor rows that wait for each other bounded the pace
    share: float | None  # of the requests, if they were what bounded the pace


class _Held:
    """The pace of a partition since it began to hold itself back."""

    __slots__ = ("seconds", "settled", "weighed", "weight")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.settled = 0.0
        self.weight = 0.0  # seconds, and what was settled in them, weighted
        self.weighed = 0.0

    def add(self, seconds: float, settled: int) -> None:
        faded = _weight(seconds, HELD_HALF_LIFE_SECONDS)
        self.seconds += seconds
        self.settled += settled
        self.weight = self.weight * faded + seconds
        self.weighed = self.weighed * faded + settled


class Backlog:
    """Observes the partitions of one process at intervals of a few seconds.

    ``minimum``: how long a backlog is observed before its end is told.
    """

    def __init__(self, minimum: float = MINIMUM_SECONDS) -> None:
        self._minimum = minimum
        self._intervals: deque[_Interval] = deque()
        self._held: dict[Hashable, _Held] = {}
        self._works: Mapping[Hashable, Work] = {}
        self._totals = Totals()
        self._at: float | None = None
        self._began = math.inf
        self._growing = False

    def observe(self, now: float, works: Mapping[Hashable, Work], totals: Totals) -> None:
        """Take in how the partitions are now.

        A key is an assignment of a partition: one that comes back has another key.
        """
        if self._at is not None and now > self._at:
            self._intervals.append(self._interval(now, works, totals))
            self._observe_held(now - self._at, works)
        while self._intervals and self._intervals[0].at < now - WINDOW_SECONDS:
            self._intervals.popleft()
        self._began = min(self._began, now)
        self._at, self._works, self._totals = now, dict(works), totals
        self._growing = self._grows()

    def estimate(self, now: float) -> Estimate:
        """Return what is known; ``now``: not before the last observation."""
        present = [i for i in self._intervals if i.at > (self._at or 0.0) - PRESENT_SECONDS]
        seconds = sum(interval.seconds for interval in present) or math.inf
        return Estimate(
            records=self._behind,
            eta=self._eta_at(now),
            growing=self._growing,
            records_per_second=sum(interval.settled for interval in present) / seconds,
            rows_per_second=sum(interval.rows for interval in present) / seconds,
        )

    @property
    def pace(self) -> float | None:
        """Return the offsets a second that are settled under a backlog; None: none was seen."""
        seconds = settled = 0.0
        for interval in self._intervals:
            if interval.busy:
                weight = self._weight_of(interval)
                seconds += weight * interval.seconds
                settled += weight * interval.settled * self._scale(interval)
        return settled / seconds if seconds else None

    @property
    def measured(self) -> Measured | None:
        """Return what this process was seen to do; None: not enough was seen."""
        busy = [interval for interval in self._intervals if interval.busy]
        requests, rows = sum(i.requests for i in busy), sum(i.rows for i in busy)
        settled = sum(interval.settled for interval in busy)
        if not requests or not rows or not settled:
            return None
        free = [interval for interval in busy if interval.free]
        seconds = sum(interval.seconds for interval in free)
        return Measured(
            rows / requests,
            sum(interval.request_seconds for interval in busy) / requests,
            rows / settled,
            sum(i.rows for i in free) / seconds if seconds >= self._minimum else None,
        )

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _behind(self) -> int:
        return sum(work.behind for work in self._works.values())

    def _interval(self, now: float, works: Mapping[Hashable, Work], totals: Totals) -> _Interval:
        assert self._at is not None
        seconds = now - self._at
        settled = came = 0
        for key, work in works.items():
            before = self._works.get(key)
            if before is None:
                continue
            settled += max(0, work.done - before.done)
            if work.end is not None and before.end is not None:
                came += max(0, work.end - before.end)
        behind = [work for work in works.values() if work.behind]
        more = bool(behind) and self._behind >= settled
        goes_on = bool(self._intervals) and self._intervals[-1].more
        same = not (totals.blocked or self._totals.blocked) and totals.share == self._totals.share
        requests = totals.requests - self._totals.requests
        share = totals.share
        limited = share is not None and requests >= LIMITED * share * seconds
        return _Interval(
            now,
            seconds,
            settled,
            came,
            totals.rows - self._totals.rows,
            requests,
            totals.request_seconds - self._totals.request_seconds,
            more=more,
            busy=more and goes_on and same,
            free=not limited and not any(work.held for work in behind),
            share=share if limited else None,
        )

    def _observe_held(self, seconds: float, works: Mapping[Hashable, Work]) -> None:
        for key in [k for k in self._held if k not in works or not works[k].held]:
            del self._held[key]
        for key, work in works.items():
            before = self._works.get(key)
            if work.held and before is not None and before.held:
                held = self._held.setdefault(key, _Held())
                held.add(seconds, max(0, work.done - before.done))

    def _weight_of(self, interval: _Interval) -> float:
        return _weight((self._at or 0.0) - interval.at)

    def _scale(self, interval: _Interval) -> float:
        """Return by how much the request budget has changed since, where it was the bound."""
        share = self._totals.share
        return share / interval.share if interval.share and share else 1.0

    def _grows(self) -> bool:
        if not self._behind or not self._intervals:
            return False
        came = settled = seconds = 0.0
        for interval in self._intervals:
            weight = self._weight_of(interval)
            seconds += weight * interval.seconds
            came += weight * interval.came
            settled += weight * interval.settled
        if self._behind * seconds < came * self._present_least(seconds):
            return False  # no more than is always under way
        bound = GROWS_NOT_BELOW if self._growing else GROWS_ABOVE
        return came > settled * bound

    def _present_least(self, seconds: float) -> float:
        """Return for how many seconds of what comes a backlog must do, to be one that grows."""
        return min(HELD_SECONDS, seconds)

    def _eta_at(self, now: float) -> float:
        eta, since = self._eta(), 0.0 if self._at is None else now - self._at
        return max(0.0, eta - since) if math.isfinite(eta) else eta

    def _eta(self) -> float:
        works = self._works.values()
        if any(work.end is None for work in works):
            return math.nan
        if not self._behind:
            return 0.0
        if any(work.stopped and work.behind for work in works) or self._totals.blocked:
            return math.inf
        if self._at is None or self._at - self._began < self._minimum:
            return math.nan
        if self._growing:
            return math.inf
        last = self._intervals[-1]
        if not last.more and last.settled:
            return self._behind * last.seconds / last.settled  # all is settled as it comes
        busy = sum(interval.seconds for interval in self._intervals if interval.busy)
        if busy < self._minimum:
            return math.nan
        pace = self.pace
        alone = (self._alone(key, held) for key, held in self._held.items())
        return max(self._behind / pace if pace else math.inf, *alone, 0.0)

    def _alone(self, key: Hashable, held: _Held) -> float:
        """Return how long a partition takes that holds itself back; 0 while that is not known."""
        if not held.settled:
            return math.inf if held.seconds >= STUCK_SECONDS else 0.0
        if held.seconds < HELD_SECONDS:
            return 0.0
        behind, now = self._works[key].behind, held.weighed / held.weight
        others = sum(work.behind for work in self._works.values() if not work.held)
        until = others / self.pace if self.pace else math.inf
        if behind <= until * now:
            return behind / now
        return until + (behind - until * now) / max(now, self._following(key))

    def _following(self, key: Hashable) -> float:
        """Return how many of its rows a second can follow each other, with every request theirs."""
        measured, share = self.measured, self._totals.share
        if measured is None:
            return 0.0
        requests = 1.0 / max(measured.request_seconds, 1e-3)
        if share is not None:
            requests = min(requests, share * PACE_SHARE)
        return requests * (self._works[key].abreast or 0.0)


def _weight(age: float, half_life: float = HALF_LIFE_SECONDS) -> float:
    return math.pow(0.5, age / half_life)
