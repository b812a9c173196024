"""The response to a call: the value that crosses from the HTTP adapter into the core."""

from __future__ import annotations

from typing import Any

import msgspec


class Response(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response, or how the call failed without one.

    ``status`` None means that no whole response came. Then ``sent`` decides what may have happened:
    False is a proof that the API never saw the request; True means that it may have been applied,
    or may still be.
    """

    status: int | None  #: HTTP status; None: no whole response
    body: bytes = b""  #: at most 1 MB, uncompressed
    document: Any = None  #: the body as a dict when it is one whole JSON object, else None
    #: seconds the API asks to wait, never negative; None: it asked for nothing
    retry_after: float | None = None
    #: False: not a byte of the request reached the API, nothing can have been applied
    sent: bool = True
    #: for people, when ``status`` is None: what happened and what to check; no secrets
    error: str = ""
    seconds: float = 0.0  #: how long the call took; without a response: for how long it was sent
    request_id: str = ""  #: the server's own number of the request, for people; empty: none told
