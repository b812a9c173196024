"""Connections kept between calls: a server that closes them is not an unknown outcome."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
import time

import pytest

from consumer.adapters.scantrust.transport import IDLE_SECONDS
from tests.component.wire import (
    ITEMS,
    Peer,
    Wire,
    answer,
    client_to,
    make_certificate,
    saying,
    wait_until,
)


class Clock:
    """The real clock, with a way to let time pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.passed


def _one_answer_then_close(peer: Peer, wire: Wire) -> None:
    wire.take(peer)
    peer.send(answer())  # nothing in it says that the connection is about to be closed


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_connection_that_the_server_closed_while_idle_is_not_used(
    over_tls: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = make_certificate(tmp_path_factory.mktemp("tls"), "api", "IP:127.0.0.1")
    with (
        Wire(_one_answer_then_close, made.server() if over_tls else None) as wire,
        client_to(wire.url, ca_file=str(made.pem)) as client,
    ):
        for number in range(1, 6):
            assert client.upload("extended_id", ITEMS).status == 200
            wait_until(lambda expected=number: wire.closed == expected)  # type: ignore[misc]
    assert wire.connections == len(wire.requests) == 5


def test_a_connection_that_was_reset_while_idle_is_not_used() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(answer())
        # Close only once the response has been read, else the reset would overtake it.
        wait_until(lambda: _unsent(peer.sock) == 0)
        peer.reset()

    with Wire(script) as wire, client_to(wire.url) as client:
        for number in range(1, 4):
            assert client.upload("extended_id", ITEMS).status == 200
            wait_until(lambda expected=number: wire.closed == expected)  # type: ignore[misc]
    assert wire.connections == 3


def _unsent(sock: socket.socket) -> int:
    unsent: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return unsent


@pytest.mark.promise("matching")
def test_bytes_that_nobody_asked_for_are_not_taken_for_the_next_answer() -> None:
    stray = answer(body=b'{"stray": "' + b"x" * 100_000 + b'"}')
    sent = []

    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(answer(body=b'{"first": 1}') + stray)
        sent.append(True)
        saying(answer(body=b'{"own": 1}'))(peer, wire)

    with Wire(script) as wire, client_to(wire.url) as client:
        assert client.me().document == {"first": 1}
        wait_until(lambda: bool(sent))
        assert client.me().document == {"first": 1}, "on a connection of its own"
    assert wire.connections == 2


def test_a_connection_idle_for_over_four_seconds_is_not_used_again() -> None:
    clock = Clock()
    with Wire(saying(answer())) as wire, client_to(wire.url, clock=clock) as client:
        client.me()
        clock.passed += IDLE_SECONDS - 0.5
        client.me()
        assert wire.connections == 1
        clock.passed += IDLE_SECONDS + 0.1
        assert client.me().status == 200
        assert wire.connections == 2
        assert client.me().status == 200
        assert wire.connections == 2


@pytest.mark.promise("lost-answer")
def test_a_connection_closed_as_the_request_arrives_is_an_unknown_outcome_and_one_attempt() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(answer())
        wire.take(peer)  # the second request is read and never answered: it may have been applied

    with Wire(script) as wire, client_to(wire.url) as client:
        assert client.upload("extended_id", ITEMS).status == 200
        response = client.upload("extended_id", ITEMS)
        assert (response.status, response.sent) == (None, True)
        assert "was lost before a whole answer" in response.error
        assert (wire.connections, len(wire.requests)) == (1, 2)
        assert client.upload("extended_id", ITEMS).status == 200


def test_an_answer_that_says_close_costs_only_the_connection() -> None:
    with (
        Wire(saying(answer("200 OK", b"{}", "Connection: close"))) as wire,
        client_to(wire.url) as client,
    ):
        assert client.me().status == 200
        assert client.me().status == 200
    assert wire.connections == 2


def test_closing_the_client_closes_its_connection() -> None:
    with Wire(saying(answer())) as wire:
        with client_to(wire.url) as client:
            client.me()
        wait_until(lambda: wire.closed == 1)


def test_tls_session_tickets_do_not_cost_the_connection(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = make_certificate(tmp_path_factory.mktemp("tls"), "api", "IP:127.0.0.1")
    server = made.server()
    assert server.maximum_version in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    with (
        Wire(saying(answer()), server) as wire,
        client_to(wire.url, ca_file=str(made.pem)) as client,
    ):
        for _ in range(5):
            assert client.me().status == 200
    assert wire.connections == 1
