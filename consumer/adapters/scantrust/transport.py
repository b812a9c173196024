"""A connection held to what a caller of a slow and unreliable API needs.

Four things that HTTP libraries do not give together: a deadline for the whole call, however an
answer trickles in; the certain knowledge whether anything was sent; answers that belong to their
requests; and a connection that is not trusted for long. All are decided here, where they are facts,
not by reading exceptions.

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
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from consumer.adapters.scantrust.address import Address
from consumer.adapters.scantrust.framing import Answer, NoResponse
from consumer.adapters.scantrust.loop import Steps
from consumer.adapters.scantrust.names import addresses
from consumer.adapters.scantrust.pipes import Pipe, Plain, Tls
from consumer.adapters.scantrust.trust import TrustedCas

#: A connection idle for longer is not used again, in seconds: the shortest keep-alive of common
#: servers is 5, and the outcome of a request that crosses the server's close on the wire would be
#: unknown.
IDLE_SECONDS = 4.0

#: A connection that stands for longer is not used again, in seconds: the name may point elsewhere
#: by now, and the certificate was verified when it was made.
AGE_SECONDS = 60.0

#: Until when a request may be sent, by the clock of its call; or what tells it at the moment of
#: sending.
StartBy = float | Callable[[], float]


class Call:
    """One call, and how far it is; times are readings of its client's clock in seconds.

    ``start_by`` is the last moment at which it may be sent.
    """

    def __init__(
        self, connect_timeout: float, timeout: float, start_by: StartBy, began: float
    ) -> None:
        self.connect_timeout = min(connect_timeout, timeout)
        self.timeout = timeout
        self.began = began
        self.deadline = began + timeout
        self._start_by = start_by
        self.sent_at: float | None = None
        self.at_proxy = False  #: it is at connecting to the proxy

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


class Connection:
    """The connection of one call at a time to the API: nothing is sent twice (matching)."""

    def __init__(
        self,
        api: Address,
        proxy: Address | None,
        trusted: TrustedCas | None,
        clock: Callable[[], float],
    ) -> None:
        self._api, self._proxy, self._trusted = api, proxy, trusted
        self._clock = clock
        self.pipe: Pipe | None = None  # None: it is not connected
        self._stands_since = 0.0
        self._idle_since = 0.0
        self._used = False  # a request was written
        self._again = False  # the present one is not the first

    def send(self, call: Call, request: bytes) -> Steps[bool]:
        """Connect if need be, and send a request; return False if it has become too late for it.

        Before that nothing is sent; after it, all may be. A connection that stands too late serves
        the next one. One that has ended, or has something on it, is closed, and made anew.
        """
        if not self._is_usable():
            self.close()
            yield from self.connect(call)
            if not self._is_silent():
                raise OSError("the server speaks before it was asked, or has ended the connection")
        assert self.pipe is not None
        now = self._clock()
        if call.too_late(now):
            return False
        self._again, self._used = self._used, True
        call.sent_at = now
        self.pipe.below.until = call.deadline
        try:
            yield from self.pipe.send(request)
        except (BrokenPipeError, ConnectionResetError):
            if self._again:
                raise
            # it may have been answered before it was read whole, as one that is too large is
        return True

    def answer(self) -> Answer:
        """Return the answer to what was sent, of which nothing is read yet."""
        assert self.pipe is not None
        return Answer(self.pipe.receive, self.pipe.below.sock)

    def read_head(self, answer: Answer) -> Steps[None]:
        """Read an answer's head; raise NoResponse if it may be about another request."""
        yield from answer.head()
        if self._again and answer.early:
            raise NoResponse(
                "it was sent before the request had arrived: it may be about another one"
            )

    def rest(self) -> None:
        """Take in that the call is over, and the connection stands for the next one."""
        self._idle_since = self._clock()
        if self.pipe is not None:
            self.pipe.below.rest()

    def on_unasked(self) -> None:
        """Close it if it has ended, or something is on it that nobody asked for."""
        if not self._is_silent():
            self.close()

    def close(self) -> None:
        """Close it: there may be something on it that nobody will read."""
        if self.pipe is not None:
            self.pipe.below.close()
            self.pipe = None

    def _is_usable(self) -> bool:
        """Return whether it may be used again (matching)."""
        now = self._clock()
        is_fresh = now - self._idle_since < IDLE_SECONDS and now - self._stands_since < AGE_SECONDS
        return self.pipe is not None and is_fresh and self._is_silent()

    def _is_silent(self) -> bool:
        """Return whether nothing unread has come, the end of the connection included.

        TLS may have taken from the socket what nobody has read, and tickets follow its handshake
        unasked. So the pipe is asked, not the socket.
        """
        with suppress(OSError):
            return self.pipe is not None and self.pipe.take() is None
        return False

    # -- connecting ------------------------------------------------------------------------------

    def connect(self, call: Call) -> Steps[None]:
        """Connect, through the proxy if there is one, all in the time for connecting."""
        self._stands_since = self._idle_since = self._clock()
        self._used = False
        until = min(self._stands_since + call.connect_timeout, call.deadline)
        call.at_proxy = self._proxy is not None
        first = self._proxy or self._api
        yield from self._reach(first, until)
        if first.tls:
            yield from self._encrypt(first)
        if self._proxy is not None and self._api.tls:
            yield from self._tunnel(self._proxy)
            call.at_proxy = False
            yield from self._encrypt(self._api)

    def _reach(self, address: Address, until: float) -> Steps[None]:
        """Connect to the first address of the name that takes it."""
        failed = OSError("the name has no address")
        found = yield from addresses(address.host, address.port, until)
        for number, (family, kind, protocol, _, target) in enumerate(found):
            now = self._clock()
            try:
                sock = socket.socket(family, kind, protocol)
                self.pipe = pipe = Plain(sock, now + (until - now) / (len(found) - number), self)
                yield from pipe.connect(target)
            except OSError as error:
                self.close()
                failed = error
            else:
                pipe.until = until
                return
        raise failed

    def _encrypt(self, address: Address) -> Steps[None]:
        """Shake hands; the certificates count that are in the file now."""
        assert self.pipe is not None
        assert self._trusted is not None
        tls = Tls(self.pipe, self._trusted.context(), address.name)
        yield from tls.handshake()
        self.pipe = tls

    def _tunnel(self, proxy: Address) -> Steps[None]:
        """Send CONNECT; what a proxy sends behind its response to that is no server's."""
        assert self.pipe is not None
        target = self._api.with_port.encode()
        yield from self.pipe.send(
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target, target, proxy.authorization)
        )
        answer = self.answer()
        yield from answer.head()
        if answer.status is None or not 200 <= answer.status < 300:
            reason = f"{answer.status} {answer.reason}".strip()
            raise OSError(f"the tunnel is refused: {reason}")
        if answer.left_over:
            raise OSError("the proxy says more than was asked")
