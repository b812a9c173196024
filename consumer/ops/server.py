"""A small HTTP server for people and scrapers: reads only, with few threads and short times.

It never stands in the way of uploading: an address that is in use is told once and tried again.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit

import msgspec

log = logging.getLogger(__name__)

#: Requests that are answered at a time; further ones are told to come again.
MAX_REQUESTS = 8
#: How long one wait for a client may take, and a whole request.
CLIENT_SECONDS = 5.0
REQUEST_SECONDS = 15.0
#: How often the server looks for requests that take too long, and whether it is to end.
LOOK_EVERY_SECONDS = 0.5
#: The pauses before an address that cannot be bound is tried again.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
TEXT = "text/plain; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    body: bytes
    content_type: str = TEXT
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = {}


#: What is served: a path's answer, given the request's ``Accept`` header.
Paths = Mapping[str, Callable[[str], Answer]]


def address_of(listen: str) -> tuple[str, int]:
    """Host and port of ``ops.listen``, which is host:port, an IPv6 address in brackets."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def line(text: str, status: int) -> Answer:
    """An answer of one line."""
    return Answer(f"{text}\n".encode(), status=status)


class OpsServer:
    """Serves ``paths`` at ``address`` (host and port.

    Port 0: any free one) from a thread of its own.
    """

    def __init__(self, address: tuple[str, int], paths: Paths) -> None:
        self._address = address
        self._paths = paths
        self._closed = threading.Event()
        self.url = ""  #: where it is served; empty until the address is bound

    def start(self) -> None:
        """Begin to serve; an address that cannot be bound is tried again until ``close``."""
        threading.Thread(target=self._run, name="ops", daemon=True).start()

    def close(self) -> None:
        """Serve no more; the address is free half a second later at the latest."""
        self._closed.set()

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            try:
                server = _Server(self._address, self._paths)
            except OSError as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning(
                        "ops: %s cannot be bound (%s): no metrics, health or status until it is free; uploading goes "
                        "on; set ops.listen to another address, or to an empty one for none",
                        _shown(*self._address),
                        error.strerror or error,
                    )
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            with server:
                self.url = f"http://{_shown(self._address[0], server.server_address[1])}"
                log.info("ops: %s", self.url)
                while not self._closed.is_set():
                    server.handle_request()
                    server.end_overdue()
            return


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32
    timeout = LOOK_EVERY_SECONDS

    def __init__(self, address: tuple[str, int], paths: Paths) -> None:
        self.paths = paths
        self._free = threading.BoundedSemaphore(MAX_REQUESTS)
        self._overdue_at: dict[socket.socket, float] = {}
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, where = found[0]
        super().__init__(where, _Handler)  # type: ignore[arg-type]  # IPv6 addresses have four parts

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            request.settimeout(0)
            request.send(_BUSY)
            self.shutdown_request(request)
            return
        self._overdue_at[request] = time.monotonic() + REQUEST_SECONDS
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started: nobody else gives the place back
            self._ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def _ended(self, request: socket.socket) -> None:
        self._overdue_at.pop(request, None)
        self._free.release()

    def end_overdue(self) -> None:
        """Cut off who sends or takes a byte now and then: a time-out is for one wait only."""
        now = time.monotonic()
        for request, at in list(self._overdue_at.items()):
            if at <= now:
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    self._overdue_at.pop(request, None)  # it has ended meanwhile

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the library calls it
        log.debug("ops: a request failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        self._give(with_body=True)

    def do_HEAD(self) -> None:
        self._give(with_body=False)

    def _refuse(self) -> None:
        answer = line(
            "only GET and HEAD: nothing can be changed here", HTTPStatus.METHOD_NOT_ALLOWED
        )
        self._send(msgspec.structs.replace(answer, headers={"Allow": "GET, HEAD"}), with_body=True)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - as the library calls them

    def _give(self, *, with_body: bool) -> None:
        paths = self.server.paths
        give = paths.get(urlsplit(self.path).path)
        if give is None:
            self._send(
                line(f"not found; here are {', '.join(paths)}", HTTPStatus.NOT_FOUND),
                with_body=with_body,
            )
            return
        try:
            answer = give(self.headers.get("Accept", ""))
        except Exception:
            log.exception("ops: %s", self.path)
            answer = line("this failed; see the log", HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(answer, with_body=with_body)

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response(answer.status)
        headers = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            **_HEADERS,
        }
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "scm-consumer"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library calls it
        log.debug("ops: %s %s", self.address_string(), format % args)
