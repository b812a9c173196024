"""One thread makes all calls, and none of them holds up another."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from consumer.adapters.scantrust import names
from consumer.adapters.scantrust.client import Client, Job
from consumer.adapters.scantrust.loop import Steps
from consumer.adapters.scantrust.pipes import MOST_TAKEN, Tls
from consumer.adapters.scantrust.pool import Pool
from consumer.adapters.scantrust.token import TokenSource
from consumer.core.uploading.response import Response
from tests.component.test_pool import pool_to, upload
from tests.component.wire import (
    ITEMS,
    TOKEN,
    Peer,
    Wire,
    answer,
    client_to,
    make_certificate,
    saying,
    wait_until,
)


class _Resolver:
    """Hangs for one name until it is let go, and counts how often it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "slow.test") -> None:
        self.asked = 0
        self.let_go = threading.Event()
        real = socket.getaddrinfo

        def found(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host != name:
                return real(host, port, *args, **kwargs)
            if socket.AI_NUMERICHOST in args:
                raise socket.gaierror(socket.EAI_NONAME, "no number")
            self.asked += 1
            assert self.let_go.wait(10)
            return real("127.0.0.1", port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_name_that_takes_long_to_look_up_ends_at_the_time_for_connecting_and_was_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = _Resolver(monkeypatch)
    with client_to("http://slow.test", connect_timeout=0.3) as client:
        response = client.upload("extended_id", ITEMS)
    resolver.let_go.set()
    assert (response.status, response.sent) == (None, False)
    assert "within 0.3 s" in response.error
    assert 0.2 < response.seconds < 1.3


def test_a_look_up_holds_up_no_other_call_and_serves_all_who_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = _Resolver(monkeypatch)
    results: Queue[tuple[Job, Response]] = Queue()
    with Wire(saying(answer())) as wire:
        urls = iter([f"http://slow.test:{wire.port}"] * 3 + [wire.url])
        pool = Pool(
            lambda: Client(next(urls), TokenSource(TOKEN), connect_timeout=8, timeout=9), 4, results
        )
        for number in range(4):
            pool.submit(upload(subject=number))
        job, response = results.get(timeout=5)
        assert (job.subject, response.status) == (3, 200), "a look-up blocks the thread"
        resolver.let_go.set()
        assert [results.get(timeout=5)[1].status for _ in range(3)] == [200] * 3
        assert resolver.asked == 1
        assert pool.close(5)


def test_servers_that_trickle_hold_up_no_other_call() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        request = wire.take(peer)
        if request is not None and b"slow" in request.body:
            peer.trickle(answer(body=b"x" * 900), pause=0.01)
        peer.send(answer())

    with Wire(script) as wire, pool_to(wire.url, size=4, timeout=2.0) as (pool, results):
        for number in range(3):
            pool.submit(Job("upload", data_key="k", items=[{"k": "slow"}], subject=number))
        wait_until(lambda: len(wire.requests) == 3)
        pool.submit(upload(subject="quick"))
        job, response = results.get(timeout=1.5)
        assert (job.subject, response.status) == ("quick", 200)
        rest = [results.get(timeout=5)[1] for _ in range(3)]
    assert [(response.status, response.sent) for response in rest] == [(None, True)] * 3
    assert all("within 2 s" in response.error for response in rest)


@pytest.mark.parametrize("how", ["closed", "spoken on"])
def test_an_idle_connection_that_is_good_for_nothing_is_closed_at_once(how: str) -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(answer())
        if how == "closed":
            peer.sock.shutdown(socket.SHUT_WR)
        else:
            time.sleep(0.05)
            peer.send(answer("408 Request Timeout", b""))
        assert wire.take(peer) is None  # the client has closed it

    with Wire(script) as wire, pool_to(wire.url) as (pool, results):
        pool.submit(upload())
        assert results.get(timeout=5)[1].status == 200
        wait_until(lambda: wire.closed == 1)
        pool.submit(upload())
        assert results.get(timeout=5)[1].status == 200
    assert wire.connections == 2


@pytest.mark.alone
@pytest.mark.parametrize("over_tls", [False, True])
def test_a_connection_whose_request_came_too_late_rests(over_tls: bool, tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "api", "IP:127.0.0.1") if over_tls else None
    results: Queue[tuple[Job, Response]] = Queue()
    asked: list[float] = []

    def lease() -> float:
        """In time when the call begins, and over when its connection stands."""
        asked.append(0.0)
        return float("inf") if len(asked) == 1 else 0.0

    with Wire(saying(answer()), made.server() if made else None) as wire:
        pool = Pool(
            lambda: Client(
                wire.url, TokenSource(TOKEN), connect_timeout=5, timeout=9,
                ca_file=str(made.pem) if made else "",
            ),
            1,
            results,
        )  # fmt: skip
        pool.submit(upload(start_by=lease))
        assert not results.get(timeout=5)[1].sent
        before = time.process_time()
        threading.Event().wait(0.4)
        assert time.process_time() - before < 0.05, "it turns without end"
        pool.submit(upload())
        assert results.get(timeout=5)[1].status == 200
        assert pool.close(5)
    assert wire.connections == 1


def test_a_connection_through_a_proxy_that_ended_while_idle_is_made_anew() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(answer())

    with Wire(script) as proxy, client_to("http://api.invalid", proxy=proxy.url) as client:
        for number in range(1, 4):
            assert client.upload("extended_id", ITEMS).status == 200
            wait_until(lambda expected=number: proxy.closed == expected)  # type: ignore[misc]


def test_an_api_of_ipv6_is_called_by_its_address() -> None:
    heard: list[bytes] = []
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            heard.append(sock.recv(65536))
            sock.sendall(answer())

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        port = listener.getsockname()[1]
        with client_to(f"http://[::1]:{port}") as client:
            assert client.me().status == 200
        thread.join(5)
    assert b"\r\nHost: [::1]:%d\r\n" % port in heard[0]


def test_a_call_goes_on_where_a_server_takes_the_request_slowly(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "api", "IP:127.0.0.1")
    rows = [{"extended_id": "x" * 100_000}] * 30

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            peer.send(answer())

    for tls in (None, made.server()):
        with (
            Wire(script, tls) as wire,
            client_to(wire.url, timeout=20, ca_file=str(made.pem)) as client,
        ):
            assert client.upload("extended_id", rows).status == 200
            assert client.upload("extended_id", ITEMS).status == 200
        assert len(wire.requests[0].body) > 3_000_000
        assert wire.connections == 1


@pytest.mark.parametrize(
    "line",
    [
        b"X: " + b" " * 60_000 + b"\n",
        b"X: a" + b" " * 60_000 + b"b\r\n",
        b"X:" + b" " * 60_000 + b"\x00\r\n",
    ],
    ids=["no CR", "legal", "NUL"],
)
def test_a_header_full_of_blanks_is_read_at_once(line: bytes) -> None:
    whole = b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 2\r\n\r\n{}"
    with Wire(saying(whole)) as wire, client_to(wire.url) as client:
        before = time.thread_time()
        assert client.upload("extended_id", ITEMS).status == 200
        assert time.thread_time() - before < 0.5, "a pattern that grows with the cube of blanks"


def test_a_tls_server_that_sends_tiny_records_without_end_holds_up_no_other_call(
    tmp_path: Path,
) -> None:
    made = make_certificate(tmp_path, "api", "IP:127.0.0.1")
    flood = threading.Event()

    def script(peer: Peer, _: Wire) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = made.server().wrap_bio(incoming, outgoing, server_side=True)

        def until_done(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    peer.sock.sendall(outgoing.read())
                    incoming.write(peer.sock.recv(65_536))
                else:
                    peer.sock.sendall(outgoing.read())
                    return

        until_done(tls.do_handshake)
        until_done(lambda: tls.read(65_536))
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
        for _number in range(300_000):
            tls.write(b"x")
        flood.set()
        with suppress(OSError):
            peer.sock.sendall(outgoing.read())

    results: Queue[tuple[Job, Response]] = Queue()
    with Wire(script) as slow, Wire(saying(answer())) as wire:
        urls = iter([slow.url.replace("http:", "https:"), wire.url])
        pool = Pool(
            lambda: Client(
                next(urls), TokenSource(TOKEN), connect_timeout=2, timeout=4, ca_file=str(made.pem)
            ),
            2,
            results,
        )
        pool.submit(upload(subject="slow"))
        assert flood.wait(10)
        begun = time.monotonic()
        pool.submit(upload(subject="quick"))
        assert results.get(timeout=10)[0].subject == "quick"
        assert time.monotonic() - begun < 0.5, "it waits for the end of the flood"
        job, response = results.get(timeout=10)
        assert (job.subject, response.sent) == ("slow", True)
        assert pool.close(5)


def test_waiters_who_give_up_leave_no_descriptors_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = _Resolver(monkeypatch)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with client_to("http://slow.test", connect_timeout=0.05) as client:
            assert not client.upload("extended_id", ITEMS).sent
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    resolver.let_go.set()


def test_a_look_up_that_fails_in_any_way_is_told_and_the_next_call_asks_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", _numeric_or(broken))
        with client_to("http://poisoned.test", connect_timeout=2.0) as client:
            response = client.upload("extended_id", ITEMS)
    assert (response.sent, "cannot be resolved" in response.error) == (False, True)
    assert ("poisoned.test", 80) not in names._under_way


def test_an_address_of_a_kind_that_this_machine_lacks_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Wire(saying(answer())) as wire:
        both = [
            (999, socket.SOCK_STREAM, 0, "", ("::1", wire.port)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", wire.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", _numeric_or(lambda *_, **__: both))
        with client_to(f"http://two.test:{wire.port}") as client:
            assert client.upload("extended_id", ITEMS).status == 200


def _numeric_or(otherwise: Any) -> Any:
    """Return a resolver that knows addresses, and answers for names what it is given."""
    real = socket.getaddrinfo

    def look_up(*arguments: Any, **more: Any) -> Any:
        if len(arguments) > 5 and arguments[5] & socket.AI_NUMERICHOST:
            return real(*arguments, **more)
        return otherwise(*arguments, **more)

    return look_up


class _Talkative:
    """A pipe to a TLS server in memory, whose words come a thousand bytes at a time."""

    below: Any = None

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.said = b""
        self.taken = 0

    def take(self) -> bytes | None:
        piece, self.said = self.said[:1000], self.said[1000:]
        self.taken += 1
        return piece or None

    def receive(self) -> Steps[bytes]:
        yield from ()
        if not self.said:
            self.speak()
        return self.take() or b""

    def send(self, data: bytes) -> Steps[None]:
        yield from ()
        self._incoming.write(data)

    def speak(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._server.do_handshake()
        self.said += self._outgoing.read()


def test_an_idle_connection_listens_to_no_tickets_without_end(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "api", "IP:127.0.0.1")
    context = made.server()
    context.num_tickets = 2000
    server = _Talkative(context)
    tls = Tls(server, ssl.create_default_context(cafile=made.pem), "127.0.0.1")
    assert list(tls.handshake()) == []
    server.speak()
    assert len(server.said) > 100_000, "tickets"
    before = server.taken
    with pytest.raises(OSError, match="says much"):
        tls.take()
    assert server.taken - before == MOST_TAKEN
