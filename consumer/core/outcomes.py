"""What a response means: a table from status to a reading, decided without any state of the process.

What then happens (wait, split, pause, dead-letter) is decided in ``uploads``, which knows what else is going on.
Source of the rules: the upload guide's responses, and the contract's table of them.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from consumer.core.model import KEYS_OF_ONE_CODE, Rejection, Row
from consumer.core.reply import Reply

BODY_EXCERPT = 500
#: Characters of a task's number; a longer one is none.
MAX_TASK_ID = 200
BRIEF = 200


class Reading(Enum):
    """What a response says about its window."""

    ACCEPTED = "accepted"
    STARTED = "started"  #: asynchronous: the API has taken the window over as a task
    ROWS_NAMED = "rows_named"  #: 400 that names rows of this window
    NONE_NAMED = "none_named"  #: 400 that names no row of this window
    TOO_LARGE = "too_large"
    UNAUTHORIZED = "unauthorized"  #: 401: the token; never the window's fault
    REFUSED = "refused"  #: 403, 404, 405, 406: the process's fault, or the window's while others pass
    UNEXPECTED = "unexpected"  #: not this API at all: redirects, a 200 that is not the documented answer
    THROTTLED = "throttled"  #: 429
    FAILED = "failed"  #: 408, 5xx: not applied
    LOST = "lost"  #: sent, and no answer: may have been applied, or may be yet
    UNSENT = "unsent"  #: certainly never reached the API


class Outcome(msgspec.Struct, gc=False):
    """A reading with what belongs to it."""

    reading: Reading
    rejected: list[tuple[Row, Rejection]] = []
    others: list[Row] = []  #: of ROWS_NAMED: the rows that were not named
    affected: int | None = None  #: of ACCEPTED: codes that the request changed, all rows together, if the API told
    missing: list[Row] = []  #: of ACCEPTED: rows that the answer does not confirm
    unlisted: dict[int, list[str]] = {}  #: of ACCEPTED: by the id of the row, its fields that ``items`` does not list
    text: str = ""  #: for people: what came back
    status: int | None = None  #: HTTP status of a refusal
    task_id: str = ""  #: of an asynchronous upload


_BY_STATUS = {
    400: Reading.NONE_NAMED,
    401: Reading.UNAUTHORIZED,
    403: Reading.REFUSED,
    404: Reading.REFUSED,
    405: Reading.REFUSED,
    406: Reading.REFUSED,
    408: Reading.FAILED,
    413: Reading.TOO_LARGE,
    429: Reading.THROTTLED,
}


def classify(data_key: str, rows: list[Row], reply: Reply, *, by_task: bool = False) -> Outcome:
    """Read the response to a window of these rows; ``by_task``: to the call that starts it as a task."""
    status = reply.status
    if status is None:
        return Outcome(Reading.LOST if reply.sent else Reading.UNSENT, text=reply.error)
    if status == 200:
        return _read_started(reply) if by_task else _read_200(data_key, rows, reply)
    if status == 400:
        named = _named(data_key, rows, reply.document)
        if named:
            names = {id(row) for row, _ in named}
            return Outcome(Reading.ROWS_NAMED, rejected=named, others=[r for r in rows if id(r) not in names])
    reading = _BY_STATUS.get(status) or (Reading.FAILED if 500 <= status <= 599 else Reading.UNEXPECTED)
    return Outcome(reading, text=describe(reply), status=status)


def describe(reply: Reply) -> str:
    """The response for people: status and the beginning of the body."""
    if reply.status is None:
        return reply.error
    body = reply.body[: 4 * BODY_EXCERPT].decode("utf-8", "replace").strip()[:BODY_EXCERPT]
    return f"HTTP {reply.status}: {body}" if body else f"HTTP {reply.status} without a body"


def brief(reply: Reply) -> str:
    """The response for a log line: status and the API's own short explanation, never a body that may hold codes."""
    if reply.status is None:
        return reply.error
    detail = reply.document.get("detail") if isinstance(reply.document, dict) else None
    shown = f": {detail[:BRIEF]}" if isinstance(detail, str) and reply.status != 200 else ""
    odd = " that is not the documented answer" if reply.status == 200 else ""
    return f"HTTP {reply.status}{shown}{odd}"


def _read_started(reply: Reply) -> Outcome:
    found = reply.document.get("task_id") if isinstance(reply.document, dict) else None
    task_id = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    if not 0 < len(task_id) <= MAX_TASK_ID:
        return Outcome(Reading.UNEXPECTED, text=f"not the documented answer; {describe(reply)}")
    return Outcome(Reading.STARTED, task_id=task_id)


def _read_200(data_key: str, rows: list[Row], reply: Reply) -> Outcome:
    document = reply.document
    items = document.get("items") if isinstance(document, dict) else None
    affected = document.get("codes_affected") if isinstance(document, dict) else None
    if not isinstance(items, dict) or (affected is not None and type(affected) is not int):
        return Outcome(Reading.UNEXPECTED, text=f"not the documented answer; {describe(reply)}")
    missing: list[Row] = []
    unlisted: dict[int, list[str]] = {}
    for row in rows:
        listed = items.get(row.value)
        if listed is None:
            missing.append(row)
        elif isinstance(listed, list) and len(listed) < len(row.item) - 1:
            names = {name for name in listed if isinstance(name, str)}
            fields = [name for name in row.item if name not in names and name != data_key]
            unlisted[id(row)] = fields
    if missing:
        if data_key not in KEYS_OF_ONE_CODE or affected is None or affected >= len(rows):
            missing = []
        elif len(missing) == len(rows):
            # Perhaps this answer lists no keys at all. A repeat is missing still: the first time others were listed.
            missing = [row for row in missing if row.confirmed_once]
    return Outcome(Reading.ACCEPTED, affected=affected, missing=missing, unlisted=unlisted)


def _named(data_key: str, rows: list[Row], document: Any) -> list[tuple[Row, Rejection]]:
    """The rows of this window that the errors name, each once, by key value, else by line (from 1)."""
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return []
    by_value = {row.value: row for row in rows}
    named: dict[int, tuple[Row, Rejection]] = {}
    for error in errors:
        if not isinstance(error, dict):
            continue
        row = _row_of(error, rows, by_value)
        if row is None or id(row) in named:
            continue
        message = _text(error.get("message"))[:BODY_EXCERPT] or "rejected without a message"
        field = _text(error.get("field")) or None
        reason = "unknown_key" if field == data_key else "rejected_by_api"
        named[id(row)] = row, Rejection(reason, message, field, "upload", 400)
    return list(named.values())


def _row_of(error: dict[str, Any], rows: list[Row], by_value: dict[str | None, Row]) -> Row | None:
    value = _text(error.get("key_value"))
    if value:
        # An error about a key that is not in this window names none of its rows, whatever its line says.
        return by_value.get(value)
    line = _text(error.get("line"))
    if line.isascii() and line.isdigit() and len(line) < 5 and 1 <= int(line) <= len(rows):
        return rows[int(line) - 1]
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        return str(value)
    return str(value)[:BODY_EXCERPT]
