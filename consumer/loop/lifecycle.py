"""Where the process is in its life: it only ever goes on to a later phase."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum

from consumer.errors import UserError


class Phase(IntEnum):
    """A phase, in the order of the process's life."""

    JOINING = 0  #: the group has not answered yet
    RUNNING = 1  #: the group gave an assignment, even an empty one
    STOP_REQUESTED = 2  #: nothing new is begun; the loop comes to it within a turn
    DRAINING = 3  #: nothing is read or sent any more; what is in flight is awaited
    STOPPED = 4  #: the last commit is done, and the group is left


class Lifecycle:
    """The phase, and what ends it. Times in seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float], stop_seconds: float) -> None:
        self._clock = clock
        self.stop_seconds = stop_seconds  #: what is in flight is awaited for so long
        self.phase = Phase.JOINING
        self.end: int | UserError | None = None  #: exit code, or the failure that stops the loop
        self.stop_by = math.inf  #: when a stop waits no longer
        self.signals = 0

    @property
    def stopping(self) -> bool:
        """Return whether the process is to end: nothing new is begun."""
        return self.end is not None

    @property
    def leaves_at_once(self) -> bool:
        """Return whether a second signal came: nothing is waited for."""
        return self.signals > 1

    def join(self) -> None:
        """Take in that the group has answered."""
        if self.phase is Phase.JOINING:
            self.phase = Phase.RUNNING
            if self.stopping:  # a signal's handler may have run between the two lines above
                self.phase = Phase.STOP_REQUESTED

    def signal(self, exit_code: int = 0) -> None:
        """Request a stop; the second time, at once. Safe to call from a signal handler."""
        self.signals += 1
        self.request_stop(exit_code)

    def request_stop(self, end: int | UserError) -> None:
        """Stop, once what is in flight has ended, with this exit code or error.

        The first request counts. For the owner's thread, and signal handlers on it.
        """
        if self.end is None:
            # The phase before the end: once that is seen, the owner may go on to drain.
            self.stop_by = self._clock() + self.stop_seconds
            self.phase = Phase.STOP_REQUESTED
            self.end = end

    def fail(self, error: UserError) -> None:
        """Stop with this error, also where a stop is under way; the first failure is raised."""
        self.request_stop(error)
        if not isinstance(self.end, UserError):
            self.end = error

    def drain(self) -> None:
        """Begin to await what is in flight."""
        self.phase = Phase.DRAINING

    def finish(self) -> None:
        """Take in that all is committed that will be."""
        self.phase = Phase.STOPPED
