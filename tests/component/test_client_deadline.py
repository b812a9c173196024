"""The time for the whole call holds, however the response trickles in."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from consumer.adapters.scantrust.client import Client
from consumer.adapters.scantrust.loop import Steps
from consumer.adapters.scantrust.token import TokenSource
from consumer.adapters.scantrust.transport import Call, Connection
from consumer.core.uploading.response import Response
from tests.component.wire import (
    ITEMS,
    TOKEN,
    Peer,
    Wire,
    answer,
    client_to,
    make_certificate,
    saying,
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
    pytest.param(
        _trickling(b"X-A: b\r\n" * 90, at_once=b"HTTP/1.1 200 OK\r\n"),
        "",
        id="trickled header lines",
    ),
    pytest.param(
        _trickling(b"HTTP/1.1 100 Continue\r\n\r\n" * 90), "", id="interim answers without end"
    ),
    pytest.param(_trickling(b"x" * 1000, at_once=_HEAD), "(HTTP 200)", id="trickled body"),
    pytest.param(
        _trickling(
            b"1\r\nx\r\n" * 90, at_once=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
        "(HTTP 200)",
        id="trickled chunks",
    ),
    pytest.param(
        _trickling(b"x" * 900, at_once=b"HTTP/1.0 200 OK\r\n\r\n"),
        "(HTTP 200)",
        id="body without a length",
    ),
    pytest.param(
        _trickling(
            b"\x00" * 900,
            at_once=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08????",
        ),
        "(HTTP 200)",
        id="trickled gzip",
    ),
]


def _ended_in_time(response: Response, words: str, timeout: float) -> None:
    assert (response.status, response.sent) == (None, True)
    assert f"within {timeout} s" in response.error
    assert words in response.error
    assert timeout - 0.1 < response.seconds < timeout + 1.0


@pytest.mark.promise("lost-answer")
@pytest.mark.parametrize(("script", "words"), SCRIPTS)
def test_a_call_ends_at_its_deadline_and_its_outcome_is_unknown(
    script: Callable[[Peer, Wire], None], words: str
) -> None:
    with Wire(script) as wire, client_to(wire.url, timeout=PLAIN) as client:
        _ended_in_time(client.upload("extended_id", ITEMS), words, PLAIN)


@pytest.mark.parametrize(("script", "words"), [SCRIPTS[0], SCRIPTS[1], SCRIPTS[4]])
def test_the_same_over_tls(
    script: Callable[[Peer, Wire], None], words: str, server: ssl.SSLContext, ca: str
) -> None:
    with Wire(script, server) as wire, client_to(wire.url, timeout=OVER_TLS, ca_file=ca) as client:
        _ended_in_time(client.upload("extended_id", ITEMS), words, OVER_TLS)


def test_a_kept_connection_has_the_whole_time_again_for_each_call() -> None:
    passed = 0.0

    def script(peer: Peer, wire: Wire) -> None:
        nonlocal passed
        while wire.take(peer) is not None:
            passed += 14.0
            peer.send(answer())

    def clock() -> float:
        return time.monotonic() + passed

    with Wire(script) as wire, client_to(wire.url, timeout=20.0, clock=clock) as client:
        responses = [client.me() for _ in range(4)]
    assert [response.status for response in responses] == [200] * 4
    assert all(14.0 <= response.seconds < 20.0 for response in responses)
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
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.sent) == (None, False)
    assert "within 0.4 s" in response.error
    assert 0.3 < response.seconds < 1.4


def test_a_handshake_that_trickles_was_sent_nothing_and_ends_at_the_time_for_connecting(
    ca: str,
) -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.trickle(b"\x16\x03\x03\x40\x00" + b"\x02" * 200)

    with (
        Wire(script) as wire,
        client_to(f"https://127.0.0.1:{wire.port}", connect_timeout=0.4, ca_file=ca) as client,
    ):
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.sent) == (None, False)
    assert 0.2 < response.seconds < 1.4


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


class _Slow:
    """A clock by which connecting takes long; an upload reads its session lease by it, too."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        connect = Connection.connect

        def slowly(connection: Connection, call: Call) -> Steps[None]:
            self.passed += seconds
            return connect(connection, call)

        monkeypatch.setattr(Connection, "connect", slowly)

    def __call__(self) -> float:
        return time.monotonic() + self.passed


@pytest.mark.parametrize("over", ["directly", "tls", "proxy"])
def test_a_connection_that_stands_too_late_for_its_request_serves_the_next_one(
    over: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "api", "IP:127.0.0.1") if over == "tls" else None
    clock = _Slow(6.0, monkeypatch)
    with Wire(saying(answer()), made.server() if made else None) as wire:
        address = (
            {"base_url": "http://api.invalid", "proxy": wire.url}
            if over == "proxy"
            else {"base_url": wire.url}
        )
        client = Client(
            **address, token=TokenSource(TOKEN), connect_timeout=20, timeout=75, clock=clock,
            ca_file=str(made.pem) if made else "",
        )  # fmt: skip
        with closing(client):
            late = client.upload("extended_id", ITEMS, start_by=clock() + 5)
            assert (late.status, late.sent) == (None, False)
            assert "not sent" in late.error
            assert wire.requests == []
            assert client.upload("extended_id", ITEMS, start_by=clock() + 5).status == 200
            assert client.me().status == 200
        assert wire.connections == 1, "a good connection was thrown away"
        assert len(wire.requests) == 2


@pytest.mark.promise("I8", "fencing")
def test_the_lease_of_an_upload_is_asked_when_its_connection_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = _Slow(6.0, monkeypatch)
    with Wire(saying(answer())) as wire:
        with closing(
            Client(wire.url, TokenSource(TOKEN), connect_timeout=20, timeout=75, clock=clock)
        ) as client:
            polling = client.upload("extended_id", ITEMS, start_by=lambda: clock() + 5)
        assert polling.status == 200, "I8: an API that is slow to connect to gets nothing"
        with closing(
            Client(wire.url, TokenSource(TOKEN), connect_timeout=20, timeout=75, clock=clock)
        ) as client:
            ended = client.upload(
                "extended_id", ITEMS, start_by=lambda: clock() + 1 if clock.passed < 10 else 0.0
            )
        assert not ended.sent, "fencing: a lease that ended while it connected"
    assert len(wire.requests) == 1


@pytest.mark.promise("I2", "lost-answer")
def test_of_a_lost_call_the_time_is_told_for_which_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may take effect for so long after it was sent; the time to connect does not count."""
    clock = _Slow(20.0, monkeypatch)

    def reset(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.reset()

    with (
        Wire(reset) as wire,
        closing(
            Client(wire.url, TokenSource(TOKEN), connect_timeout=30, timeout=75, clock=clock)
        ) as client,
    ):
        lost = client.upload("extended_id", ITEMS)
    assert (lost.status, lost.sent) == (None, True)
    assert lost.seconds < 20, "I2: the call seems to have been sent before it was connected"
