"""requests, held to what a caller of a slow and unreliable API needs.

Four things that the library does not give: a deadline for the whole call (its time-out is for each
receive, so an answer that trickles in never ends), the certain knowledge whether anything was sent,
answers that belong to their requests, and a connection that is not trusted for long. All are
decided at the connection, where they are facts, not by reading exceptions.

**Which answer belongs to which request.** HTTP/1.1 has no numbers: the next answer is the next
request's. So two requests of one connection exchange answers as soon as one answer more, or one
less, is on it than was taken. Therefore a connection is used again only if all of this holds:

* The answer before was whole, its end certain, and nothing followed it (``framing``).
* It is one that the API itself gives to a request that it has read (``client``: 200 and 400 with a
  JSON object). Any other may come from what stands before the API, and from a server that is not
  meant any more.
* Right before the next request is written, nothing has come, and the connection has not ended.
* It was idle for less than ``IDLE_SECONDS`` and stands for less than ``AGE_SECONDS``, so that a
  name that moved, and a CA that was replaced, count within a minute.

What remains is an answer that nobody asked for and that is on its way at the very moment of
writing. Where the system tells that it was sent before the request had arrived
(``framing.unacknowledged``), it is no answer on a connection that was used before, and the outcome
is unknown. On a new connection it can be about this request only: it counts, and the connection is
not used again. Else only what the answer says can show it (``core/uploading/classification.py``: a
200 about other codes is no acceptance).

Nothing is ever written twice, and after the deadline the connection is closed, with what may still
come.

The adapter is used without a Session: what a Session adds (cookies, redirects, .netrc, proxies and
CA bundles from the environment) is what must not happen here, and for a 3xx it reads the whole
body, however long.
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
from urllib3.connection import HTTPConnection, HTTPSConnection

from consumer.adapters.scantrust.framing import NoResponse, Received, StrictResponse
from consumer.adapters.scantrust.trust import TrustedCas

#: A connection idle for longer is not used again, in seconds: the shortest keep-alive of common
#: servers is 5, and the outcome of a request that crosses the server's close on the wire would be
#: unknown.
IDLE_SECONDS = 4.0

#: A connection that stands for longer is not used again, in seconds: the name may point elsewhere
#: by now, and the certificate was verified when it was made.
AGE_SECONDS = 60.0

#: The most that is received for one answer, in bytes: http.client's limits on headers, and a capped
#: body. What a chunk of length -1 would make it read is endless.
MAX_RECEIVED = 8_000_000


#: Until when a request may be sent, by the clock of its call; or what tells it at the moment of
#: sending.
StartBy = float | Callable[[], float]


class Call:
    """The one call that an adapter's connection is busy with.

    Times are readings of ``clock`` in seconds.
    """

    def __init__(
        self, connect_timeout: float, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.connect_timeout = min(connect_timeout, timeout)
        self.timeout = timeout
        self.ended = 0.0
        self.answer: StrictResponse | None = None  # of this call, or of its proxy to CONNECT
        self.connection: Any = None  # that it was sent on, the one before it, or none yet
        self.begin(float("inf"))

    def begin(self, start_by: StartBy) -> None:
        """Start the time of the whole call.

        ``start_by`` is the last moment at which it may be sent.
        """
        self.began = self.clock()
        self.deadline = self.read_by = self.began + self.timeout
        self._start_by = start_by
        self.sent_at: float | None = None
        self.answer = None

    @property
    def sent(self) -> bool:
        """Return whether anything of the request may have been sent (lost-answer)."""
        return self.sent_at is not None

    def too_late(self, now: float) -> bool:
        """Return whether the request must not be sent any more (I9, fencing).

        Its lease has ended, or its time for the whole call.
        """
        start_by = self._start_by() if callable(self._start_by) else self._start_by
        return now > start_by or now >= self.deadline

    def left(self, until: float) -> float:
        """Return the seconds until then; raise TimeoutError when there are none."""
        left = until - self.clock()
        if left <= 0:
            raise TimeoutError("the time for the whole call is over")
        return left


class _Socket(socket.socket):
    """A connected socket whose time-outs the kernel keeps.

    With a time-out of Python's, each send and receive first waits for the socket and gives up the
    interpreter's lock twice, and setting the time-out gives it up once more. Beside a busy owner
    thread each of these costs a worker up to a switch interval, and all of them together most of a
    call.
    """

    def settimeout(self, value: float | None) -> None:
        """Let the kernel end a send or receive after that many seconds, with EAGAIN."""
        seconds = 0.0 if value is None else max(value, 1e-6)  # zero is for ever
        interval = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)


class _DeadlineReader(io.RawIOBase):
    """The bytes of a socket, each receive only for as long as the call has left."""

    def __init__(self, raw: Any, sock: socket.socket, call: Call) -> None:
        super().__init__()
        self._raw, self._sock, self._call = raw, sock, call
        self._received = 0
        self.over = False  # the answer has ended: nothing more is received

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.over:
            return 0
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


def _answer(call: Call, sock: socket.socket, *args: Any, **kwargs: Any) -> StrictResponse:
    """Make each response (a proxy's to CONNECT too), read under the call's deadline."""
    answer = call.answer = StrictResponse(sock, *args, **kwargs)
    raw = answer.fp.detach()
    answer.fp = Received(_DeadlineReader(raw, sock, call))
    return answer


class _Connection(HTTPConnection):
    """A connection that knows its call."""

    call: Call
    trusted: TrustedCas | None  #: None: no TLS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.response_class = functools.partial(_answer, self.call)  # type: ignore[assignment]
        self._held: list[bytes] | None = None
        self._withheld = False  # the request came too late, and nothing of it was sent
        self._stands_since = -AGE_SECONDS
        self._used = False  # a request was written
        self._again = False  # the present one is not the first

    @property
    def is_connected(self) -> bool:
        """Return whether it may be used again (matching).

        Asked when it is taken from the pool, which closes what is stale.
        """
        return self.is_fresh and self._is_silent()

    @property
    def is_fresh(self) -> bool:
        """Return whether it was idle for not too long and is not too old."""
        now = self.call.clock()
        return now - self.call.ended < IDLE_SECONDS and now - self._stands_since < AGE_SECONDS

    def _is_silent(self) -> bool:
        """Return whether nothing unread has come, the end of the connection included."""
        if self.sock is None:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def connect(self) -> None:
        call = self.call
        self.timeout = min(call.connect_timeout, call.left(call.deadline))
        self._stands_since = call.clock()
        call.read_by = (
            self._stands_since + self.timeout
        )  # the connection, its TLS, a proxy's answer to CONNECT
        self._used = False
        super().connect()
        call.read_by = call.deadline
        if type(self.sock) is socket.socket:
            self.sock.setblocking(True)
            self.sock = _Socket(fileno=self.sock.detach())

    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the name that takes it, all in the time for connecting.

        The library gives that time to each address, and once more to TLS.
        """
        call, failed = self.call, OSError("the name has no address")
        found = socket.getaddrinfo(self._dns_host, self.port, 0, socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(call.left(call.read_by) / (len(found) - number))
                sock.connect(address)
                sock.settimeout(call.left(call.read_by))
            except OSError as error:
                sock.close()
                failed = error
            else:
                return sock
        raise failed

    def _tunnel(self) -> None:
        """Send CONNECT; what a proxy sends behind its response to that is no server's."""
        super()._tunnel()
        if self.call.answer is not None and self.call.answer.left_over:
            raise OSError("the proxy says more than was asked")
        self.sock.settimeout(self.call.left(self.call.read_by))

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Connect if need be, and write head and body at once.

        Before that nothing is sent; after it, all may be.

        A request that has become too late meanwhile is not sent, and the connection stands for the
        next one. One that finds the connection ended, or something on it, has a new one.
        """
        self.call.connection = self
        if self.sock is None:
            self.connect()
        head_and_body = self._built(*args, **kwargs)
        if not self._is_silent():
            if not self._used:
                raise OSError("the server speaks before it was asked")
            if self.proxy is not None:  # only the pool knows how to come through it again
                raise OSError("the connection ended before the request was sent")
            self.close()
            self.connect()
            head_and_body = self._built(*args, **kwargs)
        call, now = self.call, self.call.clock()
        self._withheld = call.too_late(now)
        if self._withheld:
            # Closed without its socket, the connection forgets the request, and nothing else.
            sock, self.sock = self.sock, None
            http.client.HTTPConnection.close(self)
            self.sock = sock
            return
        self._again, self._used = self._used, True
        call.sent_at = now
        left = memoryview(head_and_body)
        while left:
            self.sock.settimeout(call.left(call.deadline))
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                raise TimeoutError(
                    "the request could not be written in the time that was left"
                ) from None
            except (BrokenPipeError, ConnectionResetError):
                if self._again:
                    raise
                # it may have been answered before it was read whole, as one that is too large is
                break

    def _built(self, *args: Any, **kwargs: Any) -> bytes:
        """Return the request as bytes."""
        held = self._held = []
        try:
            super().request(*args, **kwargs)
        finally:
            self._held = None
        return b"".join(held)

    def getresponse(self) -> Any:
        """Return what came; for a request that was withheld, nothing.

        An exception would make the library close all.
        """
        if self._withheld:
            return urllib3.HTTPResponse(preload_content=False)
        response = super().getresponse()
        if self._again and self.call.answer is not None and self.call.answer.early:
            raise NoResponse(
                "it was sent before the request had arrived: it may be about another one"
            )
        return response

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        """Connect; the certificates count that are in the file now."""
        assert self.trusted is not None
        self.ssl_context = context = self.trusted.context()
        if self.proxy_config is not None:
            self.proxy_config = self.proxy_config._replace(ssl_context=context)
        super().connect()

    def _is_silent(self) -> bool:
        """Return the same as without TLS; but what has come may be TLS's own.

        Session tickets follow the handshake unasked.

        TLS may have taken from the socket what nobody has read, so it is asked, not the socket.
        """
        if self.sock is None:
            return False
        self.sock.settimeout(0.0)
        try:
            self.sock.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError:
            return False
        return False


class Adapter(HTTPAdapter):
    """The transport of one worker: one address, one connection, nothing sent twice (matching)."""

    def __init__(self, call: Call, tls: TrustedCas | None) -> None:
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

        Without a proxy the one connection is driven directly: what the library does around it
        (pools, retries, redirects) is switched off here anyway, and takes a quarter of the time of
        a call.
        """
        if proxies:
            return super().send(request, stream, timeout, verify, cert, proxies)
        connection = self._direct = self._direct or self._connect_to(request.url)
        if connection.sock is not None and not connection.is_fresh:
            connection.close()
        connection.request(
            request.method,
            request.path_url,
            body=request.body,
            headers=request.headers,
            preload_content=False,
        )
        return self.build_response(request, connection.getresponse())

    def _connect_to(self, url: str | None) -> Any:
        parts = urlsplit(url or "")
        if self._tls is None:
            kind = self._kind(_Connection)
            return kind(parts.hostname, parts.port)
        return self._kind(_TlsConnection)(
            parts.hostname, parts.port, ssl_context=self._tls.context()
        )

    def _kind(self, kind: type[Any]) -> type[Any]:
        return type(kind.__name__, (kind,), {"call": self._call, "trusted": self._tls})

    def drop(self) -> None:
        """Close the connection: there may be something on it that nobody will read.

        The connection itself: a pool has it back as soon as a body has ended, whatever follows.
        """
        if self._call.connection is not None:
            self._call.connection.close()

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool of this adapter's address.

        Looked up once, as nothing of its key ever changes.
        """
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._pool.ConnectionCls = self._kind(
                _TlsConnection if self._pool.scheme == "https" else _Connection
            )
        return self._pool

    def close(self) -> None:
        """Close the connection."""
        self.drop()
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        super().close()

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        """Return the address, and the context that verifies."""
        address, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return address, {"ssl_context": self._tls.context()} if self._tls else {}

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """Return a manager that verifies the proxy by the same context."""
        context = self._tls.context() if self._tls else None
        return super().proxy_manager_for(proxy, proxy_ssl_context=context, **kwargs)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: the context that verifies belongs to the pool."""

    def build_response(self, req: Any, resp: Any) -> requests.Response:  # noqa: ARG002 - the library's signature
        """Return only what the client reads: no cookies, no history."""
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response
