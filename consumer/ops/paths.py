"""Answer each path: the page, metrics, health, readiness and status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
import orjson

from consumer.config.masking import masked
from consumer.config.settings import Settings
from consumer.loop.ports import RecordSource
from consumer.loop.runner import Runner
from consumer.ops.exposition import exposition
from consumer.ops.health import Loop, alive, ready
from consumer.ops.server import OpsResponse, OpsServer, Paths, address_of, line
from consumer.ops.snapshot import take
from consumer.ops.snapshot_request import ANSWER_SECONDS, SnapshotRequester
from consumer.ops.status import Snapshot
from consumer.ops.view.document import read
from consumer.ops.view.model import view_of
from consumer.ops.view.page import page as page_of
from consumer.ops.view.page import page_without_answer, policy

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
        snapshot = request()
        at = datetime.now(UTC)
        if snapshot is None:
            html, code = page_without_answer(ANSWER_SECONDS, at), UNAVAILABLE
        else:
            shown = view_of(read(orjson.loads(status_json(snapshot, {}))))
            html, code = page_of(shown, at), OK
        headers = {"Content-Security-Policy": policy()}
        return OpsResponse(html, "text/html; charset=utf-8", code, headers)

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
    source: RecordSource,
    hand_over: Callable[[Callable[[], None]], object],
    clock: Callable[[], float],
) -> OpsServer:
    """Return the server for a consumer, not started yet.

    ``hand_over`` gives its owner's thread something to do.
    """
    requester = SnapshotRequester(hand_over, lambda: take(runner, source, clock()))
    paths = paths_of(runner, clock, requester.request, masked(settings))
    return OpsServer(address_of(settings.ops.listen), paths)


def status_json(snapshot: Snapshot, settings: Mapping[str, Any]) -> bytes:
    """Return the body of ``/status``."""
    document = {**msgspec.to_builtins(snapshot), "settings": settings}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
