"""Simulated time: one heap of events, and tasks that wait for it.

Nothing here runs beside anything else. A task (the owner loop of a process) is a greenlet: when it
waits, it hands control back to the scheduler, which does the next event, whatever that belongs to.
Two events of one moment happen in the order in which they were planned, so a run is decided by its
inputs alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import greenlet  # type: ignore[import-untyped]

#: What the simulated monotonic clock shows at the start, seconds.
BEGIN = 1000.0


class Killed(greenlet.GreenletExit):  # type: ignore[misc]
    """The process is killed; raised wherever its task stands.

    It is not an Exception, so that no code catches it.
    """


class Event:
    """Something that is planned; it may be cancelled."""

    __slots__ = ("at", "do")

    def __init__(self, at: float, do: Callable[[], object]) -> None:
        self.at = at
        self.do: Callable[[], object] | None = do

    def cancel(self) -> None:
        """Do not let it happen."""
        self.do = None


class Scheduler:
    """The simulated clock, seconds, and what is planned."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.events = 0  #: done so far
        self._heap: list[tuple[float, int, Event]] = []
        self._planned = 0
        self._hub = greenlet.getcurrent()

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def at(self, time: float, do: Callable[[], object]) -> Event:
        """Plan something for a time; one that has passed means now."""
        event = Event(max(time, self.now), do)
        self._planned += 1
        heapq.heappush(self._heap, (event.at, self._planned, event))
        return event

    def after(self, seconds: float, do: Callable[[], object]) -> Event:
        """Plan something for so many seconds from now."""
        return self.at(self.now + seconds, do)

    def run(self, done: Callable[[], bool], until: float) -> bool:
        """Do what is planned until ``done`` (asked after each event), at most until a time.

        Return whether it is done.
        """
        assert greenlet.getcurrent() is self._hub, "the scheduler is entered from within a task"
        heap = self._heap
        while not done():
            if not heap or heap[0][0] > until:
                self.now = max(self.now, until)
                return False
            self.now, _, event = heapq.heappop(heap)
            if event.do is not None:
                self.events += 1
                event.do()
        return True


class Task:
    """A greenlet that waits and goes on; ``frozen``: it gets no control until it is thawed."""

    def __init__(self, scheduler: Scheduler, run: Callable[[], object]) -> None:
        self._scheduler = scheduler
        self._hub = greenlet.getcurrent()
        self._greenlet = greenlet.greenlet(run, self._hub)
        self._timer: Event | None = None
        self._wakeable = False
        self.frozen = False
        self._missed = False  # it should have gone on while it was frozen

    def start(self) -> None:
        """Plan its beginning for now."""
        self._timer = self._scheduler.after(0.0, self._go)

    @property
    def dead(self) -> bool:
        """Return whether it has ended."""
        return bool(self._greenlet.dead)

    def wait(self, seconds: float, *, wakeable: bool = False) -> None:
        """Let so much time pass; inside the task.

        ``wakeable``: or less, if ``wake`` is called meanwhile.
        """
        assert greenlet.getcurrent() is self._greenlet, "only the task itself can wait"
        self._wakeable = wakeable
        self._timer = self._scheduler.after(seconds, self._go)
        self._hub.switch()

    def wake(self, delay: float = 0.0) -> None:
        """Let it wait no longer than for this delay, if it waits."""
        timer = self._timer
        if self._wakeable and timer is not None and timer.at > self._scheduler.now + delay:
            timer.cancel()
            self._timer = self._scheduler.after(delay, self._go)

    def freeze(self) -> None:
        """Give it no control any more."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on; what it waited for and missed is there at once."""
        self.frozen = False
        if self._missed:
            self._missed = False
            self._timer = self._scheduler.after(0.0, self._go)

    def kill(self) -> None:
        """End it where it stands: from outside, or, when it is the one that runs, by ``Killed``."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if greenlet.getcurrent() is self._greenlet:
            raise Killed
        if not self._greenlet.dead:
            self._greenlet.throw(Killed())

    def _go(self) -> None:
        self._timer = None
        if self.frozen:
            self._missed = True
            return
        self._greenlet.switch()
