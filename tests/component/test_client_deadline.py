"""The time for the whole call holds, however the answer trickles in."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.core.reply import Reply
from tests.component.wire import (
    ITEMS,
    Peer,
    Wire,
    answer,
    client_to,
    make_certificate,
)

#: Seconds for a whole call; over TLS the handshake must fit in too, on a busy machine as well.
PLAIN = 0.6
OVER_TLS = 1.5


def _silent(peer: Peer, wire: Wire) -> None:
    wire.take(peer)
    peer.hold()


def _trickling(data: bytes, *, at_once: bytes = b"") -> Callable[[Peer, Wire], None]:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(at_once)
        peer.trickle(data)

    return script


def _not_reading(peer: Peer, wire: Wire) -> None:
    peer.hold()


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"

SCRIPTS = [
    pytest.param(_silent, "", id="no answer"),
    pytest.param(_trickling(answer(body=b"x" * 900)), "", id="trickled headers"),
    pytest.param(_trickling(b"X-A: b\r\n" * 90, at_once=b"HTTP/1.1 200 OK\r\n"), "", id="trickled header lines"),
    pytest.param(_trickling(b"HTTP/1.1 100 Continue\r\n\r\n" * 90), "", id="interim answers without end"),
    pytest.param(_trickling(b"x" * 1000, at_once=_HEAD), "(HTTP 200)", id="trickled body"),
    pytest.param(
        _trickling(b"1\r\nx\r\n" * 90, at_once=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "(HTTP 200)",
        id="trickled chunks",
    ),
    pytest.param(_trickling(b"x" * 900, at_once=b"HTTP/1.0 200 OK\r\n\r\n"), "(HTTP 200)", id="body without a length"),
    pytest.param(
        _trickling(b"\x00" * 900, at_once=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08????"),
        "(HTTP 200)",
        id="trickled gzip",
    ),
]


def _ended_in_time(reply: Reply, words: str, timeout: float) -> None:
    assert (reply.status, reply.sent) == (None, True)
    assert f"within {timeout} s" in reply.error
    assert words in reply.error
    assert timeout - 0.1 < reply.seconds < timeout + 1.0


@pytest.mark.parametrize(("script", "words"), SCRIPTS)
def test_a_call_ends_at_its_deadline_and_its_outcome_is_unknown(
    script: Callable[[Peer, Wire], None], words: str
) -> None:
    with Wire(script) as wire, client_to(wire.url, timeout=PLAIN) as client:
        _ended_in_time(client.upload("extended_id", ITEMS), words, PLAIN)


@pytest.mark.parametrize(("script", "words"), [SCRIPTS[0], SCRIPTS[1], SCRIPTS[4]])
def test_the_same_over_tls(script: Callable[[Peer, Wire], None], words: str, server: ssl.SSLContext, ca: str) -> None:
    with Wire(script, server) as wire, client_to(wire.url, timeout=OVER_TLS, ca_file=ca) as client:
        _ended_in_time(client.upload("extended_id", ITEMS), words, OVER_TLS)


def test_a_kept_connection_has_the_whole_time_again_for_each_call() -> None:
    passed = 0.0

    def script(peer: Peer, wire: Wire) -> None:
        nonlocal passed
        while wire.take(peer) is not None:
            passed += 20.0
            peer.send(answer())

    def clock() -> float:
        return time.monotonic() + passed

    with Wire(script) as wire, client_to(wire.url, timeout=30.0, clock=clock) as client:
        replies = [client.me() for _ in range(4)]
    assert [reply.status for reply in replies] == [200] * 4
    assert all(20.0 <= reply.seconds < 30.0 for reply in replies)
    assert wire.connections == 1


@pytest.mark.parametrize("timeout", [PLAIN, OVER_TLS])
def test_a_server_that_does_not_take_the_request_ends_at_the_deadline(
    timeout: float, server: ssl.SSLContext, ca: str
) -> None:
    rows = [{"extended_id": "x" * 1_000_000}] * 30
    with (
        Wire(_not_reading, server if timeout == OVER_TLS else None) as wire,
        client_to(wire.url, connect_timeout=timeout * 0.6, timeout=timeout, ca_file=ca) as client,
    ):
        _ended_in_time(client.upload("extended_id", rows), "", timeout)


def test_a_server_that_does_not_answer_the_tls_handshake_was_sent_nothing(ca: str) -> None:
    with (
        Wire(_not_reading) as wire,
        client_to(f"https://127.0.0.1:{wire.port}", connect_timeout=0.4, ca_file=ca) as client,
    ):
        reply = client.upload("extended_id", ITEMS)
    assert (reply.status, reply.sent) == (None, False)
    assert "within 0.4 s" in reply.error
    assert 0.3 < reply.seconds < 1.4


def test_a_handshake_that_trickles_was_sent_nothing_and_ends_at_the_time_for_connecting(ca: str) -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.trickle(b"\x16\x03\x03\x40\x00" + b"\x02" * 200)

    with (
        Wire(script) as wire,
        client_to(f"https://127.0.0.1:{wire.port}", connect_timeout=0.4, ca_file=ca) as client,
    ):
        reply = client.upload("extended_id", ITEMS)
    assert (reply.status, reply.sent) == (None, False)
    assert 0.2 < reply.seconds < 1.4


@pytest.fixture(scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    made = make_certificate(tmp_path_factory.mktemp("tls"), "api", "IP:127.0.0.1")
    return made.server(), str(made.pem)


@pytest.fixture
def server(_certificate: tuple[ssl.SSLContext, str]) -> ssl.SSLContext:
    return _certificate[0]


@pytest.fixture
def ca(_certificate: tuple[ssl.SSLContext, str]) -> str:
    assert Path(_certificate[1]).exists()
    return _certificate[1]
