"""Serve a few read-only paths over HTTP, with few threads and short times.

Uploading goes on whatever happens here: an address in use is logged once and tried again.
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

#: Requests that are answered at a time; further ones get a 503 with Retry-After.
MAX_REQUESTS = 8
#: How long one wait for a client may take, and a whole request.
CLIENT_SECONDS = 5.0
REQUEST_SECONDS = 15.0
#: Time between two checks for requests that take too long, and for the end.
CHECK_EVERY_SECONDS = 0.5
#: The pauses before an address that cannot be bound is tried again.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

_BUSY = (
    b"HTTP/1.0 503 Service Unavailable\r\n"
    b"Content-Length: 0\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
TEXT = "text/plain; charset=utf-8"


class OpsResponse(msgspec.Struct, frozen=True):
    """A whole HTTP response."""

    body: bytes
    content_type: str = TEXT
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = {}


#: Each path's response, given the request's ``Accept`` header. A path with a query is that one's.
Paths = Mapping[str, Callable[[str], OpsResponse]]


def address_of(listen: str) -> tuple[str, int]:
    """Return host and port of ``ops.listen``: host:port, with an IPv6 address in brackets."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def line(text: str, status: int) -> OpsResponse:
    """Return a response of one line."""
    return OpsResponse(f"{text}\n".encode(), status=status)


class OpsServer:
    """Serves ``paths`` at ``address`` from a thread of its own. Port 0: any free one."""

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
                        "ops: %s cannot be bound (%s): no metrics, health or status until it is "
                        "free; uploading goes on; "
                        "set ops.listen to another address, or to an empty one for none",
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
    timeout = CHECK_EVERY_SECONDS

    def __init__(self, address: tuple[str, int], paths: Paths) -> None:
        self.paths = paths
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._overdue_at: dict[socket.socket, float] = {}
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, where = found[0]
        super().__init__(where, _RequestHandler)  # type: ignore[arg-type]  # IPv6: four parts

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            request.settimeout(0)
            request.send(_BUSY)
            self.shutdown_request(request)
            return
        self._overdue_at[request] = time.monotonic() + REQUEST_SECONDS
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started, so none releases the slot
            self._ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def _ended(self, request: socket.socket) -> None:
        self._overdue_at.pop(request, None)
        self._slots.release()

    def end_overdue(self) -> None:
        """Cut off clients that send or take a byte now and then: a time-out is for one wait."""
        now = time.monotonic()
        for request, at in list(self._overdue_at.items()):
            if at <= now:
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    self._overdue_at.pop(request, None)  # it has ended meanwhile

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the library calls it
        log.debug("ops: a request failed", exc_info=True)


class _RequestHandler(BaseHTTPRequestHandler):
    timeout = CLIENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def _refuse(self) -> None:
        response = line(
            "only GET and HEAD: nothing can be changed here", HTTPStatus.METHOD_NOT_ALLOWED
        )
        response = msgspec.structs.replace(response, headers={"Allow": "GET, HEAD"})
        self._send(response, with_body=True)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - the library's names

    def _respond(self, *, with_body: bool) -> None:
        paths = self.server.paths
        respond = paths.get(self.path) or paths.get(urlsplit(self.path).path)
        if respond is None:
            self._send(
                line(f"not found; here are {', '.join(paths)}", HTTPStatus.NOT_FOUND),
                with_body=with_body,
            )
            return
        try:
            response = respond(self.headers.get("Accept", ""))
        except Exception:
            log.exception("ops: %s", self.path)
            response = line("this failed; see the log", HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(response, with_body=with_body)

    def _send(self, response: OpsResponse, *, with_body: bool) -> None:
        self.send_response(response.status)
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            **_HEADERS,
        }
        for name, value in {**headers, **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(response.body)

    def version_string(self) -> str:
        return "scm-consumer"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library calls it
        log.debug("ops: %s %s", self.address_string(), format % args)
