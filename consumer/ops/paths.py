"""What is served at which path."""

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
from consumer.loop.ports import RecordSource
from consumer.loop.runner import Runner
from consumer.ops.exposition import exposition
from consumer.ops.health import Loop, alive, ready
from consumer.ops.server import Answer, OpsServer, Paths, address_of, line
from consumer.ops.snapshot import ANSWER_SECONDS, Asker, Snapshot, take

OK, UNAVAILABLE = HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE


def paths_of(
    loop: Loop,
    clock: Callable[[], float],
    ask: Callable[[], Snapshot | None],
    settings: Mapping[str, Any],
) -> Paths:
    """The answers by path. ``ask`` gives a snapshot, None when it cannot be had.

    ``settings`` are masked already.
    """

    def metrics(accept: str) -> Answer:
        snapshot = ask()
        return _NO_SNAPSHOT if snapshot is None else Answer(*exposition(snapshot, accept))

    def healthz(_: str) -> Answer:
        well, why = alive(loop, clock)
        return line(why, OK if well else UNAVAILABLE)

    def readyz(_: str) -> Answer:
        well, why = ready(loop)
        return line(why, OK if well else UNAVAILABLE)

    def status(_: str) -> Answer:
        snapshot = ask()
        return (
            _NO_SNAPSHOT
            if snapshot is None
            else Answer(status_json(snapshot, settings), "application/json")
        )

    def page(_: str) -> Answer:
        html, policy = _page()
        return Answer(html, "text/html; charset=utf-8", headers={"Content-Security-Policy": policy})

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
    """The server for a consumer, not started yet.

    ``hand_over`` gives its owner's thread something to do.
    """
    asker = Asker(hand_over, lambda: take(runner, source, clock()))
    return OpsServer(
        address_of(settings.ops.listen), paths_of(runner, clock, asker.ask, masked(settings))
    )


def status_json(snapshot: Snapshot, settings: Mapping[str, Any]) -> bytes:
    """The body of ``/status``."""
    document = {**msgspec.to_builtins(snapshot), "settings": settings}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@cache
def _page() -> tuple[bytes, str]:
    """The page, and the policy that lets a browser run this script and style of it and nothing
    else.
    """
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
