"""Stand in, in a dry run, for the API and the dead-letter topic: print what they would get.

A line of output is one JSON object: ``{"upload": BODY}``, BODY being the request's whole body, or
``{"upload_async": BODY}``; ``{"dead_letter": {…}}`` with what the dead letter would tell; at the
end ``{"summary": TEXT}``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from consumer.adapters.scantrust.client import task_body
from consumer.core.effects import Attempt, DeadLetter
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task
from consumer.loop.ports import Results


class JsonLines:
    """Writes JSON lines to a file descriptor.

    Once that failed, ``failed`` is called and nothing more is written.
    """

    def __init__(self, descriptor: int, failed: Callable[[OSError], None]) -> None:
        self._descriptor = descriptor
        self._failed = failed
        self._broken = False

    def write(self, kind: str, content: object) -> None:
        """Write a line, whole and at once."""
        if self._broken:
            return
        rest = orjson.dumps({kind: content}, option=orjson.OPT_APPEND_NEWLINE)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._broken = True
            self._failed(error)


class DryCall(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A call that was not made."""

    subject: Attempt | Task | None


class DryApi:
    """Accepts every window as the documented response would, at once."""

    def __init__(self, lines: JsonLines, results: Results) -> None:
        self._lines = lines
        self._results = results

    def send(self, attempt: Attempt, start_by: Callable[[], float]) -> None:  # noqa: ARG002 - nothing is sent
        """Print the request."""
        key = attempt.data_key
        if attempt.by_task:
            self._lines.write("upload_async", task_body(key, attempt.items))
            self._results.put((DryCall(attempt), Response(200, document={"task_id": "dry-run"})))
            return
        self._lines.write("upload", {"data_key": key, "items": attempt.items})
        listed = {item[key]: [name for name in item if name != key] for item in attempt.items}
        answer = {"items": listed, "codes_affected": len(listed)}
        self._results.put((DryCall(attempt), Response(200, document=answer)))

    def poll_task(self, task: Task) -> None:
        """Say that what was printed is complete."""
        self._results.put((DryCall(task), Response(200, document={"state": "complete"})))

    def check_token(self) -> None:
        """Say that the token is good; uploading never pauses here."""
        self._results.put((DryCall(None), Response(200)))

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class DryDeadLetters:
    """Acknowledges every dead letter at once."""

    trouble: tuple[str, str] | None = None

    def __init__(self, lines: JsonLines, results: Results) -> None:
        self._lines = lines
        self._results = results

    def send(self, letter: DeadLetter) -> None:
        """Print what the dead letter would tell."""
        row, why = letter.row, letter.rejection
        partition = row.record.partition
        told: dict[str, Any] = {
            "topic": partition.topic,
            "partition": partition.number,
            "offset": row.record.offset,
            "stage": why.stage,
            "reason": why.reason,
            "message": why.message,
            "field": why.field,
            "data_key": row.data_key,
            "key_value": row.value,
            "row": row.item or None,
            "event_id": row.record.event_id,
        }
        self._lines.write(
            "dead_letter", {name: value for name, value in told.items() if value is not None}
        )
        self._results.put([row])

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
