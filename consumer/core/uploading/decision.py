"""Decision table: what follows for a window, by its response's verdict and the upload pause.

Pure; ``uploads`` then does it. Failures that may be the API's own fault are weighed further, by
``evidence.next_step``.
"""

from __future__ import annotations

from enum import Enum

from consumer.core.verdict import Verdict


class Mode(Enum):
    """The mode in which a window's response is read, by the upload pause."""

    NORMAL = "normal"  #: uploading is not paused
    PAUSED = "paused"  #: it is, and the window was sent before that
    PROBING = "probing"  #: it is, and the window is the probe


class Action(Enum):
    """The action that follows for a window and its rows."""

    ACCEPT = "accept"
    REJECT_NAMED = "reject_named"  #: dead-letter the rows that are named, send the others again
    RESEND_NAMED = "resend_named"  #: reject nothing: those that are named go apart from the others
    REJECT_WHOLE = "reject_whole"  #: divide it, or reject its only row
    PAUSE = "pause"  #: the token is refused: uploading pauses, the window goes again
    PROBE_FAILED = "probe_failed"  #: the pause goes on, and others are probed before this window
    REQUEUE = "requeue"  #: it says nothing about the rows: the window goes again
    WEIGH = "weigh"  #: whose fault it is, evidence decides


# fmt: off
#: By verdict, for the modes in their order: normal, paused, probing.
_ACTIONS = {
    Verdict.ACCEPTED:     (Action.ACCEPT,       Action.ACCEPT,       Action.ACCEPT),
    Verdict.ROWS_NAMED:   (Action.REJECT_NAMED, Action.REJECT_NAMED, Action.REJECT_NAMED),
    # What rejects everything may be what the pause is about.
    Verdict.NONE_NAMED:   (Action.REJECT_WHOLE, Action.REQUEUE,      Action.PROBE_FAILED),
    Verdict.TOO_LARGE:    (Action.REJECT_WHOLE, Action.REQUEUE,      Action.PROBE_FAILED),
    Verdict.UNAUTHORIZED: (Action.PAUSE,        Action.PAUSE,        Action.PAUSE),
    Verdict.THROTTLED:    (Action.REQUEUE,      Action.REQUEUE,      Action.REQUEUE),
    # It was sent before the pause, and meets what the pause is about.
    Verdict.REFUSED:      (Action.WEIGH,        Action.REQUEUE,      Action.WEIGH),
    Verdict.UNEXPECTED:   (Action.WEIGH,        Action.REQUEUE,      Action.WEIGH),
    Verdict.FAILED:       (Action.WEIGH,        Action.WEIGH,        Action.WEIGH),
    Verdict.TASK_FAILED:  (Action.WEIGH,        Action.WEIGH,        Action.WEIGH),
    Verdict.LOST:         (Action.WEIGH,        Action.WEIGH,        Action.WEIGH),
    Verdict.UNSENT:       (Action.WEIGH,        Action.WEIGH,        Action.WEIGH),
}
# fmt: on
_COLUMNS = {mode: column for column, mode in enumerate(Mode)}


def decide(verdict: Verdict, mode: Mode, *, rejecting: bool) -> Action:
    """Decide what follows for a window whose request or task has ended.

    ``rejecting``: all has been rejected, and nothing was accepted since. Then no row is
    dead-lettered, as each may be good.
    """
    if rejecting and verdict is Verdict.ROWS_NAMED:
        return Action.RESEND_NAMED
    return _ACTIONS[verdict][_COLUMNS[mode]]
