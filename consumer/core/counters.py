"""Counters and histograms for the metrics: bounded memory, cheap enough for the hot path.

A count costs a dictionary look-up and is made for a batch, never for a row; so is a histogram's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter

import msgspec

#: Names that are told apart; what comes beyond the first ones is counted under ``OTHER``.
MAX_NAMES = 50
OTHER = "other"
#: Characters of a name that are kept: every scrape carries all of them.
MAX_NAME = 100


class Tally(Counter[str]):
    """Counts by a name that may come from an event.

    Names beyond the first 50 are counted as "other".
    """

    def count(self, name: str, number: int = 1) -> None:
        """Add to a name's count."""
        name = name[:MAX_NAME]
        self[name if name in self or len(self) < MAX_NAMES else OTHER] += number


class Histogram(msgspec.Struct):
    """Counts of values at or under each bound and over the one before; the last: over all."""

    bounds: tuple[float, ...]
    counts: list[int] = []
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def copy(self) -> Histogram:
        """Return it as it is now."""
        return msgspec.structs.replace(self, counts=list(self.counts))

    def quantile(self, share: float) -> float | None:
        """Return about the value that this share of all values is at or under; None: no values.

        Within a bucket values count as spread evenly; one over all bounds counts as the last bound.
        """
        wanted = share * sum(self.counts)
        lower = before = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and before + count >= wanted:
                return round(lower + (bound - lower) * (wanted - before) / count, 3)
            before += count
            lower = bound
        return self.bounds[-1] if self.counts[-1] else None

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_ages(self, now: float, times: list[int], *, per_second: int) -> None:
        """Count how many seconds before ``now`` each of these times was, and sort them.

        All are in units of which ``per_second`` make a second. A time to come counts as now, one
        that is not positive not at all. Most of a batch falls into a few buckets, so it is cut at
        their bounds instead of looking at each value.
        """
        times.sort()
        if times and times[0] <= 0:
            del times[: bisect_right(times, 0)]
        if not times:
            return
        if times[-1] > now:  # the clock of who published is ahead
            ahead = bisect_right(times, now)
            times[ahead:] = [int(now)] * (len(times) - ahead)
        end = len(times)
        youngest = bisect_left(self.bounds, (now - times[-1]) / per_second)
        oldest = bisect_left(self.bounds, (now - times[0]) / per_second)
        self.sum += (now * end - sum(times)) / per_second
        for place in range(youngest, oldest):
            start = bisect_left(times, now - self.bounds[place] * per_second)
            self.counts[place] += end - start
            end = start
        self.counts[oldest] += end
