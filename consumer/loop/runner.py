"""The owner loop: the only thread that touches the core's state, and the only clock.

A turn takes in what has come back (answers, acknowledgements), reads what has arrived, lets the
core decide, does what it says, and commits. No call of the consumer wakes for an answer, so a turn
waits on the queue of results for a few milliseconds at most, and then reads without waiting.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.partition import Commit, Partition, due_commits, room_of
from consumer.core.pipeline import Pipeline
from consumer.core.uploading.tasks import Task
from consumer.errors import UserError
from consumer.loop.intake import Intake
from consumer.loop.partition_pauses import PartitionPauses
from consumer.loop.ports import (
    DeadLetterWriter,
    ReceiptWriter,
    RecordSource,
    Result,
    Results,
    ScmApi,
)
from consumer.loop.rejection_log import RejectionLog
from consumer.loop.session_lease import SessionLease

log = logging.getLogger(__name__)

#: Records taken from the client in one turn.
BATCH = 500
#: A turn's longest wait while something is unsettled, and while nothing is.
WAIT_BUSY_SECONDS = 0.005
WAIT_IDLE_SECONDS = 0.05
#: While nothing is to be read, one record is taken this often, so that the group knows this member
#: lives; at the bounds of memory the partitions are paused instead. Pausing sooner would cost more
#: than it saves.
SIGN_OF_LIFE_SECONDS = 1.0
#: With an end to reach, a pause this long is a failure.
BLOCKED_SECONDS = 300.0
#: How long leaving the group may take.
LEAVE_SECONDS = 10.0
#: While the group is asked for a sign, a commit goes this often at most, however long the interval
#: between commits is.
PROBE_AGAIN_SECONDS = 0.5
#: The same failure of commits is told again after this many seconds.
TELL_AGAIN_SECONDS = 30.0
#: Time between two looks for partitions that may be read on, or must rest.
REVIEW_SECONDS = 0.5


class State(Enum):
    """Where the process is in its life."""

    RUNNING = "running"
    STOPPING = "stopping"  #: nothing is read or sent any more; answers are awaited
    STOPPED = "stopped"


class Runner:
    """One process's loop over a core and its adapters.

    Times in seconds of ``clock``, which is monotonic.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        intake: Intake,
        results: Results,
        clock: Callable[[], float],
        *,
        commit_interval: float,
        stop_seconds: float,
        revoke_seconds: float,
        session_seconds: float,
        until_end: bool = False,
        show_keys: bool = False,
        letters_to: str = "to the dead-letter topic",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.pipeline = pipeline
        self._intake = intake
        self._results = results
        self._clock = clock
        self._commit_interval = commit_interval
        self._stop_seconds = stop_seconds
        self._revoke_seconds = revoke_seconds
        self._lease = SessionLease(session_seconds)
        self._until_end = until_end
        self._rejection_log = RejectionLog(log, clock, letters_to, show_keys=show_keys)
        self._wall_clock = wall_clock
        self.state = State.RUNNING
        self.joined = False  #: an assignment was received, even an empty one
        self.turned_at = (
            clock()
        )  #: when the loop last showed that it lives; read by other threads, too
        self.rebalances = 0
        self.commits: Counter[str] = Counter()  #: that ended, by "ok" and "failed"
        self._commits_told: dict[str, float] = {}  # why commits fail, and when that was told
        self._signals = 0
        self._end: int | UserError | None = None  # exit code or failure that stops the loop
        self._stop_by = math.inf  # when a stop waits no longer
        self._next_commit_at = 0.0
        self._probe_at = 0.0  # not before then is a commit sent only to be answered
        self._failing_from = math.inf  # since when the API fails for rows that wait
        self._review_at = 0.0  # when it is looked next for partitions that may be read on
        self._more = False  # the last read was full: there is more to read now
        self.left = (
            False  #: the group was left in time: no thread of the client is still busy with it
        )
        self.final_ledger: Ledger | None = None  #: as it was when the group was left

    def attach(
        self,
        source: RecordSource,
        api: ScmApi,
        dead_letters: DeadLetterWriter,
        receipts: ReceiptWriter | None = None,
    ) -> None:
        """Give the loop its adapters (the source calls back into the loop, so it is made after it)."""
        self._source = source
        self.partition_pauses = PartitionPauses(self._intake, source)
        self._api = api
        self._dead_letters = dead_letters
        self._receipts = receipts

    # -- life ------------------------------------------------------------------------------------

    def signal(self, exit_code: int = 0) -> None:
        """Stop; the second time, at once. Safe to call from a signal handler."""
        self._signals += 1
        self.stop(exit_code)

    def stop(self, end: int | UserError) -> None:
        """Stop, once what is in flight has ended.

        With this exit code, or raising this error from ``run``.
        """
        if self._end is None:
            self._end = end
            self._stop_by = self._clock() + self._stop_seconds

    @property
    def stopping(self) -> bool:
        """Whether the process is to end: nothing new is begun."""
        return self._end is not None

    @property
    def leaves_at_once(self) -> bool:
        """Whether a second signal came: nothing is waited for."""
        return self._signals > 1

    def run(self) -> int:
        """Run until stopped; the exit code. Raises UserError when it cannot go on."""
        self._source.subscribe()
        self._polled()
        try:
            while self._end is None:
                self.turn()
        except UserError as error:
            self.stop(error)
        drained = self._drain()
        if isinstance(self._end, UserError):
            raise self._end
        return int(self._end or 0) if drained else 1

    def turn(self) -> None:
        """One turn."""
        self._collect(self._wait())
        self._read()
        self._act()
        self._commit()
        self._review_pauses()

    def _drain(self) -> bool:
        """Let what is in flight end, commit and leave the group.

        Whether all of that was done in time.
        """
        self.state = State.STOPPING
        tasks = len(self.pipeline.uploads.tasks)
        count = len(self.pipeline.windows.in_flight) - tasks
        log.info(
            "stopping: %s request%s in flight%s%s, waited for up to %g s; a second signal leaves at once",
            count or "no",
            "" if count == 1 else "s",
            f" and {tasks} task{'' if tasks == 1 else 's'} at work" if tasks else "",
            ", and a call whose answer was lost may still take effect" if self._lost_call() else "",
            self._stop_seconds,
        )
        self._source.pause()
        while (
            (self._in_flight() or self._lost_call())
            and not self.leaves_at_once
            and self._clock() < self._stop_by
        ):
            self.turn()
        done = not self._in_flight()
        # what waits for its connection would be sent at the next owner's time
        self._lease.end_leases()
        if self.leaves_at_once:
            return False
        acknowledged = self._commit_at_last()
        self.final_ledger = self.ledger()
        self.state = State.STOPPED
        self.left = self._source.close(LEAVE_SECONDS)
        self._rejection_log.tell()
        return done and acknowledged

    def _commit_at_last(self) -> bool:
        """Commit what is left, and try on for as long as a rebalance may take in which a member is
        dead.

        In a rebalance a commit is refused until this member has taken part, or waits behind its own
        joining: a broker answers the requests of a connection in their order, and a joining only
        when a dead member's session is over.
        """
        until = min(self._stop_by, self._clock() + self._lease.session + LEAVE_SECONDS)
        while self._source.committing and not self.leaves_at_once and self._clock() < until:
            # One that is on its way may be sent once more by the client, and must not come after
            # the last.
            self._collect(WAIT_BUSY_SECONDS)
            self._serve()
        told = False
        while not self._source.commit_and_wait(
            due_commits(self.pipeline.partitions, self._clock())
        ):
            if self.leaves_at_once or self._clock() >= until:
                return False
            if not told:
                left = until - self._clock()
                log.warning(
                    "the last commit is not confirmed: tried for %.0f s more; a second signal ends that",
                    left,
                )
                told = True
            self._collect(WAIT_IDLE_SECONDS)
            self._serve()
        return True

    def _serve(self) -> None:
        """Serve the callbacks of a source that is paused.

        That it cannot go on ends no stop half-way.
        """
        try:
            self._poll(1)
        except UserError as error:
            self._fail(error)

    def _fail(self, error: UserError) -> None:
        """Stop with this error, also where a stop is under way; the first failure is told."""
        self.stop(error)
        if not isinstance(self._end, UserError):
            self._end = error

    def _lost_call(self) -> bool:
        """Whether a lost call may still overwrite what comes later.

        Of the next owner, or of the next run.
        """
        return self._clock() < lost_until(self.pipeline.partitions)

    def _in_flight(self) -> bool:
        return self.pipeline.awaiting or self.pipeline.unacknowledged

    # -- a turn ----------------------------------------------------------------------------------

    def _wait(self) -> float:
        if self._more and self.pipeline.reads():
            return 0.0
        if not self.pipeline.unsettled:
            return WAIT_IDLE_SECONDS
        now = self._clock()
        wakes_at = self.pipeline.wakes_at(now)
        return (
            WAIT_BUSY_SECONDS
            if wakes_at is None
            else max(0.0, min(WAIT_BUSY_SECONDS, wakes_at - now))
        )

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
        if isinstance(result, tuple):
            call, reply = result
            subject = call.subject
            if subject is None:
                self.pipeline.on_token_check(reply, self._clock())
            elif isinstance(subject, Task):
                self.pipeline.on_task_response(subject, reply, self._clock())
            else:
                self.pipeline.on_response(subject, reply, self._clock())
        elif isinstance(result, list):
            self.pipeline.on_acknowledged(result, self._clock())
        else:
            result()

    def _read(self) -> None:
        now = self._clock()
        flow = self.pipeline.flow
        self._more = False
        if self.state is not State.RUNNING:
            self._serve()
            return
        self._make_rows()
        if self.pipeline.reads():
            if self._source.paused:
                self._source.resume()
            self._more = self._poll(min(BATCH, flow.room_at_once))
            return
        if self._source.paused:
            self._poll(BATCH)
        elif self._lease.since_last_poll(now) >= SIGN_OF_LIFE_SECONDS:
            if flow.full:  # there may be no room for even one
                self._source.pause()
            else:
                self._poll(1)

    def _poll(self, count: int) -> bool:
        """Read at most ``count`` records; whether there were as many."""
        batches = self._source.poll(count)
        now = self._polled()
        taken = 0
        map_room = room_of(len(self.pipeline.partitions))
        rows_before, most = self.pipeline.unsettled, max(count, self.pipeline.flow.room)
        for partition, messages in batches:
            if not partition.owned:
                continue
            taken += len(messages)
            room = most + rows_before - self.pipeline.unsettled
            records, rows, position = self._intake.take(partition, messages, now, room)
            self.pipeline.add_records(partition, records, rows, position, now)
            self.partition_pauses.on_read(partition, map_room)
        if taken and self.pipeline.flow.near_limit:
            self._pause_over_quota()
        if self._until_end and self._source.stopped:
            partition, cause = next(iter(self._source.stopped.items()))
            self.stop(UserError(f"{partition} is stopped ({cause}): its end cannot be reached"))
        return taken >= count

    def _polled(self) -> float:
        """The client was polled, now.

        After a gap the group is asked at once whether it still counts this member.
        """
        now = self._clock()
        # A stop sends nothing more, and waits for its commits inside of one turn.
        if self.state is State.RUNNING and self._lease.on_poll(now):
            self._next_commit_at = now
        return now

    def _pause_over_quota(self) -> None:
        self.partition_pauses.set_over_quota(
            self.pipeline.over_quota(self.partition_pauses.over_quota, self._clock())
        )

    def _act(self) -> None:
        """Do what the core says now."""
        now = self._clock()
        self.pipeline.observe(self._wall_clock() * 1000)
        self.pipeline.partitions_paused = bool(
            self.partition_pauses.map_full or self.partition_pauses.over_quota
        )
        self.pipeline.uploads_suspended = self.stopping or self._lease.expired(now)
        effects = self.pipeline.tick(now)
        for attempt in effects.send:
            self._api.send(attempt, self._lease.start_by)
        for task in effects.questions:
            self._api.question(task)
        if effects.ask:
            self._api.ask()
        for letter in effects.dead_letters:
            self._rejection_log.add(letter)
            self._dead_letters.send(letter)
        for receipt in effects.receipts:
            assert self._receipts is not None, (
                "receipts are written, so there is somebody who writes them"
            )
            self._receipts.send(receipt)
        for notice in effects.notices:
            log.log(logging.getLevelNamesMapping()[notice.level.upper()], "%s", notice.text)
        self._rejection_log.tell_now_and_then()
        if self._until_end and not self.stopping:
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        """Somebody waits for the end: what has been away for minutes is a failure."""
        gate, api = self.pipeline.gate, self.pipeline.uploads.api
        if gate.pause is not None and now - gate.upload_pause.since >= BLOCKED_SECONDS:
            self.stop(
                UserError(
                    f"uploading is paused ({gate.pause.value}) for {BLOCKED_SECONDS:g} s; see the log above"
                )
            )
        # Since the first failure that no answer came after, and since there is something to send
        # again.
        if api.failing_since is None or not self.pipeline.unsettled:
            self._failing_from = math.inf
        else:
            self._failing_from = min(self._failing_from, now)
            if now - max(api.failing_since, self._failing_from) >= BLOCKED_SECONDS:
                problem = (
                    f"no call of the API has succeeded for {BLOCKED_SECONDS:g} s ({api.last_error})"
                )
                self.stop(UserError(f"{problem}; check api.base_url, and that the API is up"))
        for (topic, number), since in self._source.awaiting.items():
            if now - since >= BLOCKED_SECONDS:
                problem = f"{topic}[{number}]: where it begins cannot be looked up for {BLOCKED_SECONDS:g} s"
                self.stop(UserError(f"{problem}; see the log above"))
        for since, why in self._source.lasting:
            if now - since >= BLOCKED_SECONDS:
                self.stop(UserError(f"Kafka: for {BLOCKED_SECONDS:g} s: {why}"))
        for partition, stash in self._intake.waiting.items():
            if stash.schema_id is not None and now - stash.since >= BLOCKED_SECONDS:
                problem = f"{partition} waits for schema {stash.schema_id} for {BLOCKED_SECONDS:g} s; see the log above"
                self.stop(UserError(f"{problem}, and check schema_registry.url"))

    def _commit(self) -> None:
        now = self._clock()
        # The group's sign is asked for in time, whatever the interval: without it nothing may be
        # uploaded.
        anew = bool(self.pipeline.unsettled) and self._lease.needs_probe(now)
        due_at = min(self._next_commit_at, self._probe_at) if anew else self._next_commit_at
        if now < due_at or self._source.committing:
            return
        self._next_commit_at = now + self._commit_interval
        self._probe_at = now + PROBE_AGAIN_SECONDS
        due = due_commits(self.pipeline.partitions, now, anew=anew)
        if due:
            self._source.commit(due)

    def _review_pauses(self) -> None:
        """Read on where there is room again.

        On a clock of its own, as it has nothing to do with commits.
        """
        now = self._clock()
        if now < self._review_at:
            return
        self._review_at = now + REVIEW_SECONDS
        self.partition_pauses.resume_where_possible(room_of(len(self.pipeline.partitions)))
        if self.partition_pauses.over_quota or self.pipeline.flow.near_limit:
            self._pause_over_quota()

    def on_schema_looked_up(self, schema_id: int) -> None:
        """A schema was looked up: what waits for it is taken in. On the owner's thread only."""
        self._intake.answered(schema_id)
        for partition, stash in list(self._intake.waiting.items()):
            if stash.schema_id is not None:
                self._retry(partition, self._room() + len(stash.records))

    def _make_rows(self) -> None:
        """Make the rows of records that are read already, where there is room again."""
        for partition, _ in self._intake.short_of_room():
            room = self._room()
            if room > 0:
                self._retry(partition, room)

    def _room(self) -> int:
        """Rows that may be made now.

        What waits for room takes none itself, or it could wait for ever.
        """
        return self.pipeline.room(sum(count for _, count in self._intake.short_of_room()))

    def _retry(self, partition: Partition, room: int) -> None:
        now = self._clock()
        records, rows = self._intake.retry(partition, now, room)
        if records:
            self.pipeline.add_decoded(partition, records, rows, now)
        self.partition_pauses.apply(partition)

    # -- what the source tells -------------------------------------------------------------------

    def on_joined(self) -> None:
        """The group has answered."""
        self.joined = True

    def on_assigned(self, partitions: list[Partition]) -> None:
        """Partitions came; none, when the group has none for this member."""
        self.joined = True
        self._lease.on_assigned(self._clock())
        self.rebalances += 1
        self._own(partitions)

    def on_begun(self, partitions: list[Partition]) -> None:
        """Partitions begin that the group gave before.

        It is known now where, or their topic was made anew.
        """
        self._own(partitions)

    def _own(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            self.pipeline.add_partition(partition)
        if partitions:
            # Where one begins must survive this process; with "latest" it is lost else.
            self._next_commit_at = self._clock()
            log.info("assigned: %s", _listed(partitions))

    def on_counted(self, counts: Mapping[str, int]) -> None:
        """The group reads these topics, each with so many partitions.

        This member's share of the requests follows.

        No topics: they could not be counted.
        """
        self.pipeline.set_partition_counts(counts, self._wall_clock(), self._clock())

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        """Partitions go: their requests may end (bounded), what is settled is committed, the rest
        is forgotten.

        Runs inside ``poll``: it turns the loop for the partitions that stay, but never reads.
        """
        self.rebalances += bool(partitions)
        try:
            self._hand_over(partitions, lost=lost)
        except Exception as error:  # it must not cross the client, and must not go unseen
            log.exception("handing over %s", _listed(partitions))
            problem = f"a fault in the program ({type(error).__name__}) while {_listed(partitions)} were given back"
            self._fail(
                UserError(
                    f"{problem}; see the log above; what was not committed will be sent again"
                )
            )
        finally:
            for partition in partitions:
                partition.owned = (
                    False  # whatever happened: nothing of it is sent, settled or committed any more
                )
        self.pipeline.remove_partitions(partitions, self._clock())
        self.partition_pauses.forget(partitions)
        if partitions:
            log.info("%s: %s", "lost" if lost else "revoked", _listed(partitions))

    def _hand_over(self, partitions: list[Partition], *, lost: bool) -> None:
        pipeline = self.pipeline
        self._intake.forget(partitions)
        pipeline.withdraw(partitions, self._clock())
        if lost:
            self._lease.end_leases()
        if not lost and self.state is not State.STOPPED:
            deadline = self._clock() + self._revoke_seconds
            # A lost call may still take effect: its claims hold back later rows here, but no other
            # member knows them.
            while (
                (pipeline.busy(partitions) or self._clock() < lost_until(partitions))
                and self._clock() < min(deadline, self._stop_by)
                and not self.leaves_at_once
            ):
                self._collect(WAIT_IDLE_SECONDS)
                # What ended without being settled is not sent again from here.
                pipeline.withdraw(partitions, self._clock())
                self._polled()  # this runs inside a poll
                self._act()
            if pipeline.busy(partitions):
                # what is not sent yet would be sent at the next owner's time
                self._lease.end_leases()
            if not self._source.commit_and_wait(due_commits(partitions, self._clock())):
                log.warning(
                    "the last commit of %s is not confirmed; some rows may be sent again",
                    _listed(partitions),
                )

    def on_committed(
        self, commits: list[Commit], error: str | None, *, too_large: bool = False
    ) -> None:
        """A commit ended; a failed one is never sent again.

        The next is built from what is owned then.
        """
        self.commits["ok" if error is None else "failed"] += 1
        if error is None:
            self._commits_told.clear()
            self._lease.on_confirmed(
                max((commit.built_at for commit in commits), default=-math.inf)
            )
            for commit in commits:
                commit.partition.committed = commit.offset
                commit.partition.metadata = commit.metadata
            return
        if too_large:
            for commit in commits:
                commit.partition.metadata_refused()
        now = self._clock()
        if now - self._commits_told.get(error, -math.inf) >= TELL_AGAIN_SECONDS:
            self._commits_told[error] = now
            told = _listed([commit.partition for commit in commits])
            log.warning("commit failed (%s): %s; the next commit includes it", error, told)

    def on_waiting(self) -> None:
        """Kafka is asked inside a callback, for as long as it takes.

        The loop lives, though it does not turn.
        """
        self.turned_at = self._clock()

    def ledger(self) -> Ledger:
        """The counts of all partitions this process has had, as of now."""
        return self.pipeline.ledger()


def lost_until(partitions: Iterable[Partition]) -> float:
    """Until when a call with rows of these partitions whose answer was lost may take effect.

    The owner's clock.
    """
    return max((partition.lost_until for partition in partitions), default=0.0)


def _listed(partitions: list[Partition]) -> str:
    numbers: dict[str, list[int]] = {}
    for partition in partitions:
        numbers.setdefault(partition.topic, []).append(partition.number)
    return ", ".join(f"{topic} {sorted(n)}" for topic, n in numbers.items())
