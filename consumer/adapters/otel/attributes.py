"""Names, attributes and links by OpenTelemetry's semantic conventions.

Messaging and Kafka: ``messaging.*``; HTTP clients: ``http.*``, ``url.*``, ``server.*``; what they
do not know begins with ``scm.``. Nothing of an event's content, and no log-in, is among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Link, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AnyValue

from consumer.core.effects import Attempt
from consumer.core.model import Record
from consumer.core.uploading.response import Response

#: Events that a window's span links to, and windows that a commit's span links to, at most.
MOST_LINKS = 100
#: What of a record's headers tells its trace (W3C Trace Context).
_TRACE_HEADERS = ("traceparent", "tracestate")

_propagator = TraceContextTextMapPropagator()


def links_to(records: Iterable[Record]) -> tuple[list[Link], bool]:
    """Return links to the records' own traces, as far as those are recorded, each once.

    And whether any record tells of a trace.
    """
    links: dict[tuple[int, int], Link] = {}
    told = False
    for record in records:
        carrier = _carrier(record.raw)
        if not carrier:
            continue
        context = get_current_span(_propagator.extract(carrier)).get_span_context()
        if not context.is_valid:
            continue
        told = True
        key = (context.trace_id, context.span_id)
        if context.trace_flags.sampled and key not in links and len(links) < MOST_LINKS:
            place: dict[str, AnyValue] = {
                "messaging.destination.name": record.partition.topic,
                "messaging.destination.partition.id": str(record.partition.number),
                "messaging.kafka.offset": record.offset,
            }
            links[key] = Link(context, place)
    return list(links.values()), told


def _carrier(message: Any) -> dict[str, str]:
    """Return a message's headers that tell its trace."""
    found: dict[str, str] = {}
    # Headers whose names are not UTF-8 cannot be read; the message is gone once it is settled.
    with suppress(SystemError, ValueError, AttributeError):
        for name, value in message.headers() or ():
            if name in _TRACE_HEADERS and value and name not in found:
                found[name] = value.decode("ascii")
    return found if "traceparent" in found else {}


def destination(partitions: set[tuple[str, int]]) -> dict[str, Any]:
    """Return the topic and the partition that all are of, as far as there is one."""
    topics = {topic for topic, _ in partitions}
    found: dict[str, Any] = {}
    if len(topics) == 1:
        found["messaging.destination.name"] = next(iter(topics))
        if len(partitions) == 1:
            found["messaging.destination.partition.id"] = str(next(iter(partitions))[1])
    return found


def named(operation: str, where: dict[str, Any]) -> str:
    """Return a span's name: the operation, and the topic if all is of one."""
    return f"{operation} {where.get('messaging.destination.name', '')}".rstrip()


def of_path(base_url: str, path: str) -> dict[str, Any]:
    """Return the attributes that all calls of one path have; nothing of a log-in."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    shown = f"[{host}]" if ":" in host else host
    root = f"{parts.scheme}://{shown}{f':{parts.port}' if parts.port else ''}{parts.path}"
    return {
        "http.request.method": "POST",
        "server.address": host,
        "server.port": port,
        "url.full": root.rstrip("/") + path,
        "url.template": path,
    }


def of_call(attempt: Attempt, response: Response) -> dict[str, Any]:
    """Return the attributes of one call."""
    found: dict[str, Any] = {
        "scm.window": attempt.window.number,
        "scm.attempt": attempt.number,
        "scm.rows": len(attempt.items),
    }
    if attempt.number > 1:
        found["http.request.resend_count"] = attempt.number - 1
    if response.status is None:
        found["error.type"] = "no_response" if response.sent else "not_sent"
    else:
        found["http.response.status_code"] = response.status
        if response.status >= 400:
            found["error.type"] = str(response.status)
    if response.request_id:
        found["scm.request_id"] = response.request_id
    return found
