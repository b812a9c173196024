"""Windows, the rows of one request each, and where each of them is between its cut and its end.

A window is in one place: queued (to be sent as soon as the gate lets it), parked (until a time), in
flight, or in the hands of the API as a task. Its rows keep their claims in all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum

import msgspec

from consumer.core.batching.lanes import Lanes
from consumer.core.model import Row, Stage
from consumer.core.verdict import Verdict

#: Failures that are an answer to the window, not an outage's: its end says nothing about them.
ANSWERS = frozenset({Verdict.REFUSED, Verdict.UNEXPECTED, Verdict.NONE_NAMED, Verdict.TOO_LARGE})


class Place(Enum):
    """Where a window is; exactly one of these."""

    NEW = "new"  #: just made
    QUEUED = "queued"  #: to be sent as soon as the gate lets it
    PARKED = "parked"  #: until ``due_at``
    IN_FLIGHT = "in_flight"
    TASK = "task"  #: taken over by the API: see ``tasks``
    GONE = "gone"


class Window(msgspec.Struct, eq=False, gc=False):
    """The rows of one request, kept together through its retries."""

    data_key: str
    rows: list[Row]
    reason: str  #: why it was closed: full, due, bytes, drain; or split
    number: int  #: unique in this process
    parent: int = 0  #: number of the failing window that it is a part of
    attempts: int = 0  #: times it was sent; with ``number`` it names an attempt
    failures: int = (
        0  #: in a row, of its present rows: for the back-off, and for what is tried first
    )
    doubted_since: float | None = (
        None  #: from when on what others pass counts against it: its first failure, or division
    )
    first_failed_at: float | None = None  #: its first failure; None: these rows have not failed
    failed_at: float | None = None  #: its latest failure
    failed_as: Verdict | None = None  #: its latest failure
    #: it, or the window it is a part of, failed although others had passed since a failure
    suspect: bool = False
    retried_after_evidence: bool = (
        False  #: others had passed since its latest failure when it was sent last
    )
    failing_since: float | None = (
        None  #: reading of healthy time when it, as a single row, first failed
    )
    sent_at: float = 0.0
    place: Place = Place.NEW
    due_at: float = 0.0  #: of a parked window
    by_task: bool = False  #: goes asynchronously
    on_trial: bool = False  #: was sent as the one window that is tried while uploading is paused

    def is_in_flight(self, attempt: int) -> bool:
        """Whether the answer to this attempt is awaited (I5)."""
        return self.place is Place.IN_FLIGHT and self.attempts == attempt

    @property
    def away(self) -> bool:
        """Whether it was sent and its outcome is awaited."""
        return self.place is Place.IN_FLIGHT or self.place is Place.TASK

    def waits(self, now: float) -> bool:
        """Whether it goes as soon as the gate lets it."""
        return self.place is Place.QUEUED or (self.place is Place.PARKED and self.due_at <= now)

    @property
    def oldest(self) -> float:
        """Arrival of its oldest row, seconds."""
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
        self.doubted_since = self.first_failed_at = self.failed_at = self.failing_since = (
            self.failed_as
        ) = None
        self.suspect = self.retried_after_evidence = False


#: The reason of windows that are parts of an earlier one, not cut from a lane.
PART = "split"


class Windows:
    """All windows of the process between their cut and their end, and where each of them is."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.live: dict[Window, None] = {}
        # Those that go asynchronously apart, as tasks may be full while other requests can start.
        self._queued: dict[bool, list[tuple[float, float, int, Window]]] = {False: [], True: []}
        self._parked: list[tuple[float, int, Window]] = []
        self._number = 0
        self._failed_went = False  # the window that went last had failed before

    def make(self, data_key: str, rows: list[Row], reason: str) -> Window:
        """A window of these rows, numbered; it is nowhere yet."""
        self._number += 1
        return Window(data_key, rows, reason, self._number, by_task=rows[0].by_task)

    # -- which one goes --------------------------------------------------------------------------

    def pick(self, now: float, *, alone: bool, tasks: bool = True) -> Window | None:
        """Take the window that goes next out of the queue, or cut one; None: there is none.

        ``alone``: as a pause's trial or a circuit's probe. ``tasks``: whether a further task may be
        started.
        """
        self._queue_due(now)
        return self._trial(now, tasks=tasks) if alone else self._usual(now, tasks=tasks)

    def start(self, window: Window, now: float) -> None:
        """The window is in flight from now on."""
        self._failed_went = window.failures > 0
        self.live[window] = None
        window.place = Place.IN_FLIGHT
        window.attempts += 1
        window.sent_at = now
        for row in window.rows:
            row.attempts += 1

    def wakes_at(self) -> float | None:
        """When the first parked window is due; None: none is parked."""
        while self._parked:
            due_at, _, window = self._parked[0]
            if window.place is Place.PARKED and window.due_at == due_at:
                return due_at
            heapq.heappop(self._parked)
        return None

    @property
    def in_flight(self) -> list[Window]:
        """The windows whose outcomes are awaited: an answer, or the end of a task."""
        return [window for window in self.live if window.away]

    def _queue_due(self, now: float) -> None:
        while self._parked and self._parked[0][0] <= now:
            due_at, _, due = heapq.heappop(self._parked)
            if due.place is Place.PARKED and due.due_at == due_at:
                self.queue(due)

    def _pop(self, *, tasks: bool) -> Window | None:
        heads = []
        for by_task, queued in self._queued.items():
            while queued and queued[0][-1].place is not Place.QUEUED:
                heapq.heappop(queued)
            if queued and (tasks or not by_task):
                heads.append(queued)
        return heapq.heappop(min(heads, key=lambda queued: queued[0]))[-1] if heads else None

    def _cut(self, now: float, *, tasks: bool, due_or_not: bool = False) -> Window | None:
        cut = self._lanes.cut(now, due_or_not=due_or_not, tasks=tasks)
        return None if cut is None else self.make(*cut)

    def _usual(self, now: float, *, tasks: bool) -> Window | None:
        """Windows go in turn, before rows that are in none yet.

        But none that failed goes twice while these could go.

        Where requests are few, its back-off may always be over when the next can start, and it is
        the oldest.
        """
        fresh = self._cut(now, tasks=tasks) if self._failed_went else None
        return fresh or self._pop(tasks=tasks) or self._cut(now, tasks=tasks)

    def _trial(self, now: float, *, tasks: bool) -> Window | None:
        """The one window to try, as a pause's trial or a circuit's probe.

        The one that failed least.

        A window that fails by its own fault would else be tried for ever, while others could show
        that all is well.
        """
        held = [
            w
            for w in self.live
            if w.place in (Place.QUEUED, Place.PARKED) and (tasks or not w.by_task)
        ]
        best = min(held, key=lambda w: (w.failures, w.oldest, w.number), default=None)
        if best is None or best.failures > 0:
            return self._cut(now, tasks=tasks, due_or_not=True) or best
        return best

    # -- from place to place ---------------------------------------------------------------------

    def queue(self, window: Window) -> None:
        """It goes as soon as the gate lets it."""
        self.live[window] = None
        window.place = Place.QUEUED
        # In turn, a part that was not sent yet first: one that goes on failing may always be due,
        # and the oldest.
        heapq.heappush(
            self._queued[window.by_task], (window.sent_at, window.oldest, window.number, window)
        )

    def park(self, window: Window, until: float) -> None:
        """It goes from a time on (I8)."""
        self.live[window] = None
        window.place = Place.PARKED
        window.due_at = until
        heapq.heappush(self._parked, (until, window.number, window))

    def unpark(self, now: float, *, failures_below: int) -> None:
        """Make what is parked due now, apart from windows with so many failures."""
        for window in self.live:
            if window.place is Place.PARKED and window.failures < failures_below:
                self.park(window, now)

    def reset_failures(self, now: float, *, since: float) -> None:
        """Let windows that failed only after ``since`` start anew, due now (I8).

        The API was at fault, and works again.

        Those that are not full are gathered anew: an outage's probes, each cut from what there was,
        and windows that were divided without evidence, must not become as many small requests.
        """
        for window in list(self.live):
            doubted_since = window.doubted_since
            if (
                window.place not in (Place.PARKED, Place.QUEUED)
                or window.suspect
                or window.failed_as in ANSWERS
            ):
                continue
            if not window.failures or doubted_since is None or doubted_since < since:
                continue
            window.begin_anew()
            if len(window.rows) < self._lanes.max_rows:
                self.end(window)
                self._lanes.add(window.rows)
            elif window.place is Place.PARKED:
                self.park(window, now)

    def suspect_siblings(self, window: Window) -> None:
        """A part of a failing window passed: the fault is in the other parts."""
        if window.parent:
            for other in self.live:
                other.suspect = other.suspect or other.parent == window.parent

    def end(self, window: Window) -> None:
        """The window is no more."""
        window.place = Place.GONE
        self.live.pop(window, None)

    def divide(
        self, window: Window, now: float, *, parts: int = 2, failing: bool, suspect: bool = False
    ) -> None:
        """Queue about equal parts in place of a window of at least two rows (I1).

        ``failing``: nobody knows why it fails.
        """
        rows = window.rows
        self.end(window)
        size = -(-len(rows) // parts)
        for start in range(0, len(rows), size):
            part = self.make(window.data_key, rows[start : start + size], PART)
            if failing:
                part.parent, part.doubted_since, part.suspect = window.number, now, suspect
            self.queue(part)

    # -- rows that are taken away ----------------------------------------------------------------

    def rows_at_rest(self) -> Iterator[Row]:
        """The rows of windows that are not in flight."""
        for window in self.live:
            if not window.away:
                yield from window.rows

    def remove_done(self) -> None:
        """Take released rows out of the windows that are not in flight (fencing)."""
        for window in list(self.live):
            if window.away:
                continue
            before = len(window.rows)
            window.rows = [row for row in window.rows if row.stage != Stage.DONE]
            if len(window.rows) < before:
                window.begin_anew()  # what failed are not these rows alone
            if not window.rows:
                self.end(window)
