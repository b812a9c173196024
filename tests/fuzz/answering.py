"""The server's end of one connection: it does all that a server may, and may not, do."""

from __future__ import annotations

import gzip
import json
import random
import re
import select
import socket
import struct
import threading
import time
from contextlib import suppress

from tests.fuzz.talk import (
    CUTS,
    EARLY,
    ENDS,
    EXACT,
    FRAMES,
    INTERIM,
    STATUSES,
    STRAY,
    UNDERSTOOD,
    Sent,
    Talk,
    drawn,
)


class Connection:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, talk: Talk, rng: random.Random, timeout: float) -> None:
        self._sock, self._talk, self._rng, self._timeout = sock, talk, rng, timeout
        self._number = talk.connections
        self._buffer = b""
        self._requests = 0

    def serve(self) -> None:
        while self._one():
            pass

    def _one(self) -> bool:
        """Read a request and do something about it; return False when the connection is over."""
        rng = self._rng
        early = drawn(rng, EARLY)
        key = self._early_request() if early else self._request()
        if key is None:
            return False
        sent = self._talk.of(key)
        self._requests += 1
        sent.seen += 1
        sent.connection = self._number
        interim = b"".join(rng.choices(INTERIM, k=rng.choices((0, 1, 2, 3), (60, 25, 10, 5))[0]))
        status = int(drawn(rng, {str(status): weight for status, weight in STATUSES.items()}))
        frame, end = drawn(rng, FRAMES), drawn(rng, ENDS)
        sent.what = f"{len(interim)} B interim, {status}, {frame}, {end}"
        data = interim + self._answer(key, status, frame)
        sent.status = status
        if early:
            sent.what += f", early, {early}"
            return self._answer_early(data, early, sent, understood=frame in UNDERSTOOD)
        if rng.random() < 0.015:
            sent.what += ", late"
            return self._late(data)
        if rng.random() < 0.05:
            how = rng.choice(CUTS)
            size = rng.randrange(len(data))
            sent.what += f", cut at {size} of {len(data)} by {how}"
            if frame in ("no length", "HTTP/1.0") and how != "hang" and size > len(interim):
                sent.what += " (may seem whole)"
            self._send(data[:size])
            return self._over(how)
        ends_by_closing = self._ends_by_closing(sent)
        sent.kept = frame in EXACT and end == "nothing" and status in (200, 400)
        sent.must = frame in UNDERSTOOD and not (
            end in ("reset",) or (ends_by_closing and end not in ("nothing", "close"))
        )
        if end == "stray while it rests":
            self._talk.rest = threading.Event()  # before the client can have its answer
        self._send(data, self._unasked(end))
        if ends_by_closing and end in ("nothing", "close", "refuse the next"):
            return False
        return self._afterwards(end)

    # -- what is sent ----------------------------------------------------------------------------

    def _answer(self, key: str, status: int, frame: str) -> bytes:
        rng = self._rng
        body = json.dumps({"for": key, "items": {key: ["x"]}}).encode() + b" " * rng.choice(
            (0, 0, 0, 9_000, 40_000)
        )
        if status in (204, 304) and rng.random() < 0.7:
            body = b""
        lines = [b"HTTP/1.1 %d %s" % (status, rng.choice((b"OK", b"", b"A B")))]
        if rng.random() < 0.3:
            lines.append(
                rng.choice(
                    (b"Date: Wed, 21 Oct 2015 07:28:00 GMT", b"X-Long: " + b"y" * 3_000, b"Server:")
                )
            )
        if frame == "gzip":
            body = gzip.compress(body, 1, mtime=0)
            lines.append(b"Content-Encoding: gzip")
        length = b"Content-Length: %d" % len(body)
        odd = {
            "HTTP/1.0, kept": [length, b"Connection: keep-alive"],
            "says close": [length, b"Connection: close"],
            "folded": [b"X-Folded: a", b"  b", length],
            "no colon": [b"what is this", length],
            "length twice": [length, length],
            "identity": [b"Transfer-Encoding: identity", length],
            "space before the colon": [b"Content-Length : %d" % len(body)],
            "two lengths": [length, b"Content-Length: %d" % (len(body) + 3)],
            "short": [b"Content-Length: %d" % max(0, len(body) - rng.randrange(1, 30))],
            "long": [b"Content-Length: %d" % (len(body) + rng.randrange(1, 400))],
            "no number": [
                b"Content-Length: "
                + rng.choice((b"-1", b"+5", b"0x10", b"", b"1e3", b"5, 6", b"\xb2"))
            ],
            "odd coding": [
                b"Transfer-Encoding: "
                + rng.choice((b"gzip, chunked", b"xchunked", b"chunked, chunked"))
            ],
        }
        if frame.startswith("HTTP/1.0"):
            lines[0] = lines[0].replace(b"1.1", b"1.0")
        if frame == "another protocol":
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + body
        if frame == "not HTTP":
            return rng.choice(
                (
                    b"SSH-2.0-x\r\n",
                    b"\r\n",
                    b"HTTP/2 200\r\n\r\n",
                    b"HTTP/1.1 20 X\r\n\r\n",
                    b"{" + body,
                )
            )
        if "chunk" in frame:
            lines.append(b"Transfer-Encoding: " + rng.choice((b"chunked", b"Chunked")))
            if frame == "length beside chunked":
                lines.append(b"Content-Length: %d" % rng.choice((0, 5, len(body))))
            if status in (204, 304):
                return b"\r\n".join(lines) + b"\r\n\r\n"
            body = self._chunks(body, frame)
        else:
            lines += odd.get(frame, [] if frame in ("no length", "HTTP/1.0") else [length])
        return (b"\n" if frame == "bare LF" else b"\r\n").join((*lines, b"", b"")) + body

    def _chunks(self, body: bytes, frame: str) -> bytes:
        rng, parts = self._rng, list[bytes]()
        while body:
            size = rng.choice((1, 7, 100, 20_000))
            piece, body = body[:size], body[size:]
            if len(parts) > 20:
                piece, body = piece + body, b""
            extension = rng.choice((b"", b"", b";a=b", b' ; name="value"', b";"))
            parts.append(
                (rng.choice((b"%x", b"%X", b"000%x")) % len(piece))
                + extension
                + b"\r\n"
                + piece
                + b"\r\n"
            )
        last = (
            b"0"
            + rng.choice((b"", b"00", b";x"))
            + b"\r\n"
            + rng.choice((b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"))
        )
        if frame == "odd chunk":
            number = rng.randrange(len(parts))
            bad = rng.choice(
                (b"zz\r\n", b"-1\r\n", b"0x5\r\n", b"1_0\r\n", b"+3\r\n", b" 2\r\n", b"\r\n", b"5")
            )
            parts.insert(number, bad)
        if frame == "chunk too long":
            number = rng.randrange(len(parts))
            parts[number] = parts[number][:-2] + b"surplus\r\n"
        return b"".join(parts) + (b"" if frame == "no last chunk" else last + b"\r\n")

    def _unasked(self, end: str) -> bytes:
        stray = self._stray()
        again = b"HTTP/1.1 100 Continue\r\n\r\n"
        return {
            "stray": stray,
            "half a stray": stray[: self._rng.randrange(1, len(stray))],
            "line": b"\r\n",
            "interim": again,
        }.get(end, b"")

    def _stray(self) -> bytes:
        body = b'{"for": "nobody", "items": {}}' + b" " * self._rng.choice((0, 0, 5_000, 100_000))
        return b"HTTP/1.1 %d Stray\r\nContent-Length: %d\r\n\r\n" % (STRAY, len(body)) + body

    def _send(self, data: bytes, unasked: bytes = b"") -> None:
        """Send in one piece or in several; what is unasked comes with the end of what is asked."""
        rng = self._rng
        if rng.random() < 0.25 and data:
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(data))
                self._sock.sendall(data[:at])
                data = data[at:]
                time.sleep(rng.choice((0, 0.0003, 0.002)))
        self._sock.sendall(data + unasked)

    # -- what happens then -----------------------------------------------------------------------

    def _afterwards(self, end: str) -> bool:
        if end in ("close", "reset", "half-close"):
            return self._over(end)
        if end == "refuse the next":
            select.select([self._sock], [], [], 1)  # a request, or the end
            return self._over(self._rng.choice(("close", "reset")))
        if end == "stray while it rests":
            rest = self._talk.rest
            self._talk.resting.wait(5)
            with suppress(OSError):
                self._sock.sendall(self._stray())
            if rest is not None:
                rest.set()
        return True

    def _answer_early(self, data: bytes, how: str, sent: Sent, *, understood: bool) -> bool:
        """Answer before the request is read.

        Then it is read, or taken for something else, or not read.
        """
        if how == "closes unread":
            self._send(data)
            return False
        self._send(data, self._stray() if how.startswith("takes") else b"")
        # Not on a connection that was used before: there it might be an answer to something else.
        understood = understood and how == "reads on" and not self._ends_by_closing(sent)
        sent.must = understood and self._requests == 1
        self._gone(1)
        return False

    def _late(self, data: bytes) -> bool:
        """Answer when the time is over, or a byte now and then until then and longer."""
        if self._rng.random() < 0.5:
            self._gone(self._timeout + 0.05)
            self._sock.sendall(data)
        else:
            for number in range(0, len(data), 3):
                if self._gone(self._timeout / 30 if number < 600 else self._timeout):
                    break
                self._sock.sendall(data[number : number + 3])
        return False

    def _ends_by_closing(self, sent: Sent) -> bool:
        return any(
            f", {frame}, " in sent.what
            for frame in ("no length", "HTTP/1.0", "long", "no last chunk")
        )

    def _over(self, how: str) -> bool:
        if how == "reset":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "half-close":
            self._sock.shutdown(socket.SHUT_WR)
            self._gone(1)
        elif how == "hang":
            self._gone(self._timeout + 1)
        return False

    def _gone(self, seconds: float) -> bool:
        """Return whether the client closed within these seconds.

        Requests that it sends meanwhile count as seen.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._sock], [], [], left)[0]:
                return False
            try:
                data = self._sock.recv(65_536)
            except OSError:
                return True
            for key in re.findall(rb'"extended_id":"([^"]+)"', data):
                self._talk.of(key.decode()).seen += 1
            if not data:
                return True
        return False

    def _request(self) -> str | None:
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return None
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        length = int(found[1]) if found else 0
        while len(self._buffer) < length:
            if not self._receive():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        key: str = json.loads(body)["items"][0]["extended_id"]
        return key

    def _early_request(self) -> str | None:
        """Read the head, and so much of the body that its key is in it."""
        while not (found := re.search(rb'"extended_id":"([^"]+)"', self._buffer)):
            if not self._receive(4_096):
                return None
        self._buffer = b""
        return found[1].decode()

    def _receive(self, size: int = 65_536) -> bool:
        data = self._sock.recv(size)
        self._buffer += data
        return bool(data)
