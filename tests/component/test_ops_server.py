"""The ops server: what it serves and refuses, and that nobody can wear it out."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from consumer.ops import server as ops_server
from consumer.ops.server import MAX_REQUESTS, OpsResponse, OpsServer, Paths, address_of, line
from tests.support.process import wait_until

SECONDS = 10.0


@contextlib.contextmanager
def serving(paths: Paths, listen: str = "127.0.0.1:0") -> Iterator[OpsServer]:
    server = OpsServer(address_of(listen), paths)
    server.start()
    try:
        yield server
    finally:
        server.close()


def url_of(server: OpsServer) -> str:
    return wait_until(lambda: server.url, SECONDS)


def ask(url: str, path: str = "/", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (lower case) and body."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )


def hello(_: str) -> OpsResponse:
    return line("hello", 200)


@pytest.mark.parametrize("path", ["/hello", "/hello?a=1", "/hello#x"])
def test_a_path_is_served_whatever_its_query(path: str) -> None:
    with serving({"/hello": hello}) as server:
        status, headers, body = ask(url_of(server), path)
    assert (status, body) == (200, b"hello\n")
    assert headers["content-length"] == "6"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["server"] == "scm-consumer", "no versions"
    assert "access-control-allow-origin" not in headers


def test_head_is_get_without_the_body() -> None:
    with serving({"/hello": hello}) as server:
        status, headers, body = ask(url_of(server), "/hello", "HEAD")
    assert (status, headers["content-length"], body) == (200, "6", b"")


def test_another_path_is_not_found_and_the_paths_are_listed() -> None:
    with serving({"/": hello, "/hello": hello}) as server:
        status, _, body = ask(url_of(server), "/../etc/passwd")
    assert status == 404
    assert body == b"not found; here are /, /hello\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_but_get_and_head_is_allowed(method: str) -> None:
    with serving({"/hello": hello}) as server:
        status, headers, _ = ask(url_of(server), "/hello", method)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"


def test_the_accept_header_reaches_the_path() -> None:
    with serving({"/": lambda accept: line(accept, 200)}) as server:
        parts = urlsplit(url_of(server))
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"Accept": "text/x"})
            assert connection.getresponse().read() == b"text/x\n"


def test_a_fault_in_a_path_is_a_500_and_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: str) -> OpsResponse:
        raise RuntimeError("s3cret")

    with (
        caplog.at_level(logging.ERROR, "consumer"),
        serving({"/broken": broken, "/hello": hello}) as server,
    ):
        status, _, body = ask(url_of(server), "/broken")
        assert status == 500
        assert b"s3cret" not in body
        assert ask(url_of(server), "/hello")[0] == 200
    assert "/broken" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"x" * 70_000 + b"\r\n",
        b"\x16\x03\x01",
    ],
)
def test_who_speaks_no_http_gets_no_page_and_harms_nobody(sent: bytes) -> None:
    with serving({"/hello": hello}) as server:
        port = urlsplit(url_of(server)).port
        with (
            socket.create_connection(("127.0.0.1", port), SECONDS) as client,
            contextlib.suppress(OSError),
        ):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        assert ask(url_of(server), "/hello")[0] == 200


# -- bounds --------------------------------------------------------------------------------------


def test_more_requests_than_it_can_answer_are_told_to_come_again() -> None:
    go_on = threading.Event()
    inside: list[int] = []

    def slow(_: str) -> OpsResponse:
        inside.append(1)
        go_on.wait(SECONDS)
        return line("done", 200)

    statuses: list[int] = []
    with serving({"/slow": slow}) as server:
        url = url_of(server)
        threads = [
            threading.Thread(target=lambda: statuses.append(ask(url, "/slow")[0]))
            for _ in range(MAX_REQUESTS)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(inside) == MAX_REQUESTS, SECONDS)
        status, headers, _ = ask(url, "/slow")
        assert (status, headers["retry-after"]) == (503, "1")
        go_on.set()
        for thread in threads:
            thread.join(SECONDS)
        assert statuses == [200] * MAX_REQUESTS
        wait_until(lambda: ask(url, "/slow")[0] == 200, SECONDS)


def test_a_request_for_which_no_thread_could_be_started_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a container's limit of processes is reached for a while."""
    start = threading.Thread.start
    refused: list[int] = []

    def no_more(thread: threading.Thread) -> None:
        if "process_request_thread" not in thread.name:
            start(thread)
            return
        refused.append(1)
        raise RuntimeError("can't start new thread")

    with serving({"/hello": hello}) as server:
        url = url_of(server)
        monkeypatch.setattr(threading.Thread, "start", no_more)
        for _ in range(MAX_REQUESTS):
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(url, "/hello")
        monkeypatch.undo()
        assert len(refused) == MAX_REQUESTS
        assert ask(url, "/hello")[0] == 200


def test_who_sends_a_byte_now_and_then_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops_server, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(ops_server._Server, "timeout", 0.05)
    with serving({"/hello": hello}) as server:
        port = urlsplit(url_of(server)).port
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.settimeout(0.05)

            def ended() -> bool:
                try:
                    client.send(b"x")
                    return client.recv(1) == b""
                except TimeoutError:
                    return False
                except OSError:
                    return True

            client.send(b"GET /")
            wait_until(ended, SECONDS)
        assert ask(url_of(server), "/hello")[0] == 200


def test_who_sends_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops_server._RequestHandler, "timeout", 0.1)
    with serving({"/hello": hello}) as server:
        port = urlsplit(url_of(server)).port
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            assert client.recv(1) == b"", "closed by the server"


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_is_read(listen: str, address: tuple[str, int]) -> None:
    assert address_of(listen) == address


def test_an_ipv6_address_is_served_and_told_in_brackets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "consumer"), serving({"/hello": hello}, "[::1]:0") as server:
        url = url_of(server)
        assert url.startswith("http://[::1]:")
        assert ask(url, "/hello")[0] == 200
        wait_until(lambda: f"ops: {url}" in caplog.text, SECONDS)


def _taken() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_an_address_in_use_is_told_once_and_taken_as_soon_as_it_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []
    monkeypatch.setattr(ops_server, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(ops_server, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(ops_server, "_Server", _counted(tries))
    with caplog.at_level(logging.INFO, "consumer"), _taken() as taken:
        port = taken.getsockname()[1]
        with serving({"/hello": hello}, f"127.0.0.1:{port}") as server:
            wait_until(lambda: len(tries) >= 4, SECONDS)
            warnings = [
                record.getMessage()
                for record in caplog.records
                if record.levelno == logging.WARNING
            ]
            assert len(warnings) == 1
            assert f"127.0.0.1:{port}" in warnings[0]
            assert "ops.listen" in warnings[0]
            assert server.url == ""
            taken.close()
            assert url_of(server) == f"http://127.0.0.1:{port}"
            assert ask(server.url, "/hello")[0] == 200


def _counted(tries: list[int]) -> Callable[..., ops_server._Server]:
    real = ops_server._Server

    def tried(address: tuple[str, int], paths: Paths) -> ops_server._Server:
        tries.append(1)
        return real(address, paths)

    return tried


def test_after_close_the_address_is_free() -> None:
    with serving({"/hello": hello}) as server:
        port = urlsplit(url_of(server)).port

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refused, SECONDS)
