"""The result of a check: a value with a state, a text and advice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """The end of a check; only FAILED makes the command fail."""

    OK = "ok"
    WARNING = "warning"  #: works now, and will hurt one day
    UNKNOWN = "unknown"  #: cannot be found out with the rights given, or from this API
    SKIPPED = "skipped"  #: not made, because something it builds on failed
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: the subject, its state, what was found, and what to do next (empty: nothing)."""

    name: str
    state: CheckState
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Check:
    """Return the result of what is as it should be."""
    return Check(name, CheckState.OK, text)


def warning(name: str, text: str, advice: str) -> Check:
    """Return the result of what works now, and will hurt one day."""
    return Check(name, CheckState.WARNING, text, advice)


def unknown(name: str, text: str, advice: str = "") -> Check:
    """Return the result of what cannot be found out."""
    return Check(name, CheckState.UNKNOWN, text, advice)


def failed(name: str, text: str, advice: str) -> Check:
    """Return the result of what must be mended before the consumer can work."""
    return Check(name, CheckState.FAILED, text, advice)


def skipped(names: Iterable[str], needs: str) -> list[Check]:
    """Return the results of checks that were not made, because ``needs`` is missing."""
    return [Check(name, CheckState.SKIPPED, f"needs {needs}") for name in names]
