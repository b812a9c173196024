"""A response belongs to its request: interim responses, odd ends, connections not used again.

Orders of all of these: ``test_client_conversations``.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.scantrust import framing
from consumer.adapters.scantrust.loop import Steps
from consumer.adapters.scantrust.transport import AGE_SECONDS, Call, Connection
from tests.component.test_client_idle import Clock
from tests.component.wire import ITEMS, Peer, Wire, answer, client_to, make_certificate, wait_until

pytestmark = pytest.mark.promise("matching")

BODY = b'{"items": {"own": []}}'
HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
STRAY = answer("400 Bad", b'{"errors": [{"key_value": "of another"}]}')
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def numbered(data: bytes) -> Callable[[Peer, Wire], None]:
    """Return a script: each response names its request; ``data`` goes before the first."""

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            number = len(wire.requests)
            peer.send((data if number == 1 else b"") + answer(body=b'{"for": %d}' % number))

    return script


def first_saying(data: bytes, *, then_close: bool = False) -> Callable[[Peer, Wire], None]:
    """Return a script: ``data`` answers the first request, later ones get their own responses."""

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            number = len(wire.requests)
            peer.send(data if number == 1 else answer(body=b'{"for": %d}' % number))
            if number == 1 and then_close:
                return

    return script


# -- interim answers -----------------------------------------------------------------------------


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
        b"HTTP/1.1 199 \r\nA: b\r\n\r\n",
    ],
)
def test_an_interim_answer_is_not_the_answer(interim: bytes) -> None:
    with Wire(numbered(interim)) as wire, client_to(wire.url) as client:
        responses = [client.upload("extended_id", ITEMS) for _ in range(3)]
    assert [(response.status, response.document) for response in responses] == [
        (200, {"for": number}) for number in (1, 2, 3)
    ], "I1: a request is told the answer of another"
    assert wire.connections == 1


def test_interim_answers_without_end_end_with_the_deadline() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.trickle(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 90)

    with Wire(script) as wire, client_to(wire.url, timeout=0.5) as client:
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.sent) == (None, True)
    assert response.seconds < 1.5


@pytest.mark.promise("I1")
def test_an_answer_after_the_deadline_is_nobodys() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        if len(wire.requests) == 1:
            wait_until(lambda: wire.connections == 2)
        peer.send(answer(body=b'{"for": %d}' % len(wire.requests)))

    with Wire(script) as wire, client_to(wire.url, timeout=0.4) as client:
        assert client.me().status is None
        assert client.me().document == {"for": 2}, "I1: a request is told the answer of another"


def test_a_change_of_the_protocol_is_no_answer_and_ends_the_connection() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + STRAY
    with Wire(first_saying(switching)) as wire, client_to(wire.url) as client:
        first = client.upload("extended_id", ITEMS)
        assert (first.status, first.sent) == (None, True)
        assert client.upload("extended_id", ITEMS).document == {"for": 2}
    assert wire.connections == 2


# -- where an answer ends ------------------------------------------------------------------------


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEAD + LENGTH + b"\r\n" + BODY + STRAY, id="an answer more"),
        pytest.param(HEAD + LENGTH + b"\r\n" + BODY + b"\r\n", id="a line more"),
        pytest.param(
            HEAD + LENGTH + b"\r\n" + BODY + b"HTTP/1.1 100 Continue\r\n\r\n",
            id="an interim answer more",
        ),
        pytest.param(HEAD + LENGTH + LENGTH + b"\r\n" + BODY, id="the length twice"),
        pytest.param(
            HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
            id="a length beside chunked",
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY, id="identity"
        ),
        pytest.param(
            HEAD.replace(b"1.1", b"1.0") + LENGTH + b"Connection: keep-alive\r\n\r\n" + BODY,
            id="HTTP/1.0",
        ),
        pytest.param(
            HEAD + LENGTH + b"Connection: x, Close\r\n\r\n" + BODY, id="it says that it closes"
        ),
        pytest.param(
            (HEAD + LENGTH + b"\r\n").replace(b"\r", b"") + BODY, id="lines end without CR"
        ),
        pytest.param(HEAD + b"X: a\r\n folded\r\n" + LENGTH + b"\r\n" + BODY, id="a folded header"),
        pytest.param(
            HEAD + b"what is this\r\n" + LENGTH + b"\r\n" + BODY, id="a header that is none"
        ),
        pytest.param(
            HEAD + LENGTH.replace(b":", b" :") + b"\r\n" + BODY, id="a space before the colon"
        ),
        pytest.param(CHUNKED + CHUNKS + STRAY, id="an answer after the chunks"),
    ],
)
def test_after_an_answer_that_leaves_a_doubt_the_connection_is_not_used_again(data: bytes) -> None:
    with Wire(first_saying(data)) as wire, client_to(wire.url) as client:
        first, second = client.me(), client.me()
    assert (first.status, first.document) == (200, {"items": {"own": []}})
    assert second.document == {"for": 2}, "I1: a request is told the answer of another"
    assert wire.connections == 2, (
        "I1: what follows an answer waits on the connection for the next request"
    )


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_body_where_there_is_none_is_not_the_next_answer(status: str) -> None:
    with Wire(first_saying(answer(status, BODY))) as wire, client_to(wire.url) as client:
        assert client.me().status == int(status[:3])
        assert client.me().document == {"for": 2}
    assert wire.connections == 2


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEAD + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY, id="two lengths"),
        pytest.param(HEAD + b"Content-Length: 22, 5\r\n\r\n" + BODY, id="two lengths in one"),
        pytest.param(HEAD + b"Content-Length: +22\r\n\r\n" + BODY, id="a length that is no number"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n" + BODY, id="a negative length"),
        pytest.param(HEAD + b"Content-Length:\r\n\r\n" + BODY, id="an empty length"),
        pytest.param(
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
            id="an encoding not asked for",
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: xchunked\r\n" + LENGTH + b"\r\n" + BODY,
            id="not quite chunked",
        ),
        pytest.param(CHUNKED + b"0x16\r\n" + CHUNKS[4:], id="a chunk's length with a prefix"),
        pytest.param(CHUNKED + b"+16\r\n" + CHUNKS[4:], id="a chunk's length with a sign"),
        pytest.param(CHUNKED + b"1_6\r\n" + CHUNKS[4:], id="a chunk's length with an underscore"),
        pytest.param(CHUNKED + b"15" + CHUNKS[2:], id="a chunk that is longer than it says"),
        pytest.param(HEAD + b"Content-Length: 2", id="a head that ends in a header"),
        pytest.param(HEAD + b"X: y\r\n", id="a head that ends before its end"),
        pytest.param(b"HTTP/1.1 200", id="a status line that has no end"),
    ],
)
def test_an_answer_whose_end_is_not_certain_is_none(data: bytes) -> None:
    with Wire(first_saying(data, then_close=True)) as wire, client_to(wire.url) as client:
        first = client.upload("extended_id", ITEMS)
        assert (first.status, first.sent) == (None, True), "I1: half an answer is believed"
        assert client.upload("extended_id", ITEMS).document == {"for": 2}
    assert wire.connections == 2
    assert len(wire.requests) == 2


def test_chunks_with_extensions_and_trailers_are_read_and_the_connection_kept() -> None:
    chunks = b"00016;a=b\r\n" + CHUNKS[4:-5] + b'000 ; c="d"\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n'
    with Wire(first_saying(CHUNKED + chunks)) as wire, client_to(wire.url) as client:
        assert client.me().document == {"items": {"own": []}}
        assert client.me().document == {"for": 2}
    assert wire.connections == 1


@pytest.mark.promise("I1")
@pytest.mark.parametrize("records", [1, 2])
def test_what_tls_has_taken_from_the_socket_is_not_taken_for_the_next_answer(
    tmp_path: Path, records: int
) -> None:
    made = make_certificate(tmp_path, "api", "IP:127.0.0.1")
    body = b'{"own": "' + b"x" * (8_192 - 11) + b'"}'

    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n")
        # What is sent here comes whole, and leaves the socket empty.
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for data in (body + STRAY,) if records == 1 else (body, STRAY):
            peer.send(data)
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        while wire.take(peer) is not None:
            peer.send(answer(body=b'{"for": 2}'))

    with Wire(script, made.server()) as wire, client_to(wire.url, ca_file=str(made.pem)) as client:
        assert client.me().body == body
        wait_until(lambda: wire.connections == 1)
        assert client.me().status == 200, "I1: a request is told the answer of another"
    assert wire.connections == 2


@pytest.mark.promise("I1")
def test_what_comes_before_the_request_is_no_answer_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is full says so as soon as a client connects."""
    connect = Connection.connect

    def until_it_speaks(connection: Connection, call: Call) -> Steps[None]:
        yield from connect(connection, call)
        if not spoken:
            assert connection.pipe is not None
            spoken.append(bool(select.select([connection.pipe.below.sock], [], [], 5)[0]))

    def script(peer: Peer, wire: Wire) -> None:
        if wire.connections == 1:
            peer.send(STRAY)
        numbered(b"")(peer, wire)

    spoken: list[bool] = []
    monkeypatch.setattr(Connection, "connect", until_it_speaks)
    with Wire(script) as wire, client_to(wire.url) as client:
        first = client.upload("extended_id", ITEMS)
        assert (first.status, first.sent) == (None, False), (
            "I1: what nobody asked for is taken for an answer"
        )
        assert "speaks before it was asked" in first.error
        assert client.upload("extended_id", ITEMS).document == {"for": 1}
    assert spoken == [True]


# -- answers that are early ----------------------------------------------------------------------


def test_the_system_tells_whether_all_that_was_sent_has_arrived() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        sender = stack.enter_context(socket.create_connection(listener.getsockname()))
        receiver = stack.enter_context(listener.accept()[0])
        assert not framing.unacknowledged(sender)
        sender.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += sender.send(b"x" * 100_000)
        assert framing.unacknowledged(sender)
        while sent:
            sent -= len(receiver.recv(1_000_000))
        wait_until(lambda: not framing.unacknowledged(sender))


@pytest.mark.promise("I1")
def test_an_early_answer_counts_on_a_new_connection_only_and_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Wire(numbered(b"")) as wire, client_to(wire.url) as client:
        monkeypatch.setattr(framing, "unacknowledged", lambda _: True)
        assert client.upload("extended_id", ITEMS).document == {"for": 1}
        monkeypatch.setattr(framing, "unacknowledged", lambda _: False)
        assert client.upload("extended_id", ITEMS).document == {"for": 2}
        assert wire.connections == 2, (
            "it may have been sent by something that has not read the request"
        )
        monkeypatch.setattr(framing, "unacknowledged", lambda _: True)
        response = client.upload("extended_id", ITEMS)
        assert (response.status, response.sent) == (None, True), (
            "I1: it may be the answer to another request"
        )
        assert wire.connections == 2
        monkeypatch.setattr(framing, "unacknowledged", lambda _: False)
        assert client.upload("extended_id", ITEMS).document == {"for": 4}
    assert wire.connections == 3


# -- where a connection leads --------------------------------------------------------------------


@pytest.mark.promise("I8")
@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 413, 421, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("through_a_proxy", [False, True])
def test_after_an_answer_that_need_not_be_the_apis_the_connection_is_not_used_again(
    status: int, through_a_proxy: bool
) -> None:
    """The name may lead to another server by now, or the request was not read."""
    with Wire(first_saying(answer(f"{status} X", b"{}"))) as wire:
        settings: dict[str, Any] = {"url": wire.url}
        if through_a_proxy:
            settings = {"url": "http://api.invalid", "proxy": wire.url}
        with client_to(**settings) as client:
            assert client.upload("extended_id", ITEMS).status == status
            assert client.upload("extended_id", ITEMS).document == {"for": 2}
    assert wire.connections == 2, "I8: the old server is asked for ever"


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"", b"[]"])
def test_after_an_answer_that_is_none_of_the_api_the_connection_is_not_used_again(
    body: bytes,
) -> None:
    with Wire(first_saying(answer(body=body))) as wire, client_to(wire.url) as client:
        assert client.me().body == body
        assert client.me().document == {"for": 2}
    assert wire.connections == 2


@pytest.mark.promise("I8")
def test_a_connection_that_stands_for_a_minute_is_not_used_again_however_busy_it_is() -> None:
    clock = Clock()
    with Wire(numbered(b"")) as wire, client_to(wire.url, clock=clock) as client:
        for _ in range(int(AGE_SECONDS / 3)):
            assert client.me().status == 200
            clock.passed += 3
        assert wire.connections == 1
        assert client.me().status == 200
        assert wire.connections == 2, "I8: a name that leads elsewhere is not looked up again"


def _name_of(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def found(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "api.test":
            return real(host, port, *args, **kwargs)
        return [entry for address in addresses for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


class _Silent:
    """An address where connections come to nothing: a listener whose queue is full."""

    def __init__(self, host: str, port: int, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))


@pytest.mark.promise("I8")
def test_the_time_for_connecting_is_for_all_addresses_of_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Wire(numbered(b"")) as wire, ExitStack() as stack:
        for last in (2, 3, 4):
            _Silent(f"127.0.0.{last}", wire.port, stack)
        _name_of(["127.0.0.2", "127.0.0.3", "127.0.0.4"], monkeypatch)
        with client_to(f"http://api.test:{wire.port}", connect_timeout=0.6, timeout=5) as client:
            response = client.me()
        assert (response.status, response.sent) == (None, False)
        assert response.seconds < 1.2, "I8: each address of the name takes the time for connecting"
        _name_of(["127.0.0.2", "127.0.0.1"], monkeypatch)
        with client_to(f"http://api.test:{wire.port}", connect_timeout=1.0, timeout=5) as client:
            assert client.me().status == 200, "an address that works is not tried"
