"""A model of the API for the properties.

It answers by the content of a window, or by a trouble that the test draws.
"""

from __future__ import annotations

import heapq
import random

from consumer.core.effects import Attempt
from consumer.core.model import Row
from consumer.core.uploading.response import Response
from tests.unit.builders import EPSILON, accepted, answered, error_of, lost, naming, unsent

Item = dict[str, str]
#: What the API says by its mode, whatever the window.
MODES = {"unauthorized": (401,), "forbidden": (403,), "down": (500, 502, 503, 504)}
#: What it says to a window that holds a row of this kind, in this order.
KINDS = {"forbidden": 403, "huge": 413, "unknown": 400, "cursed": 500}


def tag_of(item: Item) -> tuple[int, int, int, int]:
    """Partition, epoch, offset and place in its record, which every row of these tests carries."""
    number, epoch, offset, place = (int(part) for part in item["tag"].split("."))
    return number, epoch, offset, place


class ApiModel:
    """The effects in their order; I9 is asserted whenever a row takes effect."""

    def __init__(self, draw: random.Random, max_processing: float) -> None:
        self._draw = draw
        self._max_processing = max_processing
        self.mode = "healthy"
        self.seen: set[str] = set()
        self.applied: set[tuple[int, int, int]] = set()  #: partition, offset, place
        self._latest: dict[tuple[str, str, int], tuple[int, int, int]] = {}  #: by key and partition
        self._late: list[tuple[float, int, list[Item]]] = []  #: lost calls that take effect later
        self._count = 0
        self._tasks: dict[str, tuple[float, str]] = {}  #: when each ends, and how

    def next_effect(self) -> float | None:
        """When the next lost call takes effect."""
        return self._late[0][0] if self._late else None

    def take_effect(self, now: float) -> None:
        """The lost calls whose time has come take effect."""
        while self._late and self._late[0][0] <= now:
            self._apply(heapq.heappop(self._late)[2])

    def me(self) -> Response:
        """The answer to ``GET /me``: 403 is about uploading, so the question passes."""
        return answered({"unauthorized": 401, "down": 503}.get(self.mode, 200), {})

    def response(self, attempt: Attempt, rows: list[Row], kind: str, now: float) -> Response:
        """Return the response to an attempt; ``kind`` is normal, or what goes wrong on the way."""
        if kind in ("503", "408", "429"):
            return answered(int(kind), retry_after=self._draw.choice((None, 0.0, 1.0, 50.0)))
        if kind == "unsent":
            return unsent()
        if kind.startswith("lost"):
            self._lose(attempt, rows, kind, now)
            return lost()
        if kind == "garbage":
            return answered(200, body=b"<html>portal</html>")
        if self.mode != "healthy":
            return answered(self._draw.choice(MODES[self.mode]))
        held = {row.item["kind"] for row in rows}
        for fault, status in KINDS.items():
            if attempt.by_task and fault == "unknown":
                continue  # a constraint that selects nothing is not told; here such a task fails
            if fault in held:
                return self._bad_request(attempt, rows) if status == 400 else answered(status)
        if attempt.by_task:
            return self._start(attempt, bad="unknown" in held, now=now)
        self._apply(attempt.items)
        left_out: list[str] = []
        if kind == "partial" and len(rows) > 1:
            left_out = self._draw.sample(
                [str(row.value) for row in rows], self._draw.randint(1, len(rows) - 1)
            )
        return accepted(attempt, without=left_out)

    def _start(self, attempt: Attempt, *, bad: bool, now: float) -> Response:
        """A task: it takes effect at its end, unless it fails, or goes on for ever.

        Or it is forgotten behind that.
        """
        task_id = str(len(self._tasks))
        end = "failed" if bad else self._draw.choice(("complete",) * 6 + ("forgotten", "endless"))
        at = now + self._draw.choice((0.0, 0.3, 3.0, 6.0))
        self._tasks[task_id] = at, end
        if end in ("complete", "forgotten"):
            self._count += 1
            heapq.heappush(self._late, (at, self._count, list(attempt.items)))
        self.seen.add("task")
        return answered(200, {"task_id": task_id})

    def tell(self, task_id: str, kind: str, now: float) -> Response:
        """The answer to a question about a task."""
        self.take_effect(now)
        if kind in ("503", "429") or (kind == "404" and now >= self._tasks[task_id][0]):
            return answered(int(kind), {})
        if kind == "lost":
            return lost()
        if self.mode != "healthy":
            return answered(self._draw.choice(MODES[self.mode]))
        at, end = self._tasks[task_id]
        if now < at or end == "endless":
            return answered(200, {"state": self._draw.choice(("pending", "in-progress"))})
        return answered(404, {}) if end == "forgotten" else answered(200, {"state": end})

    def _bad_request(self, attempt: Attempt, rows: list[Row]) -> Response:
        """A 400 in one of the ways that this API is known or feared to have."""
        bad = [
            (line, str(row.value))
            for line, row in enumerate(rows, 1)
            if row.item["kind"] == "unknown"
        ]
        style = self._draw.choice(("all", "first", "line", "none"))
        if style == "none":
            return answered(400, body=b"<html>Bad Request</html>")
        if style == "line":
            return answered(400, {"errors": [{"message": "bad", "line": bad[0][0]}]})
        return naming(
            *(
                error_of(value, field=attempt.data_key)
                for _, value in bad[: 1 if style == "first" else None]
            )
        )

    def _lose(self, attempt: Attempt, rows: list[Row], kind: str, now: float) -> None:
        """The answer is lost; the call may take effect all the same, now or until its processing
        must have ended.
        """
        if (
            kind == "lost"
            or self.mode != "healthy"
            or any(row.item["kind"] in KINDS for row in rows)
        ):
            return
        latest = attempt.window.sent_at + self._max_processing - EPSILON
        at = now if kind == "lost-applied" else self._draw.uniform(now, latest)
        if now <= at <= latest:
            self._count += 1
            heapq.heappush(self._late, (at, self._count, list(attempt.items)))
            self.seen.add(kind)

    def _apply(self, items: list[Item]) -> None:
        for item in items:
            key, value = next(iter(item.items()))
            number, *tag = tag_of(item)
            epoch, offset, place = tag
            latest = self._latest.get((key, value, number))
            now = epoch, offset, place
            assert latest is None or latest <= now, (
                f"I9: {value} of partition {number}: {now} took effect after {latest}"
            )
            self._latest[(key, value, number)] = now
            self.applied.add((number, offset, place))
