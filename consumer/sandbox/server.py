"""The HTTP server: sockets, keep-alive, and the ways in which a connection can go wrong."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from consumer.sandbox.answers import CLOSE, CUT, RESET, TRICKLE, SandboxResponse
from consumer.sandbox.api import SandboxApi, SandboxCall
from consumer.sandbox.control import PREFIX, control

if TYPE_CHECKING:
    from consumer.sandbox import Sandbox

MAX_BODY = 64 * 1024 * 1024
_LINGER_RESET = struct.pack("ii", 1, 0)  # close() with it sends RST instead of FIN

log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """A thread for each connection; ``stop`` also ends the connections that are open."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, host: str, port: int, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self.api = SandboxApi(
            sandbox.store,
            sandbox.faults,
            lambda: sandbox.token,
            lambda: sandbox.permissions,
            self.pause,
            lambda: sandbox.pace,
        )
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__((host, port), Handler)

    def pause(self, seconds: float) -> bool:
        """Wait; return False when the server stops meanwhile."""
        return not self.stopping.wait(seconds)

    def server_bind(self) -> None:
        # HTTPServer's own looks the host's name up, which can take seconds
        TCPServer.server_bind(self)
        self.server_name, self.server_port = (
            str(self.server_address[0]),
            int(self.server_address[1]),
        )

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        with self.sandbox.store.lock:
            self.sandbox.store.journal.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # without the usual shutdown(), whose FIN would come before a RST
        self.close_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.exception("sandbox: a call from %s failed", client_address)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop listening, end every connection, wait for the calls in progress (bounded)."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._open:
                end(connection)
            self._changed.wait_for(lambda: not self._open, timeout)


def end(connection: socket.socket) -> None:
    """End both directions at once: the peer sees the end of the stream, a blocked read returns."""
    with suppress(OSError):  # the peer was faster
        connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        with suppress(
            ConnectionError, TimeoutError
        ):  # the client went away, or a fault ended the connection
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        log.debug(format, *args)

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith(PREFIX):
            self._send(control(self.server.sandbox, self.command, path, query, self._body()))
            return
        store = self.server.sandbox.store
        with store.lock:
            journal = store.journal
            number = journal.arrive()
        call = SandboxCall(
            number,
            journal,
            self.command,
            path,
            self.headers.get("Authorization", ""),
            self.headers.get("Content-Type", ""),
            time.time(),
            dict(parse_qsl(query)),
            f"http://{self.headers.get('Host') or self.server.sandbox.url.partition('://')[2]}",
        )
        response: SandboxResponse | None = None
        try:
            response = self.server.api.unread(call) or self.server.api.answer(call, self._body())
        finally:
            # entered before anything is sent: whoever has the answer finds the call in the journal,
            # and no longer in progress
            with store.lock:
                journal.add_request(call.entry(response.status if response else None))
            if response and response.hold and not self.server.pause(response.hold):
                response.wire = CLOSE
            with store.lock:
                journal.leave()
        self._transmit(response)
        if response.afterwards:
            response.afterwards()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class names them so

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > MAX_BODY:
            self._send(
                SandboxResponse(411, b"Content-Length is needed, up to 64 MiB.", "text/plain")
            )
            raise ConnectionAbortedError
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError
        return body

    def _transmit(self, response: SandboxResponse) -> None:
        if response.wire == RESET:
            self._reset()
        elif response.wire == CLOSE:
            self.close_connection = True
            end(self.connection)
        elif response.wire == CUT:
            self.wfile.write(self._head(response) + response.body[: len(response.body) // 2])
            self._reset()
        elif response.wire == TRICKLE:
            self.wfile.write(self._head(response))
            for number in range(len(response.body)):
                if not self.server.pause(response.interval):
                    return
                self.wfile.write(response.body[number : number + 1])
        else:
            self._send(response)

    def _send(self, response: SandboxResponse) -> None:
        self.wfile.write(self._head(response) + response.body)

    def _head(self, response: SandboxResponse) -> bytes:
        status = response.status or 0
        lines = [
            f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}",
            "Server: scm-sandbox",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            *(f"{name}: {value}" for name, value in response.headers),
            "\r\n",
        ]
        return "\r\n".join(lines).encode()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
