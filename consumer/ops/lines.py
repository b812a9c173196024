"""Lines to a file descriptor that may not take them: a pipe that nobody reads, a disk that is full.

Who writes a line never waits for it: lines wait here, and a thread writes them. When more wait than
``MOST`` characters, the next ones are dropped and counted until all that waits is written, and then
their number is told. It writes to the descriptor itself: a lock of one of Python's streams would
keep the process from ending.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

#: Characters that may wait.
MOST = 1_000_000


class Lines:
    """Writes lines in their order. ``dropped``: the line that tells how many were dropped."""

    def __init__(
        self, descriptor: int, dropped: Callable[[int], str], *, encoding: str = "utf-8"
    ) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped
        self._encoding = encoding
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._size = 0  # characters in it
        self._full = False  # what comes is dropped until all that waits is written
        self._failed = False  # the last one could not be written, and there was no other since
        self._dropped = 0
        self._busy = False  # something is being written
        self._closed = False
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Hand in a line, its end included; never waits for the descriptor."""
        with self._changed:
            self._full = self._full or bool(self._waiting and self._size + len(line) > MOST)
            if self._full:
                self._dropped += 1
                return
            self._failed = False
            self._waiting.append(line)
            self._size += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until all that was handed in is written, at most so long. Return if it is."""
        with self._changed:
            return self._changed.wait_for(self._idle, seconds)

    def close(self) -> None:
        """Take nothing more; the thread ends when what waits is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _idle(self) -> bool:
        return not (self._waiting or self._busy or (self._dropped and not self._failed))

    def _run(self) -> None:
        while (found := self._next()) is not None:
            count, line = found
            try:
                _write_all(self._descriptor, line.encode(self._encoding, "backslashreplace"))
                written = True
            except OSError:
                written = False
            with self._changed:
                self._busy = False
                if not written:
                    self._failed = True
                    self._dropped += count
                self._changed.notify_all()

    def _next(self) -> tuple[int, str] | None:
        """Wait for what to write next.

        Return for how many lines it stands, and it. None: the end.
        """
        with self._changed:
            while True:
                if self._dropped and not self._failed and not (self._full and self._waiting):
                    count, self._dropped, self._full = self._dropped, 0, False
                    self._busy = True
                    return count, self._dropped_line(count)
                if self._waiting:
                    line = self._waiting.popleft()
                    self._size -= len(line)
                    self._busy = True
                    return 1, line
                if self._closed:
                    return None
                self._changed.wait()


def write_within(stream: TextIO, text: str, seconds: float) -> None:
    """Write to a stream of the process, waiting so long at most.

    Raise OSError if it cannot be written.
    """
    try:
        descriptor = stream.fileno()
    except OSError:  # it stands in for one of the process, and is no file
        stream.write(text)
        return
    stream.flush()
    data = text.encode(stream.encoding, "backslashreplace")
    errors: list[OSError] = []

    def write() -> None:
        try:
            _write_all(descriptor, data)
        except OSError as error:
            errors.append(error)

    writer = threading.Thread(target=write, name="last line", daemon=True)
    writer.start()
    writer.join(seconds)
    if errors:
        raise errors[0]


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # whoever shares the descriptor has made it so
            select.select([], [descriptor], [])
