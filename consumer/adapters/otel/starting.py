"""Decide by the environment whether spans are made; import the SDK only then.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) is set and
the extra ``scm-consumer[otel]`` is installed. The SDK's own variables set all else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from consumer.hiding import known

if TYPE_CHECKING:
    from consumer.adapters.otel.spans import SpanTracer

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class Target(msgspec.Struct, frozen=True):
    """The attributes of this process's two ends."""

    group_id: str
    base_url: str  #: of the API
    upload_path: str
    async_path: str


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Return whether the environment asks for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    return exporters == "otlp" and any(environment.get(name, "").strip() for name in ENDPOINTS)


def start(environment: Mapping[str, str], target: Target, version: str) -> SpanTracer | None:
    """Return what makes spans; None: nobody asks for any, or they cannot be made.

    Why not is logged, and ends nothing: rows go on without traces. The SDK reads the process's
    environment; ``environment`` is the same.
    """
    if not is_wanted(environment):
        return None
    _hide_secrets(environment)
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), PROTOCOL)
    if protocol != PROTOCOL:
        log.warning("no traces: of OTEL_EXPORTER_OTLP_PROTOCOL only %s is supported", PROTOCOL)
        return None
    try:
        from consumer.adapters.otel import export, spans
    except ImportError:
        log.warning(
            "no traces: OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra is not installed "
            "(pip install 'scm-consumer[otel]')"
        )
        return None
    try:
        return spans.SpanTracer(export.provider(version), target)
    except Exception as error:  # whatever the SDK makes of its variables
        log.warning("no traces: %s; check the variables OTEL_*", str(error)[:200])
        return None


def _hide_secrets(environment: Mapping[str, str]) -> None:
    """Have what the exporter sends to log in hidden wherever the SDK shows it."""
    for name in _HEADERS:
        for header in environment.get(name, "").split(","):
            value = header.partition("=")[2].strip()
            known.add(value, unquote(value), unquote(value).rpartition(" ")[2])
    for name in ENDPOINTS:
        login = urlsplit(environment.get(name, "")).netloc.rpartition("@")[0]
        user, _, password = login.partition(":")
        known.add_login(unquote(user), unquote(password))
