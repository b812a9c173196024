"""Whether this process is still the member of its group that it takes itself for.

A process that was suspended, or a machine that stood still, does not know it: the group may have given its partitions
to others meanwhile, and the client may learn that only a moment after it goes on. So after a gap between two polls
nothing is uploaded until the group has acknowledged a commit that was sent after the gap; it takes none from a member
that it has thrown out.
"""

from __future__ import annotations

import logging
import math

log = logging.getLogger(__name__)

#: A gap this long is one, however long the session is: what the brokers set is not known with group_protocol consumer.
LONGEST_GAP_SECONDS = 5.0


class Membership:
    """What is known of it; times in seconds of the owner's clock.

    ``session_seconds``: the group's session time-out; infinite for a reader that is no member. The group counts it from
    the last heartbeat, which may be older than the last poll by a third of it, as is usual at most.
    """

    def __init__(self, session_seconds: float) -> None:
        self._holds = 2 / 3 * session_seconds
        self._gap = min(session_seconds / 3, LONGEST_GAP_SECONDS) if session_seconds < math.inf else math.inf
        self._polled_at = math.inf
        self.doubtful = False  #: nothing is to be uploaded now
        self._asked = False

    def polled(self, now: float) -> bool:
        """The client was polled, or the loop is inside of its callbacks; whether there was a gap."""
        gap = now - self._polled_at > self._gap
        if gap:
            log.warning(
                "this process stood still for %.1f s: nothing is uploaded until the group has confirmed this member",
                now - self._polled_at,
            )
            self.doubtful = True
            self._asked = False
        self._polled_at = now
        return gap

    def silent_for(self, now: float) -> float:
        """How long ago the last poll was."""
        return now - self._polled_at

    @property
    def start_by(self) -> float:
        """When an upload must have begun: a worker that stood still, too, must not begin it later."""
        return self._polled_at + self._holds

    def asked(self) -> None:
        """A commit is sent; the only one in flight."""
        self._asked = self.doubtful

    def confirmed(self) -> None:
        """The group took a commit: in doubt, it ends it if it was sent after the gap."""
        if self._asked:
            log.info("the group has confirmed this member")
            self.doubtful = self._asked = False
