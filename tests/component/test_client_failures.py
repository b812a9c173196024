"""Calls without a whole response: whether the API may have seen them, and what a person reads."""

from __future__ import annotations

import gzip
import random
import socket
import time
from collections.abc import Callable

import pytest

from consumer.core.uploading.response import Response
from tests.component.wire import (
    ITEMS,
    TOKEN,
    Peer,
    Wire,
    answer,
    client_to,
    closing_after,
    free_port,
    saying,
    wait_until,
)


def _unknown(response: Response, *words: str) -> None:
    assert (response.status, response.document, response.retry_after, response.sent) == (
        None,
        None,
        None,
        True,
    )
    _readable(response, *words)


def _never_sent(response: Response, *words: str) -> None:
    assert (response.status, response.document, response.retry_after, response.sent) == (
        None,
        None,
        None,
        False,
    )
    _readable(response, *words)


def _readable(response: Response, *words: str) -> None:
    for word in words:
        assert word in response.error
    assert TOKEN not in response.error
    assert "A1" not in response.error
    assert "0x" not in response.error
    assert response.body == b""
    assert "\n" not in response.error


def test_a_refused_connection_was_never_sent() -> None:
    port = free_port()
    with client_to(f"http://127.0.0.1:{port}") as client:
        response = client.upload("extended_id", ITEMS)
    _never_sent(response, f"127.0.0.1:{port}", "Connection refused", "api.base_url")


def test_a_name_that_does_not_resolve_was_never_sent() -> None:
    with client_to("http://no-such-host.invalid") as client:
        response = client.upload("extended_id", ITEMS)
    _never_sent(response, "no-such-host.invalid", "cannot be resolved", "DNS", "api.base_url")


def test_a_connection_that_does_not_come_about_in_time_was_never_sent() -> None:
    # A listener whose queue is full leaves further connections unanswered, as a dropping firewall
    # does.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            with client_to(f"http://127.0.0.1:{address[1]}", connect_timeout=0.4) as client:
                response = client.upload("extended_id", ITEMS)
        finally:
            for filler in fillers:
                filler.close()
    _never_sent(response, "no connection", "within 0.4 s")
    assert 0.3 < response.seconds < 1.4


def _close(peer: Peer, wire: Wire) -> None:
    wire.take(peer)


def _reset(peer: Peer, wire: Wire) -> None:
    wire.take(peer)
    peer.reset()


def _reset_before_reading(peer: Peer, wire: Wire) -> None:
    peer.sock.recv(1)
    peer.reset()


def _then_reset(data: bytes) -> Callable[[Peer, Wire], None]:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(data)
        peer.reset()

    return script


def _endless_chunk(peer: Peer, wire: Wire) -> None:
    wire.take(peer)
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
    while True:
        peer.send(b"x" * 65536)


_WHOLE = answer()
_GZIP = gzip.compress(b'{"items": {}}' * 100)


@pytest.mark.promise("lost-answer")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(_close, "was lost before a whole answer", id="closed without an answer"),
        pytest.param(_reset, "was lost before a whole answer", id="reset without an answer"),
        pytest.param(
            _reset_before_reading, "was lost before a whole answer", id="reset while sending"
        ),
        pytest.param(
            closing_after(b"HTTP/1.1 2"),
            "was lost before a whole answer",
            id="closed in the status line",
        ),
        pytest.param(
            _then_reset(_WHOLE[:30]), "was lost before a whole answer", id="reset in the headers"
        ),
        pytest.param(
            closing_after(_WHOLE[:-3]), "beginning of one (HTTP 200)", id="closed in the body"
        ),
        pytest.param(
            _then_reset(_WHOLE[:-3]), "beginning of one (HTTP 200)", id="reset in the body"
        ),
        pytest.param(
            closing_after(b"HTTP/1.1 504 X\r\nContent-Length: 9\r\n\r\n"),
            "(HTTP 504)",
            id="closed after headers",
        ),
        pytest.param(
            closing_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"),
            "beginning of one (HTTP 200)",
            id="closed in a chunk",
        ),
        pytest.param(
            closing_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
            "beginning of one (HTTP 200)",
            id="closed between chunks",
        ),
        pytest.param(
            closing_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
            "(HTTP 200)",
            id="a chunk without a length",
        ),
        pytest.param(
            closing_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-10\r\n{}\r\n"),
            "(HTTP 200)",
            id="a chunk of negative length",
        ),
        pytest.param(_endless_chunk, "(HTTP 200)", id="a chunk of all that comes"),
        pytest.param(
            saying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no HTTP answer", id="another protocol"
        ),
        pytest.param(
            saying(b"HTTP/1.1 abc OK\r\n\r\n"), "no HTTP answer", id="a status that is no number"
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000),
            "no HTTP answer",
            id="an endless header",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200),
            "no HTTP answer",
            id="too many headers",
        ),
        pytest.param(
            saying(answer("200 OK", b"{}", "Content-Encoding: gzip")),
            "cannot be decompressed",
            id="no gzip at all",
        ),
        pytest.param(
            saying(answer("200 OK", _GZIP[:20] + b"????" + _GZIP[24:], "Content-Encoding: gzip")),
            "cannot be decompressed",
            id="damaged gzip",
        ),
    ],
)
def test_a_call_that_went_out_without_a_whole_answer_has_an_unknown_outcome(
    script: Callable[[Peer, Wire], None], words: str
) -> None:
    with Wire(script) as wire, client_to(wire.url) as client:
        response = client.upload("extended_id", ITEMS)
        _unknown(response, f"127.0.0.1:{wire.port}", words)
        assert wire.connections == 1, "one attempt a call"
        assert len(wire.requests) <= 1, "one attempt a call"


def test_after_a_failure_the_next_call_has_a_new_connection() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        if wire.connections == 1:
            wire.take(peer)
            peer.send(_WHOLE[:-1])
        elif wire.connections == 2:
            wire.take(peer)
            peer.send(answer("200 OK", b"{}", "Content-Encoding: gzip"))
        else:
            saying(_WHOLE)(peer, wire)

    with Wire(script) as wire, client_to(wire.url) as client:
        assert client.me().status is None
        assert client.me().status is None
        assert client.me().status == 200
        assert client.me().status == 200
    assert wire.connections == 3


@pytest.mark.promise("fencing")
def test_an_upload_that_the_clock_says_is_too_late_is_not_sent() -> None:
    with Wire(saying(_WHOLE)) as wire, client_to(wire.url) as client:
        assert client.upload("extended_id", ITEMS, start_by=time.monotonic() + 60).status == 200
        _never_sent(
            client.upload("extended_id", ITEMS, start_by=time.monotonic() - 0.001), "not sent"
        )
        _never_sent(client.me(start_by=time.monotonic() - 0.001), "not sent")
        assert client.me(start_by=time.monotonic() + 60).status == 200
    assert len(wire.requests) == 2


class _Jumping:
    """The clock of a process that was frozen for ten minutes at the n-th reading."""

    def __init__(self, reading: int) -> None:
        self.readings = 0
        self.reading = reading

    def __call__(self) -> float:
        self.readings += 1
        return time.monotonic() + (600 if self.readings >= self.reading else 0)


@pytest.mark.promise("fencing")
def test_a_process_that_was_frozen_before_the_request_was_written_does_not_send_it() -> None:
    not_sent = 0
    for reading in range(2, 40):
        with Wire(saying(_WHOLE)) as wire:
            clock = _Jumping(reading)
            with client_to(wire.url, timeout=3600.0, connect_timeout=3600.0, clock=clock) as client:
                response = client.upload("extended_id", ITEMS, start_by=time.monotonic() + 60)
            wait_until(lambda: wire.closed == wire.connections)
            if not response.sent:
                not_sent += 1
                assert response.status is None
                assert wire.requests == []
            else:
                assert response.status == 200
        if clock.readings < reading:
            break
    assert not_sent >= 3, "frozen before and while connecting"


def test_no_answer_whatever_makes_the_client_raise() -> None:
    """A thousand damaged responses from one seed: each gives a Response, and never "not sent"."""
    rng = random.Random(20240607)
    samples = [
        _WHOLE,
        answer("200 OK", _GZIP, "Content-Encoding: gzip", "Set-Cookie: a=b; expires=x"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        answer("301 Moved", b"", "Location: http://[::1"),
        answer(
            "429 Slow",
            b'{"detail": "available in 5 seconds"}',
            "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",
        ),
        b"HTTP/1.1 100 Continue\r\n\r\n" + _WHOLE,
    ]

    def damaged() -> bytes:
        data = bytearray(rng.choice(samples))
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[place] = rng.randrange(256)
            elif kind == 1:
                del data[place : place + rng.randrange(1, 20)]
            else:
                data[place:place] = rng.choice(
                    [b"\r\n", b"\x00", b":", b";", b"\xff\xfe", b"-1", b"9" * 30, b" "]
                )
            if not data:
                return b""
        return bytes(data)

    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(damaged())

    with Wire(script) as wire, client_to(wire.url) as client:
        responses = [client.me() for _ in range(1000)]
    assert all(response.sent for response in responses)
    assert all(
        response.error if response.status is None else not response.error for response in responses
    )
    assert 100 < sum(response.status is None for response in responses) < 900
