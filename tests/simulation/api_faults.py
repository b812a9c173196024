"""The responses of the simulated API: faults, refusals, and the forms of a task's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What the API says by its mode, whatever the request.
MODES: dict[str, tuple[int, ...]] = {
    "unauthorized": (401,),
    "forbidden": (403,),
    "moved": (404, 405, 301),
    "down": (500, 502, 503, 504),
    "turmoil": (
        401,
        400,
        400,
        413,
        413,
        500,
    ),  #: one says that the token is wrong, another anything
}
#: What it says to a window that holds a row of a kind, in this order; the others are fine with it.
KINDS: dict[str, int] = {
    "forbidden": 403,
    "huge": 413,
    "redirected": 302,
    "unprocessable": 422,
    "walled": 200,
    "garbled": 200,
    "timed out": 504,
    "odd": 400,
    "unknown": 400,
    "refused": 400,
    "cursed": 500,
}
#: Kinds that tell nothing: that a row is at fault shows only in time, while others pass.
TELLING_NOTHING = ("redirected", "unprocessable", "walled", "garbled", "timed out", "cursed")
#: What comes with them where it is not the API's usual no.
BODIES: dict[str, bytes] = {
    "walled": b"<html>Your request was blocked.</html>",
    "garbled": b'{"items": 1}',
    "redirected": b"",
}
#: How an answer tells the state of a task, with a word for success of the question beside it.
SHAPES: tuple[Callable[[str], dict[str, Any]], ...] = (
    lambda state: {"state": state},
    lambda state: {"status": "success", "task_state": state},
    lambda state: {"status": "success", "task": {"state": state}},
    lambda state: {"status": "ok", "result": {"status": "SUCCESS"}, "state": state},
)


@dataclass
class Faults:
    """Faults of requests, each with its share from 0 to 1; times in seconds."""

    latency: tuple[float, float] = (0.02, 0.3)
    shares: Mapping[str, float] = field(default_factory=dict)  #: by name, as in ``Api._strike``
    max_processing: float = 65.0
    naming: tuple[str, ...] = ("all", "first", "line", "none")  #: how a 400 tells what is wrong
    task_seconds: float = 2.0  #: what a task takes at most
    #: Failed, forgotten, endless; else complete.
    task_ends: Mapping[str, float] = field(default_factory=dict)
    contradict: float = 0.0  #: the share of tasks whose state stands beside a word for success
    first_line: int = 1  #: the number of a request's first line, in a 400 that names lines
    #: An endless task may take effect until so long after its start, and a call's time.
    task_deadline: float = 60.0


@dataclass(frozen=True)
class Answer:
    """A response; ``status`` None: the connection was lost."""

    status: int | None
    body: bytes = b""
    retry_after: float | None = None
    sent: bool = True


def state_told(document: Mapping[str, Any]) -> str | None:
    """Return the state of a task in an answer of this API, in whichever of its shapes."""
    inner = document.get("task")
    found = (
        inner.get("state")
        if isinstance(inner, dict)
        else document.get("task_state") or document.get("state")
    )
    return found if isinstance(found, str) else None
