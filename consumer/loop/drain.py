"""A stop: let what is in flight end, commit, leave the group; within a bound."""

from __future__ import annotations

import logging
from collections.abc import Callable

from consumer.core.offsets.ledger import Ledger
from consumer.core.pipeline import Pipeline
from consumer.loop.committing import Committing
from consumer.loop.lifecycle import Lifecycle
from consumer.loop.ports import WAIT_BUSY_SECONDS, WAIT_IDLE_SECONDS, RecordSource
from consumer.loop.reading import Reading
from consumer.loop.rebalance import lost_until
from consumer.loop.session_lease import SessionLease

log = logging.getLogger(__name__)

#: How long leaving the group may take.
LEAVE_SECONDS = 10.0


class Drain:
    """The end of one owner loop.

    ``turn`` turns the loop once. ``collect`` takes in what has come back; it waits for the first at
    most as many seconds as it is given.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: RecordSource,
        reading: Reading,
        committing: Committing,
        lease: SessionLease,
        lifecycle: Lifecycle,
        clock: Callable[[], float],
        *,
        turn: Callable[[], None],
        collect: Callable[[float], None],
    ) -> None:
        self._pipeline = pipeline
        self._source = source
        self._reading = reading
        self._committing = committing
        self._lease = lease
        self._lifecycle = lifecycle
        self._clock = clock
        self._turn = turn
        self._collect = collect
        #: The group was left in time: no thread of the client is still busy with it.
        self.left = False
        self.final_ledger: Ledger | None = None  #: as it was when the group was left

    def drain(self) -> bool:
        """Drain, and leave the group; return whether all of that was done in time."""
        lifecycle = self._lifecycle
        lifecycle.drain()
        self._log_what_is_awaited()
        self._source.pause()
        while (
            (self._in_flight() or self._lost_call())
            and not lifecycle.leaves_at_once
            and self._clock() < lifecycle.stop_by
        ):
            self._turn()
        done = not self._in_flight()
        # What waits for its connection would be sent in the next owner's time.
        self._lease.end_leases()
        if lifecycle.leaves_at_once:
            return False
        acknowledged = self._commit_at_last()
        self.final_ledger = self._pipeline.ledger()
        lifecycle.finish()
        self.left = self._source.close(LEAVE_SECONDS)
        return done and acknowledged

    def _log_what_is_awaited(self) -> None:
        tasks = len(self._pipeline.uploads.tasks)
        count = len(self._pipeline.windows.in_flight) - tasks
        log.info(
            "stopping: %s request%s in flight%s%s, waited for up to %g s; "
            "a second signal leaves at once",
            count or "no",
            "" if count == 1 else "s",
            f" and {tasks} task{'' if tasks == 1 else 's'} at work" if tasks else "",
            ", and a call whose answer was lost may still take effect" if self._lost_call() else "",
            self._lifecycle.stop_seconds,
        )

    def _commit_at_last(self) -> bool:
        """Commit what is left; retry as long as a rebalance with a dead member may take (I7).

        In a rebalance a commit is refused until this member has taken part, or waits behind its own
        joining: a broker answers the requests of a connection in their order, and a joining only
        when a dead member's session is over.
        """
        lifecycle = self._lifecycle
        until = min(lifecycle.stop_by, self._clock() + self._lease.session + LEAVE_SECONDS)
        while self._source.committing and not lifecycle.leaves_at_once and self._clock() < until:
            # One that is on its way may be sent once more by the client, and must not come after
            # the last.
            self._collect(WAIT_BUSY_SECONDS)
            self._reading.serve()
        logged = False
        while not self._committing.commit_and_wait(self._pipeline.partitions):
            if lifecycle.leaves_at_once or self._clock() >= until:
                return False
            if not logged:
                log.warning(
                    "the last commit is not confirmed: tried for %.0f s more; "
                    "a second signal ends that",
                    until - self._clock(),
                )
                logged = True
            self._collect(WAIT_IDLE_SECONDS)
            self._reading.serve()
        return True

    def _lost_call(self) -> bool:
        """Return whether a lost call may overwrite what is sent after us (I9, lost-answer).

        That is by the next owner, or the next run.
        """
        return self._clock() < lost_until(self._pipeline.partitions)

    def _in_flight(self) -> bool:
        return self._pipeline.awaiting or self._pipeline.unacknowledged
