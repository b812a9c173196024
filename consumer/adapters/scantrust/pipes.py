"""The ways that bytes go: a socket, and TLS over a socket, or over another TLS (to a proxy)."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Any, Protocol

from consumer.adapters.scantrust.loop import READ, WRITE, Steps, Watched

#: The most that is taken at once, bytes.
RECEIVE_BYTES = 65_536
#: The most that TLS makes of a request at once, bytes.
ENCRYPT_BYTES = 262_144
#: How often a look at an idle connection takes from the socket what TLS says of itself.
MOST_TAKEN = 3


class Pipe(Protocol):
    """Sends and receives without blocking; an empty receipt is the end."""

    @property
    def below(self) -> Plain:
        """Return the socket's own pipe."""

    def take(self) -> bytes | None:
        """Return what has come; None: nothing."""

    def receive(self) -> Steps[bytes]:
        """Wait for something to come, and return it."""

    def send(self, data: bytes) -> Steps[None]:
        """Send all of it."""


class Plain(Watched):
    """A socket."""

    @property
    def below(self) -> Plain:
        return self

    def connect(self, address: Any) -> Steps[None]:
        """Connect to an address, as getaddrinfo gives it."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self.sock.connect_ex(address)
        if number == errno.EINPROGRESS:
            yield self, WRITE
            number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))

    def take(self) -> bytes | None:
        try:
            return self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None

    def receive(self) -> Steps[bytes]:
        # It waits first: what comes without end must not keep the loop from others, and from time.
        yield self, READ
        while (data := self.take()) is None:
            yield self, READ
        return data

    def send(self, data: bytes) -> Steps[None]:
        left = memoryview(data)
        while True:
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                yield self, WRITE
            if not left:
                return


class Tls:
    """TLS over another pipe, with that name's certificate."""

    def __init__(self, over: Pipe, context: ssl.SSLContext, host: str) -> None:
        self._over = over
        self.below = over.below
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    def handshake(self) -> Steps[None]:
        """Agree with the other side; raise ssl.SSLError if that fails."""
        yield from self._through(b"")

    def take(self) -> bytes | None:
        # Tickets may have come, and updated keys; who sends them without end is not waited for.
        for _ in range(MOST_TAKEN):
            if (data := self._read()) is not None:
                return data
            more = self._over.take()
            if more is None:
                return None
            self._come(more)
        raise OSError("TLS says much, and nothing in it")

    def receive(self) -> Steps[bytes]:
        while (data := self._read()) is None:
            yield from self._flush()
            self._come((yield from self._over.receive()))
        return data

    def _read(self) -> bytes | None:
        """Return what is there to read; None: more must come."""
        try:
            return self._tls.read(RECEIVE_BYTES)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLEOFError:  # many servers end so
            return b""

    def send(self, data: bytes) -> Steps[None]:
        left = memoryview(data)
        while left:
            yield from self._through(left[:ENCRYPT_BYTES])
            left = left[ENCRYPT_BYTES:]

    def _through(self, data: bytes | memoryview) -> Steps[None]:
        """Shake hands, or send ``data``, if there is some."""
        while True:
            try:
                if data:
                    data = data[self._tls.write(data) :]
                else:
                    self._tls.do_handshake()
            except ssl.SSLWantReadError:
                yield from self._flush()
                self._come((yield from self._over.receive()))
                continue
            except ssl.SSLError:
                yield from self._flush()  # it tells the other side why
                raise
            yield from self._flush()
            if not data:
                return

    def _come(self, data: bytes) -> None:
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _flush(self) -> Steps[None]:
        if self._out.pending:
            yield from self._over.send(self._out.read())
