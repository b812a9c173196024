"""Tasks of asynchronous uploads: what is known of each, and when each takes effect.

There is no worker. A task has the time at which it ends. Whoever looks at the sandbox or calls its
API first lets take effect what is due (``Store.catch_up``), so nobody can tell the difference. All
of it is in memory.

Not thread-safe: every caller holds the store's lock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

from consumer.sandbox.async_rules import AsyncUpload

PENDING, RUNNING, COMPLETE, FAILED = "pending", "running", "complete", "failed"


class TaskOutcome(NamedTuple):
    """The outcome of a task when its time has come. By default it does what it should."""

    applies: bool = True
    failure: str | None = None  #: told as failed, with this message
    hidden: str | None = None  #: lost: what a poll is told for ever, "404" or a state


@dataclass(slots=True)
class SandboxTask:
    """One asynchronous upload. Times are in seconds of the monotonic clock."""

    id: str
    request: int  #: the number of the call that began it
    upload: AsyncUpload
    campaign: list[str] | None  #: the only fields that are kept; None: all
    outcome: TaskOutcome
    begun: float
    due: float
    ended: bool = False
    failure: str | None = None
    codes: int = 0  #: how many codes it selected
    updates: int = 0  #: field values written, over all codes

    def state(self, now: float) -> str | None:
        """Return its state as a poll is told; None: there is no such task.

        It waits for the first half of its time.
        """
        if self.outcome.hidden is not None:
            return None if self.outcome.hidden == "404" else self.outcome.hidden
        if self.ended:
            return COMPLETE if self.failure is None else FAILED
        return PENDING if now < (self.begun + self.due) / 2 else RUNNING


class SandboxTasks:
    """All tasks since the last reset."""

    def __init__(self) -> None:
        self._tasks: dict[str, SandboxTask] = {}
        self._open: list[tuple[float, int, SandboxTask]] = []  #: a heap by the time they are due

    def begin(
        self,
        request: int,
        upload: AsyncUpload,
        campaign: list[str] | None,
        outcome: TaskOutcome,
        now: float,
        seconds: float,
    ) -> SandboxTask:
        """Return a new task that takes so many seconds."""
        task = SandboxTask(str(uuid4()), request, upload, campaign, outcome, now, now + seconds)
        self._tasks[task.id] = task
        heapq.heappush(self._open, (task.due, len(self._tasks), task))
        return task

    def find(self, task_id: str) -> SandboxTask | None:
        """Return the task of an id."""
        return self._tasks.get(task_id)

    def due(self, now: float) -> Iterator[SandboxTask]:
        """Return the tasks whose time has come, in the order of their times; each once."""
        while self._open and self._open[0][0] <= now:
            yield heapq.heappop(self._open)[2]

    def listed(self, now: float) -> list[dict[str, Any]]:
        """Return all, in the order in which they were begun."""
        return [
            {
                "task_id": task.id,
                "request": task.request,
                "state": task.state(now),
                "ended": task.ended,
                "data_key": task.upload.data_key,
                "keys": task.upload.keys,
                "codes": task.codes,
                "message": task.failure,
            }
            for task in self._tasks.values()
        ]

    def counts(self) -> dict[str, int]:
        """Return how many are open, complete and failed; a lost one by what really became of it."""
        ends = Counter(
            "open" if not task.ended else COMPLETE if task.failure is None else FAILED
            for task in self._tasks.values()
        )
        return {name: ends[name] for name in ("open", COMPLETE, FAILED)}
