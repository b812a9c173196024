"""The verdicts that a response of the API can give about a request."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """The verdict of a response on its window."""

    ACCEPTED = "accepted"
    STARTED = "started"  #: asynchronous: the API has taken the window over as a task
    ROWS_NAMED = "rows_named"  #: 400 that names rows of this window
    NONE_NAMED = "none_named"  #: 400 that names no row of this window
    TOO_LARGE = "too_large"
    UNAUTHORIZED = "unauthorized"  #: 401: the token; never the window's fault
    #: 403, 404, 405, 406: the process's fault, or the window's while others pass
    REFUSED = "refused"
    #: not this API at all: redirects, a 200 that is not the documented answer
    UNEXPECTED = "unexpected"
    THROTTLED = "throttled"  #: 429
    FAILED = "failed"  #: 408, 5xx: not applied
    TASK_FAILED = "task_failed"  #: a task ended without success: applied in part, perhaps
    LOST = "lost"  #: sent, and no response: may have been applied, or may be yet
    UNSENT = "unsent"  #: certainly never reached the API
