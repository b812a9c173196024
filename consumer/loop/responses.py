"""Give each response to the core; at debug level log a line for it, and tell a tracer, if any.

A line names the window and the attempt, what came back, what became of the rows, and the exact
records that they are from: so a row is found in its request, and a request among its records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from consumer.core.batching.window import Place, Window
from consumer.core.effects import Attempt
from consumer.core.model import Row, Stage
from consumer.core.pipeline import Pipeline
from consumer.core.uploading.classification import brief
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task
from consumer.loop.ports import EndedCall, Fates, Tracer

log = logging.getLogger(__name__)

_DONE = (Stage.RECEIPT, Stage.CLAIM_HELD, Stage.DONE)


class Responses:
    """Takes in what calls brought; ``clock`` in seconds."""

    def __init__(
        self, pipeline: Pipeline, clock: Callable[[], float], tracer: Tracer | None = None
    ) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._tracer = tracer

    def take(self, call: EndedCall, response: Response) -> None:
        """Give the core the response to a call; log and trace it, if anybody wants that."""
        subject = call.subject
        if self._tracer is None and not log.isEnabledFor(logging.DEBUG):
            self._give(subject, response)
        elif subject is None:
            self._give(subject, response)
            log.debug("GET /api/v2/me/: %s", _brought(response), extra={"data": _told(response)})
        else:
            self._give_observed(subject, response)

    def _give(self, subject: Attempt | Task | None, response: Response) -> None:
        now = self._clock()
        if subject is None:
            self._pipeline.on_token_check(response, now)
        elif isinstance(subject, Task):
            self._pipeline.on_task_response(subject, response, now)
        else:
            self._pipeline.on_response(subject, response, now)

    def _give_observed(self, subject: Attempt | Task, response: Response) -> None:
        window = subject.window
        if isinstance(subject, Attempt) and not window.is_in_flight(subject.number):
            self._give(subject, response)  # it was answered before: this changes nothing
            return
        rows = list(window.rows)  # the core may divide them
        trace_id = ""
        if self._tracer is not None and isinstance(subject, Attempt):
            trace_id = self._tracer.on_response(subject, response, self._clock())
        self._give(subject, response)
        fates = fates_of(rows, window)
        if self._tracer is not None:
            self._tracer.on_outcome(window, fates)
        if log.isEnabledFor(logging.DEBUG):
            _log(subject, response, rows, fates, trace_id)


def fates_of(rows: list[Row], window: Window) -> Fates:
    """Return how many of a window's rows took which way, once the core knows of its response."""
    rejected = sum(row.rejection is not None for row in rows)
    done = [row for row in rows if row.rejection is None and row.stage in _DONE]
    accepted = sum(row.record.partition.owned for row in done)
    return Fates(
        place=window.place,
        accepted=accepted,
        rejected=rejected,
        released=len(done) - accepted,
        unsettled=len(rows) - rejected - len(done),
    )


def places(rows: list[Row]) -> dict[str, str]:
    """Return the records of these rows: offsets and runs of offsets, by partition."""
    by_partition: dict[str, set[int]] = {}
    for row in rows:
        by_partition.setdefault(str(row.record.partition), set()).add(row.record.offset)
    return {partition: _runs(sorted(offsets)) for partition, offsets in by_partition.items()}


def _runs(offsets: list[int]) -> str:
    """Return ascending numbers as text, such as ``5-8,11``."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == runs[-1][1] + 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _log(
    subject: Attempt | Task, response: Response, rows: list[Row], fates: Fates, trace_id: str
) -> None:
    window = subject.window
    data: dict[str, Any] = {"window": window.number, "attempt": window.attempts}
    if window.part_of:
        data["part_of"] = window.part_of
    what = f"window {window.number}, attempt {window.attempts}"
    if isinstance(subject, Task):
        data["task"] = subject.id
        what += f", poll {subject.polls} of its task"
    elif subject.by_task:
        what += ", to start a task"
    sources = places(rows)
    data |= {"rows": len(rows), "data_key": window.data_key} | _told(response)
    data |= {"sources": sources, "fates": msgspec.to_builtins(fates)}
    if trace_id:
        data["trace_id"] = trace_id
    log.debug(
        "%s: %s rows by %s from %s: %s; %s",
        what,
        len(rows),
        window.data_key,
        ", ".join(f"{partition}@{offsets}" for partition, offsets in sources.items()),
        _brought(response),
        _became(fates),
        extra={"data": data},
    )


def _told(response: Response) -> dict[str, Any]:
    """Return a response's fields of a line; never its body, which may hold codes."""
    told: dict[str, Any] = {"status": response.status, "seconds": round(response.seconds, 4)}
    if response.error:
        told["error"] = response.error
    if response.retry_after is not None:
        told["retry_after"] = response.retry_after
    if response.request_id:
        told["request_id"] = response.request_id
    return told


def _brought(response: Response) -> str:
    """Return what came, in words."""
    what = "HTTP 200" if response.status == 200 else brief(response)
    number = f", request ID {response.request_id}" if response.request_id else ""
    return f"{what} after {response.seconds:.3f} s{number}"


def _became(fates: Fates) -> str:
    """Return what became of a window's rows, in words."""
    going_on = {
        Place.TASK: "at work at the API",
        Place.PARKED: "to be sent again later",
        Place.IN_FLIGHT: "in flight again",
    }
    counts = (
        (fates.accepted, "accepted"),
        (fates.rejected, "rejected"),
        (fates.released, "released"),
        (fates.unsettled, going_on.get(fates.place, "to be sent again")),
    )
    return ", ".join(f"{count} {name}" for count, name in counts if count) or "no row left"
