"""Windows, the rows of one request each, and where each of them is between its cut and its end.

A window is in one place: queued (to be sent as soon as the gate lets it), parked (until a time), in flight, in the
hands of the API as a task, or behind the first part of a bisected window. Its rows keep their claims in all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum

import msgspec

from consumer.core.lanes import Lanes
from consumer.core.model import Row, Stage


class Place(Enum):
    """Where a window is; exactly one of these."""

    NEW = "new"  #: just made; or behind the first part of a bisected window
    QUEUED = "queued"  #: to be sent as soon as the gate lets it
    PARKED = "parked"  #: until ``due_at``
    IN_FLIGHT = "in_flight"
    TASK = "task"  #: taken over by the API: see ``tasks``
    GONE = "gone"


class Window(msgspec.Struct, eq=False, gc=False):
    """The rows of one request, kept together through its retries."""

    data_key: str
    rows: list[Row]
    reason: str  #: why it was closed: full, due, bytes, drain; or split, rest
    number: int  #: unique in this process
    attempts: int = 0  #: times it was sent; with ``number`` it names an attempt
    failures: int = 0  #: in a row, for the back-off
    faults: int = 0  #: 5xx and time-outs since the first one, while other windows may pass
    passed_mark: int = -1  #: accepted windows of the process when it first failed or was not sent; -1: it did not
    blamed: bool = False  #: it, or the window it is a part of, failed while others passed
    failing_since: float = -1.0  #: reading of the passing clock when it, as a single row, first failed; -1: it did not
    refused_at: float = -1.0  #: when it, or the window it is a part of, was last answered 403..406; -1: never
    refusals: int = 0
    trials: int = 0  #: how often it failed as the one window that is tried while uploading is paused
    sent_at: float = 0.0
    place: Place = Place.NEW
    due_at: float = 0.0  #: of a parked window
    by_task: bool = False  #: goes asynchronously
    on_trial: bool = False  #: was sent as the one window that is tried while uploading is paused
    rest: Window | None = None  #: the other part of a bisected window, waiting for this one's answer

    def is_in_flight(self, attempt: int) -> bool:
        """Whether the answer to this attempt is awaited."""
        return self.place is Place.IN_FLIGHT and self.attempts == attempt

    @property
    def away(self) -> bool:
        """Whether it was sent and its outcome is awaited."""
        return self.place is Place.IN_FLIGHT or self.place is Place.TASK

    @property
    def times_failed(self) -> int:
        """How often it failed in any way since its rows changed last: the order in which windows are tried alone."""
        return self.failures + self.refusals + self.trials

    @property
    def oldest(self) -> float:
        """Arrival of its oldest row, seconds."""
        return min((row.arrived for row in self.rows), default=0.0)


#: Reasons of windows that are parts of an earlier one, not cut from a lane.
PARTS = frozenset({"split", "rest"})
#: The share of a window that is tried first when a bad row is sought. When that part passes, the bad row must be in the
#: rest, which is then divided without being sent whole; this share makes both ways cost the same (a Fibonacci
#: search), so that one bad row among 100 is found in at most 12 calls.
FIRST_SHARE = 0.382


def bisect(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The two parts of at least two rows for the search for a bad one."""
    cut = max(1, round(len(rows) * FIRST_SHARE))
    return rows[:cut], rows[cut:]


class Windows:
    """All windows of the process between their cut and their end, and where each of them is."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.live: dict[Window, None] = {}
        # Those that go asynchronously apart, as tasks may be full while other requests can start.
        self._queued: dict[bool, list[tuple[float, int, Window]]] = {False: [], True: []}
        self._parked: list[tuple[float, int, Window]] = []
        self._number = 0
        self._failed_went = False  # the window that went last had failed before

    def make(self, data_key: str, rows: list[Row], reason: str) -> Window:
        """A window of these rows, numbered; it is nowhere yet."""
        self._number += 1
        return Window(data_key, rows, reason, self._number, by_task=rows[0].by_task)

    # -- which one goes ------------------------------------------------------------------------------------------

    def next(self, now: float, *, alone: bool, tasks: bool = True) -> Window | None:
        """The window that goes next, in flight from ``now`` on; None: there is none.

        ``alone``: as a pause's trial or a circuit's probe. ``tasks``: whether a further task may be started.
        """
        self._queue_due(now)
        window = self._trial(now, tasks=tasks) if alone else self._usual(now, tasks=tasks)
        if window is not None:
            self._failed_went = window.times_failed > 0
            self.live[window] = None
            window.place = Place.IN_FLIGHT
            window.attempts += 1
            window.sent_at = now
            for row in window.rows:
                row.attempts += 1
        return window

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
            while queued and queued[0][2].place is not Place.QUEUED:
                heapq.heappop(queued)
            if queued and (tasks or not by_task):
                heads.append(queued)
        return heapq.heappop(min(heads, key=lambda queued: queued[0]))[2] if heads else None

    def _cut(self, now: float, *, tasks: bool, due_or_not: bool = False) -> Window | None:
        cut = self._lanes.cut(now, due_or_not=due_or_not, tasks=tasks)
        return None if cut is None else self.make(*cut)

    def _usual(self, now: float, *, tasks: bool) -> Window | None:
        """Windows go before rows that are in none yet; but none that failed goes twice while these could go.

        Where requests are few, its back-off may always be over when the next can start, and it is the oldest.
        """
        fresh = self._cut(now, tasks=tasks) if self._failed_went else None
        return fresh or self._pop(tasks=tasks) or self._cut(now, tasks=tasks)

    def _trial(self, now: float, *, tasks: bool) -> Window | None:
        """The one window to try, as a pause's trial or a circuit's probe: the one that failed least.

        A window that fails by its own fault would else be tried for ever, while others could show that all is well.
        """
        held = [w for w in self.live if w.place in (Place.QUEUED, Place.PARKED) and (tasks or not w.by_task)]
        best = min(held, key=lambda w: (w.times_failed, w.oldest, w.number), default=None)
        if best is None or best.times_failed > 0:
            return self._cut(now, tasks=tasks, due_or_not=True) or best
        return best

    # -- from place to place -------------------------------------------------------------------------------------

    def queue(self, window: Window) -> None:
        """It goes as soon as the gate lets it."""
        self.live[window] = None
        window.place = Place.QUEUED
        heapq.heappush(self._queued[window.by_task], (window.oldest, window.number, window))

    def park(self, window: Window, until: float) -> None:
        """It goes from a time on."""
        self.live[window] = None
        window.place = Place.PARKED
        window.due_at = until
        heapq.heappush(self._parked, (until, window.number, window))

    def unpark(self, now: float, *, faults_below: int) -> None:
        """What is parked is due now, apart from windows with so many faults."""
        for window in self.live:
            if window.place is Place.PARKED and window.faults < faults_below:
                self.park(window, now)

    def pardon(self, now: float, *, passed: int) -> None:
        """An outage is over: windows that failed only since the last one was accepted start anew, and are due now.

        ``passed``: accepted windows of the process. Those that are not full are gathered anew: an outage's probes,
        each cut from what there was, must not become as many small requests.
        """
        for window in list(self.live):
            if window.place not in (Place.PARKED, Place.QUEUED) or window.passed_mark != passed:
                continue
            window.failures = window.faults = 0
            window.passed_mark = -1
            is_part = window.reason in PARTS or window.rest is not None or window.refused_at >= 0
            if len(window.rows) < self._lanes.max_rows and not is_part:
                self.end(window)
                self._lanes.add(window.rows)
            elif window.place is Place.PARKED:
                self.park(window, now)

    def end(self, window: Window) -> None:
        """The window is no more; what waited behind it goes."""
        window.place = Place.GONE
        self.live.pop(window, None)
        self.release_rest(window)

    def release_rest(self, window: Window) -> None:
        """The window's answer may be long in coming: what waits behind it does not depend on it, and goes."""
        rest, window.rest = window.rest, None
        if rest is not None:
            self.queue(rest)

    def divide(self, window: Window) -> None:
        """Seek a bad row: the first part goes now, the rest when the first one's answer is there."""
        first, rest = (self._part(window, rows) for rows in bisect(window.rows))
        rest.rest, window.rest = window.rest, None
        first.rest = rest
        self.end(window)
        self.queue(first)

    def halve(self, window: Window) -> bool:
        """Two halves in place of the window, both to be sent; False: it is a single row."""
        rows = window.rows
        if len(rows) < 2:
            return False
        self.end(window)
        middle = (len(rows) + 1) // 2
        for half in (rows[:middle], rows[middle:]):
            self.queue(self._part(window, half))
        return True

    def _part(self, window: Window, rows: list[Row]) -> Window:
        """A part of a window; it takes over when the whole was refused: the others' passing since then counts."""
        part = self.make(window.data_key, rows, "split")
        part.refused_at = window.refused_at
        part.passed_mark = window.passed_mark
        part.blamed = window.blamed
        return part

    # -- rows that are taken away --------------------------------------------------------------------------------

    def rows_at_rest(self) -> Iterator[Row]:
        """The rows of windows that are not in flight, those behind the first part of a bisected one included."""
        for window in self.live:
            if not window.away:
                yield from window.rows
            behind = window.rest
            while behind is not None:
                yield from behind.rows
                behind = behind.rest

    def remove_done(self) -> None:
        """Take released rows out of the windows that are not in flight."""
        for window in list(self.live):
            # Those behind first: when nothing is left of the window itself, the next one takes its place.
            behind = window
            while behind.rest is not None:
                behind.rest.rows = [row for row in behind.rest.rows if row.stage != Stage.DONE]
                if not behind.rest.rows:
                    behind.rest = behind.rest.rest
                else:
                    behind = behind.rest
            if window.away:
                continue
            before = len(window.rows)
            window.rows = [row for row in window.rows if row.stage != Stage.DONE]
            if len(window.rows) < before:
                window.refused_at = -1.0  # what was refused are not these rows alone
            if not window.rows:
                self.end(window)
