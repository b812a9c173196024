"""Hand partitions over that the group takes away, while the others go on.

What is in flight of them may end, within a bound; what is settled then is committed; the rest is
forgotten, and is the next owner's to read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.loop import fields
from consumer.loop.committing import Committing, listed
from consumer.loop.intake import Intake
from consumer.loop.lifecycle import Lifecycle, Phase
from consumer.loop.ports import WAIT_IDLE_SECONDS
from consumer.loop.session_lease import SessionLease

log = logging.getLogger(__name__)


class HandOver:
    """Waits, within the callback of a revocation, for what is in flight.

    ``seconds``: the bound. ``collect`` takes in what has come back; it waits for the first at most
    as many seconds as it is given. ``act`` does what the core says. Together they are a turn
    without reading, for the partitions that stay.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        intake: Intake,
        committing: Committing,
        lease: SessionLease,
        lifecycle: Lifecycle,
        clock: Callable[[], float],
        seconds: float,
        *,
        collect: Callable[[float], None],
        act: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._intake = intake
        self._committing = committing
        self._lease = lease
        self._lifecycle = lifecycle
        self._clock = clock
        self.seconds = seconds
        self._collect = collect
        self._act = act

    def hand_over(self, partitions: list[Partition], *, lost: bool) -> None:
        """Give up these partitions; ``lost``: another member may own them already."""
        self._intake.forget(partitions)
        self._pipeline.withdraw(partitions, self._clock())
        if lost:
            self._lease.end_leases()
        elif self._lifecycle.phase is not Phase.STOPPED:
            self._await_in_flight(partitions)
            if not self._committing.commit_and_wait(partitions):
                log.warning(
                    "the last commit of %s is not confirmed; some rows may be sent again",
                    listed(partitions),
                    extra=fields.of_all(partitions),
                )

    def _await_in_flight(self, partitions: list[Partition]) -> None:
        pipeline, lifecycle = self._pipeline, self._lifecycle
        deadline = self._clock() + self.seconds
        # A lost call may still take effect: its claims hold back later rows here, but no other
        # member knows them.
        while (
            (pipeline.busy(partitions) or self._clock() < lost_until(partitions))
            and self._clock() < min(deadline, lifecycle.stop_by)
            and not lifecycle.leaves_at_once
        ):
            self._collect(WAIT_IDLE_SECONDS)
            # What ended without being settled is not resent from here.
            pipeline.withdraw(partitions, self._clock())
            self._act()
        if pipeline.busy(partitions):
            # What is not sent yet would be sent in the next owner's time.
            self._lease.end_leases()


def lost_until(partitions: Iterable[Partition]) -> float:
    """Return until when a lost call with rows of these may take effect (I9, lost-answer).

    The time is by the owner's clock.
    """
    return max((partition.lost_until for partition in partitions), default=0.0)
