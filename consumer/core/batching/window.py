"""A window: the rows of one request, kept together through its retries, and its state.

::

    NEW ──► IN_FLIGHT ──► QUEUED or PARKED ──► IN_FLIGHT again
     │        │  │  └───► TASK ──► as from IN_FLIGHT
     └────────┼──┼──────► QUEUED (a part of another window)
              └──┴──────► GONE
"""

from __future__ import annotations

from enum import Enum

import msgspec

from consumer.core.model import Row
from consumer.core.verdict import Verdict

#: The reason of windows that are parts of an earlier one, not cut from a lane.
PART = "split"


class Place(Enum):
    """Where a window is; exactly one of these."""

    NEW = "new"  #: just made
    QUEUED = "queued"  #: to be sent as soon as the gate lets it
    PARKED = "parked"  #: until ``due_at``
    IN_FLIGHT = "in_flight"
    TASK = "task"  #: taken over by the API: see ``tasks``
    GONE = "gone"


class Window(msgspec.Struct, eq=False, gc=False):
    """The rows of one request; times in seconds of the owner's clock."""

    data_key: str
    rows: list[Row]
    reason: str  #: why it was closed: full, due, bytes, drain; or split
    number: int  #: unique in this process
    part_of: int = 0  #: number of the window that it is a part of, if any; for people
    parent: int = 0  #: the same, if nobody knows why that one failed
    attempts: int = 0  #: times it was sent; with ``number`` it names an attempt
    #: in a row, of its present rows: for the back-off, and for what is tried first
    failures: int = 0
    #: from when on what others pass counts against it: its first failure, or division
    doubted_since: float | None = None
    first_failed_at: float | None = None  #: its first failure; None: these rows have not failed
    failed_at: float | None = None  #: its latest failure
    failed_as: Verdict | None = None  #: its latest failure
    #: how its latest request failed, in brief, for people; empty: its present rows have not failed
    last_response: str = ""
    #: it, or the window it is a part of, failed although others had passed since a failure
    suspect: bool = False
    #: others had passed since its latest failure when it was sent last
    retried_after_evidence: bool = False
    #: reading of healthy time when it, as a single row, first failed
    failing_since: float | None = None
    sent_at: float = 0.0
    place: Place = Place.NEW
    due_at: float = 0.0  #: of a parked window
    by_task: bool = False  #: goes asynchronously
    is_probe: bool = False  #: was sent while uploading was paused, as the one that is tried

    def is_in_flight(self, attempt: int) -> bool:
        """Return whether the response to this attempt is awaited (I5)."""
        return self.place is Place.IN_FLIGHT and self.attempts == attempt

    @property
    def away(self) -> bool:
        """Return whether it was sent and its outcome is awaited."""
        return self.place is Place.IN_FLIGHT or self.place is Place.TASK

    def waits(self, now: float) -> bool:
        """Return whether it goes as soon as the gate lets it."""
        return self.place is Place.QUEUED or (self.place is Place.PARKED and self.due_at <= now)

    @property
    def oldest(self) -> float:
        """Return the arrival of its oldest row, seconds."""
        return min((row.arrived for row in self.rows), default=0.0)

    def fail(self, now: float, verdict: Verdict) -> None:
        """Count a failure, which may be the fault of these rows."""
        self.failures += 1
        self.failed_as = verdict
        self.failed_at = now
        if self.first_failed_at is None:
            self.first_failed_at = now
        if self.doubted_since is None:
            self.doubted_since = now

    def begin_anew(self) -> None:
        """Forget its failures: they say nothing about the rows that are in it now."""
        self.failures = 0
        self.doubted_since = self.first_failed_at = None
        self.failed_at = self.failed_as = self.failing_since = None
        self.suspect = self.retried_after_evidence = False
        self.last_response = ""
