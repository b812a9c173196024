"""A simulated API: what it applies, and every way in which it answers, fails to, or is away.

What it says of a row is decided by what was published (``kinds``), what it does to a request by
chance (``Faults``), and what it is at the moment by its ``mode``. It knows nothing of the consumer.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.api_faults import (
    BODIES,
    KINDS,
    MODES,
    SHAPES,
    TELLING_NOTHING,
    Answer,
    Faults,
)
from tests.simulation.scheduler import Scheduler
from tests.simulation.witness import Call, Tag, Witness

#: After so many answers that there is no such task nobody waits for it any more (docs/async.md).
UNKNOWN_LIMIT = 3
#: A task that takes so many seconds is a long one.
LONG = 15.0
#: And one fails after so many seconds at most while all tasks fail.
BROKEN = 2.0


@dataclass
class Work:
    """A task: a call that is worked on after it was answered."""

    call: Call
    shape: Callable[[str], dict[str, Any]]
    #: what is said of it once it has ended: complete or failed; forgotten: nothing; endless: it
    #: never has
    end: str
    over: bool = False
    unknown: int = 0  #: times it was said that there is no such task
    given_up_at: float = math.inf  #: when that was said often enough


class Api:
    """The server.

    ``kinds``: what is special about published rows, by tag; it may change as time passes.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        rng: random.Random,
        kinds: Mapping[Tag, str],
        faults: Faults,
        witness: Witness,
        *,
        seen: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._kinds = kinds
        self.faults = faults
        self._witness = witness
        self._seen = seen
        self.mode = "healthy"
        self.most_rows: int | None = None  #: with more in a window it is too large
        self.tasks_broken = False  #: every task fails, whatever its rows
        self.tasks_stuck = False  #: no task ends
        self.me_status: int | None = None  #: what ``GET /me`` always says
        self.asked = 0  #: times that ``GET /me`` was called
        self._held_up: list[Callable[[], object]] = []  #: ends of tasks that are stuck
        self.applied = 0  #: rows
        self._tasks: dict[str, Work] = {}

    def upload(self, call: Call, answer: Callable[[Answer], object]) -> None:
        """Take in a request; call ``answer`` when the client has what there is to have."""
        rng, low_high = self._rng, self.faults.latency
        there, back = rng.uniform(*low_high) / 2, rng.uniform(*low_high) / 2
        fault = self._fault()
        if fault == "reset":  # lost on the way there
            self._later(there, lambda: answer(Answer(None)))
        elif fault == "answer lost":
            self._later(there, lambda: self._work(call))
            self._later(there + back, lambda: answer(Answer(None)))
        elif fault == "late":  # the client hears that the connection is lost, and the API works on
            self._later(there, lambda: answer(Answer(None)))
            latest = self.faults.max_processing * 0.999
            self._later(rng.uniform(there, max(there, latest)), lambda: self._late(call))
        elif fault == "slow":
            works = rng.uniform(there, self.faults.max_processing * 0.999)
            self._later(works, lambda: self._respond(call, back, answer))
        else:
            self._later(there, lambda: self._respond(call, back, answer, fault))

    def me(self, answer: Callable[[Answer], object]) -> None:
        """Tell who is asking."""
        self.asked += 1
        status = (
            503
            if self.mode == "down"
            else {"unauthorized": 401, "turmoil": 401}.get(self.mode, 200)
        )
        if status == 200 and self.me_status is not None:
            status = self.me_status
            self._seen("me fails alone")
        if self._rng.random() < self.faults.shares.get("reset", 0.0):
            status = 500
        self._later(self._rng.uniform(*self.faults.latency), lambda: answer(Answer(status, b"{}")))

    def tell(self, task_id: str, answer: Callable[[Answer], object]) -> None:
        """Tell the state of a task."""
        there, back = (self._rng.uniform(*self.faults.latency) / 2 for _ in range(2))
        fault = self._fault()
        if fault in ("reset", "answer lost"):
            self._later(there, lambda: answer(Answer(None)))
            return

        def respond() -> None:
            found = self._strike_question(fault) or self._state(self._tasks[task_id])
            self._later(back, lambda: answer(found))

        self._later(there, respond)

    # -- tasks -----------------------------------------------------------------------------------

    def _strike_question(self, fault: str) -> Answer | None:
        """Return what a fault makes of a poll: nothing of it is about the task."""
        if fault == "garbage":
            return Answer(200, b"<html>")
        return self._strike(fault) if fault in ("busy", "throttle") else None

    def _state(self, task: Work) -> Answer:
        if self.mode != "healthy":
            answer = Answer(self._rng.choice(MODES[self.mode]), b'{"detail": "not now"}')
        elif task.end == "forgotten" and task.over:
            answer = Answer(404, b'{"detail": "Not found."}')
        else:
            state = task.end if task.over else self._rng.choice(("pending", "in-progress"))
            answer = Answer(200, json.dumps(task.shape(state)).encode())
        if answer.status == 404:
            task.unknown += 1
            if task.unknown == UNKNOWN_LIMIT:
                task.given_up_at = self._scheduler.now
        return answer

    def _start(self, call: Call, kinds: set[str | None]) -> Answer:
        """Begin a task: it takes effect when it ends, or, where nobody can wait for it, at any
        time.
        """
        rng, faults = self._rng, self.faults
        end, point = "complete", rng.random()
        for name, share in faults.task_ends.items():
            point -= share
            if point < 0:
                end = name
                break
        if end == "complete" and kinds & {"odd", "unknown", "refused"}:
            end = "failed"
        elif self.tasks_broken:
            end = "failed"
            self._seen("task failed by the API's fault")
            self._witness.blameless(call)
        shape = (
            rng.choice(SHAPES)
            if faults.contradict and rng.random() < faults.contradict
            else SHAPES[0]
        )
        if shape is not SHAPES[0]:
            self._seen("contradictory task")
        task_id = f"t{len(self._tasks)}"
        task = self._tasks[task_id] = Work(call, shape, end)
        self._seen(f"task {end}")
        takes = rng.uniform(0.0, faults.task_seconds)
        if end == "failed" and self.tasks_broken:
            takes = min(takes, BROKEN)  # it fails while all do
        if takes > LONG:
            self._seen("long task")
        longest = 0.999 * faults.max_processing
        if end == "forgotten":
            self._later(takes, lambda: setattr(task, "over", True))
            self._later(rng.uniform(0.0, takes + longest), lambda: self._take_effect(task))
        elif end == "endless":
            self._later(
                rng.uniform(0.0, faults.task_deadline + longest), lambda: self._take_effect(task)
            )
        else:
            self._later(takes, lambda: self._end(task))
        return Answer(200, json.dumps({"task_id": task_id}).encode())

    def unstick(self) -> None:
        """Let tasks go on."""
        self.tasks_stuck = False
        held_up, self._held_up = self._held_up, []
        for end in held_up:
            end()

    def _end(self, task: Work) -> None:
        if self.tasks_stuck and task.end != "failed":
            self._seen("task held up")
            self._held_up.append(lambda: self._end(task))
            return
        task.over = True
        if self._take_effect(task) is False:
            task.end = "forgotten"

    def _take_effect(self, task: Work) -> bool:
        """Apply a task; return False when it does nothing, as nobody waits for it any more."""
        call, now, longest = task.call, self._scheduler.now, 0.999 * self.faults.max_processing
        if now > task.given_up_at + longest or (not call.heard and now > call.sent_at + longest):
            return False  # else its order could not be kept by anyone (docs/async.md)
        places = list(range(len(call.items)))
        if task.end == "failed":  # it may have been done in part
            places = sorted(self._rng.sample(places, self._rng.randint(0, len(places) - 1)))
        self.applied += len(places)
        self._witness.applied(call, places)
        return True

    # -- inside ----------------------------------------------------------------------------------

    def _later(self, seconds: float, do: Callable[[], object]) -> None:
        self._scheduler.after(seconds, do)

    def _fault(self) -> str:
        point = self._rng.random()
        for name, share in self.faults.shares.items():
            point -= share
            if point < 0:
                self._seen(name)
                return name
        return ""

    def _late(self, call: Call) -> None:
        if self._work(call).status == 200:
            self._seen("applied late")

    def _respond(
        self, call: Call, back: float, answer: Callable[[Answer], object], fault: str = ""
    ) -> None:
        if any(self._kinds.get(tag) == "timed out" for tag in call.tags):
            # something in between gives up on the API, or the client does
            back += self._rng.uniform(1.0, 8.0)
        found = self._strike(fault) or self._work(
            call, partial=fault if fault.startswith("partial") else ""
        )
        self._later(back, lambda: answer(found))

    def _strike(self, fault: str) -> Answer | None:
        """Return what a fault makes of a request before anything is done with it."""
        rng = self._rng
        match fault:
            case "busy":
                return Answer(
                    rng.choice((408, 500, 502, 503, 504)),
                    b"busy",
                    rng.choice((None, None, 0.0, 1.0)),
                )
            case "throttle":
                after = rng.choice((None, 0.0, 0.5, 2.0, 5.0))
                return Answer(429, b'{"detail": "Request was throttled."}', after)
            case "garbage":
                status, body = rng.choice(
                    ((200, b"<html>"), (200, b"[]"), (302, b""), (200, b'{"items": 1}'))
                )
                return Answer(status, body)
            case "odd 400":
                return Answer(
                    400,
                    rng.choice(
                        (b"<html>Bad Request</html>", b'{"errors": []}', b'{"detail": "no"}')
                    ),
                )
        return None

    def _work(self, call: Call, partial: str = "") -> Answer:
        """Judge the request and, if nothing is wrong with it, apply it."""
        if self.mode != "healthy":
            return Answer(self._rng.choice(MODES[self.mode]), b'{"detail": "not now"}')
        if self.most_rows is not None and len(call.tags) > self.most_rows:
            self._seen("a window over a passing limit")
            return Answer(413, b"too large")
        kinds = {self._kinds.get(tag) for tag in call.tags}
        for kind, status in KINDS.items():
            if kind in kinds and (
                not call.by_task or kind not in ("odd", "unknown", "refused", "cursed")
            ):
                self._seen(f"{kind} row")
                if kind in TELLING_NOTHING:
                    self._seen("a row that tells nothing")
                body = BODIES.get(kind, b'{"detail": "no"}')
                return self._bad_request(call, kind) if status == 400 else Answer(status, body)
        if call.by_task:
            return self._start(call, kinds)
        places = list(range(len(call.items)))
        listed = places
        affected = len(places)
        if partial and len(places) > 1:
            left_out = set(self._rng.sample(places, self._rng.randint(1, len(places) - 1)))
            listed = [place for place in places if place not in left_out]
            affected = len(listed)
            if partial == "partial, not applied":
                places = listed
        self.applied += len(places)
        self._witness.applied(call, places)
        items = {}
        for place in listed:
            item = call.items[place]
            items[item[call.data_key]] = [name for name in item if name != call.data_key]
        return Answer(200, json.dumps({"codes_affected": affected, "items": items}).encode())

    def _bad_request(self, call: Call, kind: str) -> Answer:
        """Return a 400 in one of the ways that this API is known or feared to have."""
        naming = "none" if kind == "odd" else self._rng.choice(self.faults.naming)
        if naming == "none":
            return Answer(400, b"<html>Bad Request</html>")
        named = []
        if naming == "line" and self.faults.first_line != 1:
            self._seen("lines not counted from 1")
        for line, (tag, item) in enumerate(
            zip(call.tags, call.items, strict=True), self.faults.first_line
        ):
            found = self._kinds.get(tag)
            if found in ("unknown", "refused"):
                where: dict[str, Any] = (
                    {"line": line} if naming == "line" else {"key_value": item[call.data_key]}
                )
                what = call.data_key if found == "unknown" else "intended_market"
                named.append({**where, "field": what, "message": "no"})
        return Answer(
            400, json.dumps({"errors": named[:1] if naming == "first" else named}).encode()
        )
