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
from consumer.core.counters import Histogram
from consumer.ops.exposition import exposition
from consumer.ops.health import Loop, alive, ready
from consumer.ops.server import OpsResponse, OpsServer, Paths, address_of, line
from consumer.ops.snapshot_request import ANSWER_SECONDS, SnapshotRequester
from consumer.ops.status import Snapshot
from consumer.ops.view.document import read
from consumer.ops.view.model import view_of
from consumer.ops.view.page import page as page_of
from consumer.ops.view.page import page_without_answer, policy

#: Percentiles of a histogram that ``/status`` tells.
PERCENTILES = (50, 95, 99)
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

    def status(_: str, shown: Mapping[str, Any] | None = None) -> OpsResponse:
        snapshot = request()
        if snapshot is None:
            return _NO_SNAPSHOT
        return OpsResponse(status_json(snapshot, shown), "application/json")

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
        "/status?settings=1": lambda accept: status(accept, settings),
    }


_NO_SNAPSHOT = line(
    f"the owner loop did not answer within {ANSWER_SECONDS:g} s; see /healthz", UNAVAILABLE
)


def server_of(
    settings: Settings,
    loop: Loop,
    take_now: Callable[[], Snapshot],
    hand_over: Callable[[Callable[[], None]], object],
    clock: Callable[[], float],
) -> OpsServer:
    """Return the server for a consumer, not started yet.

    ``hand_over`` gives its owner's thread something to do; there, ``take_now`` returns a snapshot.
    """
    requester = SnapshotRequester(hand_over, take_now)
    paths = paths_of(loop, clock, requester.request, masked(settings))
    return OpsServer(address_of(settings.ops.listen), paths)


def status_json(snapshot: Snapshot, settings: Mapping[str, Any] | None = None) -> bytes:
    """Return the body of ``/status``: the snapshot, with histograms in short (``summary_of``)."""
    document = msgspec.to_builtins(snapshot)
    document["event_to_settled"] = summary_of(snapshot.event_to_settled)
    document["windows"]["rows"] = summary_of(snapshot.windows.rows)
    document["requests"]["seconds"] = summary_of(snapshot.requests.seconds)
    if settings is not None:
        document["settings"] = settings
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def summary_of(histogram: Histogram) -> dict[str, float | int | None]:
    """Return a histogram in short; without a value its percentiles are null."""
    summary: dict[str, float | int | None] = {
        "count": sum(histogram.counts),
        "sum": round(histogram.sum, 3),
    }
    return summary | {f"p{percent}": histogram.quantile(percent / 100) for percent in PERCENTILES}
