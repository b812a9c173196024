"""Make a span of each window, within it one of each attempt, and one of each commit.

Names and attributes follow OpenTelemetry's semantic conventions for messaging, Kafka and HTTP
clients; those of our own begin with ``scm.``. None holds a code or anything of an event's content.

A span is exported when it ends. So it is made when a response has come, as of the time at which it
began, and nothing is remembered but the spans of windows that are not done yet: those that wait for
a retry or a task. The parts of a window that was divided are in its trace, below it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import msgspec
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    set_span_in_context,
)

from consumer.adapters.otel import attributes, export
from consumer.adapters.otel.attributes import MOST_LINKS
from consumer.adapters.otel.starting import Target
from consumer.core.batching.window import Place, Window
from consumer.core.effects import Attempt
from consumer.core.offsets.commits import Commit
from consumer.core.uploading.response import Response
from consumer.hiding import known
from consumer.loop.ports import Fates

log = logging.getLogger(__name__)

#: Partitions whose offsets a commit's span names, at most.
MOST_OFFSETS = 50
#: Windows that are not done, and divided ones whose parts may still come, at most.
MOST_REMEMBERED = 2000


class _Open(msgspec.Struct):
    """A window's span that has not ended."""

    window: Window
    span: Span
    accepted: int = 0  #: rows, so far: a window may go on without some of them
    rejected: int = 0
    released: int = 0


class SpanTracer:
    """Makes spans for the owner loop: a ``Tracer`` of ``loop/ports.py``.

    ``wall_clock``: nanoseconds since the epoch.
    """

    def __init__(
        self,
        provider: TracerProvider,
        target: Target,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("scm-consumer")
        self._follows_events = isinstance(provider.sampler, export.EventsDecide)
        self._target = target
        self._wall_clock = wall_clock
        self._open: OrderedDict[int, _Open] = OrderedDict()  # by window number
        self._divided: OrderedDict[int, Span] = OrderedDict()  # by window number
        self._done: deque[tuple[int, SpanContext]] = deque(maxlen=MOST_LINKS)
        self._broken = False
        self._kafka = {
            "messaging.system": "kafka",
            "messaging.consumer.group.name": target.group_id,
        }
        self._upload = attributes.of_path(target.base_url, target.upload_path)
        self._start = attributes.of_path(target.base_url, target.async_path)

    def on_response(self, attempt: Attempt, response: Response, now: float) -> str:
        """Make the span of an attempt, and begin that of its window with the first."""
        found = ""
        if not self._broken:
            with _Guard(self):
                found = self._attempt_ended(attempt, response, now)
        return found

    def on_outcome(self, window: Window, fates: Fates) -> None:
        """End the span of a window that is done."""
        if not self._broken:
            with _Guard(self):
                self._outcome_known(window, fates)

    def on_committed(self, commits: list[Commit], error: str | None, now: float) -> None:
        """Make the span of a commit; it links to the windows that were done when it was sent."""
        if not self._broken:
            with _Guard(self):
                self._commit_ended(commits, error, now)

    def close(self) -> None:
        """End all spans and export them, within a bound."""
        with _Guard(self):
            for opened in self._open.values():
                opened.span.end()
            self._open.clear()
        if not export.close(self._provider):
            log.warning("the last spans were not exported in time, and are dropped")

    def give_up(self, error: BaseException) -> None:
        """Make no more spans, after a fault in making one: rows go on."""
        self._broken = True
        log.error("no more spans are made, after %s", type(error).__name__, exc_info=error)

    # -- windows ---------------------------------------------------------------------------------

    def _attempt_ended(self, attempt: Attempt, response: Response, now: float) -> str:
        window, end = attempt.window, self._wall_clock()
        opened = self._open.get(window.number)
        if opened is None:
            began = end - _nanoseconds(now - window.sent_at)
            opened = _Open(window, self._window_span(window, began))
            self._remember(self._open, window.number, opened)
        context = opened.span.get_span_context()
        if not opened.span.is_recording():
            return ""
        of_path = self._start if attempt.by_task else self._upload
        span = self._tracer.start_span(
            f"POST {of_path['url.template']}",
            set_span_in_context(opened.span),
            SpanKind.CLIENT,
            (self._start if attempt.by_task else self._upload)
            | attributes.of_call(attempt, response),
            start_time=end - _nanoseconds(response.seconds),
        )
        if response.status is None:
            span.set_status(StatusCode.ERROR, known.text(response.error))
        elif response.status >= 400:
            span.set_status(StatusCode.ERROR)
        span.end(end)
        return f"{context.trace_id:032x}"

    def _window_span(self, window: Window, began: int) -> Span:
        """Begin the span of a window; one that is not to be recorded does nothing."""
        records = list({id(row.record): row.record for row in window.rows}.values())
        links, told = attributes.links_to(records)
        if self._follows_events and told and not links:
            return INVALID_SPAN  # its events' traces are not recorded
        where = attributes.destination({(r.partition.topic, r.partition.number) for r in records})
        whole = self._divided.get(window.part_of)
        return self._tracer.start_span(
            attributes.named("process", where),
            set_span_in_context(whole) if whole is not None else Context(),
            SpanKind.CONSUMER,
            self._kafka
            | where
            | {
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.batch.message_count": len(records),
                "scm.window": window.number,
                "scm.window.reason": window.reason,
                "scm.data_key": window.data_key,
                "scm.rows": len(window.rows),
            }
            | ({"scm.window.part_of": window.part_of} if window.part_of else {}),
            links,
            start_time=began,
        )

    def _outcome_known(self, window: Window, fates: Fates) -> None:
        opened = self._open.get(window.number)
        if opened is None:
            return
        opened.accepted += fates.accepted
        opened.rejected += fates.rejected
        opened.released += fates.released
        if fates.place is not Place.GONE:
            return
        del self._open[window.number]
        if not opened.span.is_recording():
            return
        span, end = opened.span, self._wall_clock()
        span.set_attributes(
            {
                "scm.attempts": window.attempts,
                "scm.rows.accepted": opened.accepted,
                "scm.rows.rejected": opened.rejected,
                "scm.rows.released": opened.released,
                "scm.rows.sent_again": fates.unsettled,
            }
        )
        if not opened.accepted and (opened.rejected or fates.unsettled):
            span.set_attribute("error.type", "rejected" if opened.rejected else "divided")
            span.set_status(StatusCode.ERROR)
        span.end(end)
        if fates.unsettled:
            self._remember(self._divided, window.number, span)
        self._done.append((end, span.get_span_context()))

    @staticmethod
    def _remember(kept: OrderedDict[int, Any], number: int, what: _Open | Span) -> None:
        kept[number] = what
        while len(kept) > MOST_REMEMBERED:
            _, oldest = kept.popitem(last=False)
            if isinstance(oldest, _Open):
                oldest.span.end()

    # -- commits ---------------------------------------------------------------------------------

    def _commit_ended(self, commits: list[Commit], error: str | None, now: float) -> None:
        end = self._wall_clock()
        self._end_released()
        sent_at = min((commit.built_at for commit in commits), default=now)
        began = end - _nanoseconds(min(max(0.0, now - sent_at), 3600.0))
        where = attributes.destination({(c.partition.topic, c.partition.number) for c in commits})
        if len(commits) == 1:
            where["messaging.kafka.offset"] = commits[0].offset
        span = self._tracer.start_span(
            attributes.named("commit", where),
            Context(),
            SpanKind.CLIENT,
            self._kafka
            | where
            | {
                "messaging.operation.name": "commit",
                "messaging.operation.type": "settle",
                "scm.commit.partitions": len(commits),
                "scm.commit.offsets": [
                    f"{commit.partition}@{commit.offset}" for commit in commits[:MOST_OFFSETS]
                ],
            },
            [Link(context) for at, context in self._done if at <= began],
            start_time=began,
        )
        if error is None:
            while self._done and self._done[0][0] <= began:
                self._done.popleft()
        else:
            span.set_attribute("error.type", "commit_failed")
            span.set_status(StatusCode.ERROR, known.text(error))
        span.end(end)

    def _end_released(self) -> None:
        """End the spans of windows that went without a response: divided, or their rows gone."""
        gone = [n for n, opened in self._open.items() if opened.window.place is Place.GONE]
        for number in gone:
            span = self._open.pop(number).span
            span.end()
            self._remember(self._divided, number, span)


class _Guard:
    """Whatever goes wrong in making spans ends the making of spans, and nothing else."""

    def __init__(self, tracer: SpanTracer) -> None:
        self._tracer = tracer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self._tracer.give_up(error)
            return True
        return False


def _nanoseconds(seconds: float) -> int:
    return max(0, int(seconds * 1e9))
