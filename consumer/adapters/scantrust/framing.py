"""Read strictly where a response begins and ends on its connection (RFC 9112).

Of an answer that says two things at once, or says it wrongly, a lenient reader makes a guess, and
after a wrong guess the next request gets the rest of this answer. Here one rule holds: **an answer
whose end is certain is read, and only one that leaves nothing to doubt lets its connection be used
again** (``exact``).

* Interim answers (1xx) come before *the* answer and are passed over, those of a proxy to CONNECT
  too. 101 would make the connection another protocol's: nobody asked for that.
* A length that is no number, two lengths that differ, an encoding other than ``chunked``, a chunk
  that does not end where it should, a head that ends with the connection: no response
  (``NoResponse``, ConnectionError).
* What has one meaning only, but is not as it should be: read, and the connection is not used again.
  That is HTTP/1.0, a folded or malformed header, a length beside ``chunked``, the same length
  twice, a body where there is none (204, 304), an end of lines without CR, whatever follows the
  answer.
* An answer that was sent before the request had arrived whole (``early``) may be about something
  else: see ``transport``.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from consumer.adapters.scantrust.body import Body
from consumer.adapters.scantrust.loop import Steps

MAX_LINE = 65_536
MAX_LINES = 100
#: The most that is received for one answer, in bytes: what comes before a body that is cut may
#: come without end.
MAX_RECEIVED = 8_000_000

_STATUS = re.compile(rb"HTTP/1\.(\d) +([1-9]\d\d)(?: ([^\r\n]*))?\r?\n")
#: Blanks around a value are taken off afterwards: neighbouring repeats that all match them would
#: take a time that grows with the cube of their number.
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00\r\n]*)\r\n")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00\r\n]*\r\n)+\r\n")
_LENGTH = re.compile(rb"\d{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")
_FRAMING = (b"transfer-encoding", b"content-length", b"connection")
_NO_BODY = (204, 304)

#: Where the kernel's tcp_info says how many segments were sent and are not acknowledged.
_UNACKNOWLEDGED = 24
_TCP_INFO = getattr(socket, "TCP_INFO", None)


class NoResponse(Exception):  # noqa: N818 - it says what came
    """The bytes that came are no response whose end is certain."""


class Ended(ConnectionError):  # noqa: N818 - the same
    """The connection ended."""


def unacknowledged(sock: Any) -> bool:
    """Return whether the other side has not yet received all that was sent, as far as is known.

    Right after a response has begun: whether that was sent before the request was there whole.
    """
    if _TCP_INFO is None:
        return False
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _UNACKNOWLEDGED + 4)
    except OSError:
        return False  # a reset connection has no options that count
    return bool(struct.unpack_from("@I", info, _UNACKNOWLEDGED)[0])


class Answer:
    """An answer, read strictly; ``exact`` and ``ended``: nothing of it or about it is in doubt."""

    def __init__(self, receive: Callable[[], Steps[bytes]], sock: socket.socket) -> None:
        self._receive = receive
        self._sock = sock
        self._buffer = bytearray()
        self._received = 0
        self.status: int | None = None  #: None: no head has come yet
        self.reason = ""
        self.exact = True
        self.early = False
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._chunked = False
        self._length: int | None = None

    def header(self, name: str) -> str:
        """Return what a header says; empty: there is none. Its name in small letters."""
        return self._headers.get(name.encode(), b"").decode("iso-8859-1")

    @property
    def left_over(self) -> bool:
        """Return whether something followed it."""
        return bool(self._buffer)

    @property
    def reusable(self) -> bool:
        """Return whether its connection may be used again, as far as this response tells."""
        return self.exact and self.ended and not self.early and not self._buffer

    def head(self) -> Steps[None]:
        """Read the head, behind all interim responses."""
        while True:
            line = yield from self._line()
            found = _STATUS.fullmatch(line)
            if found is None:
                raise NoResponse("not the first line of an answer")
            self.exact = self.exact and line.endswith(b"\r\n")
            status = int(found[2])
            if status == 101:
                raise NoResponse("the server changes to another protocol")
            fields = yield from self._fields()
            if status >= 200:
                break
        self.early = unacknowledged(self._sock)
        self._headers = fields
        self.reason = (found[3] or b"").decode("iso-8859-1").strip()
        self._frame(status, fields, kept=found[1] == b"1")
        self.status = status

    def body(self, most: int) -> Steps[tuple[bytes, bool]]:
        """Return the body, uncompressed and at most so long, and whether that is all of it.

        Raise NoResponse, ConnectionError or zlib.error when it ends wrongly.
        """
        coding = self._headers.get(b"content-encoding", b"").strip().lower()
        body = Body(most, zipped=coding in (b"gzip", b"x-gzip"))
        if self._chunked:
            yield from self._chunks(body)
        elif (yield from self._piece(self._length, body)):
            self.ended = True
        return body.content()

    # -- the head --------------------------------------------------------------------------------

    def _fields(self) -> Steps[dict[bytes, bytes]]:
        """Read the header's lines.

        One that is none is passed over, and what it should have said is in doubt. Of those that
        frame the body all count; of others the first.
        """
        fields: dict[bytes, bytes] = {}
        if found := _FIELDS.match(self._buffer):  # all have come, and are as they should be
            lines = bytes(self._buffer[: found.end()])
            del self._buffer[: len(lines)]
            if lines.count(b"\n") > MAX_LINES + 1:
                raise NoResponse("too many headers")
            for name, value in _FIELD.findall(lines):
                _add(fields, name, value)
            return fields
        for _ in range(MAX_LINES + 1):
            line = yield from self._line()
            if line in (b"\r\n", b"\n"):
                self.exact = self.exact and line == b"\r\n"
                return fields
            if found := _FIELD.fullmatch(line):
                _add(fields, *found.groups())
            else:
                self.exact = False
                name, colon, value = line.partition(b":")
                if colon and not line.startswith((b" ", b"\t")):
                    value = value.replace(b"\x00", b" ").replace(b"\r", b" ").strip()
                    _add(fields, name.strip(), value)
        raise NoResponse("too many headers")

    def _frame(self, status: int, fields: dict[bytes, bytes], *, kept: bool) -> None:
        """Find out where the body ends."""
        codings = _list(fields, b"transfer-encoding")
        lengths = _list(fields, b"content-length")
        closes = b"close" in fields.get(b"connection", b"").lower()
        self.exact = self.exact and kept and not closes and len(codings) + len(lengths) <= 1
        self._chunked = codings == [b"chunked"]
        if codings == [b"identity"]:
            self.exact = False
        elif codings and not self._chunked:
            raise NoResponse("a transfer encoding that was not asked for")
        if lengths and not self._chunked:
            if len(set(lengths)) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise NoResponse("a length that is none")
            self._length = int(lengths[0])
        if status in _NO_BODY:
            self.exact = self.exact and not codings and not self._length
            self._chunked, self._length = False, 0

    # -- the body --------------------------------------------------------------------------------

    def _chunks(self, body: Body) -> Steps[None]:
        while True:
            found = _CHUNK.fullmatch((yield from self._line()))
            if found is None:
                raise NoResponse("a chunk without a length")
            size = int(found[1], 16)
            if not size:
                break
            if not (yield from self._piece(size, body)):
                return
            while len(self._buffer) < 2:
                yield from self._more()
            if not self._buffer.startswith(b"\r\n"):
                raise NoResponse("a chunk that does not end where it should")
            del self._buffer[:2]
        try:
            yield from self._fields()
        except Ended:
            if self._buffer:
                raise
            self.exact = False  # but the body was whole
        self.ended = True

    def _piece(self, size: int | None, body: Body) -> Steps[bool]:
        """Read so many bytes, or what there is, into a body; return False when it has enough."""
        left = sys.maxsize if size is None else size
        while left:
            if not self._buffer:
                try:
                    yield from self._more()
                except Ended:
                    if size is not None:
                        raise
                    return True
            piece = bytes(self._buffer[:left])
            del self._buffer[: len(piece)]
            left -= len(piece)
            body.add(piece)
            if body.is_full:
                return False
        return True

    # -- bytes -----------------------------------------------------------------------------------

    def _line(self) -> Steps[bytes]:
        """Return the next line with its end."""
        begin = 0
        while (end := self._buffer.find(b"\n", begin) + 1) == 0 and len(self._buffer) <= MAX_LINE:
            begin = len(self._buffer)
            yield from self._more()
        if not 0 < end <= MAX_LINE:
            raise NoResponse("a line that is too long")
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    def _more(self) -> Steps[None]:
        data = yield from self._receive()
        self._received += len(data)
        if self._received > MAX_RECEIVED:
            raise ConnectionAbortedError("the answer is too long")
        if not data:
            raise Ended("the connection ended")
        self._buffer += data


def _add(fields: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    name, value = name.lower(), value.strip(b" \t")
    if name not in fields:
        fields[name] = value
    elif name in _FRAMING:
        fields[name] += b"," + value


def _list(fields: dict[bytes, bytes], name: bytes) -> list[bytes]:
    value = fields.get(name)
    return [] if value is None else [part.strip() for part in value.lower().split(b",")]
