"""The core's one entry point: inputs in, effects out.

Inputs: records arrived, an attempt ended, a poll of a task ended, dead letters and receipts were
acknowledged, partitions were assigned or revoked, time is now T. Effects: see ``effects``. Besides,
the loop asks whether to read on and when to wake. Commits are read from the partitions when one can
be sent, never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain

import msgspec

from consumer.core.acknowledgements import Acknowledgements
from consumer.core.admission.flow import Flow
from consumer.core.admission.gate import Gate
from consumer.core.admission.pace import assumed_slot_positions, slot_positions
from consumer.core.admission.retry import RetryPolicy
from consumer.core.backpressure import Backpressure
from consumer.core.batching.lanes import Lanes
from consumer.core.batching.window import Place
from consumer.core.batching.windows import Windows
from consumer.core.counters import Histogram, Tally
from consumer.core.dispatcher import Dispatcher
from consumer.core.effects import Attempt, Effects
from consumer.core.lost_calls import LostCalls
from consumer.core.model import Record, Row, Stage
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.ledgers import LedgersByTopic
from consumer.core.offsets.partition import Partition, settle
from consumer.core.oldest import Oldest, OldestRecords
from consumer.core.ordering.claims import Claims
from consumer.core.timers import Timers
from consumer.core.uploading.response import Response
from consumer.core.uploading.result import Result
from consumer.core.uploading.tasks import TASKS_PER_REQUEST, Task, Tasks
from consumer.core.uploading.uploads import Uploads

#: Bounds of how long an event took from its time in Kafka to settlement, seconds: from a moment to
#: a day of outage.
AGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
#: Bytes that are counted for each row of a record of several, until the record is settled: those of
#: the claim that it goes on holding.
HELD_BYTES = 250


class Rules(msgspec.Struct, frozen=True):
    """The settings that the core decides by; times in seconds."""

    max_rows: int = 100
    linger: float = 1.0
    concurrency: int = 8
    rate: float = 10.0  #: requests a second; 0: no limit
    max_processing: float = 65.0
    pause_after_rejections: int = 1000
    max_unsettled_rows: int = 20_000
    max_unsettled_bytes: float = 64 * 1024 * 1024
    retry: RetryPolicy = RetryPolicy()
    task_deadline: float = 3600.0
    receipts: bool = False  #: an accepted row is settled when its receipt is acknowledged
    single_rows_by_task: bool = False  #: a single row that keeps failing goes asynchronously


class Pipeline:
    """The core's one entry point: inputs in, effects out.

    The parts decide; this class connects them. Only its owner's thread may touch it; ``now`` is the
    owner's monotonic clock, seconds.
    """

    def __init__(self, rules: Rules, rng: Callable[[], float]) -> None:
        self.claims = Claims()
        self.lanes = Lanes(rules.max_rows, rules.linger)
        self.windows = Windows(self.lanes)
        self.gate = Gate(
            rules.rate,
            rules.concurrency,
            rules.retry,
            rng,
            pause_after_rejections=rules.pause_after_rejections,
        )
        self.flow = Flow(rules.max_unsettled_rows, rules.max_unsettled_bytes)
        self.uploads = Uploads(
            self.lanes,
            self.windows,
            self.gate,
            rules.retry,
            rng,
            Tasks(rules.task_deadline, rules.concurrency * TASKS_PER_REQUEST),
            max_processing=rules.max_processing,
            single_rows_by_task=rules.single_rows_by_task,
        )
        self.dispatcher = Dispatcher(self.lanes, self.windows, self.gate, self.uploads)
        tasks = self.uploads.tasks
        self.backpressure = Backpressure(self.flow, self.lanes, tasks, rules.concurrency)
        self.partitions: dict[Partition, None] = {}  #: owned now
        self.ledgers = LedgersByTopic()
        self.rows_accepted = Tally()  #: by data key
        self.rows_rejected = Tally()  #: by reason
        self.event_to_settled = Histogram(AGES)  #: seconds
        # of records settled since ``observe``, milliseconds
        self._settled_timestamps: list[int] = []
        self._writes_receipts = rules.receipts
        self._acknowledgements = Acknowledgements()
        self._timers = Timers()
        self._oldest = OldestRecords(
            self.claims, self.lanes, self.windows, self._timers, self._acknowledgements
        )
        self._lost_calls = LostCalls()
        # partitions of each topic that the group reads; empty: not known
        self._counts: dict[str, int] | None = None
        self._ahead = 0.0  # seconds that the wall clock is ahead of the owner's

    # -- inputs ----------------------------------------------------------------------------------

    def add_partition(self, partition: Partition) -> None:
        """Take in a new epoch of a partition; a call of an earlier one may still take effect."""
        assert partition not in self.partitions, "an epoch of a partition comes twice"
        self._lost_calls.restore(partition)
        self.partitions[partition] = None
        self.ledgers.open(partition)

    def set_partition_counts(
        self, counts: Mapping[str, int], wall_clock: float, now: float
    ) -> None:
        """Take in the topics that the group reads, each with its number of partitions (budget).

        No topics: they could not be counted. What was counted before holds then, if anything was.
        """
        if counts or not self._counts:
            self._counts = dict(counts)
        self._ahead = wall_clock - now
        self._set_share(now)

    def add_records(
        self,
        partition: Partition,
        records: list[Record],
        rows: list[Row],
        position: int,
        now: float,
    ) -> None:
        """Take in records of a partition, with all their rows, in order.

        Reading goes on at ``position``. Each record's ``open`` must be the number of its rows; one
        without rows is skipped by rule. It is one for a record whose rows cannot be made yet, which
        counts as a row until ``add_decoded`` brings its rows.
        """
        partition.read(records, position)
        size = expected = 0
        for record in records:
            if count := record.open:
                if count > 1:
                    self._expect(record)
                size += record.size
                expected += count
            else:
                partition.skip(record)
        partition.undecoded += expected - len(rows)
        assert partition.undecoded >= 0, "more rows come than their records have"
        self.flow.reserve(expected, size)
        self._queue(rows, now)

    def add_decoded(
        self, partition: Partition, records: list[Record], rows: list[Row], now: float
    ) -> None:
        """Take in all rows of the next records of a partition that could not be decoded before.

        Each record's ``open`` is the number of its rows; one without rows is skipped by rule.
        """
        partition.undecoded -= len(records)
        assert partition.undecoded >= 0, "more records are decoded than were waiting"
        size = 0
        for record in records:
            if record.open > 1:
                size -= record.size
                self._expect(record)
                size += record.size
            elif not record.open:
                size -= record.size
                partition.skip(record)
        self.flow.reserve(len(rows) - len(records), size)
        self._queue(rows, now)

    def on_response(self, attempt: Attempt, response: Response, now: float) -> None:
        """Take in the end of an attempt. A second end of the same attempt changes nothing."""
        if attempt.window.is_in_flight(attempt.number):
            self._carry_out(self.uploads.handle_response(attempt.window, response, now), now)

    def on_task_response(self, task: Task, response: Response, now: float) -> None:
        """Take in the end of a task's poll."""
        self._carry_out(self.uploads.handle_task_response(task, response, now), now)

    def on_token_check(self, response: Response, now: float) -> None:
        """Take in the response to ``GET /me``."""
        self.uploads.token_checks.handle(response, now)

    def on_acknowledged(self, rows: Iterable[Row], now: float) -> None:
        """Settle these rows: their dead letters or receipts are on all in-sync replicas (I1)."""
        settled = self._acknowledgements.take(rows)
        for row in settled:
            if row.rejection is not None:
                self.rows_rejected.count(row.rejection.reason)
                row.record.rejected = True
        self._settle(settled, now)

    # -- revocation ------------------------------------------------------------------------------

    def withdraw(self, partitions: Collection[Partition], now: float) -> None:
        """Send nothing more of these partitions, which are about to be revoked (fencing).

        Rows in flight (to the API or to a topic of ours) may still end and settle; see ``busy``.
        """
        revoked = set(partitions)
        waiting: list[Row] = []
        holding: list[Row] = []
        for row in list(chain(self._held_back(), self.lanes.rows())):
            if row.record.partition not in revoked:
                continue
            if row.stage == Stage.WAITING:
                waiting.append(row)
            else:
                holding.append(row)
            row.stage = Stage.DONE
        if not waiting and not holding:
            return  # as in nearly every turn of a revocation that waits
        self.flow.release(len(waiting) + len(holding), 0)
        ready = self.claims.withdraw(waiting)
        self.lanes.remove_done()
        self.windows.remove_done()
        self._add_ready(ready)
        self._release(holding, now)

    def busy(self, partitions: Collection[Partition]) -> bool:
        """Return whether a row of these partitions is in flight to the API or a topic of ours."""
        return any(
            row.record.partition in partitions and row.stage != Stage.DONE
            for window in self.uploads.in_flight
            for row in window.rows
        ) or any(row.record.partition in partitions for row in self._acknowledgements)

    def remove_partitions(self, partitions: Collection[Partition], now: float) -> None:
        """Release what is unsettled of revoked partitions (I5, fencing).

        Late results settle nothing of it.
        """
        self.withdraw(partitions, now)
        self.uploads.revoked_at = now
        revoked = set(partitions)
        in_flight = [
            row
            for window in self.uploads.in_flight
            for row in window.rows
            if row.stage != Stage.DONE and row.record.partition in revoked
        ]
        for row in in_flight:
            row.stage = Stage.DONE  # its claim stays until the response is there
        unacknowledged = self._acknowledgements.revoke(revoked)
        self.flow.release(len(in_flight) + len(unacknowledged), 0)
        self._release(unacknowledged, now)
        records = (record for partition in revoked for record in partition.records)
        self._add_ready(self.claims.release_records(records))
        for partition in revoked:
            self.flow.release(partition.undecoded, partition.forget())
            partition.undecoded = 0
            self._lost_calls.keep(partition, now)
            if partition in self.partitions:
                del self.partitions[partition]
                self.ledgers.close(partition)
        self._set_share(now)

    # -- effects ---------------------------------------------------------------------------------

    def tick(self, now: float) -> Effects:
        """Return what is to be done now."""
        self._run_timers(now)
        effects = Effects()
        self.dispatcher.dispatch(effects, now)
        effects.dead_letters, effects.receipts = self._acknowledgements.hand_out(now)
        effects.notices, self.uploads.api.notices = self.uploads.api.notices, []
        return effects

    def wakes_at(self, now: float) -> float | None:
        """Return when ``tick`` has something to do if no input comes before; None: never."""
        times = (self._timers.next_at, self.dispatcher.wakes_at(now))
        return min((at for at in times if at is not None), default=None)

    @property
    def uploads_suspended(self) -> bool:
        """Return whether nothing is uploaded, for good or for now."""
        return self.dispatcher.suspended

    @uploads_suspended.setter
    def uploads_suspended(self, suspended: bool) -> None:
        self.dispatcher.suspended = suspended

    # -- whether to read on ----------------------------------------------------------------------

    def reads(self) -> bool:
        """Return whether to read more: there is room, and not too much in stock already (I6)."""
        return self.backpressure.reads()

    def room(self, undecoded: int = 0) -> int:
        """Return how many rows may be made; not positive: none now.

        ``undecoded``: of that many records, which count as a row each until then.
        """
        return self.backpressure.room(undecoded)

    def over_quota(self, paused: Collection[Partition], now: float) -> set[Partition]:
        """Return the partitions to pause, as their rows that cannot go leave others no room (I8).

        ``paused``: those that are paused for it already. Rows that cannot go wait for earlier ones,
        a retry, a time, or for tasks to end before they can be started as one. So do rejected ones
        until their dead letters are acknowledged: they need nothing of the API, and could take all
        the room before it shows that the dead-letter topic does not keep up. Every accepted row may
        have a receipt: those count when they are late.
        """
        held_back = chain(self._held_back(), self._acknowledgements.waiting(now))
        return self.backpressure.over_quota(held_back, paused, len(self.partitions))

    # -- what is reported ------------------------------------------------------------------------

    @property
    def unsettled(self) -> int:
        """Return how many rows are read and not settled."""
        return self.flow.rows

    @property
    def awaiting(self) -> bool:
        """Return whether a request is in flight, or a task at work for something unsettled."""
        return any(
            window.place is Place.IN_FLIGHT or any(row.stage != Stage.DONE for row in window.rows)
            for window in self.uploads.in_flight
        )

    @property
    def unacknowledged(self) -> bool:
        """Return whether dead letters or receipts are on their way."""
        return bool(self._acknowledgements)

    @property
    def dead_letters_pending(self) -> int:
        """Return how many rows' dead letters are not acknowledged yet."""
        return self._acknowledgements.dead_letters

    @property
    def receipts_pending(self) -> int:
        """Return how many accepted rows' receipts are not acknowledged yet."""
        return self._acknowledgements.receipts

    def dead_letters_oldest(self, now: float) -> float:
        """Return how long the oldest dead letter has not been acknowledged, seconds; 0: none."""
        return self._acknowledgements.oldest(Stage.DEAD_LETTER, now)

    def receipts_oldest(self, now: float) -> float:
        """Return how long the oldest receipt has not been acknowledged, seconds; 0: none."""
        return self._acknowledgements.oldest(Stage.RECEIPT, now)

    def oldest(self, now: float, *, older_than: float) -> dict[Partition, Oldest]:
        """Return what the oldest unsettled record of each owned partition waits for.

        Records that were read less than ``older_than`` seconds ago are left out. It looks at every
        unsettled row once, unless all are left out.
        """
        records = {}
        for partition in self.partitions:
            since = partition.unsettled_since
            if since is not None and now - since >= older_than:
                records[partition.records[0]] = partition
        described = self._oldest.describe(records, now)
        return {partition: described[record] for record, partition in records.items()}

    def observe(self, time: float) -> None:
        """Count how long the records took that were settled since the last call.

        ``time``: by the wall clock, milliseconds since the epoch.
        """
        timestamps = self._settled_timestamps
        if timestamps:
            self._settled_timestamps = []
            self.event_to_settled.observe_ages(time, timestamps, per_second=1000)

    def ledger(self) -> Ledger:
        """Return the counts of all partitions this process has had, as of now."""
        return Ledger.total(self.ledgers.by_topic(self.partitions).values())

    def parked(self) -> dict[str, int]:
        """Return how many rows wait, by what for.

        ``retry``: their window's; ``unknown_key``: the key to become known; ``earlier_row``: a row
        of their code. ``late_answer``: the earlier row is done, but a call of it whose response was
        lost may still take effect. ``schema``: records whose rows are not made yet, each counted as
        a row: a schema is looked up, or there is no room for them.
        """
        earlier, late = self.claims.waiting_counts()
        return {
            "retry": sum(1 for _ in self.windows.waiting_rows()),
            "unknown_key": sum(1 for _ in self._timers.parked()),
            "earlier_row": earlier,
            "late_answer": late,
            "schema": sum(partition.undecoded for partition in self.partitions),
        }

    # -- inside ----------------------------------------------------------------------------------

    def _set_share(self, now: float) -> None:
        """Tell the pace which of the group's partitions are ours."""
        if self._counts is not None:
            own, of = slot_positions(self._counts, self.partitions), sum(self._counts.values())
            if not self._counts:
                own, of = assumed_slot_positions(self.partitions)
            self.gate.pace.set_share(own, of, now + self._ahead, now)

    def _expect(self, record: Record) -> None:
        """Make ready for a record of several rows."""
        record.size += HELD_BYTES * record.open
        self.claims.expect(record)

    def _queue(self, rows: list[Row], now: float) -> None:
        """Let arriving rows claim their codes."""
        for row in rows:
            row.arrived = now
        ready, awaited = self.claims.acquire(rows)
        if awaited:
            # Those in the lanes already; the fresh ones are counted when they are added.
            self.lanes.expedite(awaited)
        self._add_ready(ready)

    def _add_ready(self, rows: list[Row]) -> None:
        """Put rows whose claims are granted into lanes; dead-letter those that cannot be sent."""
        for row in self.lanes.add(rows):
            assert row.rejection is not None
            self._acknowledgements.add_dead_letter(row, row.rejection)

    def _carry_out(self, result: Result, now: float) -> None:
        """Do what follows for the rows of a window whose request or task has ended."""
        if result.accepted:
            self.rows_accepted.count(result.data_key, len(result.accepted))
            if self._writes_receipts:
                self._acknowledgements.add_receipt(result)
            else:
                self._settle(result.accepted, now)
        for row, rejection in result.rejected:
            self._acknowledgements.add_dead_letter(row, rejection)
        if result.resend:
            self.lanes.add(result.resend)
        for at, row in result.retry_at:
            assert row.stage == Stage.WINDOWED, "a row is parked that was not sent"
            row.stage = Stage.PARKED
            self._timers.add(at, row)
        if result.revoked:
            self._release(result.revoked, now)
            self._lost_calls.keep_late(result.revoked, self.partitions)

    def _settle(self, rows: list[Row], now: float) -> None:
        """Settle rows that are done; the rows that waited for them alone are ready."""
        self.flow.release(len(rows), settle(rows, self._settled_timestamps))
        self._release(rows, now)

    def _release(self, rows: list[Row], now: float) -> None:
        """Release the claims of rows that are done (I9, lost-answer).

        Those of a row that a lost call may still apply stay until then.
        """
        ready: list[Row] = []
        if now < self.uploads.held_until:  # else no response was lost lately
            held = [row for row in rows if row.hold_until > now]
            rows = [row for row in rows if row.hold_until <= now]
            for row in held:
                row.stage = Stage.CLAIM_HELD
                self._timers.add(row.hold_until, row)
            # Its record is settled: what that holds for its other rows need not wait for this one.
            ready = self.claims.release_records(row.record for row in held if row.record.settled)
        ready += self.claims.release(rows)
        if ready:
            self._add_ready(ready)

    def _run_timers(self, now: float) -> None:
        """Let rows go on whose time has come: parked ones, and those whose claims were held."""
        for row in self._timers.pop_due(now):
            if row.stage == Stage.PARKED:
                self.lanes.add([row])
            elif row.stage == Stage.CLAIM_HELD:
                row.stage = Stage.DONE
                self._release([row], now)

    def _held_back(self) -> Iterator[Row]:
        """Yield the rows that wait for something else than a request."""
        return chain(self.claims.waiting(), self.windows.waiting_rows(), self._timers.parked())
