"""A conversation: what may happen in it, with weights, and what both sides know of it."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

#: Nobody asked for an answer of this status.
STRAY = 299
INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\nLink: </y>\r\n\r\n",
    b"HTTP/1.1 199 X\r\nContent-Length: 7\r\n\r\n",
    b"HTTP/1.1 104 \r\nTransfer-Encoding: chunked\r\n\r\n",
)
STATUSES = {
    200: 60,
    400: 15,
    429: 3,
    401: 2,
    404: 2,
    413: 2,
    301: 2,
    408: 2,
    500: 3,
    503: 4,
    204: 2,
    304: 2,
    206: 1,
}
#: How the end of an answer is said; those that a client must understand, and those after which
#: nothing is in doubt.
FRAMES = {
    "length": 40,
    "chunked": 14,
    "gzip": 4,
    "no length": 3,
    "HTTP/1.0": 2,
    "HTTP/1.0, kept": 2,
    "says close": 3,
    "bare LF": 2,
    "folded": 2,
    "no colon": 2,
    "length twice": 2,
    "length beside chunked": 2,
    "identity": 1,
    "space before the colon": 1,
    "two lengths": 2,
    "short": 3,
    "long": 2,
    "no number": 2,
    "odd coding": 2,
    "odd chunk": 3,
    "chunk too long": 2,
    "no last chunk": 1,
    "another protocol": 1,
    "not HTTP": 1,
}
EXACT = ("length", "chunked", "gzip")
UNDERSTOOD = (
    *EXACT,
    "no length",
    "HTTP/1.0",
    "HTTP/1.0, kept",
    "says close",
    "bare LF",
    "folded",
    "no colon",
    "length twice",
    "length beside chunked",
    "identity",
    "space before the colon",
)
ENDS = {
    "nothing": 70,
    "stray": 8,
    "half a stray": 2,
    "line": 2,
    "interim": 2,
    "stray while it rests": 5,
    "close": 4,
    "reset": 2,
    "half-close": 3,
    "refuse the next": 2,
}
#: What a server does that answers when it has read the head only.
EARLY = {"": 94, "reads on": 2, "takes the rest for a request": 2, "closes unread": 2}
CUTS = ("close", "reset", "half-close", "hang")


def drawn(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


@dataclass
class Sent:
    """The server's doings about a key."""

    seen: int = 0
    status: int = 0  #: of the answer for it; 0: none was begun
    must: bool = False  #: a whole answer was sent in time, to be understood
    kept: bool = False  #: after it the connection is good
    connection: int = 0
    what: str = ""


@dataclass
class Talk:
    """One conversation, as both sides know it."""

    seed: int
    way: str
    sent: dict[str, Sent] = field(default_factory=dict)
    connections: int = 0
    rest: threading.Event | None = None  #: set when something was sent while the client rested
    resting: threading.Event = field(default_factory=threading.Event)

    def of(self, key: str) -> Sent:
        return self.sent.setdefault(key, Sent())
