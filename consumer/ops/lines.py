"""Write lines to a file descriptor from a bounded queue, so that no writer ever waits.

The descriptor may not take them: a pipe that nobody reads, a disk that is full. A thread writes the
queued lines. When more than ``MAX_QUEUED`` characters are queued, the next lines are dropped and
counted until the queue is empty; then a line says how many were dropped. The thread writes to the
descriptor itself: a lock of one of Python's streams would keep the process from ending.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

#: Characters that may be queued.
MAX_QUEUED = 1_000_000


class LineWriter:
    """Writes lines in their order. ``dropped``: makes the line that says how many were dropped."""

    def __init__(
        self, descriptor: int, dropped: Callable[[int], str], *, encoding: str = "utf-8"
    ) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped
        self._encoding = encoding
        self._changed = threading.Condition()
        self._queue: deque[str] = deque()
        self._size = 0  # characters queued
        self._full = False  # lines are dropped until all that is queued is written
        self._failed = False  # the last line could not be written, and no other came since
        self._dropped = 0
        self._busy = False  # something is being written
        self._closed = False
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Queue a line, its end included. Never wait for the descriptor."""
        with self._changed:
            self._full = self._full or bool(self._queue and self._size + len(line) > MAX_QUEUED)
            if self._full:
                self._dropped += 1
                return
            self._failed = False
            self._queue.append(line)
            self._size += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait so long at most until all that was queued is written. Return whether it is."""
        with self._changed:
            return self._changed.wait_for(self._idle, seconds)

    def close(self) -> None:
        """Take no more lines; the thread ends when what is queued is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _idle(self) -> bool:
        return not (self._queue or self._busy or (self._dropped and not self._failed))

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
        """Wait for the next line. Return how many lines it stands for, and it; None: the end."""
        with self._changed:
            while True:
                if self._dropped and not self._failed and not (self._full and self._queue):
                    count, self._dropped, self._full = self._dropped, 0, False
                    self._busy = True
                    return count, self._dropped_line(count)
                if self._queue:
                    line = self._queue.popleft()
                    self._size -= len(line)
                    self._busy = True
                    return 1, line
                if self._closed:
                    return None
                self._changed.wait()


def write_within(stream: TextIO, text: str, seconds: float) -> None:
    """Write to a stream of the process, waiting so long at most. Raise OSError if that fails."""
    try:
        descriptor = stream.fileno()
    except OSError:  # a stand-in, as in a test, which is no file
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
        except BlockingIOError:  # another process that shares the descriptor made it non-blocking
            select.select([], [descriptor], [])
