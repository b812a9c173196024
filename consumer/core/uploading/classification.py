"""From a response to a verdict: a table by HTTP status, without any state of the process.

``decision`` and ``evidence`` decide what then happens: wait, divide, pause, dead-letter. The rules
come from the upload guide's responses, and from the contract's table of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from consumer.core.model import KEYS_OF_ONE_CODE, Rejection, Row
from consumer.core.uploading.response import Response
from consumer.core.verdict import Verdict

#: Characters of a body that a dead letter quotes.
BODY_EXCERPT = 500
#: Characters of a task's id; a longer one is none.
MAX_TASK_ID = 200
#: Characters of the API's own explanation in a log line.
BRIEF = 200
#: The number that an API may give the first line: the guide's 1; 0; 2, where a header is counted.
LINES_BEGIN_AT = (1, 0, 2)
#: Rows that a line may mean are tried alone so often; if it is not known then how lines are
#: counted, it never will be.
MOST_LINE_TRIES = 3


class Outcome(msgspec.Struct, gc=False):
    """A verdict with what belongs to it."""

    verdict: Verdict
    rejected: list[tuple[Row, Rejection]] = []
    #: of ROWS_NAMED: rows that a line may mean, where it is not known how lines are counted
    candidates: list[Row] = []
    others: list[Row] = []  #: of ROWS_NAMED: all other rows
    #: of ACCEPTED: codes that the request changed, all rows together, if the API told
    affected: int | None = None
    missing: list[Row] = []  #: of ACCEPTED: rows that the response does not confirm
    #: of ACCEPTED: by the id of the row, its fields that ``items`` does not list
    unlisted: dict[int, list[str]] = {}
    text: str = ""  #: for people: what came back
    status: int | None = None  #: HTTP status of a refusal
    task_id: str = ""  #: of an asynchronous upload


_BY_STATUS = {
    400: Verdict.NONE_NAMED,
    401: Verdict.UNAUTHORIZED,
    403: Verdict.REFUSED,
    404: Verdict.REFUSED,
    405: Verdict.REFUSED,
    406: Verdict.REFUSED,
    408: Verdict.FAILED,
    413: Verdict.TOO_LARGE,
    429: Verdict.THROTTLED,
}


class LineNumbers:
    """The way the API counts the lines of its errors, learned from those errors.

    The guide says from 1, but an API that counts from 0, or a header as line 1, would name the
    neighbours of the bad row. An error that tells the key value as well, or that is about a window
    of one row, shows how lines are counted. Until then the rows that the first line may mean are to
    be tried alone; after a contradiction lines mean nothing.
    """

    def __init__(self) -> None:
        self._first: int | None = None  # the number of a window's first row; None: not known
        self._believed = True
        self._tries = 0

    def learn(self, line: int | None, index: int) -> None:
        """Take in that an error with this line is about the row at this index."""
        if line is None:
            return
        first = line - index
        self._believed = self._believed and first in LINES_BEGIN_AT and self._first in (None, first)
        self._first = first

    def rows(self, lines: list[int], rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Return the rows that the lines of one response mean, and, where that is not known, those
        that its first line may mean.
        """
        if len(rows) == 1 and lines:
            self.learn(lines[0], 0)
            return [rows[0] for _ in lines], []
        if not self._believed or not lines:
            return [], []
        ways = LINES_BEGIN_AT if self._first is None else (self._first,)
        fits = [first for first in ways if all(0 <= line - first < len(rows) for line in lines)]
        if self._first is not None:
            return [rows[line - first] for first in fits for line in lines], []
        if self._tries >= MOST_LINE_TRIES:
            return [], []
        return [], [rows[lines[0] - first] for first in fits]

    def count_try(self) -> None:
        """Count that the rows which a line may mean are tried alone: that is done a few times."""
        self._tries += 1


def classify(
    data_key: str,
    rows: list[Row],
    response: Response,
    *,
    by_task: bool = False,
    lines: LineNumbers | None = None,
) -> Outcome:
    """Return what the response to a window of these rows means (I1, lost-answer).

    ``by_task``: it is the response to the call that starts a task.
    """
    status = response.status
    if status is None:
        return Outcome(Verdict.LOST if response.sent else Verdict.UNSENT, text=response.error)
    if status == 200:
        return _read_started(response) if by_task else _read_200(data_key, rows, response)
    if status == 400:
        named, candidates = _named(data_key, rows, response.document, lines or LineNumbers())
        if named or candidates:
            meant = {id(row) for row, _ in named} | {id(row) for row in candidates}
            others = [row for row in rows if id(row) not in meant]
            return Outcome(
                Verdict.ROWS_NAMED,
                named,
                candidates,
                others,
                text=describe(response),
                status=status,
            )
    verdict = _BY_STATUS.get(status) or (
        Verdict.FAILED if 500 <= status <= 599 else Verdict.UNEXPECTED
    )
    return Outcome(verdict, text=describe(response), status=status)


def describe(response: Response) -> str:
    """Return the response for people: status and the beginning of the body."""
    if response.status is None:
        return response.error
    body = response.body[: 4 * BODY_EXCERPT].decode("utf-8", "replace").strip()[:BODY_EXCERPT]
    return f"HTTP {response.status}: {body}" if body else f"HTTP {response.status} without a body"


def brief(response: Response) -> str:
    """Return the response for a log line.

    That is its status and the API's own short explanation, never a body that may hold codes.
    """
    if response.status is None:
        return response.error
    detail = response.document.get("detail") if isinstance(response.document, dict) else None
    shown = f": {detail[:BRIEF]}" if isinstance(detail, str) and response.status != 200 else ""
    odd = " that is not the documented answer" if response.status == 200 else ""
    return f"HTTP {response.status}{shown}{odd}"


def _read_started(response: Response) -> Outcome:
    found = response.document.get("task_id") if isinstance(response.document, dict) else None
    task_id = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    if not 0 < len(task_id) <= MAX_TASK_ID:
        return Outcome(Verdict.UNEXPECTED, text=f"not the documented answer; {describe(response)}")
    return Outcome(Verdict.STARTED, task_id=task_id)


def _read_200(data_key: str, rows: list[Row], response: Response) -> Outcome:
    document = response.document
    items = document.get("items") if isinstance(document, dict) else None
    affected = document.get("codes_affected") if isinstance(document, dict) else None
    if not isinstance(items, dict) or (affected is not None and type(affected) is not int):
        return Outcome(Verdict.UNEXPECTED, text=f"not the documented answer; {describe(response)}")
    if items and data_key in KEYS_OF_ONE_CODE and not any(row.value in items for row in rows):
        return Outcome(
            Verdict.UNEXPECTED, text=f"an answer about other codes; {describe(response)}"
        )
    missing: list[Row] = []
    unlisted: dict[int, list[str]] = {}
    find = items.get
    for row in rows:
        listed = find(row.value)
        if listed is None:
            missing.append(row)
        elif type(listed) is list and len(listed) < len(row.item) - 1:
            names = {name for name in listed if isinstance(name, str)}
            fields = [name for name in row.item if name not in names and name != data_key]
            unlisted[id(row)] = fields
    if missing:
        if data_key not in KEYS_OF_ONE_CODE or affected is None or affected >= len(rows):
            missing = []
        elif len(missing) == len(rows):
            # Perhaps this response lists no keys at all. A repeat is missing still: the first time
            # others were listed.
            missing = [row for row in missing if row.left_out_once]
    return Outcome(Verdict.ACCEPTED, affected=affected, missing=missing, unlisted=unlisted)


def _named(
    data_key: str, rows: list[Row], document: Any, lines: LineNumbers
) -> tuple[list[tuple[Row, Rejection]], list[Row]]:
    """Return the rows that the errors name, each once, by key value, else by line.

    And, where it is not known how lines are counted, the rows that the first line may mean.
    """
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return [], []
    index_of = {row.value: index for index, row in enumerate(rows)}
    named: dict[int, tuple[Row, Rejection]] = {}
    by_line: list[tuple[int, dict[str, Any]]] = []
    for error in errors:
        if not isinstance(error, dict):
            continue
        line = _line(error.get("line"))
        value = _text(error.get("key_value"))
        if not value:
            if line is not None:
                by_line.append((line, error))
            continue
        index = index_of.get(value)
        # Else it is about a key that is not in this window, whatever its line says.
        if index is not None:
            lines.learn(line, index)
            named.setdefault(id(rows[index]), (rows[index], _rejection(error, data_key)))
    meant, candidates = lines.rows([line for line, _ in by_line], rows)
    for row, (_, error) in zip(meant, by_line, strict=False):  # none is meant where it is not known
        named.setdefault(id(row), (row, _rejection(error, data_key)))
    return list(named.values()), [row for row in candidates if id(row) not in named]


def _rejection(error: dict[str, Any], data_key: str) -> Rejection:
    message = _text(error.get("message"))[:BODY_EXCERPT] or "rejected without a message"
    field = _text(error.get("field")) or None
    return Rejection(
        "unknown_key" if field == data_key else "rejected_by_api", message, field, "upload", 400
    )


def _line(value: Any) -> int | None:
    text = _text(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        return str(value)
    return str(value)[:BODY_EXCERPT]
