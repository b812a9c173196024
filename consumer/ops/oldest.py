"""Tell for a person what the oldest unsettled record of a partition waits for.

The core knows where its rows are (``consumer.core.oldest``); here that becomes the words of
``/status``: what the process or the API as a whole waits for comes before what the record does.
"""

from __future__ import annotations

from consumer.core.model import Record
from consumer.core.oldest import Oldest, Wait
from consumer.core.pipeline import Pipeline
from consumer.hiding import HIDDEN
from consumer.loop.runner import Runner
from consumer.ops.status import OldestStatus

#: A record that was read less than so many seconds ago is not looked at.
YOUNG_SECONDS = 1.0
#: What waits only for a request.
_HELD_BACK = frozenset({Wait.WINDOW, Wait.REQUEST, Wait.RETRY})

#: What follows the words "It waits"; ``{}``: about the record.
_SENTENCES = {
    "window": "in a window that fills",
    "response": "for the API's response",
    "task": "for a task that the API works on",
    "retry": "for its next attempt",
    "unknown_key": "until the API knows its code",
    "dead_letter": "until its dead letter is acknowledged by the dead-letter topic",
    "receipt": "until its receipt is acknowledged: see receipts_error",
    "schema": "for its schema from the registry",
    "room": "for room among the rows that are unsettled (limits.max_unsettled_rows)",
    "pause": "until uploading goes on: it is paused",
    "group": "until the group has confirmed this member",
    "stop": "for the next start: this process stops, and does not send it any more",
}


class Describer:
    """Describes the oldest records of one snapshot; ``show_keys``: as ``log.keys`` says."""

    def __init__(self, runner: Runner, now: float, *, show_keys: bool) -> None:
        self._runner = runner
        self._now = now
        self._wall_clock = runner.wall_clock()
        self._show_keys = show_keys

    def describe(self, oldest: Oldest) -> OldestStatus:
        """Return the status of a record."""
        record, row = oldest.record, oldest.row
        waits_for = self._waits_for(oldest)
        retry_at = oldest.retry_at
        retry_in = None if retry_at is None else max(0.0, round(retry_at - self._now, 3))
        timestamp = record.timestamp
        return OldestStatus(
            offset=record.offset,
            age_seconds=(
                max(0.0, round(self._wall_clock - timestamp / 1000, 3)) if timestamp > 0 else None
            ),
            unsettled_seconds=max(0.0, round(self._now - record.read_at, 3)),
            waits_for=waits_for,
            behind=None if oldest.behind is None else place_of(oldest.behind),
            attempts=oldest.attempts,
            retry_in_seconds=retry_in,
            last_response=oldest.last_response,
            data_key=None if row is None else row.data_key,
            key_value=None if row is None else shown_key(row.value, show_keys=self._show_keys),
            message=self._message(oldest, waits_for, retry_in),
            suspect=oldest.suspect,
        )

    def _waits_for(self, oldest: Oldest) -> str:
        waits_for, pipeline = oldest.waits_for, self._runner.pipeline
        if waits_for is Wait.ROWS:
            return "schema" if self._awaits_schema(oldest.record) else "room"
        if waits_for in _HELD_BACK or waits_for is Wait.UNKNOWN_KEY:
            if self._runner.stopping:
                return "stop"
            if pipeline.uploads_suspended:
                return "group"
            if waits_for in _HELD_BACK and pipeline.gate.pause is not None:
                return "pause"
        if waits_for is Wait.WINDOW and not pipeline.gate.admits(self._now):
            return Wait.REQUEST.value
        return str(waits_for.value)

    def _awaits_schema(self, record: Record) -> bool:
        return self._runner.intake.awaits_schema(record.partition)

    def _message(self, oldest: Oldest, waits_for: str, retry_in: float | None) -> str:
        behind = "" if oldest.behind is None else place_of(oldest.behind)
        within = "" if retry_in is None else f", in {retry_in:.0f} s"
        match waits_for:
            case "earlier_row":
                text = f"for an earlier row of its code, of {behind}"
            case "lost_call":
                until = f", for {retry_in:.0f} s at most" if retry_in is not None else ""
                text = f"until a lost call of {behind} can no longer take effect{until}"
            case "request":
                text = _held_back_by(self._runner.pipeline, self._now)
            case "retry" | "unknown_key":
                text = f"{_SENTENCES[waits_for]}{within}"
            case _:
                text = _SENTENCES[waits_for]
        sentence = f"It waits {text}."
        if oldest.last_response:
            sentence += (
                f" Its last request failed ({oldest.last_response}); "
                f"it was sent {oldest.attempts} time{'' if oldest.attempts == 1 else 's'}."
            )
        if oldest.suspect:
            sentence += " Others are accepted meanwhile: it is about this record."
        return sentence


def _held_back_by(pipeline: Pipeline, now: float) -> str:
    gate = pipeline.gate
    if gate.throttle.until > now:
        return f"for a request: the API asked for none for {gate.throttle.until - now:.0f} s"
    if gate.circuit.is_open:
        return "for a request: the API fails, and one at a time tries whether it is back"
    return "for a request: its turn comes (api.requests_per_second, api.concurrency)"


def place_of(record: Record) -> str:
    """Return a record's place, as ``dlq show`` takes it."""
    return f"{record.partition}@{record.offset}"


def shown_key(value: str | None, *, show_keys: bool) -> str | None:
    """Return a key value as it may be shown."""
    return value if show_keys or value is None else HIDDEN
