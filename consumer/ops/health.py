"""Decide by the owner loop alone whether the process is alive and ready, and say why in a line.

Old rows, a paused API or an open circuit are metrics and alerts. They do not end a process: a
restart would only add repeats. They do not make it unready either: that would stall the very
roll-out that brings the new token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: An owner loop that has not turned for this long does not come back.
STALLED_SECONDS = 30.0


class Loop(Protocol):
    """The owner loop as other threads see it, without waiting for it."""

    turned_at: float

    @property
    def joined(self) -> bool:
        """Return whether an assignment was received, and no stop is requested."""

    @property
    def stopping(self) -> bool:
        """Return whether the process is to end."""


def alive(loop: Loop, clock: Callable[[], float]) -> tuple[bool, str]:
    """Return whether the owner loop has turned within ``STALLED_SECONDS`` of its clock, and why.

    To wait for Kafka within bounds counts as turning.
    """
    still = max(0.0, clock() - loop.turned_at)
    if still < STALLED_SECONDS:
        return True, f"ok: the owner loop turned {still:.1f} s ago"
    return False, f"stalled: the owner loop has not turned for {still:.0f} s; restart this process"


def ready(loop: Loop) -> tuple[bool, str]:
    """Return whether the process has an assignment, even an empty one, and goes on; and why."""
    if loop.stopping:
        return False, "not ready: stopping"
    if not loop.joined:
        return False, "not ready: the group has not given this member an assignment yet"
    return True, "ready: joined the group"
