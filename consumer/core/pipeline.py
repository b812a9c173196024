"""The core as a whole: inputs in, effects out; it composes the parts and decides nothing itself.

Inputs: records arrived, an attempt ended, a question about a task was answered, letters and
receipts were acknowledged, partitions came or went, time is now T. Effects: see ``effects``.
Besides, the loop asks whether to read on and when to wake. Commits are read from the partitions
when one can be sent, never stored.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain

import msgspec

from consumer.core.admission.flow import Flow
from consumer.core.admission.gate import Gate
from consumer.core.admission.pace import assumed_slot_positions, slot_positions
from consumer.core.admission.retry import RetryPolicy
from consumer.core.batching.lanes import Lanes
from consumer.core.batching.windows import Place, Windows
from consumer.core.counters import Histogram, Tally
from consumer.core.effects import Attempt, DeadLetter, Effects, Receipt
from consumer.core.model import Record, Rejection, Row, Stage
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.ledgers import LedgersByTopic
from consumer.core.offsets.partition import Partition, settle
from consumer.core.ordering.claims import Claims
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import TASKS_PER_REQUEST, Task, Tasks
from consumer.core.uploading.uploads import Result, Uploads

#: Bounds of how long an event took from its time in Kafka to settlement, seconds: from a moment to
#: a day of outage.
AGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
#: Dead letters that are not acknowledged for so long wait for their topic, seconds.
DEAD_LETTERS_LATE_SECONDS = 2.0
#: Bytes that are counted for each row of a record of several, until the record is settled: those of
#: the claim that it goes on holding.
HELD_BYTES = 250
#: Full windows in stock beyond one for each request that can be in flight.
SPARE_WINDOWS = 8


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
    """Everything that is decided.

    Only its owner's thread may touch it; ``now`` is the owner's monotonic clock.
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
        self._questions_first = False
        self.partitions: dict[Partition, None] = {}  #: owned now
        self.ledgers = LedgersByTopic()
        self.rows_accepted = Tally()  #: by data key
        self.rows_rejected = Tally()  #: by reason
        self.event_to_settled = Histogram(AGES)  #: seconds
        self._settled_timestamps: list[
            int
        ] = []  #: of records settled since ``observe``, milliseconds
        self._dead_letters: list[DeadLetter] = []  #: not handed out yet
        self._writes_receipts = rules.receipts
        self._receipts: list[Receipt] = []  #: the same
        self._unacknowledged: dict[
            Row, None
        ] = {}  #: rows whose letters or receipts are not acknowledged yet
        self._timers: list[
            tuple[float, int, Row]
        ] = []  #: parked rows, and held claims of settled ones
        self._timer_number = 0
        self._stock = rules.concurrency + SPARE_WINDOWS
        self.partitions_paused = False  #: a partition is not read on until more of it is settled
        self.uploads_suspended = False  #: nothing is uploaded, for good or for now
        self._lost_until: dict[tuple[str, int], float] = {}  # of partitions that were taken away
        self._counts: dict[str, int] | None = (
            None  # partitions of each topic that the group reads; empty: not known
        )
        self._ahead = 0.0  # seconds that the wall clock is ahead of the owner's

    # -- inputs ----------------------------------------------------------------------------------

    def add_partition(self, partition: Partition) -> None:
        """A partition came: a new epoch of it."""
        # A call of an epoch before this one may still take effect.
        partition.lost_until = self._lost_until.pop((partition.topic, partition.number), 0.0)
        self.partitions[partition] = None
        self.ledgers.open(partition)

    def set_partition_counts(
        self, counts: Mapping[str, int], wall_clock: float, now: float
    ) -> None:
        """The group reads these topics, each with so many partitions (budget).

        The wall clock says so many seconds.

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
        """Records of a partition were read, with all their rows, in order.

        Reading goes on at ``position``.

        Records without rows are skipped by rule. Each record's ``open`` must be the number of its
        rows; it is one for a record whose rows cannot be made yet, which counts as a row until
        ``add_decoded`` brings its rows.
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
        self.flow.reserve(expected, size)
        self._queue(rows, now)

    def add_decoded(
        self, partition: Partition, records: list[Record], rows: list[Row], now: float
    ) -> None:
        """The next records of a partition that could not be decoded before have these rows, all of
        them, in order.

        Each record's ``open`` is the number of its rows; those without any are skipped by rule.
        """
        partition.undecoded -= len(records)
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
        """An attempt ended. A second end of the same attempt changes nothing."""
        if attempt.window.is_in_flight(attempt.number):
            self._carry_out(self.uploads.handle_response(attempt.window, response, now), now)

    def on_task_response(self, task: Task, response: Response, now: float) -> None:
        """A question about a task was answered, or got no answer."""
        self._carry_out(self.uploads.handle_task_response(task, response, now), now)

    def _carry_out(self, result: Result, now: float) -> None:
        if result.accepted:
            self.rows_accepted.count(result.data_key, len(result.accepted))
            if self._writes_receipts:
                self._receipt(result)
            else:
                self._settle(result.accepted, now)
        for row, rejection in result.rejected:
            self._letter(row, rejection)
        if result.resend:
            self.lanes.add(result.resend)
        for at, row in result.retry_at:
            row.stage = Stage.PARKED
            self._at(at, row)
        if result.revoked:
            self._free(result.revoked, now)
            self._keep_lost(result.revoked)

    def on_token_check(self, response: Response, now: float) -> None:
        """``GET /me`` was answered."""
        self.uploads.handle_token_check(response, now)

    def on_acknowledged(self, rows: Iterable[Row], now: float) -> None:
        """Their topic has these rows' letters or receipts, on all in-sync replicas (I1)."""
        settled = []
        for row in rows:
            if row not in self._unacknowledged:
                continue  # a late acknowledgement of a row that was taken away
            del self._unacknowledged[row]
            if row.rejection is not None:
                self.rows_rejected.count(row.rejection.reason)
                row.record.rejected = True
            settled.append(row)
        self._settle(settled, now)

    def withdraw(self, partitions: Collection[Partition], now: float) -> None:
        """These partitions are about to go: nothing of them is sent from now on (fencing).

        Rows in flight (to the API or to a topic of ours) may still end and settle; see ``busy``.
        """
        going = set(partitions)
        waiting: list[Row] = []
        holding: list[Row] = []
        for row in list(self._rows_at_rest(going)):
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
        self._ready(ready)
        self._free(holding, now)

    def busy(self, partitions: Collection[Partition]) -> bool:
        """Whether a request, a letter or a receipt with a row of these partitions is in flight."""
        return any(
            row.record.partition in partitions and row.stage != Stage.DONE
            for window in self.uploads.in_flight
            for row in window.rows
        ) or any(row.record.partition in partitions for row in self._unacknowledged)

    def remove_partitions(self, partitions: Collection[Partition], now: float) -> None:
        """These partitions are gone (fencing, I5).

        What is unsettled of them is released, and late results settle nothing.
        """
        self.withdraw(partitions, now)
        self.uploads.revoked_at = now
        going = set(partitions)
        in_flight = [
            row
            for window in self.uploads.in_flight
            for row in window.rows
            if row.stage != Stage.DONE and row.record.partition in going
        ]
        for row in in_flight:
            row.stage = Stage.DONE  # its claim stays until the answer is there
        lettered = [row for row in self._unacknowledged if row.record.partition in going]
        for row in lettered:
            del self._unacknowledged[row]
            row.stage = Stage.DONE
        self.flow.release(len(in_flight) + len(lettered), 0)
        self._free(lettered, now)
        records = (record for partition in going for record in partition.records)
        self._ready(self.claims.release(records))
        for partition in going:
            self.flow.release(partition.undecoded, partition.forget())
            partition.undecoded = 0
            if partition.lost_until > now:
                self._lost_until[partition.topic, partition.number] = partition.lost_until
            if partition in self.partitions:
                del self.partitions[partition]
                self.ledgers.close(partition)
        self._set_share(now)

    # -- effects ---------------------------------------------------------------------------------

    def tick(self, now: float) -> Effects:
        """Time is now: what is to be done."""
        self._run_timers(now)
        self.lanes.pass_time(now, sendable=False)
        effects = Effects()
        asks_at = None if self.uploads_suspended else self.uploads.token_check_due_at(now)
        if asks_at is not None and asks_at <= now:
            self.uploads.start_token_check(now)
            effects.ask = True
        self._requests(effects, now)
        self.lanes.pass_time(
            now, sendable=not self.uploads_suspended and self.gate.could_have_sent(now)
        )
        effects.dead_letters = [
            letter for letter in self._dead_letters if letter.row.stage == Stage.DEAD_LETTER
        ]
        self._dead_letters.clear()
        effects.receipts, self._receipts = self._receipts, []
        effects.notices, self.uploads.api.notices = self.uploads.api.notices, []
        return effects

    def _requests(self, effects: Effects, now: float) -> None:
        """Uploads and questions about tasks, in turn where both could go.

        Neither keeps the other waiting.
        """
        while True:
            first, second = (
                (self._poll_task, self._send)
                if self._questions_first
                else (self._send, self._poll_task)
            )
            if first(effects, now):
                self._questions_first = not self._questions_first
            elif not second(effects, now):
                return

    def _send(self, effects: Effects, now: float) -> bool:
        if self.uploads_suspended or not self.gate.admits(now):
            return False
        window = self.uploads.next_window(now)
        if window is None:
            return False
        items = [row.item for row in window.rows]
        effects.send.append(
            Attempt(window, window.attempts, window.data_key, items, window.by_task)
        )
        return True

    def _poll_task(self, effects: Effects, now: float) -> bool:
        at = self.gate.earliest_poll(now) if self.uploads.tasks else None
        task = self.uploads.next_task(now) if at is not None and at <= now else None
        if task is None:
            return False
        effects.questions.append(task)
        return True

    def wakes_at(self, now: float) -> float | None:
        """When ``tick`` has something to do if no input comes before, seconds; None: never."""
        times = [
            self._timers[0][0] if self._timers else None,
            None if self.uploads_suspended else self.uploads.token_check_due_at(now),
        ]
        questions_at = self.gate.earliest_poll(now) if self.uploads.tasks else None
        next_at = self.uploads.tasks.next_at() if questions_at is not None else None
        if questions_at is not None and next_at is not None:
            times.append(max(questions_at, next_at))
        opens_at = None if self.uploads_suspended else self.gate.earliest_send(now)
        if opens_at is not None and (self.lanes or self.windows.live):
            if opens_at > now:
                times.append(opens_at)  # nothing can be sent before; from then on the linger counts
            else:
                times += [
                    self.windows.wakes_at(),
                    self.lanes.next_due(now, tasks=not self.uploads.tasks.full),
                ]
        return min((at for at in times if at is not None), default=None)

    def reads(self) -> bool:
        """Whether to read more (I6).

        There is room, and not already more in stock than the next requests can take.

        What is not in stock is not repeated after a crash, and stays in the processor's cache: a
        stock of 20,000 rows cost about a fifth more CPU.
        """
        return self.flow.reads() and not self._stocked

    @property
    def _stocked(self) -> bool:
        """Whether there are more full windows than the next requests can take.

        Stock is what can go as soon as a request can start. Windows that wait for a task to end are
        none, or no rows that go synchronously would be read until then.
        """
        by_task = self.lanes.full_task_windows
        return (
            self.lanes.full_windows - by_task + min(by_task, self.uploads.tasks.free) >= self._stock
        )

    @property
    def _tasks_short(self) -> bool:
        """Whether more windows wait to be started as tasks than may be started."""
        return self.lanes.full_task_windows + self.lanes.task_lanes > self.uploads.tasks.free

    def room(self, undecoded: int = 0) -> int:
        """Rows that may be made.

        ``undecoded``: of that many records, which count as a row each until then.

        Not positive: none now.
        """
        return 0 if self._stocked else self.flow.room + undecoded

    def over_quota(self, resting: Collection[Partition], now: float) -> set[Partition]:
        """The partitions that are to rest because their rows that cannot go now would leave the
        others no room (I8).

        ``partitions_paused``: those that do already. Rows that cannot go wait for earlier ones, a
        retry, a time, or for tasks to end before they can be started as one. So do rejected ones
        until their letters are acknowledged: they need nothing of the API, and could take all the
        room before it shows that the dead-letter topic does not keep up. Every accepted row may
        have a receipt: those count when they are late.
        """
        letters = self._unacknowledged
        late = letters and now - next(iter(letters)).arrived >= DEAD_LETTERS_LATE_SECONDS
        rows: Counter[Partition] = Counter()
        sizes: Counter[Partition] = Counter()
        records: set[Record] = set()
        pending = (row for row in letters if late or row.stage == Stage.DEAD_LETTER)
        for_tasks = (row for row in self.lanes.rows() if row.by_task) if self._tasks_short else ()
        for row in chain(self._rows_held_back(), for_tasks, pending):
            record = row.record
            rows[record.partition] += 1
            if record not in records:
                records.add(record)
                sizes[record.partition] += record.size
        idle = {partition: (count, sizes[partition]) for partition, count in rows.items()}
        return self.flow.over_quota(idle, resting, len(self.partitions))

    @property
    def unsettled(self) -> int:
        """Rows that are read and not settled."""
        return self.flow.rows

    @property
    def awaiting(self) -> bool:
        """Whether a request is in flight, or a task at work that something unsettled waits for."""
        return any(
            window.place is Place.IN_FLIGHT or any(row.stage != Stage.DONE for row in window.rows)
            for window in self.uploads.in_flight
        )

    @property
    def unacknowledged(self) -> bool:
        """Whether dead letters or receipts are on their way."""
        return bool(self._unacknowledged)

    @property
    def dead_letters_pending(self) -> int:
        """Rows whose dead letters are not acknowledged yet."""
        return sum(row.stage == Stage.DEAD_LETTER for row in self._unacknowledged)

    @property
    def receipts_pending(self) -> int:
        """Accepted rows whose receipts are not acknowledged yet."""
        return len(self._unacknowledged) - self.dead_letters_pending

    # -- what is told ----------------------------------------------------------------------------

    def observe(self, time: float) -> None:
        """Take in, by the wall clock (milliseconds since the epoch), how long the records took that
        were settled.
        """
        timestamps = self._settled_timestamps
        if timestamps:
            self._settled_timestamps = []
            self.event_to_settled.observe_ages(time, timestamps, per_second=1000)

    def ledger(self) -> Ledger:
        """The counts of all partitions this process has had, as of now."""
        return Ledger.total(self.ledgers.by_topic(self.partitions).values())

    def parked(self) -> dict[str, int]:
        """Rows that wait, by what for.

        A retry of their window, a key to become known, or an earlier row of their code.

        ``late_answer``: the earlier row is done, but a call of it whose answer was lost may still
        take effect. ``schema``: records whose rows are not made yet, each counted as a row: a
        schema is looked up, or there is no room for them.
        """
        earlier, late = self.claims.waiting_counts()
        return {
            "retry": sum(1 for _ in self.windows.rows_at_rest()),
            "unknown_key": sum(row.stage == Stage.PARKED for _, _, row in self._timers),
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
        """Several rows of a record are coming."""
        record.size += HELD_BYTES * record.open
        self.claims.expect(record)

    def _queue(self, rows: list[Row], now: float) -> None:
        """Rows arrive: they claim their codes."""
        for row in rows:
            row.arrived = now
        ready, awaited = self.claims.acquire(rows)
        if awaited:
            self.lanes.expedite(
                awaited
            )  # those in the lanes already; the fresh ones are counted when they are added
        self._ready(ready)

    def _ready(self, rows: list[Row]) -> None:
        """Rows whose claims are granted go to a lane.

        To the dead-letter topic if they cannot be sent.
        """
        for row in self.lanes.add(rows):
            assert row.rejection is not None
            self._letter(row, row.rejection)

    def _letter(self, row: Row, rejection: Rejection) -> None:
        row.rejection = rejection
        row.stage = Stage.DEAD_LETTER
        self._unacknowledged[row] = None
        self._dead_letters.append(DeadLetter(row, rejection))

    def _receipt(self, result: Result) -> None:
        for row in result.accepted:
            row.stage = Stage.RECEIPT
            self._unacknowledged[row] = None
        self._receipts.append(
            Receipt(
                result.accepted,
                result.unconfirmed,
                result.unlisted,
                result.affected,
                result.task_id,
            )
        )

    def _settle(self, rows: list[Row], now: float) -> None:
        """These rows are done; the rows that waited for them alone are ready."""
        self.flow.release(len(rows), settle(rows, self._settled_timestamps))
        self._free(rows, now)

    def _free(self, rows: list[Row], now: float) -> None:
        """Free the claims of rows that are done, once no lost call of them can take effect any
        more (I9, lost-answer).
        """
        ready: list[Row] = []
        if (
            now < self.uploads.held_until
        ):  # else no row has anything to hold for: no answer was lost lately
            held = [row for row in rows if row.hold_until > now]
            rows = [row for row in rows if row.hold_until <= now]
            for row in held:
                row.stage = Stage.CLAIM_HELD
                self._at(row.hold_until, row)
            # Its record is settled: what that holds for its other rows need not wait for this one.
            ready = self.claims.release(row.record for row in held if row.record.settled)
        ready += self.claims.free(rows)
        if ready:
            self._ready(ready)

    def _keep_lost(self, orphans: list[Row]) -> None:
        """Their call may have been lost (I9, lost-answer).

        Let the epoch that their partition has now, or will have, know of it.
        """
        for gone in {row.record.partition for row in orphans}:
            place = (gone.topic, gone.number)
            owned = next((p for p in self.partitions if (p.topic, p.number) == place), None)
            if owned is not None:
                owned.lost_until = max(owned.lost_until, gone.lost_until)
            else:
                self._lost_until[place] = max(self._lost_until.get(place, 0.0), gone.lost_until)

    def _at(self, at: float, row: Row) -> None:
        self._timer_number += 1
        heapq.heappush(self._timers, (at, self._timer_number, row))

    def _run_timers(self, now: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= now:
            row = heapq.heappop(timers)[2]
            if row.stage == Stage.PARKED:
                self.lanes.add([row])
            elif row.stage == Stage.CLAIM_HELD:
                row.stage = Stage.DONE
                self._free([row], now)

    def _rows_at_rest(self, partitions: set[Partition]) -> Iterator[Row]:
        """The rows of these partitions that are neither in flight nor on their way to a topic of
        ours.
        """
        for row in chain(self._rows_held_back(), self.lanes.rows()):
            if row.record.partition in partitions:
                yield row

    def _rows_held_back(self) -> Iterator[Row]:
        """The rows that wait for something else than a request."""
        parked = (row for _, _, row in self._timers if row.stage == Stage.PARKED)
        return chain(self.claims.waiting(), self.windows.rows_at_rest(), parked)
