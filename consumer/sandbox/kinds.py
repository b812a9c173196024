"""The kinds of faults: what each does, and what can be said about it, as tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class FaultError(ValueError):
    """A fault that is not described rightly; says what is allowed."""


def _whole(minimum: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if (
            isinstance(value, bool)
            or not re.fullmatch(r"[0-9]+", str(value))
            or int(str(value)) < minimum
        ):
            raise ValueError(f"a whole number, at least {minimum}")
        return int(str(value))

    return read


def _number(minimum: float, maximum: float = 1e6) -> Callable[[object], float]:
    def read(value: object) -> float:
        text = f"a number from {minimum:g} to {maximum:g}"
        try:
            number = float(str(value))
        except ValueError:
            raise ValueError(text) from None
        if not minimum <= number <= maximum:
            raise ValueError(text)
        return number

    return read


def _choice(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return str(value)

    return read


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("a text of printable characters, not empty")
    return value


def _names(value: object) -> list[str]:
    names = value.split("|") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("a list of texts (in a flag: a|b|c)")
    return list(names)


def _flag(value: object) -> bool:
    if value not in (True, False, "true", "false"):
        raise ValueError("true or false")
    return value in (True, "true")


#: Every parameter: how its value is read, from JSON or from a flag's text.
PARAMETERS: dict[str, Callable[[object], Any]] = {
    # how often (at most one; none: every matching request until the fault is cleared)
    "first": _whole(1),
    "every": _whole(1),
    "probability": _number(0, 1),
    "seed": _whole(0),
    # which requests (all that are given must hold)
    "path": _choice("upload", "async", "task", "me", "download", "any"),
    "key": _text,
    "min_rows": _whole(1),
    "min_bytes": _whole(1),
    "text": _text,
    # what happens
    "seconds": _number(0),
    "retry_after": _number(0),
    "form": _choice("seconds", "date", "body", "none"),
    "per_second": _whole(1),
    "code": _whole(0),
    "location": _text,
    "max_bytes": _whole(1),
    "max_rows": _whole(1),
    "style": _choice("all", "first", "line", "key", "none", "foreign", "html"),
    "partial": _flag,
    "rows": _whole(1),
    "keys": _names,
    "fields": _names,
    "bytes": _whole(1),
    "message": _text,
    "applied": _flag,
    "answer": _choice("404", "pending", "running"),
    "field": _text,
    "inside": _text,
    "waiting": _text,
    "working": _text,
    "done": _text,
    "failed": _text,
}
OFTEN = ("first", "every", "probability", "seed")
BODY_MATCH = ("key", "min_rows", "min_bytes", "text")
COMMON = (*OFTEN, "path", *BODY_MATCH)
#: What cannot be said about faults of a stage: there is no body yet; or one kind of call alone has
#: the stage.
_SENSELESS = {
    "arrive": BODY_MATCH,
    "task_time": ("path",),
    "task_fate": ("path",),
    "shape": ("path",),
    **dict.fromkeys(
        (
            "document_time",
            "document_fate",
            "document_columns",
            "document_spelling",
            "document_cut",
        ),
        ("path", *BODY_MATCH),
    ),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: its stage, what it does, and its own parameters with their defaults."""

    stage: str
    about: str
    own: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()  #: at least one of these has to be given
    path: str = "upload"  #: which calls it strikes unless told otherwise


KINDS: dict[str, Kind] = {
    "reset_unread": Kind("arrive", "connection reset before the body is read"),
    "latency": Kind("delay", "the answer takes this much longer", {"seconds": 0.1}),
    "throttle": Kind(
        "answer", "429, telling the wait in this form", {"retry_after": 1.0, "form": "seconds"}
    ),
    "rate_limit": Kind(
        "answer",
        "429 beyond this many requests of all kinds in any second",
        {"per_second": None, "retry_after": 1.0, "form": "seconds"},
        ("per_second",),
        path="any",
    ),
    "status": Kind(
        "answer",
        "this status after that many seconds, nothing applied",
        {"code": None, "seconds": 0.0, "retry_after": None, "form": "seconds"},
        ("code",),
    ),
    "redirect": Kind("answer", "a redirect", {"code": 302, "location": "/elsewhere/"}),
    "too_large": Kind(
        "answer",
        "413 over so many bytes or rows",
        {"max_bytes": None, "max_rows": None},
        ("max_bytes", "max_rows"),
    ),
    "firewall": Kind(
        "answer",
        "403 (or 400) in HTML for a request that contains a text",
        {"code": 403},
        ("text",),
    ),
    "timeout_before": Kind(
        "answer",
        "connection held, then closed without an answer, nothing applied",
        {"seconds": 1.0},
    ),
    "late": Kind(
        "answer", "connection closed at once, applied after that many seconds", {"seconds": 1.0}
    ),
    "reset_before": Kind("answer", "connection reset after the body was read, nothing applied"),
    "bad_request": Kind(
        "refuse",
        "how a 400 for bad rows is told: all of them, the first, by line only, by key only, none, "
        "a foreign row, html; partial: the rows before the first bad one are applied",
        {"style": "all", "partial": False},
    ),
    "campaign_fields": Kind(
        "fields",
        "only these fields are kept, others discarded",
        {"fields": None},
        ("fields",),
        path="any",
    ),
    "omit_rows": Kind(
        "omit",
        "200 without these keys, or without the last rows: not applied",
        {"rows": 1, "keys": None},
    ),
    "only_changed": Kind("listing", "a 200 lists only rows and fields that got another value"),
    "garbage": Kind("body", "applied, then 200 with HTML"),
    "empty": Kind("body", "applied, then 200 without a body"),
    "huge": Kind("body", "applied, then a 200 padded to so many bytes", {"bytes": 2_000_000}),
    "timeout_after": Kind(
        "wire", "applied, connection held, then closed without an answer", {"seconds": 1.0}
    ),
    "reset_after": Kind("wire", "applied, then connection reset without an answer"),
    "reset_midway": Kind("wire", "applied, connection reset in the middle of the answer's body"),
    "task_slow": Kind("task_time", "a task takes this much longer", {"seconds": 5.0}, path="async"),
    "task_fails": Kind(
        "task_fate",
        "a task ends as failed; applied: though it took effect",
        {"message": "The task failed.", "applied": False},
        path="async",
    ),
    "task_lost": Kind(
        "task_fate",
        "polls of a task are told 404, or pending or running for ever; "
        "applied: it takes effect all the same",
        {"answer": "404", "applied": False},
        path="async",
    ),
    "task_shape": Kind(
        "shape",
        "another form of what a poll is told: the state's field, its words, an object around it",
        {
            "field": "status",
            "waiting": "pending",
            "working": "running",
            "done": "complete",
            "failed": "failed",
            "inside": None,
        },
        path="task",
    ),
    "document_late": Kind(
        "document_time", "a document takes this much longer", {"seconds": 5.0}, path="download"
    ),
    "document_fails": Kind(
        "document_fate",
        "a document cannot be made",
        {"message": "The document could not be made."},
        path="download",
    ),
    "document_columns": Kind(
        "document_columns",
        "a document lacks these columns",
        {"fields": None},
        ("fields",),
        path="download",
    ),
    "document_spelling": Kind(
        "document_spelling",
        "a document has other names of columns, words for a status, and semicolons",
        path="download",
    ),
    "document_cut": Kind(
        "document_cut", "a document ends after so many bytes", {"bytes": 1000}, path="download"
    ),
    "trickle": Kind(
        "wire", "the answer's body comes byte by byte, so many seconds apart", {"seconds": 0.01}
    ),
}


def read_parameters(kind: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the parameters given for a fault, checked and converted; raise FaultError."""
    if kind not in KINDS:
        raise FaultError(f"unknown fault {kind!r}: one of {', '.join(KINDS)}")
    about = KINDS[kind]
    allowed = {*about.own, *COMMON} - set(_SENSELESS.get(about.stage, ()))
    values = {
        name: _read(kind, name, value, allowed)
        for name, value in given.items()
        if value is not None
    }
    if about.needs and not any(name in values for name in about.needs):
        raise FaultError(f"fault {kind}: needs {' or '.join(about.needs)}")
    if len({"first", "every", "probability"} & values.keys()) > 1:
        raise FaultError(f"fault {kind}: only one of first, every and probability")
    low, high = (300, 399) if kind == "redirect" else (400, 599)
    if not low <= values.get("code", low) <= high:
        raise FaultError(f"fault {kind}: code must be from {low} to {high}")
    return values


def _read(kind: str, name: str, value: object, allowed: set[str]) -> Any:
    if name not in allowed:
        raise FaultError(
            f"fault {kind}: {name!r} is not a parameter of it: {', '.join(sorted(allowed))}"
        )
    try:
        return PARAMETERS[name](value)
    except ValueError as error:
        raise FaultError(f"fault {kind}: {name} must be {error}, not {value!r}") from None
