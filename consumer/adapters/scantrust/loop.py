"""Steps that wait for sockets, and the loop in which one thread drives many of them.

What is to be done over a connection is written as plain steps: a generator that yields a socket
where it must wait for it. ``Loop`` goes on with whichever may. So nothing blocks, and one thread
serves all connections: threads that hand the interpreter to each other cost more than a call does.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
FOR_EVER = float("inf")

T = TypeVar("T")
#: Who is told how steps ended: what they returned, or what they raised.
Done = Callable[[Any, Exception | None], None]


class Owner(Protocol):
    """Who is told that something comes on a socket while no steps wait for it."""

    def on_unasked(self) -> None: ...


class Watched:
    """A socket that does not block, and until when to wait for it, by the clock of the loop."""

    def __init__(self, sock: socket.socket, until: float, owner: Owner | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.until = until
        self.owner = owner
        self.steps: tuple[Steps[Any], Done] | None = None  #: those that wait for it
        self._selector: selectors.BaseSelector | None = None
        self._mask = 0

    def watch(self, selector: selectors.BaseSelector, mask: int) -> None:
        """Have it looked at by the system from now on, until it is closed."""
        if self._selector is None:
            selector.register(self.sock, mask, self)
        elif mask != self._mask:
            selector.modify(self.sock, mask, self)
        self._selector, self._mask = selector, mask

    def rest(self) -> None:
        """Have no more looked at than whether there is something to read."""
        if self._selector is not None:
            self.watch(self._selector, READ)

    def close(self) -> None:
        """Close the socket, however often it is asked for."""
        if self._selector is not None:
            self._selector.unregister(self.sock)
            self._selector = None
        self.sock.close()


#: What yields a socket, and whether it waits to read or to write, and returns something in the end.
Steps = Generator[tuple[Watched, int], None, T]


class Loop:
    """Drives steps; for one thread.

    Where steps wait for a socket that is not ready in time, TimeoutError is raised.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._waiting: set[Watched] = set()
        self._look_at = FOR_EVER  # before that no wait is over

    def __len__(self) -> int:
        return len(self._waiting)

    def watch(self, watched: Watched) -> None:
        """Tell its owner whenever there is something to read."""
        watched.watch(self._selector, READ)

    def start(self, steps: Steps[Any], done: Done) -> None:
        """Go on with steps until they have to wait."""
        self._go_on(steps, done)

    def turn(self) -> None:
        """Wait until a socket is ready, or a wait is over, and go on with what waited for that."""
        left = self._look_at - self._clock()
        for key, _ in self._selector.select(None if left == FOR_EVER else max(0.0, left)):
            watched: Watched = key.data
            if watched.steps is not None:
                self._wake(watched)
            elif watched.owner is not None:
                watched.owner.on_unasked()
        if (now := self._clock()) >= self._look_at:
            for watched in [one for one in self._waiting if one.until <= now]:
                self._wake(watched, TimeoutError("the time is over"))
            self._look_at = min((one.until for one in self._waiting), default=FOR_EVER)

    def fail(self, error: Exception) -> None:
        """Raise an error in all steps that wait: nobody knows how they would go on."""
        for watched in list(self._waiting):
            self._wake(watched, error)

    def close(self) -> None:
        """Leave what is under way undone, and close all sockets."""
        for watched in list(self._waiting):
            if watched.steps is not None:
                watched.steps[0].close()
        self._waiting.clear()
        for key in list(self._selector.get_map().values()):
            key.data.close()
        self._selector.close()

    def _wake(self, watched: Watched, error: Exception | None = None) -> None:
        self._waiting.discard(watched)
        waited, watched.steps = watched.steps, None
        if waited is not None:
            self._go_on(*waited, error)

    def _go_on(self, steps: Steps[Any], done: Done, error: Exception | None = None) -> None:
        try:
            watched, mask = next(steps) if error is None else steps.throw(error)
            watched.watch(self._selector, mask)
        except StopIteration as end:
            done(end.value, None)
        except Exception as raised:
            steps.close()
            done(None, raised)
        else:
            watched.steps = steps, done
            self._waiting.add(watched)
            self._look_at = min(self._look_at, watched.until)


def run(loop: Loop, steps: Steps[T]) -> T:
    """Do steps from beginning to end, and return what they return."""
    ends: list[tuple[T, Exception | None]] = []
    loop.start(steps, lambda result, error: ends.append((result, error)))
    while not ends:
        loop.turn()
    result, error = ends[0]
    if error is not None:
        raise error
    return result
