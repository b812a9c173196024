"""A server of seeded conversations: connections one after the other, over TLS or a tunnel."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from contextlib import suppress

from tests.fuzz.answering import Connection
from tests.fuzz.talk import INTERIM, Talk, drawn

TUNNELS = {
    "": 70,
    "interim": 15,
    "more": 4,
    "refused": 4,
    "another protocol": 3,
    "not HTTP": 2,
    "cut": 2,
}


class Server:
    """Serves one client, a connection at a time."""

    def __init__(self, tls: ssl.SSLContext, timeout: float) -> None:
        self._tls, self._timeout = tls, timeout
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.talk = Talk(0, "direct")
        self._rng = random.Random()

    def start(self) -> Server:
        self._thread.start()
        return self

    def begin(self, talk: Talk) -> None:
        self._rng, self.talk = random.Random(f"server {talk.seed}"), talk

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            talk = self.talk
            talk.connections += 1
            try:
                sock.settimeout(10)
                # what is sent is on its way
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock = self._tunnelled(sock) if talk.way == "tunnel" else sock
                if talk.way in ("tls", "tunnel"):
                    sock = self._tls.wrap_socket(sock, server_side=True)
                Connection(sock, talk, self._rng, self._timeout).serve()
            except (OSError, ssl.SSLError):
                pass  # the client has gone: that is its right
            except BaseException as fault:
                self.faults.append(fault)
            finally:
                sock.close()
                rest = talk.rest
                if rest is not None:
                    rest.set()

    def _tunnelled(self, sock: socket.socket) -> socket.socket:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = sock.recv(1)  # what follows is TLS
            if not more:
                raise OSError("gone")
            head += more
        what = drawn(self._rng, TUNNELS)
        done = b"HTTP/1.1 200 Connection established\r\nX-Proxy: y\r\n\r\n"
        refused = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        said = {
            "interim": b"".join(self._rng.choices(INTERIM, k=2)) + done,
            "more": done + b"HTTP/1.1 299 Stray\r\nContent-Length: 0\r\n\r\n",
            "refused": refused,
            "another protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "not HTTP": b"SSH-2.0-x\r\n\r\n",
            "cut": done[: self._rng.randrange(1, 20)],
        }.get(what, done)
        sock.sendall(said)
        if what not in ("", "interim"):
            raise OSError("no tunnel")
        return sock
