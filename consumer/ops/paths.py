"""Answer each path: the page, metrics, health, readiness and status."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

import msgspec
import orjson

from consumer.config.masking import masked
from consumer.config.settings import Settings
from consumer.loop.runner import Runner
from consumer.ops.exposition import exposition
from consumer.ops.health import Loop, alive, ready
from consumer.ops.lag_monitor import LagMonitor
from consumer.ops.server import OpsResponse, OpsServer, Paths, address_of, line
from consumer.ops.snapshot import take
from consumer.ops.snapshot_request import ANSWER_SECONDS, SnapshotRequester
from consumer.ops.status import Snapshot

OK, UNAVAILABLE = HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE


def paths_of(
    loop: Loop,
    clock: Callable[[], float],
    request: Callable[[], Snapshot | None],
    settings: Mapping[str, Any],
) -> Paths:
    """Return the responses by path.

    ``request``: returns a snapshot, or None if there is none in time. ``settings``: masked already.
    """

    def metrics(accept: str) -> OpsResponse:
        snapshot = request()
        return _NO_SNAPSHOT if snapshot is None else OpsResponse(*exposition(snapshot, accept))

    def healthz(_: str) -> OpsResponse:
        well, why = alive(loop, clock)
        return line(why, OK if well else UNAVAILABLE)

    def readyz(_: str) -> OpsResponse:
        well, why = ready(loop)
        return line(why, OK if well else UNAVAILABLE)

    def status(_: str) -> OpsResponse:
        snapshot = request()
        if snapshot is None:
            return _NO_SNAPSHOT
        return OpsResponse(status_json(snapshot, settings), "application/json")

    def page(_: str) -> OpsResponse:
        html, policy = _page()
        headers = {"Content-Security-Policy": policy}
        return OpsResponse(html, "text/html; charset=utf-8", headers=headers)

    return {
        "/": page,
        "/metrics": metrics,
        "/healthz": healthz,
        "/readyz": readyz,
        "/status": status,
    }


_NO_SNAPSHOT = line(
    f"the owner loop did not answer within {ANSWER_SECONDS:g} s; see /healthz", UNAVAILABLE
)


def server_of(
    settings: Settings,
    runner: Runner,
    lag: LagMonitor,
    hand_over: Callable[[Callable[[], None]], object],
    clock: Callable[[], float],
) -> OpsServer:
    """Return the server for a consumer, not started yet.

    ``hand_over`` gives its owner's thread something to do.
    """
    requester = SnapshotRequester(hand_over, lambda: take(runner, runner.source, clock(), lag))
    paths = paths_of(runner, clock, requester.request, masked(settings))
    return OpsServer(address_of(settings.ops.listen), paths)


def status_json(snapshot: Snapshot, settings: Mapping[str, Any]) -> bytes:
    """Return the body of ``/status``."""
    document = {**msgspec.to_builtins(snapshot), "settings": settings}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@cache
def _page() -> tuple[bytes, str]:
    """Return the page and its policy: a browser runs this script and style of it, nothing else."""
    html = resources.files("consumer.ops").joinpath("page.html").read_text(encoding="utf-8")
    allowed = {
        f"{tag}-src": _hash_of(re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[0])
        for tag in ("script", "style")
    }
    rules = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
    }
    rules |= {"form-action": "'none'", "frame-ancestors": "'none'", **allowed}
    return html.encode(), "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
