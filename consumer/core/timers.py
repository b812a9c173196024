"""Timers of single rows: a heap by time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from consumer.core.model import Row, Stage


class Timers:
    """Rows that wait for a time: parked ones, and done ones whose claims are held."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Row]] = []
        self._number = 0  # of two at one time the first goes first

    def add(self, at: float, row: Row) -> None:
        """Let a row wait until a time."""
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, row))

    def pop_due(self, now: float) -> Iterator[Row]:
        """Yield the rows whose time has come; those of revoked partitions are among them."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            yield heapq.heappop(heap)[2]

    @property
    def next_at(self) -> float | None:
        """Return when the first row is due; None: none waits."""
        return self._heap[0][0] if self._heap else None

    def parked(self) -> Iterator[Row]:
        """Yield the rows that are ready again at a time."""
        return (row for _, row in self.parked_until())

    def parked_until(self) -> Iterator[tuple[float, Row]]:
        """Yield the same rows, each with its time."""
        return ((at, row) for at, _, row in self._heap if row.stage == Stage.PARKED)
