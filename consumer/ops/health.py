"""Is the process alive, is it ready: a word each, and why, in a line.

Old rows, a paused API or an open circuit are metrics and alerts and never end a process: a restart
would only add repeats. And they do not make it unready: that would stall the very roll-out that
brings the new token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: An owner loop that has not turned for this long does not come back.
STALLED_SECONDS = 30.0


class Loop(Protocol):
    """What is asked of the owner loop; from other threads, so without waiting for it."""

    turned_at: float

    @property
    def joined(self) -> bool:
        """Whether an assignment was received, and no stop is requested."""

    @property
    def stopping(self) -> bool:
        """Whether the process is to end."""


def alive(loop: Loop, clock: Callable[[], float]) -> tuple[bool, str]:
    """Whether the owner loop has turned, or waited for Kafka within bounds, in the last 30 s of its
    own clock.
    """
    still = max(0.0, clock() - loop.turned_at)
    if still < STALLED_SECONDS:
        return True, f"ok: the owner loop turned {still:.1f} s ago"
    return False, f"stalled: the owner loop has not turned for {still:.0f} s; restart this process"


def ready(loop: Loop) -> tuple[bool, str]:
    """Whether the group gave this member an assignment, even an empty one, and the process is not
    about to end.
    """
    if loop.stopping:
        return False, "not ready: stopping"
    if not loop.joined:
        return False, "not ready: the group has not given this member an assignment yet"
    return True, "ready: joined the group"
