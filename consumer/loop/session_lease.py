"""A lease on the session: whether this process is still the member that it takes itself for.

A process that was suspended, or a machine that stood still, does not know it: the group may have
given its partitions to others meanwhile, and the client may learn that only a moment after it goes
on. So after a gap between two polls nothing is uploaded until the group has acknowledged a commit
that was sent after the gap; it takes none from a member that it has thrown out. An acknowledgement
counts as of the time at which its own commit was sent, whenever it is read: one that was on its way
before does not close the gap, and is no fresh sign.

Nor does a process know it that is cut off from Kafka, but not from the API: its polls go on. So
nothing is uploaded, either, when the last sign of the group is older than two thirds of its
session; while there is work, it is probed for one in time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

log = logging.getLogger(__name__)

#: A time between two polls that is longer than this is a gap, however long the session is: with
#: group_protocol consumer the brokers set the session, and it is not known here.
LONGEST_GAP_SECONDS = 5.0


class SessionLease:
    """The lease by the group's signs of life; times in seconds of the owner's clock (fencing).

    ``session_seconds``: the group's session time-out; infinite for a reader that is no member. The
    group counts it from the last heartbeat. That may be older than the last poll, usually by a
    third of the session at most.
    """

    def __init__(self, session_seconds: float) -> None:
        self.session = session_seconds
        self._gap = (
            min(session_seconds / 3, LONGEST_GAP_SECONDS)
            if session_seconds < math.inf
            else math.inf
        )
        self._polled_at = math.inf
        self._gap_at = -math.inf  # when the last gap was found
        self._confirmed_at = -math.inf  # when the latest commit that the group took was sent
        # A number; uploads that were handed out under another one must not begin any more.
        self._lease = 0
        self._heard_at = -math.inf  # when the latest sign of the group was asked for

    def on_poll(self, now: float) -> bool:
        """Take in that the client was polled, or that the loop is inside of its callbacks.

        Return whether there was a gap.
        """
        gap = now - self._polled_at > self._gap
        if gap:
            log.warning(
                "this process stood still for %.1f s: "
                "nothing is uploaded until the group has confirmed this member",
                now - self._polled_at,
                extra={"data": {"seconds": round(now - self._polled_at, 1)}},
            )
            self._gap_at = now
            # Before the poll counts: another thread must not see the new poll and the old lease.
            self.end_leases()
        self._polled_at = now
        return gap

    def since_last_poll(self, now: float) -> float:
        """Return how long ago the last poll was."""
        return now - self._polled_at

    @property
    def start_by(self) -> Callable[[], float]:
        """Return the lease of an upload that is handed out now, as a function (fencing).

        The function returns the latest time at which the upload may be sent; minus infinity once
        the lease has ended. It is thread-safe, and is to be called right before the upload is sent.
        The time moves on while the owner polls and the group gives signs of life, so an upload may
        wait long for its connection. A lease that has ended never comes back: after a gap, the rows
        may be another member's. A worker that stood still together with the owner sees by its own
        clock that the last poll is long ago.
        """
        lease = self._lease

        def until() -> float:
            # Read before the lease is compared: who sees a poll after a gap also sees that the gap
            # has ended the lease.
            until = self._polled_at + min(2 / 3 * self.session, LONGEST_GAP_SECONDS)
            if self._heard_at > -math.inf:  # before the first sign nothing is handed out
                until = min(until, self._heard_at + 2 / 3 * self.session)
            return until if self._lease == lease else -math.inf

        return until

    def end_leases(self) -> None:
        """See to it that nothing that was handed out, and is not sent yet, is sent any more."""
        self._lease += 1

    @property
    def _gap_open(self) -> bool:
        """Return whether no commit that was sent after the last gap was acknowledged yet."""
        return self._confirmed_at < self._gap_at

    def expired(self, now: float) -> bool:
        """Return whether nothing is to be uploaded now (fencing)."""
        return self._gap_open or now - self._heard_at > 2 / 3 * self.session

    def needs_probe(self, now: float) -> bool:
        """Return whether to ask the group for a sign, by a commit that may say nothing new."""
        return self._gap_open or now - self._heard_at > self.session / 3

    def on_confirmed(self, sent_at: float) -> None:
        """Take in that the group took a commit that was sent at this time; it closes older gaps."""
        gap_was_open = self._gap_open
        self._confirmed_at = max(self._confirmed_at, sent_at)
        self._heard_at = max(self._heard_at, sent_at)
        if gap_was_open and not self._gap_open:
            log.info("the group has confirmed this member")

    def on_assigned(self, now: float) -> None:
        """Take in an assignment, which is a sign of the group; it closes no gap.

        The client may have received it at any time since the last poll. So it counts as of then.
        """
        self._heard_at = max(self._heard_at, min(now, self._polled_at))
