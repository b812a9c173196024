"""A server whose every byte, and when it comes, a test decides."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from consumer.adapters.scantrust.client import Client
from consumer.adapters.scantrust.token import TokenSource

TOKEN = "secret-token-0123456789"
ITEMS = [
    {"extended_id": "A1", "intended_market": "cn"},
    {"extended_id": "A2", "intended_market": "de"},
]


@dataclass
class Request:
    """A request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self.sock = sock
        self._stop = stop
        self._buffer = b""

    def request(self) -> Request | None:
        """Return the next request, whole; None: the client has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return None
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in lines)}
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            if not self._receive():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Request(line, headers, body)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def trickle(self, data: bytes, pause: float = 0.05) -> None:
        """Send one byte after the other, for as long as the client listens."""
        for byte in data:
            self.sock.sendall(bytes([byte]))
            if self._stop.wait(pause):
                return

    def hold(self) -> None:
        """Say nothing more until the test is over."""
        self._stop.wait(30)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _receive(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)


@dataclass
class Wire:
    """Listens on a free port and runs ``script`` for each connection, in a thread of its own."""

    script: Callable[[Peer, Wire], None]
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    faults: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Wire:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        assert not self.faults, self.faults

    def take(self, peer: Peer) -> Request | None:
        """Read a request and remember it."""
        request = peer.request()
        if request is not None:
            self.requests.append(request)
        return request

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self._socks.append(sock)
            self.script(Peer(sock, self._stop), self)
        except OSError:
            pass  # the client went away: what the test is about
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            sock.close()
            self.closed += 1


def answer(status: str = "200 OK", body: bytes = b'{"items": {}}', *headers: str) -> bytes:
    """Return one HTTP response as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def saying(data: bytes) -> Callable[[Peer, Wire], None]:
    """Return a script that answers each request of a connection with ``data``."""

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            peer.send(data)

    return script


def closing_after(data: bytes) -> Callable[[Peer, Wire], None]:
    """Return a script: one request, ``data``, end of the connection."""

    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(data)

    return script


@contextmanager
def client_to(url: str, token: TokenSource | None = None, **settings: Any) -> Iterator[Client]:
    """Return a client with short times."""
    settings = {"connect_timeout": 2.0, "timeout": 5.0} | settings
    client = Client(url, token or TokenSource(TOKEN), **settings)
    try:
        yield client
    finally:
        client.close()


def upload_body() -> bytes:
    return orjson.dumps({"data_key": "extended_id", "items": ITEMS})


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Return as soon as ``condition`` holds; fail when it does not within ``seconds``."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        threading.Event().wait(0.005)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate, which is its own CA."""

    pem: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem, self.key)
        return context


def make_certificate(folder: Path, name: str, alternative: str) -> Certificate:
    """Return a new certificate for ``alternative``, such as ``IP:127.0.0.1``.

    Needs the openssl command.
    """
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ]
    command += ["-nodes", "-days", "2", "-keyout", str(made.key), "-out", str(made.pem)]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"]
    subprocess.run(command, check=True, capture_output=True)
    return made
