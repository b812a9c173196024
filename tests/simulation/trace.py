"""What happened, in lines to read: time, who, what."""

from __future__ import annotations

import logging


class Trace(logging.Handler):
    """Keeps lines; as a handler of the program's own log, it keeps what the program says, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._now = 0.0

    def tell(self, now: float, who: str, what: str) -> None:
        """A line; ``now``: seconds since the start."""
        self._now = now
        self.lines.append(f"{now:10.4f}  {who:<4} {what}")
