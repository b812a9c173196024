"""The worker threads: jobs in, responses out; no job is ever lost."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue, SimpleQueue
from typing import Any, Literal

import msgspec

from consumer.adapters.scantrust.client import Client
from consumer.adapters.scantrust.transport import StartBy
from consumer.core.uploading.response import Response

_log = logging.getLogger(__name__)


class Job(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One call to make."""

    kind: Literal["upload", "start", "task", "me"]
    #: By the client's clock; later than this it is not sent. Or what tells it then.
    start_by: StartBy = float("inf")
    data_key: str = ""  #: of an upload, and of the start of a task
    items: list[dict[str, str]] = []  #: the same
    task_id: str = ""  #: of a task to poll
    subject: Any = None  #: whatever the caller wants to find again with the response


class Pool:
    """Up to ``size`` workers, each with a client of its own (I1).

    A thread starts only when all others are busy.

    Each job comes back once as ``(job, Response)`` in ``results``: also when it was not sent any
    more, and when a worker met a bug. ``client_factory`` is called in the worker's thread. To be
    used from one thread.
    """

    def __init__(
        self, client_factory: Callable[[], Client], size: int, results: Queue[Any]
    ) -> None:
        self._client_factory = client_factory
        self._size = size
        self._results = results
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._lock = threading.Lock()
        self._open = 0  # jobs queued or at work

    def submit(self, job: Job) -> None:
        """Have ``job`` done as soon as a worker is free."""
        if self._closed:
            self._results.put((job, _stopped()))
            return
        with self._lock:
            self._open += 1
            needed = self._open > len(self._threads)
        self._jobs.put(job)
        if needed and len(self._threads) < self._size:
            # A daemon: a call that no one waits for any more must not keep the process alive.
            thread = threading.Thread(
                target=self._work, name=f"upload-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self, timeout: float) -> bool:
        """Send nothing more, and wait up to ``timeout`` seconds for calls under way.

        Return False when some still are. Jobs that were not begun come back unsent.
        """
        self._closed = True
        with suppress(Empty):
            while job := self._jobs.get_nowait():
                self._results.put((job, _stopped()))
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        client: Client | None = None
        while (job := self._jobs.get()) is not None:
            try:
                client = client or self._client_factory()
                response = _call(client, job)
            except Exception as error:  # the last resort: a bug must not cost a job or a worker
                response = Response(
                    None,
                    sent=client is not None,
                    error=f"a fault in the program: {type(error).__name__}",
                )
                # The frames alone: the error's text may quote a header or a body.
                frames = "".join(traceback.format_tb(error.__traceback__))
                _log.error("an upload worker met %s\n%s", type(error).__qualname__, frames)
            with self._lock:
                self._open -= 1
            self._results.put((job, response))
        if client is not None:
            client.close()


def _call(client: Client, job: Job) -> Response:
    if job.kind == "upload":
        return client.upload(job.data_key, job.items, job.start_by)
    if job.kind == "start":
        return client.start(job.data_key, job.items, job.start_by)
    if job.kind == "task":
        return client.task(job.task_id, job.start_by)
    return client.me(job.start_by)


def _stopped() -> Response:
    return Response(None, sent=False, error="not sent: uploading was stopped first")
