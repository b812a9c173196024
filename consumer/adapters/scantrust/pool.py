"""One thread that makes all calls: jobs in, responses out; no job is ever lost."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from queue import Queue
from typing import Any

from consumer.adapters.scantrust.client import Client, Job
from consumer.adapters.scantrust.loop import FOR_EVER, Loop, Watched
from consumer.core.uploading.response import Response

_log = logging.getLogger(__name__)

#: The loop rests for so long after a bug of its own.
PAUSE_SECONDS = 0.1


class Pool:
    """Up to ``size`` calls at once, each by a client, so over a connection, of its own (I1).

    One thread makes them all; it starts with the first job. A client is made only when all others
    are busy, and the one that was busy last is taken first, so few connections serve few calls.

    Each job comes back once as ``(job, Response)`` in ``results``: also when it was not sent any
    more, and when its client met a bug. ``client_factory`` is called in the thread. To be used from
    one thread.
    """

    def __init__(
        self, client_factory: Callable[[], Client], size: int, results: Queue[Any]
    ) -> None:
        self._client_factory = client_factory
        self._size = size
        self._results = results
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._idle: list[Client] = []
        self._made = 0
        self._asleep = False  # the thread waits, or is about to, and must be woken for a job

    def submit(self, job: Job) -> None:
        """Have ``job`` done as soon as fewer than ``size`` others are."""
        if self._closed:
            self._results.put((job, _stopped()))
            return
        if self._thread is None:
            try:
                self._thread = self._start()
            except (OSError, RuntimeError) as error:  # no room for a socket, or for a thread
                words = f"not sent: the system refuses what uploads need ({error})"
                self._results.put((job, Response(None, sent=False, error=words)))
                return
        self._jobs.append(job)
        if self._asleep:
            self._wake()

    def close(self, timeout: float) -> bool:
        """Send nothing more, and wait up to ``timeout`` seconds for calls under way.

        Return False when some still are. Jobs that were not begun come back unsent.
        """
        self._closed = True
        with suppress(IndexError):
            while True:
                self._results.put((self._jobs.popleft(), _stopped()))
        if self._thread is None:
            return True
        self._wake()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def on_unasked(self) -> None:
        """Hear the bell."""
        with suppress(BlockingIOError):
            self._bell.sock.recv(4096)

    def _wake(self) -> None:
        self._asleep = False
        with suppress(OSError):  # full: it will wake; closed: it has ended
            self._ring.send(b"!")

    def _start(self) -> threading.Thread:
        with ExitStack() as undo:
            self._loop = Loop()
            undo.callback(self._loop.close)
            bell, self._ring = socket.socketpair()
            undo.callback(bell.close)
            undo.callback(self._ring.close)
            self._ring.setblocking(False)
            self._bell = Watched(bell, FOR_EVER, self)
            self._loop.watch(self._bell)
            # A daemon: a call that no one waits for any more must not keep the process alive.
            thread = threading.Thread(target=self._work, name="upload-loop", daemon=True)
            thread.start()
            undo.pop_all()
        return thread

    def _work(self) -> None:
        while True:
            self._asleep = True
            # After that: a job that comes from now on rings.
            self._begin_jobs()
            if self._closed and not len(self._loop):
                break
            try:
                self._loop.turn()
            except Exception as bug:  # it must not end the thread that all calls need
                _log.error("the loop of uploads met %s", type(bug).__qualname__)
                self._loop.fail(RuntimeError(f"{type(bug).__name__} in the loop"))
                time.sleep(PAUSE_SECONDS)  # it may last
        self._loop.close()
        for client in self._idle:
            client.close()
        self._ring.close()

    def _begin_jobs(self) -> None:
        while self._idle or self._made < self._size:
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            self._begin(job)

    def _begin(self, job: Job) -> None:
        client: Client | None = None
        try:
            if self._idle:
                client = self._idle.pop()
            else:
                client = self._client_factory()
                self._made += 1
            steps = client.steps(job)
        except Exception as error:
            self._end(job, client, None, error)
        else:
            self._loop.start(steps, partial(self._end, job, client))

    def _end(
        self, job: Job, client: Client | None, response: Response | None, bug: Exception | None
    ) -> None:
        if client is not None:
            self._idle.append(client)
        if bug is not None:
            response = _fault(bug, sent=client is not None)
        self._results.put((job, response))


def _fault(bug: Exception, *, sent: bool) -> Response:
    """Return what a job brings whose client met a bug: that must cost neither job nor client."""
    # The frames alone: the error's text may quote a header or a body.
    frames = "".join(traceback.format_tb(bug.__traceback__))
    _log.error("an upload met %s\n%s", type(bug).__qualname__, frames)
    return Response(None, sent=sent, error=f"a fault in the program: {type(bug).__name__}")


def _stopped() -> Response:
    return Response(None, sent=False, error="not sent: uploading was stopped first")
