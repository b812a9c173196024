"""Read strictly where a response begins and ends on its connection (RFC 9112).

http.client reads what it can make sense of. Of an answer that says two things at once, or says it
wrongly, that is a guess, and after a wrong guess the next request gets the rest of this answer.
Here one rule holds: **an answer whose end is certain is read, and only one that leaves nothing to
doubt lets its connection be used again** (``exact``).

* Interim answers (1xx) come before *the* answer and are passed over, those of a proxy to CONNECT
  too. 101 would make the connection another protocol's: nobody asked for that.
* A length that is no number, two lengths that differ, an encoding other than ``chunked``, a chunk
  that does not end where it should, a head that ends with the connection: no response
  (``NoResponse``).
* What has one meaning only, but is not as it should be: read, and the connection is not used again.
  That is HTTP/1.0, a folded or malformed header, a length beside ``chunked``, the same length
  twice, a body where there is none (204, 304), an end of lines without CR, whatever follows the
  answer.
* An answer that was sent before the request had arrived whole (``early``) may be about something
  else: see ``transport``.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import struct
from contextlib import suppress
from typing import Any

MAX_LINE = 65_536
MAX_LINES = 100

_STATUS = re.compile(rb"HTTP/1\.(\d) +([1-9]\d\d)(?: ([^\r\n]*))?\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00\r\n]*?)[ \t]*\r\n")
_LENGTH = re.compile(r"\d{1,15}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")

#: Where the kernel's tcp_info says how many segments were sent and are not acknowledged.
_UNACKNOWLEDGED = 24
_TCP_INFO = getattr(socket, "TCP_INFO", None)


class NoResponse(http.client.HTTPException):
    """The bytes that came are no response whose end is certain."""


class Received(io.BufferedReader):
    """The bytes of a connection, buffered.

    ``left_over``: something followed the answer, as far as was read.
    """

    left_over = False
    over = False  #: read no more from the connection

    def close(self) -> None:
        """Look at what is left, without waiting for more, and close."""
        if not self.closed:
            self.over = True
            self.raw.over = True  # type: ignore[attr-defined] # peek would else receive
            self.left_over = bool(self.peek(1))
        super().close()


def unacknowledged(sock: Any) -> bool:
    """Return whether the other side has not yet received all that was sent, as far as is known.

    Right after a response has begun: whether that was sent before the request was there whole.
    """
    if _TCP_INFO is None:
        return False
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _UNACKNOWLEDGED + 4)
    except (AttributeError, OSError):
        # TLS within TLS has no options; a reset connection none that count.
        return False
    return bool(struct.unpack_from("@I", info, _UNACKNOWLEDGED)[0])


class StrictResponse(http.client.HTTPResponse):
    """An answer, read strictly; ``exact`` and ``ended``: nothing of it or about it is in doubt."""

    _method: str | None
    fp: Any

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self.exact = True
        self.early = False
        self.ended = False
        self.left_over = False
        self._left = 0  # of the body, or of its current chunk
        self._in_chunk = False

    @property
    def reusable(self) -> bool:
        """Return whether its connection may be used again, as far as this response tells."""
        return self.exact and self.ended and not self.early and not self.left_over

    def begin(self) -> None:
        """Read the head."""
        if self.headers is not None:
            return
        version, status, reason = self._read_status()
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version == "HTTP/1.0" else 11
        self.headers = self.msg = message = http.client.HTTPMessage()
        for name, value in self._fields():
            message[name] = value
        closes = any("close" in value.lower() for value in message.get_all("Connection", []))
        self.exact = self.exact and version == "HTTP/1.1" and not closes
        self._frame(message)
        self.will_close = closes or self.version == 10 or (self.length is None and not self.chunked)

    def read(self, amt: int | None = None) -> bytes:
        """Read so much of the body, or what there is.

        Raise NoResponse or IncompleteRead when it ends wrongly.
        """
        if self.fp is None:
            return b""
        if self.chunked:
            return self._read_chunks(amt)
        if self.length is None:  # as long as the connection
            data: bytes = self.fp.read() if amt is None else self.fp.read(amt)
            if amt is None or len(data) < amt:
                self._end()
            return data
        wanted = self.length if amt is None else min(amt, self.length)
        data = self._exactly(wanted)
        self.length -= wanted
        if not self.length:
            self._end()
        return data

    # -- the head --------------------------------------------------------------------------------

    def _read_status(self) -> tuple[str, int, str]:
        """Return what the status line says, behind all interim responses.

        The name is http.client's: its CONNECT uses it.
        """
        while True:
            line = self._line()
            found = _STATUS.fullmatch(line)
            if found is None:
                raise http.client.BadStatusLine("not the first line of an answer")
            self.exact = self.exact and line.endswith(b"\r\n")
            status = int(found[2])
            if status == 101:
                raise NoResponse("the server changes to another protocol")
            if status >= 200:
                self.early = unacknowledged(self._sock)
                return f"HTTP/1.{int(found[1])}", status, (found[3] or b"").decode("iso-8859-1")
            self._fields()

    def _fields(self) -> list[tuple[str, str]]:
        """Read the header's lines.

        One that is none is passed over, and what it should have said is in doubt.
        """
        fields: list[tuple[str, str]] = []
        for _ in range(MAX_LINES + 1):
            line = self._line()
            if line in (b"\r\n", b"\n"):
                self.exact = self.exact and line == b"\r\n"
                return fields
            found = _FIELD.fullmatch(line)
            if found:
                fields.append((found[1].decode("ascii"), found[2].decode("iso-8859-1")))
            else:
                self.exact = False
                name, colon, value = line.partition(b":")
                if colon and not line.startswith((b" ", b"\t")):
                    text = (
                        value.replace(b"\x00", b" ").decode("iso-8859-1").replace("\r", " ").strip()
                    )
                    fields.append((name.strip().decode("ascii", "replace"), text))
        raise NoResponse("too many headers")

    def _frame(self, message: http.client.HTTPMessage) -> None:
        """Find out where the body ends."""
        codings = [value.strip().lower() for value in message.get_all("Transfer-Encoding", [])]
        lengths = [
            part.strip()
            for value in message.get_all("Content-Length", [])
            for part in value.split(",")
        ]
        self.exact = self.exact and len(codings) + len(lengths) <= 1
        self.chunked = codings == ["chunked"]
        if self.chunked:
            # It does not count, and the library would say so in the log.
            del message["Content-Length"]
        self.length = None
        if codings == ["identity"]:
            self.exact = False
        elif codings and not self.chunked:
            raise NoResponse("a transfer encoding that was not asked for")
        if lengths and not self.chunked:
            if len(set(lengths)) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise NoResponse("a length that is none")
            self.length = int(lengths[0])
        if self.status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED):
            self.exact = self.exact and not codings and not self.length
            self.chunked, self.length = False, 0

    # -- the body --------------------------------------------------------------------------------

    def _read_chunks(self, amt: int | None) -> bytes:
        pieces: list[bytes] = []
        wanted = amt
        while wanted is None or wanted > 0:
            if not self._left and not self._next_chunk():
                break
            piece = self._exactly(self._left if wanted is None else min(wanted, self._left))
            self._left -= len(piece)
            pieces.append(piece)
            if wanted is not None:
                wanted -= len(piece)
        return b"".join(pieces)

    def _next_chunk(self) -> bool:
        """Go on to the next chunk; return whether there is one. At the last, read the trailers."""
        if self._in_chunk and self._exactly(2) != b"\r\n":
            raise NoResponse("a chunk that does not end where it should")
        self._in_chunk = False
        found = _CHUNK.fullmatch(self._line())
        if found is None:
            raise NoResponse("a chunk without a length")
        self._left = int(found[1], 16)
        self._in_chunk = bool(self._left)
        if not self._left:
            with suppress(http.client.RemoteDisconnected):  # the body was whole
                self._fields()
            self._end()
        return self._in_chunk

    def _exactly(self, size: int) -> bytes:
        data: bytes = self.fp.read(size)
        if len(data) < size:
            raise http.client.IncompleteRead(data, size - len(data))
        return data

    def _line(self) -> bytes:
        line: bytes = self.fp.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise NoResponse("a line that is too long")
        if not line.endswith(b"\n"):
            if not line:
                raise http.client.RemoteDisconnected("the connection ended")
            raise http.client.IncompleteRead(line)
        return line

    def _end(self) -> None:
        """End the response: whatever follows was not asked for."""
        self.ended = True
        self._close_conn()

    def _close_conn(self) -> None:
        received, self.fp = self.fp, None
        received.close()
        self.left_over = received.left_over
