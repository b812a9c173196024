"""Export spans from a thread of the SDK's, and make no trouble by it.

The queue is bounded (``OTEL_BSP_MAX_QUEUE_SIZE``, 2048); what does not fit is dropped. A collector
that is away, hangs or refuses costs spans and a line of the log, nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, get_current_span
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from consumer.hiding import known

log = logging.getLogger(__name__)

#: That spans are lost is logged again after this many seconds.
LOG_AGAIN_SECONDS = 300.0
#: How long the end of the process waits for spans that are not exported yet.
CLOSE_SECONDS = 2.0
_UNNAMED = "unknown_service"  # how the SDK calls a service that nobody named


def provider(version: str, exporter: SpanExporter | None = None) -> TracerProvider:
    """Return a provider by the SDK's variables; ``exporter``: instead of the one over HTTP."""
    troubles = _Troubles()
    logger = logging.getLogger("opentelemetry")  # its lines would go to standard error, and wait
    logger.handlers[:] = [troubles]
    logger.propagate = False
    made = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
    if isinstance(made.sampler, ParentBased):  # the default: OTEL_TRACES_SAMPLER
        made.sampler = EventsDecide(made.sampler)
    watched = WatchedExporter(exporter or OTLPSpanExporter(), troubles)
    made.add_span_processor(BatchSpanProcessor(watched))
    return made


def close(provider: TracerProvider) -> bool:
    """Export what is queued, for ``CLOSE_SECONDS`` at most; return whether that was enough."""
    ending = threading.Thread(target=provider.shutdown, name="traces-end", daemon=True)
    ending.start()
    ending.join(CLOSE_SECONDS)
    return not ending.is_alive()


def _resource(version: str) -> Resource:
    found = Resource.create({SERVICE_VERSION: version})
    if str(found.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        return found.merge(Resource({SERVICE_NAME: "scm-consumer"}))
    return found


class EventsDecide(Sampler):
    """Record what links to something recorded; of all else ``own`` decides.

    Links take the place of a parent: a window has many events, and whoever recorded one of them
    wants to see where it went.
    """

    def __init__(self, own: Sampler) -> None:
        self._own = own

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide as the SDK asks."""
        parent = get_current_span(parent_context).get_span_context()
        if not parent.is_valid and any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._own.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Describe it, for the SDK."""
        return f"EventsDecide{{{self._own.get_description()}}}"


class _Troubles(logging.Handler):
    """The SDK's own log lines: its last words, and a line when its queue is full."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._logged_at = -LOG_AGAIN_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the words; never raise, never wait."""
        try:
            text = known.text(" ".join(record.getMessage().split()))[:200]
        except Exception:
            text = str(record.msg)[:200]
        if str(record.msg).startswith("Queue full"):
            now = time.monotonic()
            if now - self._logged_at >= LOG_AGAIN_SECONDS:
                self._logged_at = now
                log.warning("spans are dropped: more come than are exported; uploading goes on")
        elif record.levelno >= logging.ERROR or "Transient" in str(record.msg):
            self.last = text


class WatchedExporter(SpanExporter):
    """Says in a line when spans cannot be exported, and when they can again."""

    def __init__(
        self,
        inner: SpanExporter,
        troubles: _Troubles,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._troubles = troubles
        self._clock = clock
        self._logged_at = -LOG_AGAIN_SECONDS
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export; whatever the exporter raises is a failure."""
        try:
            result = self._inner.export(spans)
        except Exception as error:
            self._troubles.last = f"{type(error).__name__}"
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and self._clock() - self._logged_at >= LOG_AGAIN_SECONDS:
            self._logged_at = self._clock()
            log.warning(
                "spans cannot be exported (%s): check OTEL_EXPORTER_OTLP_ENDPOINT and the "
                "collector; they are dropped, uploading goes on",
                self._troubles.last or "no reason told",
            )
        if self._failing and not failed:
            log.info("spans are exported again")
            self._logged_at = -LOG_AGAIN_SECONDS
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """End the exporter; one that waits to try again gives up."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have the exporter send what it holds."""
        return self._inner.force_flush(timeout_millis)
