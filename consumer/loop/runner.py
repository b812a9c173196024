"""The owner loop: the only thread that touches the core's state, and the only clock.

A turn takes in what has come back (responses, acknowledgements), reads what has arrived, lets the
core decide, does what it says, and commits. No call of the consumer wakes for a response, so a turn
waits on the queue of results for a few milliseconds at most, and then reads without waiting.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping

from consumer.core.offsets.commits import Commit
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.errors import UserError
from consumer.formats import SchemaId
from consumer.loop import fields
from consumer.loop.committing import Committing, listed
from consumer.loop.drain import Drain
from consumer.loop.intake import Intake
from consumer.loop.lifecycle import Lifecycle, Phase
from consumer.loop.partition_pauses import PartitionPauses
from consumer.loop.patience import Patience
from consumer.loop.ports import (
    WAIT_BUSY_SECONDS,
    WAIT_IDLE_SECONDS,
    DeadLetterWriter,
    Listener,
    ReceiptWriter,
    RecordSource,
    Result,
    Results,
    ScmApi,
    Tracer,
)
from consumer.loop.reading import Reading
from consumer.loop.rebalance import HandOver
from consumer.loop.recent_rejections import RecentRejections
from consumer.loop.rejection_log import RejectionLog
from consumer.loop.responses import Responses
from consumer.loop.session_lease import SessionLease

log = logging.getLogger(__name__)

#: Time between two looks for troubles.
LOOK_SECONDS = 3.0


class Runner:
    """One process's loop over a core and its adapters; it is the listener of its source.

    ``source`` makes the source that calls back into this loop. Times in seconds of ``clock``, which
    is monotonic.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        intake: Intake,
        results: Results,
        clock: Callable[[], float],
        *,
        source: Callable[[Listener], RecordSource],
        api: ScmApi,
        dead_letters: DeadLetterWriter,
        receipts: ReceiptWriter | None = None,
        commit_interval: float,
        stop_seconds: float,
        revoke_seconds: float,
        session_seconds: float,
        until_end: bool = False,
        show_keys: bool = False,
        dead_letters_to: str = "to the dead-letter topic",
        wall_clock: Callable[[], float] = time.time,
        tracer: Tracer | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.lifecycle = Lifecycle(clock, stop_seconds)
        self._results = results
        self._clock = clock
        self.wall_clock = wall_clock
        self._api = api
        self.intake = intake
        self.dead_letters = dead_letters
        self.receipts = receipts
        self._rejection_log = RejectionLog(log, clock, dead_letters_to, show_keys=show_keys)
        self._lease = SessionLease(session_seconds)
        self.source = source(self)
        self.partition_pauses = PartitionPauses(self.source)
        self._responses = Responses(pipeline, clock, tracer)
        self.committing = Committing(
            pipeline, self.source, self._lease, clock, commit_interval, tracer
        )
        self._reading = Reading(
            pipeline,
            intake,
            self.source,
            self.partition_pauses,
            self._lease,
            self.lifecycle,
            clock,
            until_end=until_end,
            expedite_commit=self.committing.expedite,
        )
        self._hand_over = HandOver(
            pipeline,
            intake,
            self.committing,
            self._lease,
            self.lifecycle,
            clock,
            revoke_seconds,
            collect=self._collect,
            act=self._act_inside_poll,
        )
        self._drain = Drain(
            pipeline,
            self.source,
            self._reading,
            self.committing,
            self._lease,
            self.lifecycle,
            clock,
            turn=self.turn,
            collect=self._collect,
        )
        self._patience = Patience(pipeline, intake, self.source) if until_end else None
        #: When the loop last showed that it lives; read by other threads, too.
        self.turned_at = clock()
        self.rebalances = 0
        #: Looks for troubles; it is called every few seconds (see ``ops.watch``).
        self.look: Callable[[], None] | None = None
        self._look_at = 0.0

    # -- life ------------------------------------------------------------------------------------

    def signal(self, exit_code: int = 0) -> None:
        """Stop; the second time, at once. Safe to call from a signal handler."""
        self.lifecycle.signal(exit_code)

    def stop(self, end: int | UserError) -> None:
        """Stop, once what is in flight has ended.

        With this exit code, or raising this error from ``run``.
        """
        self.lifecycle.request_stop(end)

    @property
    def joined(self) -> bool:
        """Return whether an assignment was received, even an empty one, and no stop requested."""
        return self.lifecycle.phase is Phase.RUNNING

    @property
    def stopping(self) -> bool:
        """Return whether the process is to end: nothing new is begun."""
        return self.lifecycle.stopping

    @property
    def leaves_at_once(self) -> bool:
        """Return whether a second signal came: nothing is waited for."""
        return self.lifecycle.leaves_at_once

    def run(self) -> int:
        """Run until stopped; return the exit code. Raise UserError when it cannot go on."""
        self.source.subscribe()
        self._reading.polled()
        try:
            while not self.stopping:
                self.turn()
        except UserError as error:
            self.stop(error)
        drained = self._drain.drain()
        self._rejection_log.summarize()
        end = self.lifecycle.end
        if isinstance(end, UserError):
            raise end
        return int(end or 0) if drained else 1

    def turn(self) -> None:
        """Run one turn: collect results, read, act, commit, review pauses."""
        self._collect(self._wait())
        self._reading.read()
        self._act()
        self.committing.commit_when_due()
        self._reading.review_pauses()
        self._look_now_and_then()

    def _look_now_and_then(self) -> None:
        if self.look is not None and (now := self._clock()) >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self.look()

    @property
    def recent_rejections(self) -> RecentRejections:
        """Return what was rejected in the last fifteen minutes."""
        return self._rejection_log.recent

    def ledger(self) -> Ledger:
        """Return the counts of all partitions this process has had, as of now."""
        return self.pipeline.ledger()

    @property
    def final_ledger(self) -> Ledger | None:
        """Return the counts as they were when the group was left; None: it was not, yet."""
        return self._drain.final_ledger

    @property
    def left(self) -> bool:
        """Return whether the group was left in time: no thread of the client is busy with it."""
        return self._drain.left

    # -- a turn ----------------------------------------------------------------------------------

    def _wait(self) -> float:
        """Return how long this turn may wait for a result."""
        if self._reading.more and self.pipeline.reads():
            return 0.0
        if not self.pipeline.unsettled:
            return WAIT_IDLE_SECONDS
        now = self._clock()
        wakes_at = self.pipeline.wakes_at(now)
        if wakes_at is None:
            return WAIT_BUSY_SECONDS
        return max(0.0, min(WAIT_BUSY_SECONDS, wakes_at - now))

    def _collect(self, wait: float) -> None:
        """Take in what has come back, waiting for the first at most ``wait`` seconds."""
        results = self._results
        self.turned_at = self._clock()
        try:
            result = results.get(timeout=wait) if wait else results.get_nowait()
            while True:
                self._take(result)
                result = results.get_nowait()
        except queue.Empty:
            return

    def _take(self, result: Result) -> None:
        """Give one result to the core: a response, acknowledged rows, or a function to call."""
        if isinstance(result, tuple):
            self._responses.take(*result)
        elif isinstance(result, list):
            self.pipeline.on_acknowledged(result, self._clock())
        else:
            result()

    def _act_inside_poll(self) -> None:
        """Do what the core says while a revocation waits: the client counts as polled."""
        self._reading.polled()
        self._act()

    def _act(self) -> None:
        """Do what the core says now."""
        now = self._clock()
        self.pipeline.observe(self.wall_clock() * 1000)
        self.pipeline.uploads_suspended = self.stopping or self._lease.expired(now)
        effects = self.pipeline.tick(now)
        for attempt in effects.send:
            self._api.send(attempt, self._lease.start_by)
        for task in effects.polls:
            self._api.poll_task(task)
        if effects.token_check:
            self._api.check_token()
        for letter in effects.dead_letters:
            self._rejection_log.add(letter)
            self.dead_letters.send(letter)
        for receipt in effects.receipts:
            assert self.receipts is not None, (
                "receipts are written, so there is somebody who writes them"
            )
            self.receipts.send(receipt)
        for notice in effects.notices:
            log.log(logging.getLevelNamesMapping()[notice.level.upper()], "%s", notice.text)
        self._rejection_log.summarize_now_and_then()
        if self._patience is not None and not self.stopping:
            lost = self._patience.lost(now)
            if lost is not None:
                self.stop(lost)

    def on_schema_looked_up(self, schema_id: SchemaId) -> None:
        """Take in what waits for a schema that was looked up; on the owner's thread only."""
        self._reading.on_schema_looked_up(schema_id)

    # -- what the source says: see ``Listener`` --------------------------------------------------

    def on_joined(self) -> None:
        """Take in that the group has answered."""
        self.lifecycle.join()

    def on_assigned(self, partitions: list[Partition]) -> None:
        """Own partitions that came; none, when the group has none for this member."""
        self.lifecycle.join()
        self._lease.on_assigned(self._clock())
        self.rebalances += 1
        self.on_begun(partitions)

    def on_begun(self, partitions: list[Partition]) -> None:
        """Own partitions that begin, be it some time after they came."""
        for partition in partitions:
            self.pipeline.add_partition(partition)
        if partitions:
            # Where one begins must survive this process; with "latest" it is lost else.
            self.committing.expedite(self._clock())
            log.info("assigned: %s", listed(partitions), extra=fields.of_all(partitions))

    def on_counted(self, counts: Mapping[str, int]) -> None:
        """Set this member's share of the requests; no counts: it cannot be known."""
        self.pipeline.set_partition_counts(counts, self.wall_clock(), self._clock())

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        """Give partitions up (I7, fencing).

        It runs inside ``poll``: it turns the loop for the partitions that stay, but never reads.
        """
        self.rebalances += bool(partitions)
        try:
            self._hand_over.hand_over(partitions, lost=lost)
        except Exception as error:  # it must not cross the client, and must not go unseen
            log.exception("handing over %s", listed(partitions))
            self.lifecycle.fail(
                UserError(
                    f"a fault in the program ({type(error).__name__}) while {listed(partitions)} "
                    "were given back; see the log above; what was not committed will be sent again"
                )
            )
        finally:
            for partition in partitions:
                # Whatever happened: nothing of it is sent, settled or committed any more.
                partition.owned = False
        self.pipeline.remove_partitions(partitions, self._clock())
        self.partition_pauses.forget(partitions)
        if partitions:
            what = "lost" if lost else "revoked"
            log.info("%s: %s", what, listed(partitions), extra=fields.of_all(partitions))

    def on_committed(
        self, commits: list[Commit], error: str | None, *, too_large: bool = False
    ) -> None:
        """Take in how a commit ended (I3)."""
        self.committing.on_committed(commits, error, too_large=too_large)

    def on_waiting(self) -> None:
        """Show that the loop lives, though it does not turn: a callback waits for Kafka."""
        self.turned_at = self._clock()
