"""Keep the last fifteen minutes as sixty samples, for the small curves of the page."""

from __future__ import annotations

from collections import deque

import msgspec

SAMPLES = 60
EVERY_SECONDS = 15.0
#: One that would be due before the next tick is taken with this one.
LATE_SECONDS = 1.0


class HistorySample(msgspec.Struct, frozen=True):
    """Counts of the fifteen seconds before a moment."""

    seconds: float  #: ago
    rows_per_second: float
    records_behind: int | None  #: at that moment; None: not known
    lag_seconds: float | None  #: of the partition that is furthest behind
    rejected_per_second: float


class History:
    """Samples at an interval; times in seconds of one clock."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, HistorySample]] = deque(maxlen=SAMPLES)
        self._at: float | None = None
        self._counts = (0, 0)

    def due(self, now: float) -> bool:
        """Return whether the next sample is due, or the first count."""
        return self._at is None or now - self._at >= EVERY_SECONDS - LATE_SECONDS

    def add(
        self,
        now: float,
        *,
        rows: int,
        rejected: int,
        behind: int | None,
        lag_seconds: float | None,
    ) -> None:
        """Take in rows settled and rejected since the start, and how far behind it is."""
        if self._at is not None and now > self._at:
            seconds = now - self._at
            before, before_rejected = self._counts
            per_second = round((rows - before) / seconds, 3)
            rejected_per_second = round((rejected - before_rejected) / seconds, 3)
            sample = HistorySample(0.0, per_second, behind, lag_seconds, rejected_per_second)
            self._samples.append((now, sample))
        self._at, self._counts = now, (rows, rejected)

    def samples(self, now: float) -> list[HistorySample]:
        """Return the samples, the oldest first."""
        return [
            msgspec.structs.replace(sample, seconds=round(now - at, 1))
            for at, sample in self._samples
        ]
