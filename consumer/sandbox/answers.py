"""The API's answers: statuses and bodies, in the forms that are known of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http.client import responses
from typing import Any

import orjson

from consumer.sandbox.faults import Fault
from consumer.sandbox.rules import Mistake
from consumer.sandbox.store import UploadEffect
from consumer.sandbox.tasks import COMPLETE, FAILED, PENDING, RUNNING, SandboxTask

SEND, CLOSE, RESET, CUT, TRICKLE = "send", "close", "reset", "cut", "trickle"


@dataclass(slots=True)
class SandboxResponse:
    """The answer on the wire.

    A status with a body, or (``status`` None) only the end of the connection.
    """

    status: int | None
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    wire: str = SEND
    hold: float = 0.0  #: seconds until it goes out
    interval: float = 0.0  #: seconds between the bytes of a trickle
    afterwards: Callable[[], None] | None = None  #: done when the connection has ended


def as_json(
    status: int, document: object, headers: tuple[tuple[str, str], ...] = ()
) -> SandboxResponse:
    """Return an answer in JSON."""
    return SandboxResponse(status, orjson.dumps(document), headers=headers)


def as_html(status: int, text: str = "") -> SandboxResponse:
    """Return an answer in HTML, as something in front of the API gives it."""
    title = f"{status} {responses.get(status, '')}"
    page = (
        f"<html><head><title>{title}</title></head>"
        f"<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    )
    return SandboxResponse(status, page.encode(), content_type="text/html")


def detail(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> SandboxResponse:
    """Return an error in Django REST Framework's usual form."""
    return as_json(status, {"detail": text}, headers)


def accepted(applied: UploadEffect, *, only_changed: bool) -> SandboxResponse:
    """Return the 200 of an upload (guide, "API Design").

    It has the fields by key value, and how many codes were selected.
    """
    return as_json(
        200,
        {
            "total_updates": applied.updates,
            "changes": applied.changes,
            "items": applied.changed if only_changed else applied.items,
            "codes_affected": len(applied.codes),
        },
    )


def begun(task: SandboxTask) -> SandboxResponse:
    """Return the 200 of an asynchronous upload: it was taken, and has its effect later."""
    return as_json(200, {"task_id": task.id})


def told(task: SandboxTask, state: str, shape: Fault | None) -> SandboxResponse:
    """Return the 200 of a poll, whose form is not documented.

    ``shape``: of the fault ``task_shape``, which makes it another one.
    """
    words = {PENDING: "waiting", RUNNING: "working", COMPLETE: "done", FAILED: "failed"}
    document: dict[str, Any] = {
        "task_id": task.id,
        shape["field"] if shape else "status": shape[words[state]] if shape else state,
    }
    if state == COMPLETE:
        document |= {"total_updates": task.updates, "codes_affected": task.codes}
    elif state == FAILED:
        document["message"] = task.failure
    return as_json(200, {shape["inside"]: document} if shape and shape["inside"] else document)


def refused(mistakes: Sequence[Mistake], style: str = "all") -> SandboxResponse:
    """Return the 400 of an upload (guide, "Invalid Data Format").

    ``style``: one of the fault ``bad_request``.
    """
    if style == "html":
        return as_html(400, "The request could not be understood.")
    if style == "none":
        return as_json(400, {"errors": [{"message": "Invalid data"}]})
    if style == "foreign":
        stranger = {
            "message": "Invalid data",
            "line": "999",
            "field": "product",
            "key_value": "not-in-this-request",
        }
        return as_json(400, {"errors": [stranger]})
    if style == "first":
        mistakes = [mistake for mistake in mistakes if mistake.line == mistakes[0].line]
    left_out = {"line": "key_value", "key": "line"}.get(style)
    return as_json(400, {"errors": [_error(mistake, left_out) for mistake in mistakes]})


def _error(mistake: Mistake, left_out: str | None) -> dict[str, Any]:
    error = {
        "message": mistake.message,
        "line": None if mistake.line is None else str(mistake.line),
        "field": mistake.field,
        "key_value": mistake.key_value,
    }
    return {name: value for name, value in error.items() if value is not None and name != left_out}


def throttled(fault: Fault) -> SandboxResponse:
    """Return a 429 in Django REST Framework's words (it says "1 second" in the singular)."""
    wait = math.ceil(fault["retry_after"])
    text = "Request was throttled."
    if fault["form"] == "body":
        text += f" Expected available in {wait} second{'' if wait == 1 else 's'}."
    return as_json(429, {"detail": text, "code": "throttled"}, _retry_after(fault))


def failed(fault: Fault) -> SandboxResponse:
    """Return any error status; with ``retry_after`` the header in the wanted form."""
    response = as_html(fault["code"], "The sandbox was told to fail.")
    response.hold = fault["seconds"]
    if fault["retry_after"] is not None:
        response.headers = _retry_after(fault)
    return response


def _retry_after(fault: Fault) -> tuple[tuple[str, str], ...]:
    wait = fault["retry_after"]
    if fault["form"] == "seconds":
        return (("Retry-After", str(math.ceil(wait))),)
    if fault["form"] == "date":
        # whole seconds only: rounded up, so that it is never earlier than asked for
        return (("Retry-After", formatdate(math.ceil(time.time() + wait), usegmt=True)),)
    return ()
