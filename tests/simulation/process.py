"""A simulated process: one owner thread, threads beside it, and what can befall it at any step.

Every call of an adapter and every wait of the owner loop is a *step*. Before or after any of them
the process can be killed (as by kill -9) or frozen (as by SIGSTOP, or a machine without a processor
to spare). What it had sent by then is on its way all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.scheduler import Scheduler, Task


@dataclass
class Strike:
    """A blow at a process's step.

    It falls at the ``nth`` step of its kind: ``frozen`` for so many seconds, or killed (0).
    """

    step: str
    nth: int
    frozen: float


class Process:
    """``run`` is its owner thread's life.

    ``ended`` is told when that returns. Whoever must know subscribes to it.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        run: Callable[[], object],
        *,
        strikes: list[Strike] | None = None,
        struck: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.scheduler = scheduler
        self.name = name
        self.alive = True
        self.on_stop: list[Callable[[], object]] = []  #: called when no thread of it runs any more
        self.on_thaw: list[Callable[[], object]] = []  #: called when its threads run again
        self.on_kill: list[Callable[[], object]] = []  #: called when it was killed
        self._strikes = strikes or []
        self._struck = struck
        self._missed: list[Callable[[], object]] = []
        self._task = Task(scheduler, run)

    def start(self) -> None:
        """Begin now."""
        self._task.start()

    @property
    def frozen(self) -> bool:
        """Return whether none of its threads gets time."""
        return self._task.frozen

    @property
    def running(self) -> bool:
        """Return whether its threads run."""
        return self.alive and not self._task.frozen

    # -- its owner thread ------------------------------------------------------------------------

    def step(self, kind: str) -> None:
        """Let happen what is planned between two effects; on the owner's thread."""
        for strike in self._strikes:
            if strike.step == kind:
                strike.nth -= 1
                if not strike.nth:
                    self._strikes.remove(strike)
                    self._strike(strike)
                    return

    def sleep(self, seconds: float) -> None:
        """Let time pass; on the owner's thread."""
        self._task.wait(seconds)

    def rest(self, seconds: float) -> None:
        """Let time pass, until ``wake``; on the owner's thread."""
        self._task.wait(seconds, wakeable=True)

    def wake(self, delay: float = 0.0) -> None:
        """End its rest, after a delay."""
        self._task.wake(delay)

    def _strike(self, strike: Strike) -> None:
        if strike.frozen:
            self._struck(f"frozen for {strike.frozen:.1f} s at {strike.step}")
            self.freeze(strike.frozen)
            self._task.wait(0.0)
        else:
            self._struck(f"killed at {strike.step}")
            self.kill()

    # -- its other threads -----------------------------------------------------------------------

    def thread(self, delay: float, do: Callable[[], object]) -> None:
        """Do something after a delay, as a thread beside the owner; never, if the process is dead
        by then.
        """
        self.scheduler.after(delay, lambda: self._do(do))

    def _do(self, do: Callable[[], object]) -> None:
        if not self.alive:
            return
        if self._task.frozen:
            self._missed.append(do)
        else:
            do()

    # -- what befalls it -------------------------------------------------------------------------

    def freeze(self, seconds: float) -> None:
        """Give no thread of it time for so long."""
        if self._task.frozen or not self.alive:
            return
        self._task.freeze()
        self._tell(self.on_stop)
        self.scheduler.after(seconds, self.thaw)

    def thaw(self) -> None:
        """Let all its threads go on."""
        if not self._task.frozen or not self.alive:
            return
        self._task.thaw()
        missed, self._missed = self._missed, []
        for do in missed:
            self.thread(0.0, do)
        self._tell(self.on_thaw)

    def kill(self) -> None:
        """End it at once."""
        if not self.alive:
            return
        self.alive = False
        was_frozen = self._task.frozen
        self._missed.clear()
        if not was_frozen:
            self._tell(self.on_stop)
        self._tell(self.on_kill)
        self._task.kill()

    def end(self) -> None:
        """End it: its owner thread has returned."""
        self.alive = False
        self._tell(self.on_stop)

    def spare(self) -> None:
        """Let nothing befall it any more."""
        self._strikes.clear()
        self.thaw()

    def _tell(self, whom: list[Callable[[], object]]) -> None:
        for call in whom:
            call()
