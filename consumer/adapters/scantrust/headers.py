"""Read what an answer tells beside its body: when to come again, its number, its time."""

from __future__ import annotations

import email.utils
import re
from contextlib import suppress

from consumer.adapters.scantrust.framing import Answer
from consumer.hiding import known

#: Headers in which servers tell the number under which they know a request: of the API or of what
#: stands before it. It is for people who ask them about it.
REQUEST_ID_HEADERS = ("x-request-id", "x-correlation-id", "x-amzn-trace-id", "cf-ray")

_AVAILABLE_IN = re.compile(rb"available in (\d{1,9}(?:\.\d{1,9})?) ?s")
_SECONDS = re.compile(r"\d{1,15}(\.\d{1,9})?")
_REQUEST_ID = re.compile(r"[!-~]{1,100}")


def request_id(answer: Answer) -> str:
    """Return the number under which the server knows the request; empty: it tells none."""
    for name in REQUEST_ID_HEADERS:
        value = answer.header(name)
        if value and _REQUEST_ID.fullmatch(value):
            return known.text(value)
    return ""


def retry_after(answer: Answer, body: bytes, now: float) -> float | None:
    """Return the seconds to wait before the next call, as a response of 400 or above asks for.

    None when it does not. They are from the Retry-After header (seconds, or an HTTP date measured
    against the response's own Date, else against ``now``, Unix seconds), else from the text
    "available in N seconds" of the API's throttling.
    """
    value = answer.header("retry-after").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    if value and (date := unix_seconds(value)) is not None:
        sent_at = unix_seconds(answer.header("date"))
        return max(0.0, date - (now if sent_at is None else sent_at))
    text = _AVAILABLE_IN.search(body, 0, 2000)
    return float(text[1]) if text else None


def unix_seconds(date: str) -> float | None:
    """Return a date of HTTP in Unix seconds; None: it is none."""
    with suppress(ValueError, TypeError, OverflowError, IndexError):
        return email.utils.parsedate_to_datetime(date).timestamp()
    return None
