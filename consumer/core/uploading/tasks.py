"""Asynchronous uploads: a call starts a task at the API, and questions tell how it ended.

A window whose call was answered with a task's number is in the hands of the API: its rows keep
their claims and are neither settled nor sent again until the task is complete, failed, or nobody
can tell any more.

::

    sent ──answer: a task's number──► RUNNING ──complete──► accepted
                                        │  ▲└──failed─────► the API's fault, unless other tasks pass
                                        (evidence)
                                 asked  └──┘└──lost, or over its deadline──► outcome unknown: the
                                 same rows again

The shape of the answers is not documented; they are read tolerantly. A task is complete only if a
word says so and no word anywhere in the answer says that it, or a part of it, failed or is still at
work.
"""

from __future__ import annotations

from typing import Any

import msgspec

from consumer.core.admission.retry import RetryPolicy
from consumer.core.batching.windows import Window
from consumer.core.uploading.classification import BODY_EXCERPT, Outcome, describe
from consumer.core.uploading.response import Response
from consumer.core.verdict import Verdict

#: Seconds until a task is asked about for the first time, by what each further wait is longer, and
#: the longest.
FIRST_WAIT = 0.5
LONGER = 1.5
LONGEST_WAIT = 15.0
#: Waits are no longer after so many: a task that is asked about for a day would have a wait beyond
#: all numbers.
MOST_LONGER = 20
#: A task that the API does not know this often in a row is lost. More than once, as it may be a
#: moment behind.
UNKNOWN_LIMIT = 3
#: Tasks at work, for each request that may be in flight: more would wait at the API instead of
#: here.
TASKS_PER_REQUEST = 4

#: The answers that there is no such task.
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
#: An answer is looked through no deeper, and no further, than this.
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
    ask_at: float  #: when it is asked about next
    asked: int = 0  #: times it was asked about
    asked_at: float = 0.0  #: when it was asked about last
    failures: int = 0  #: questions in a row that were not answered
    unknown: int = 0  #: answers in a row that there is no such task
    asking: bool = False  #: an answer is awaited


class Tasks:
    """The tasks that are at work, and when each is asked about."""

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
        """Whether no further task may be started (I6)."""
        return len(self._tasks) >= self._most

    @property
    def free(self) -> int:
        """How many more may be started."""
        return max(0, self._most - len(self._tasks))

    def start(self, window: Window, task_id: str, now: float) -> None:
        """The API has taken the window over."""
        self._tasks[Task(window, task_id, now, now + FIRST_WAIT)] = None

    def next_at(self) -> float | None:
        """When the next question is due; None: none is."""
        return min((task.ask_at for task in self._tasks if not task.asking), default=None)

    def next(self, now: float) -> Task | None:
        """The task to ask about now, marked as asked; None: none is due."""
        due = min(
            (t for t in self._tasks if not t.asking and t.ask_at <= now),
            key=lambda t: t.ask_at,
            default=None,
        )
        if due is not None:
            due.asking = True
            due.asked += 1
            due.asked_at = now
        return due

    def answered(
        self, task: Task, response: Response, now: float, policy: RetryPolicy, rng: float
    ) -> Outcome | None:
        """What a question brought (I1, lost-answer).

        The window's outcome, or None while the task is at work or cannot be asked.

        A task that has ended is forgotten; another answer about it changes nothing.
        """
        if task not in self._tasks:
            return None
        task.asking = False
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
                told = (place.get("codes_affected") for place in _places(response.document))
                affected = next((number for number in told if type(number) is int), None)
                return Outcome(Verdict.ACCEPTED, affected=affected, task_id=task.id)
            if state == ENDED_BADLY:
                return Outcome(
                    Verdict.TASK_FAILED,
                    text=f"the task failed: {reason_of(response)}",
                    task_id=task.id,
                )
            task.ask_at = now + min(
                LONGEST_WAIT, FIRST_WAIT * LONGER ** min(task.asked, MOST_LONGER)
            )
            return None
        if response.status in UNKNOWN:
            task.unknown += 1
            if task.unknown >= UNKNOWN_LIMIT:
                return Outcome(
                    Verdict.LOST, text="the API does not know the task any more", task_id=task.id
                )
            task.ask_at = now + FIRST_WAIT * LONGER**task.unknown
            return None
        task.failures += 1
        task.ask_at = now + FIRST_WAIT + policy.delay(task.failures, rng)
        return None


def told_of_task(response: Response) -> bool:
    """Whether an answer tells anything of the task: its state, or that there is none."""
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
    """The document and the objects in it, the outer ones first."""
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
    """Why a task failed, as far as the API tells."""
    texts = (
        place.get(name) for place in _places(response.document or {}) for name in _REASON_NAMES
    )
    found = next((text.strip() for text in texts if isinstance(text, str) and text.strip()), None)
    return describe(response) if found is None else found[:BODY_EXCERPT]
