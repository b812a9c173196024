"""Keep the lag, the backlog, the history and the desired members of one process.

``tick`` is called on the owner's thread every few seconds; what it needs of Kafka another thread
has seen (``adapters.kafka.lag_watch``). It costs some microseconds a partition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

import msgspec

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.lag_watch import Seen
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.loop.ports import RecordSource
from consumer.ops.backlog import Backlog
from consumer.ops.group_need import GroupNeed
from consumer.ops.history import History, HistorySample
from consumer.ops.lag import Known, Last, Now, PartitionLag, partition_lag, unbegun_lag
from consumer.ops.lag_status import AwaitingLag, LagStatus
from consumer.ops.scaling import Capacity, DesiredMembers, members_for
from consumer.ops.work import Totals, Work

#: Time between two ticks.
TICK_SECONDS = 2.5
#: A partition holds itself back when this share of its unsettled records waits for earlier rows.
HELD_SHARE = 0.8


class Watch(Protocol):
    """Sees the group from outside."""

    def seen(self, now: float) -> Seen | None:
        """Return what was seen last; None: nothing lately."""

    def want(self, offsets: dict[PartitionId, int | None]) -> None:
        """Say for which partitions the first record from an offset on is wanted."""


class Sizing(msgspec.Struct, frozen=True):
    """The settings that say how many members there should be."""

    target_seconds: float = 300.0
    max_rows: int = 100
    concurrency: int = 8
    requests_per_second: float = 10.0
    start_from: str = "earliest"
    on_out_of_range: str = "stop"


class LagMonitor:
    """Everything of docs/lag.md about one process; only its owner's thread may touch it."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: RecordSource,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        *,
        sizing: Sizing,
        watch: Watch | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        """``clock`` must be that of the watch, and of the owner."""
        self._pipeline = pipeline
        self._source = source
        self._clock = clock
        self._wall_clock = wall_clock
        self._watch = watch
        self._sizing = sizing
        self._backlog = backlog or Backlog()
        self._history = History()
        self._need = GroupNeed(sizing.start_from, sizing.on_out_of_range)
        self._desired = DesiredMembers()
        self._looked_at: float | None = None  # the look that was taken in last
        self._group_behind = 0
        self._last: dict[Partition, Last] = {}

    # -- the lag of partitions -------------------------------------------------------------------

    def of(self, partition: Partition, now: float) -> PartitionLag:
        """Return how far a partition is behind."""
        return self._of(partition, self._seen(now), self._now(now))

    def _of(self, partition: Partition, seen: Seen | None, now: Now) -> PartitionLag:
        key = (partition.topic, partition.number)
        known = Known(
            None if seen is None else seen.look.logs.get(key),
            None if seen is None else seen.heads.get(key),
            self._source.end(partition),
            watched=self._watch is not None,
            stopped=partition in self._source.stopped,
        )
        return partition_lag(partition, known, now, self._last.get(partition))

    def _awaiting(self, seen: Seen | None, now: Now) -> list[AwaitingLag]:
        begun = {(p.topic, p.number) for p in self._pipeline.partitions}
        found = []
        for key in sorted(set(self._source.awaiting) - begun):
            extent = head = committed = None
            if seen is not None:
                extent, head = seen.look.logs.get(key), seen.heads.get(key)
                commit = seen.look.commits.get(key)
                committed = None if commit is None else commit.offset
            records, seconds = unbegun_lag(committed, extent, head, now)
            found.append(AwaitingLag(*key, records, _rounded(seconds)))
        return found

    # -- every few seconds -----------------------------------------------------------------------

    def tick(self) -> None:
        """Take in how it is now."""
        now = self._clock()
        seen, moment = self._seen(now), self._now(now)
        lags = {p: self._of(p, seen, moment) for p in self._pipeline.partitions}
        self._last = {
            p: Last(now, lag.oldest) for p, lag in lags.items() if lag.oldest is not None
        } | {p: last for p, last in self._last.items() if p in lags and lags[p].oldest is None}
        self._backlog.observe(now, self._works(lags), self._totals())
        if seen is not None and seen.look.at != self._looked_at:
            self._looked_at = seen.look.at
            self._take_look(now, seen)
        if self._watch is not None:
            self._watch.want(self._wanted(lags))
        if self._history.due(now):
            self._history.add(
                now,
                rows=self._rows,
                rejected=sum(self._pipeline.rows_rejected.values()),
                behind=_sum_of([lag.records for lag in lags.values()]),
                lag_seconds=_worst_of([lag.seconds for lag in lags.values()]),
            )

    def _works(self, lags: dict[Partition, PartitionLag]) -> dict[Hashable, Work]:
        waiting = Counter(row.record.partition for row in self._pipeline.claims.waiting())
        held = {
            p
            for p, count in waiting.items()
            if p.ledger.unsettled and count >= HELD_SHARE * p.ledger.unsettled
        }
        abreast = self._abreast(held, waiting)
        works: dict[Hashable, Work] = {}
        for partition, lag in lags.items():
            works[partition] = Work(
                partition.position - partition.ledger.unsettled,
                lag.end,
                abreast.get(partition),
                stopped=partition in self._source.stopped,
            )
        return works

    def _abreast(
        self, held: set[Partition], waiting: Mapping[Partition, int]
    ) -> dict[Partition, float]:
        """Return how many rows can go at once: as many as wait, less those of the longest queue."""
        longest: dict[Partition, int] = {}
        if held:  # else not even the codes are looked at
            rows = (row for row in self._pipeline.claims.waiting() if row.record.partition in held)
            queues = Counter((row.record.partition, row.data_key, row.value) for row in rows)
            for (partition, _, _), count in queues.items():
                longest[partition] = max(count, longest.get(partition, 0))
        return {partition: waiting[partition] / count for partition, count in longest.items()}

    def _totals(self) -> Totals:
        pipeline = self._pipeline
        seconds = pipeline.uploads.request_seconds
        return Totals(
            self._rows,
            sum(seconds.counts),
            seconds.sum,
            pipeline.gate.pace.share,
            blocked=self._blocked,
        )

    @property
    def _rows(self) -> int:
        """Return the rows settled since the start."""
        pipeline = self._pipeline
        return sum(pipeline.rows_accepted.values()) + sum(pipeline.rows_rejected.values())

    @property
    def _blocked(self) -> bool:
        gate = self._pipeline.gate
        return gate.pause is not None or gate.circuit.is_open

    def _wanted(self, lags: dict[Partition, PartitionLag]) -> dict[PartitionId, int | None]:
        """Return the offsets whose record's time is to be fetched: it is not in memory."""
        wanted: dict[PartitionId, int | None] = {
            (p.topic, p.number): p.position
            for p, lag in lags.items()
            if not p.records and (lag.end is None or p.position != lag.end)
        }
        begun = {(p.topic, p.number) for p in lags}
        return wanted | {key: None for key in self._source.awaiting if key not in begun}

    def _take_look(self, now: float, seen: Seen) -> None:
        need = self._need.take(seen.look)
        needed = members_for(need, self._capacity(), self._sizing.target_seconds)
        if self._blocked and self._desired.number is None:
            needed = min(needed, max(1, len(seen.look.members)))
        hold = seen.look.rebalancing or (self._blocked and self._desired.number is not None)
        self._desired.observe(now, needed, hold=hold, most=need.partitions)
        self._group_behind = need.behind

    def _capacity(self) -> Capacity:
        sizing, measured = self._sizing, self._backlog.measured
        known = Capacity(
            sizing.concurrency, sizing.max_rows, requests_per_second=sizing.requests_per_second
        )
        if measured is None:
            return known
        return msgspec.structs.replace(
            known,
            rows_per_request=measured.rows_per_request,
            request_seconds=measured.request_seconds,
            rows_per_record=measured.rows_per_record,
            measured_rows=measured.rows_per_second,
        )

    # -- what is told ----------------------------------------------------------------------------

    def status(self, now: float) -> LagStatus:
        """Return what ``/status`` tells."""
        seen, moment = self._seen(now), self._now(now)
        lags = [self._of(p, seen, moment) for p in self._pipeline.partitions]
        awaiting = self._awaiting(seen, moment)
        estimate = self._backlog.estimate(now)
        return LagStatus(
            _sum_of([lag.records for lag in lags] + [lag.lag for lag in awaiting]),
            _worst_of([lag.seconds for lag in lags] + [lag.lag_seconds for lag in awaiting]),
            round(estimate.eta, 3),
            estimate.growing,
            round(estimate.records_per_second, 3),
            round(estimate.rows_per_second, 3),
            self._desired.number,
            self._sizing.target_seconds,
            None if seen is None else self._group_behind,
            None if seen is None else len(seen.look.members),
            {} if seen is None else dict(seen.look.retention),
            awaiting,
        )

    def history(self, now: float) -> list[HistorySample]:
        """Return the last fifteen minutes, the oldest first."""
        return self._history.samples(now)

    def _seen(self, now: float) -> Seen | None:
        return None if self._watch is None else self._watch.seen(now)

    def _now(self, now: float) -> Now:
        return Now(now, self._wall_clock())


def _sum_of(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _worst_of(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return _rounded(max(known, default=0.0)) if len(known) == len(numbers) else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
