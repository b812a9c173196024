"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended; only FAILED makes the command fail."""

    OK = "ok"
    WARNING = "warning"  #: works now, and will hurt one day
    UNKNOWN = "unknown"  #: cannot be found out with the rights given, or from this API
    SKIPPED = "skipped"  #: not made, because something it builds on failed
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, what was found, and what to do next (empty when
    there is nothing).
    """

    name: str
    state: State
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Check:
    """As it should be."""
    return Check(name, State.OK, text)


def warning(name: str, text: str, advice: str) -> Check:
    """Works now, and will hurt one day."""
    return Check(name, State.WARNING, text, advice)


def unknown(name: str, text: str, advice: str = "") -> Check:
    """Cannot be found out."""
    return Check(name, State.UNKNOWN, text, advice)


def failed(name: str, text: str, advice: str) -> Check:
    """Must be mended before the consumer can work."""
    return Check(name, State.FAILED, text, advice)


def skipped(names: Iterable[str], needs: str) -> list[Check]:
    """Not made, because ``needs`` is missing."""
    return [Check(name, State.SKIPPED, f"needs {needs}") for name in names]
