"""Log lines: readable on a terminal, one JSON object a line elsewhere; always on stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        data = getattr(record, "data", None)
        if isinstance(data, dict):
            line |= data
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def on_terminal(line_format: str) -> bool:
    """Whether a person reads the log as it is written."""
    return line_format != "json" and sys.stderr.isatty()


def set_up(level: str, line_format: str) -> None:
    """Send this package's log to stderr; ``line_format`` is auto, console or json."""
    handler = logging.StreamHandler(sys.stderr)
    if line_format == "console" or on_terminal(line_format):
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        )
    else:
        handler.setFormatter(_Json())
    logger = logging.getLogger("consumer")
    logger.handlers[:] = [handler]
    logger.setLevel(_LEVELS[level])
    logger.propagate = False
