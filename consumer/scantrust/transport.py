"""requests, held to what a caller of a slow and unreliable API needs.

Three things that the library does not give: a deadline for the whole call (its time-out is for each receive,
so an answer that trickles in never ends), the certain knowledge whether anything was sent, and an idle
connection that is not trusted for long. All are decided at the connection, where they are facts, not by
reading exceptions.

The adapter is used without a Session: what a Session adds (cookies, redirects, .netrc, proxies and CA bundles
from the environment) is what must not happen here, and for a 3xx it reads the whole body, however long.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection

from consumer.errors import ConfigError

#: A connection idle for longer is not used again, in seconds: the shortest keep-alive of common servers is 5,
#: and the outcome of a request that crosses the server's close on the wire would be unknown.
IDLE_SECONDS = 4.0

#: The most that is received for one answer, in bytes: http.client's limits on headers, and a capped body. What
#: a chunk of length -1 would make it read is endless.
MAX_RECEIVED = 8_000_000


#: Until when a request may be sent, by the clock of its call; or what tells it at the moment of sending.
StartBy = float | Callable[[], float]


class Call:
    """The one call that an adapter's connection is busy with; times are readings of ``clock`` in seconds."""

    def __init__(self, connect_timeout: float, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.connect_timeout = min(connect_timeout, timeout)
        self.timeout = timeout
        self.ended = 0.0
        self.begin(float("inf"))

    def begin(self, start_by: StartBy) -> None:
        """Start the time of the whole call; ``start_by`` is the last moment at which it may be sent."""
        self.began = self.clock()
        self.deadline = self.read_by = self.began + self.timeout
        self._start_by = start_by
        self.sent_at: float | None = None

    @property
    def sent(self) -> bool:
        """Whether anything of the request may have been sent."""
        return self.sent_at is not None

    def too_late(self, now: float) -> bool:
        """Whether the request must not be sent any more: its lease has ended, or its time for the whole call."""
        start_by = self._start_by() if callable(self._start_by) else self._start_by
        return now > start_by or now >= self.deadline

    def left(self, until: float) -> float:
        """Seconds until then; TimeoutError when there are none."""
        left = until - self.clock()
        if left <= 0:
            raise TimeoutError("the time for the whole call is over")
        return left


class _Socket(socket.socket):
    """A connected socket whose time-outs the kernel keeps.

    With a time-out of Python's, each send and receive first waits for the socket and gives up the interpreter's
    lock twice, and setting the time-out gives it up once more. Beside a busy owner thread each of these costs a
    worker up to a switch interval, and all of them together most of a call.
    """

    def settimeout(self, value: float | None) -> None:
        """Let the kernel end a send or receive after that many seconds, with EAGAIN."""
        seconds = 0.0 if value is None else max(value, 1e-6)  # zero is for ever
        interval = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)


class _DeadlineReader(io.RawIOBase):
    """What a socket brings, each receive only for as long as the call has left."""

    def __init__(self, raw: Any, sock: socket.socket, call: Call) -> None:
        super().__init__()
        self._raw, self._sock, self._call = raw, sock, call
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._call.left(self._call.read_by))
        received: int | None = self._raw.readinto(buffer)
        if received is None:
            raise TimeoutError("nothing came in the time that was left")
        self._received += received
        if self._received > MAX_RECEIVED:
            raise OSError("the answer is too long")
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


def _answer(call: Call, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
    """What http.client makes of each answer (a proxy's to CONNECT too), read under the call's deadline."""
    answer = http.client.HTTPResponse(sock, *args, **kwargs)
    raw = answer.fp.detach()
    answer.fp = io.BufferedReader(_DeadlineReader(raw, sock, call))
    return answer


class _Connection(HTTPConnection):
    """A connection that knows its call."""

    call: Call

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.response_class = functools.partial(_answer, self.call)  # type: ignore[assignment]
        self._held: list[bytes] | None = None
        self._withheld = False  # the request came too late, and nothing of it was sent

    @property
    def is_connected(self) -> bool:
        """Whether it may be used again: asked when it is taken from the pool, which closes what is stale."""
        return self.call.clock() - self.call.ended < IDLE_SECONDS and super().is_connected

    def connect(self) -> None:
        call = self.call
        self.timeout = min(call.connect_timeout, call.left(call.deadline))
        call.read_by = call.clock() + self.timeout  # a proxy's answer to CONNECT
        super().connect()
        call.read_by = call.deadline
        if type(self.sock) is socket.socket:
            self.sock.setblocking(True)
            self.sock = _Socket(fileno=self.sock.detach())

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Connect if need be, write head and body at once: before nothing is sent, after all may be.

        A request that has become too late meanwhile is not sent, and the connection stands for the next one.
        """
        if self.sock is None:
            self.connect()
        held = self._held = []
        try:
            super().request(*args, **kwargs)
        finally:
            self._held = None
        call, now = self.call, self.call.clock()
        self._withheld = call.too_late(now)
        if self._withheld:
            # Closed without its socket, the connection forgets the request, and nothing else.
            sock, self.sock = self.sock, None
            http.client.HTTPConnection.close(self)
            self.sock = sock
            return
        call.sent_at = now
        left = memoryview(b"".join(held))
        while left:
            self.sock.settimeout(call.left(call.deadline))
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                raise TimeoutError("the request could not be written in the time that was left") from None

    def getresponse(self) -> Any:
        """What came; for a request that was withheld, nothing: an exception would make the library close all."""
        return urllib3.HTTPResponse(preload_content=False) if self._withheld else super().getresponse()

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""

    @property
    def is_connected(self) -> bool:
        """As without TLS; what has come may be TLS's own: session tickets follow the handshake unasked."""
        if super().is_connected:
            return True
        idle = self.call.clock() - self.call.ended
        return idle < IDLE_SECONDS and isinstance(self.sock, ssl.SSLSocket) and _brings_nothing(self.sock)


def _brings_nothing(sock: ssl.SSLSocket) -> bool:
    """Whether what can be read from a connection is neither data nor its end."""
    sock.settimeout(0.0)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


class Adapter(HTTPAdapter):
    """requests' transport for one worker: one address, one connection at a time, nothing ever sent twice."""

    def __init__(self, call: Call, tls: ssl.SSLContext | None) -> None:
        self._call = call
        self._tls = tls
        self._pool: Any = None  # with a proxy
        self._direct: Any = None  # without
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the library's signature
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send, and read the head of the answer; its body is read by the caller.

        Without a proxy the one connection is driven directly: what the library does around it (pools, retries,
        redirects) is switched off here anyway, and takes a quarter of the time of a call.
        """
        if proxies:
            return super().send(request, stream, timeout, verify, cert, proxies)
        connection = self._direct = self._direct or self._connect_to(request.url)
        if connection.sock is not None and not connection.is_connected:
            connection.close()
        connection.request(
            request.method, request.path_url, body=request.body, headers=request.headers, preload_content=False
        )
        return self.build_response(request, connection.getresponse())

    def _connect_to(self, url: str | None) -> Any:
        parts = urlsplit(url or "")
        if self._tls is None:
            kind = self._kind(_Connection)
            return kind(parts.hostname, parts.port)
        return self._kind(_TlsConnection)(parts.hostname, parts.port, ssl_context=self._tls)

    def _kind(self, kind: type[Any]) -> type[Any]:
        return type(kind.__name__, (kind,), {"call": self._call})

    def drop(self) -> None:
        """Close the connection: there is something on it that nobody will read."""
        if self._direct is not None:
            self._direct.close()

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """The pool of this adapter's address: looked up once, as nothing of its key ever changes."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._pool.ConnectionCls = self._kind(_TlsConnection if self._pool.scheme == "https" else _Connection)
        return self._pool

    def close(self) -> None:
        """Close the connection."""
        self.drop()
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        super().close()

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """The address, and the context that verifies."""
        address, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return address, {"ssl_context": self._tls} if self._tls else {}

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """The proxy is verified by the same context."""
        return super().proxy_manager_for(proxy, proxy_ssl_context=self._tls, **kwargs)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to do: the context that verifies belongs to the pool."""

    def build_response(self, req: Any, resp: Any) -> requests.Response:  # noqa: ARG002 - the library's signature
        """Only what the client reads: no cookies, no history."""
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response


@functools.cache
def tls_context(ca_file: str) -> ssl.SSLContext:
    """A verifying context, made once and shared by all workers (it takes longer to make than to use).

    ``ca_file`` empty: the certificates that come with requests; the environment has no say. ConfigError for a
    file that cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
    except OSError as error:
        bad = isinstance(error, ssl.SSLError)
        reason = "no PEM certificate in it" if bad else f"cannot be read ({error.strerror})"
        raise ConfigError(
            [f"api.ca_file: {ca_file}: {reason}; give a PEM file with the CA of the API's certificate"]
        ) from None
