"""All windows between their cut and their end, in queues by priority and by time.

A window is in one place: queued (to be sent as soon as the gate lets it), parked (until a time), in
flight, or in the hands of the API as a task. Its rows keep their claims in all of them. One that
leaves a queue is only marked: its entry is dropped when it comes to the top (lazy deletion).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from consumer.core.batching.lanes import Lanes
from consumer.core.batching.window import PART, Place, Window
from consumer.core.model import Row, Stage
from consumer.core.verdict import Verdict

#: Failures that are about the window, not an outage's: an outage's end does not reset them.
OWN_FAILURES = frozenset(
    {Verdict.REFUSED, Verdict.UNEXPECTED, Verdict.NONE_NAMED, Verdict.TOO_LARGE}
)


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
        """Return a window of these rows, numbered; it is nowhere yet."""
        assert rows, "a window without rows"
        self._number += 1
        return Window(data_key, rows, reason, self._number, by_task=rows[0].by_task)

    # -- which one goes --------------------------------------------------------------------------

    def pick(self, now: float, *, alone: bool, tasks: bool = True) -> Window | None:
        """Take the window that goes next out of the queue, or cut one; None: there is none.

        ``alone``: it goes as the probe of a pause or of the circuit. ``tasks``: whether a further
        task may be started.
        """
        self._queue_due(now)
        return self._probe(now, tasks=tasks) if alone else self._usual(now, tasks=tasks)

    def start(self, window: Window, now: float) -> None:
        """Put the window in flight."""
        assert not window.away, "a window is sent whose outcome is awaited"
        assert window.place is not Place.GONE, "a window is sent that is no more"
        self._failed_went = window.failures > 0
        self.live[window] = None
        window.place = Place.IN_FLIGHT
        window.attempts += 1
        window.sent_at = now
        for row in window.rows:
            row.attempts += 1

    def hand_over(self, window: Window) -> None:
        """Take in that the API works on the window as a task."""
        assert window.place is Place.IN_FLIGHT, "a task of a window that was not in flight"
        window.place = Place.TASK

    def wakes_at(self) -> float | None:
        """Return when the first parked window is due; None: none is parked."""
        while self._parked:
            due_at, _, window = self._parked[0]
            if window.place is Place.PARKED and window.due_at == due_at:
                return due_at
            heapq.heappop(self._parked)
        return None

    @property
    def in_flight(self) -> list[Window]:
        """Return the windows whose outcomes are awaited: a response, or the end of a task."""
        return [window for window in self.live if window.away]

    def nothing_else(self, window: Window) -> bool:
        """Return whether nothing else of the window's kind is ready or untried.

        Such a thing could show whose fault a failure is. The kind: it goes as a task, or it does
        not.
        """
        others = (
            other for other in self.live if other is not window and other.by_task is window.by_task
        )
        return not self._lanes.has(by_task=window.by_task) and all(
            other.failures for other in others
        )

    def only_suspects(self) -> bool:
        """Return whether all that can be sent failed while others passed.

        One that did not may fail by the API's fault.
        """
        return not self._lanes and bool(self.live) and all(window.suspect for window in self.live)

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
        """Let windows go in turn, before rows that are in none yet.

        But after one that failed, such rows go first: where requests are few, its back-off may
        always be over when the next can start, and it is the oldest.
        """
        fresh = self._cut(now, tasks=tasks) if self._failed_went else None
        return fresh or self._pop(tasks=tasks) or self._cut(now, tasks=tasks)

    def _probe(self, now: float, *, tasks: bool) -> Window | None:
        """Return the window that failed least, as the probe of a pause or of the circuit.

        A window that fails by its own fault would else be probed for ever, while others could show
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
        """Let it go as soon as the gate lets it."""
        assert window.place is not Place.GONE, "a window is queued that is no more"
        self.live[window] = None
        window.place = Place.QUEUED
        # In turn, a part that was not sent yet first: one that goes on failing may always be due,
        # and the oldest.
        entry = (window.sent_at, window.oldest, window.number, window)
        heapq.heappush(self._queued[window.by_task], entry)

    def park(self, window: Window, until: float) -> None:
        """Let it go from a time on (I8)."""
        assert window.place is not Place.GONE, "a window is parked that is no more"
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

        The API was at fault, and works again. Windows that are not full are gathered anew: an
        outage's probes, each cut from what there was, and windows that were divided without
        evidence, must not become as many small requests.
        """
        for window in list(self.live):
            if window.away or window.suspect or window.failed_as in OWN_FAILURES:
                continue
            doubted_since = window.doubted_since
            if not window.failures or doubted_since is None or doubted_since < since:
                continue
            window.begin_anew()
            if len(window.rows) < self._lanes.max_rows:
                self.end(window)
                self._lanes.add(window.rows)
            elif window.place is Place.PARKED:
                self.park(window, now)

    def suspect_siblings(self, window: Window) -> None:
        """Suspect the other parts of a failing window, as this part of it passed."""
        if window.parent:
            for other in self.live:
                other.suspect = other.suspect or other.parent == window.parent

    def end(self, window: Window) -> None:
        """Forget the window."""
        assert window.place is not Place.GONE, "a window ends twice"
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
            part.last_response = window.last_response
            part.part_of = window.number
            if failing:
                part.parent, part.doubted_since, part.suspect = window.number, now, suspect
            self.queue(part)

    # -- rows that are taken away ----------------------------------------------------------------

    def waiting_rows(self) -> Iterator[Row]:
        """Yield the rows of windows that are not in flight."""
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
