"""Something that befalls a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Happening:
    """Something that happens at a time, seconds from the start.

    ``more``: for how long, or to what.
    """

    at: float
    what: str
    member: int = 0
    more: Any = None
