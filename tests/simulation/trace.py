"""The trace: what happened, in lines to read: seconds since the start, who, what."""

from __future__ import annotations

import logging
from collections.abc import Callable


class Trace(logging.Handler):
    """Keeps lines; as a handler of the program's own log it keeps what the program says, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.clock: Callable[[], float] = lambda: 0.0

    def tell(self, who: str, what: str) -> None:
        """Add a line, as of now."""
        self.lines.append(f"{self.clock():10.4f}  {who:<4} {what}")

    def emit(self, record: logging.LogRecord) -> None:
        self.tell("", f"  [{record.levelname.lower()}] {record.getMessage()}")
