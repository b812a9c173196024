"""Backpressure: read on only while there is room, and not far ahead of what can be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from consumer.core.admission.flow import Flow
from consumer.core.batching.lanes import Lanes
from consumer.core.model import Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.tasks import Tasks

#: Full windows in stock beyond one for each request that can be in flight.
SPARE_WINDOWS = 8


class Backpressure:
    """Decide whether to read on, by the bounds of memory and the stock of full windows."""

    def __init__(self, flow: Flow, lanes: Lanes, tasks: Tasks, concurrency: int) -> None:
        self._flow = flow
        self._lanes = lanes
        self._tasks = tasks
        self._most = concurrency + SPARE_WINDOWS

    def reads(self) -> bool:
        """Return whether to read more.

        What is not in stock is not repeated after a crash, and stays in the processor's cache: a
        stock of 20,000 rows cost about a fifth more CPU.
        """
        return self._flow.reads() and not self.stocked

    @property
    def stocked(self) -> bool:
        """Return whether there are more full windows than the next requests can take.

        Stock is what can go as soon as a request can start. Windows that wait for a task to end are
        none, or no rows that go synchronously would be read until then.
        """
        by_task = self._lanes.full_task_windows
        sync = self._lanes.full_windows - by_task
        return sync + min(by_task, self._tasks.free) >= self._most

    def room(self, undecoded: int) -> int:
        """Return how many rows may be made; not positive: none now.

        ``undecoded``: of that many records, which count as a row each until then.
        """
        return 0 if self.stocked else self._flow.room + undecoded

    def over_quota(
        self, held_back: Iterable[Row], paused: Collection[Partition], owned: int
    ) -> set[Partition]:
        """Return the partitions to pause, as their rows that cannot go leave others no room (I8).

        ``held_back``: rows that cannot go now, besides those whose tasks cannot be started yet.
        ``paused``: partitions that are paused for it already; ``owned``: how many there are.
        """
        rows: Counter[Partition] = Counter()
        sizes: Counter[Partition] = Counter()
        records: set[Record] = set()
        for row in self._and_for_tasks(held_back):
            record = row.record
            rows[record.partition] += 1
            if record not in records:
                records.add(record)
                sizes[record.partition] += record.size
        idle = {partition: (count, sizes[partition]) for partition, count in rows.items()}
        return self._flow.over_quota(idle, paused, owned)

    def _and_for_tasks(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and those that cannot be started as tasks as there are too many."""
        yield from rows
        if self._lanes.full_task_windows + self._lanes.task_lanes > self._tasks.free:
            yield from (row for row in self._lanes.rows() if row.by_task)
