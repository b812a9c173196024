"""Asynchronous uploads: a call starts a task at the API, and polls tell how it ended.

A window whose call was answered with a task's id is in the hands of the API: its rows keep their
claims and are neither settled nor sent again until the task is complete, failed, or nobody can tell
any more.

::

    sent ──a task's id──► RUNNING ──complete──────────────────► accepted
                           │  ▲ ├───failed────────────────────► weighed by evidence
                           └──┘ └───lost, or over its deadline► outcome unknown: sent again
                           poll

The shape of the responses is not documented; they are read tolerantly. A task is complete only if a
word says so and no word anywhere in the response says that it, or a part of it, failed or is still
at work.
"""

from __future__ import annotations

from typing import Any

import msgspec

from consumer.core.admission.retry import RetryPolicy
from consumer.core.batching.window import Window
from consumer.core.uploading.classification import BODY_EXCERPT, Outcome, describe
from consumer.core.uploading.response import Response
from consumer.core.verdict import Verdict

#: Seconds until a task is polled for the first time, the factor by which each further wait is
#: longer, and the longest.
FIRST_WAIT = 0.5
LONGER = 1.5
LONGEST_WAIT = 15.0
#: Waits grow no more after so many polls: a task that is polled for a day would have a wait beyond
#: all numbers.
MOST_LONGER = 20
#: A task that the API does not know this often in a row is lost. More than once, as it may be a
#: moment behind.
UNKNOWN_LIMIT = 3
#: Tasks at work, for each request that may be in flight: more would wait at the API instead of
#: here.
TASKS_PER_REQUEST = 4

#: Statuses that there is no such task.
UNKNOWN = frozenset({404, 410})
COMPLETED, ENDED_BADLY = "completed", "failed"
COMPLETE = frozenset(
    {"complete", "completed", "success", "succeeded", "successful", "done", "finished"}
)
FAILED = frozenset(
    {"failed", "failure", "error", "errored", "cancelled", "canceled", "aborted", "rejected"}
)
AT_WORK = frozenset(
    {
        "pending",
        "in-progress",
        "in_progress",
        "inprogress",
        "progress",
        "running",
        "queued",
        "started",
    }
)
AT_WORK |= {
    "starting",
    "processing",
    "waiting",
    "scheduled",
    "received",
    "retry",
    "retrying",
    "working",
}
#: A response is searched no deeper, and no further, than this.
_DEEPEST = 6
_MOST_PLACES = 1000
#: Where the state and the reason of a failure may stand.
_STATE_NAMES = ("state", "status", "task_status", "task_state")
_REASON_NAMES = ("message", "error", "errors", "detail", "reason", "result")


class Task(msgspec.Struct, eq=False, gc=False):
    """A task at the API that works on a window; times in seconds of the owner's clock."""

    window: Window
    id: str
    started_at: float
    poll_at: float  #: when it is polled next
    polls: int = 0
    polled_at: float = 0.0  #: when it was polled last
    failures: int = 0  #: polls in a row that brought nothing
    unknown: int = 0  #: responses in a row that there is no such task
    polling: bool = False  #: the response to a poll is awaited


class Tasks:
    """The tasks that are at work, and when each is polled."""

    def __init__(self, deadline: float, most: int) -> None:
        """``deadline``: seconds until a task's outcome is unknown.

        ``most``: no more are started while so many work.
        """
        self._deadline = deadline
        self._most = most
        self._tasks: dict[Task, None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task: Task) -> bool:
        return task in self._tasks

    @property
    def full(self) -> bool:
        """Return whether no further task may be started (I6)."""
        return len(self._tasks) >= self._most

    @property
    def free(self) -> int:
        """Return how many more may be started."""
        return max(0, self._most - len(self._tasks))

    def start(self, window: Window, task_id: str, now: float) -> None:
        """Take in that the API has taken the window over."""
        self._tasks[Task(window, task_id, now, now + FIRST_WAIT)] = None

    def next_poll_at(self) -> float | None:
        """Return when the next poll is due; None: none is."""
        return min((task.poll_at for task in self._tasks if not task.polling), default=None)

    def next_poll(self, now: float) -> Task | None:
        """Return the task to poll now, marked as polled; None: none is due."""
        due = min(
            (t for t in self._tasks if not t.polling and t.poll_at <= now),
            key=lambda t: t.poll_at,
            default=None,
        )
        if due is not None:
            due.polling = True
            due.polls += 1
            due.polled_at = now
        return due

    def handle_poll(
        self, task: Task, response: Response, now: float, policy: RetryPolicy, rng: float
    ) -> Outcome | None:
        """Take in what a poll brought (I1, lost-answer).

        Return the window's outcome; None: the task is at work, or its state could not be read. A
        task that has ended is forgotten; another response about it changes nothing.
        """
        if task not in self._tasks:
            return None
        assert task.polling, "a response to a poll that was not made"
        task.polling = False
        outcome = self._read(task, response, now, policy, rng)
        if outcome is None and now - task.started_at >= self._deadline:
            outcome = Outcome(
                Verdict.LOST,
                text=f"the task did not end within {self._deadline:g} s",
                task_id=task.id,
            )
        if outcome is not None:
            del self._tasks[task]
        return outcome

    def _read(
        self, task: Task, response: Response, now: float, policy: RetryPolicy, rng: float
    ) -> Outcome | None:
        if response.status == 200 and response.document is not None:
            task.failures = task.unknown = 0
            state = state_of(response.document)
            if state == COMPLETED:
                counts = (place.get("codes_affected") for place in _places(response.document))
                affected = next((number for number in counts if type(number) is int), None)
                return Outcome(Verdict.ACCEPTED, affected=affected, task_id=task.id)
            if state == ENDED_BADLY:
                return Outcome(
                    Verdict.TASK_FAILED,
                    text=f"the task failed: {reason_of(response)}",
                    task_id=task.id,
                )
            wait = FIRST_WAIT * LONGER ** min(task.polls, MOST_LONGER)
            task.poll_at = now + min(LONGEST_WAIT, wait)
            return None
        if response.status in UNKNOWN:
            task.unknown += 1
            if task.unknown >= UNKNOWN_LIMIT:
                return Outcome(
                    Verdict.LOST, text="the API does not know the task any more", task_id=task.id
                )
            task.poll_at = now + FIRST_WAIT * LONGER**task.unknown
            return None
        task.failures += 1
        task.poll_at = now + FIRST_WAIT + policy.delay(task.failures, rng)
        return None


def tells_of_task(response: Response) -> bool:
    """Return whether a response tells anything of the task: its state, or that there is none."""
    return (response.status == 200 and response.document is not None) or response.status in UNKNOWN


def state_of(document: dict[str, Any]) -> str:
    """Return COMPLETED or ENDED_BADLY, or an empty text while the task is at work, or says nothing.

    The words may stand in objects of their own. One that says that something failed goes before one
    that says that something is at work, and both go before success: the state of a call is not the
    state of its task.
    """
    places = _places(document)
    words = {
        word.strip().lower()
        for place in places
        for name in _STATE_NAMES
        if isinstance(word := place.get(name), str)
    }
    if words & FAILED or any(place.get("success") is False for place in places):
        return ENDED_BADLY
    if words & AT_WORK:
        return ""
    return COMPLETED if words & COMPLETE else ""


def _places(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the document and the objects in it, the outer ones first."""
    found: list[dict[str, Any]] = []
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        objects = [value for value in level if isinstance(value, dict)]
        found += objects
        inner = [value for place in objects for value in place.values()]
        inner += [value for values in level if isinstance(values, list) for value in values]
        level = inner[:_MOST_PLACES]
    return found[:_MOST_PLACES]


def reason_of(response: Response) -> str:
    """Return why a task failed, as far as the API tells."""
    texts = (
        place.get(name) for place in _places(response.document or {}) for name in _REASON_NAMES
    )
    found = next((text.strip() for text in texts if isinstance(text, str) and text.strip()), None)
    return describe(response) if found is None else found[:BODY_EXCERPT]
