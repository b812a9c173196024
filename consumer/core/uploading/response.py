"""What a call to the API brought.

The one value that crosses from the HTTP adapter into the core.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Response(msgspec.Struct, frozen=True, gc=False):
    """What one call brought: an answer, or how it failed.

    ``status`` None means that no whole answer came. Then ``sent`` decides what may have happened:
    False is a proof that the API never saw the request; True means that it may have been applied,
    or may still be.
    """

    status: int | None  #: HTTP status; None: no whole answer
    body: bytes = b""  #: at most 1 MB, uncompressed
    document: Any = None  #: the body as a dict when it is one whole JSON object, else None
    retry_after: float | None = (
        None  #: seconds the API asks to wait, never negative; None: it asked for nothing
    )
    sent: bool = (
        True  #: False: not a byte of the request reached the API, nothing can have been applied
    )
    error: str = (
        ""  #: for people, when ``status`` is None: what happened and what to check; no secrets
    )
    seconds: float = 0.0  #: how long the call took; one without an answer: for how long it is sent
