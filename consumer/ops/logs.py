"""Log to stderr: readable on a terminal, one JSON object a line elsewhere.

Logging never waits for the reader of standard error, as nobody may be reading (see ``lines``).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from consumer.hiding import known
from consumer.ops.lines import LineWriter

#: How long the end of the process waits for lines that are queued.
DRAIN_SECONDS = 2.0

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
        return known.text(json.dumps(line, ensure_ascii=False, default=str))


class _Console(logging.Formatter):
    """Lines for a person; a secret in one, a traceback's too, is hidden as in the other form."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return known.text(super().format(record))


class _LineHandler(logging.Handler):
    """Queues lines for this descriptor. ``flush``, at the end of the process, waits for them."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__()
        self._lines = LineWriter(descriptor, self._dropped, encoding=encoding)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:
            # The library's way writes to standard error itself, and may wait for its reader.
            text = f"a line of {record.name} cannot be written ({type(error).__name__})"
        self._lines.write(f"{text}\n")

    def flush(self) -> None:
        self._lines.drain(DRAIN_SECONDS)

    def close(self) -> None:
        self._lines.close()
        super().close()

    def _dropped(self, count: int) -> str:
        text = (
            "%d log lines were dropped here: nobody read standard error, or it could not be written"
        )
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (count,), None)
        return f"{self.format(record)}\n"


def on_terminal(line_format: str) -> bool:
    """Return whether a person reads the log as it is written."""
    return line_format != "json" and sys.stderr.isatty()


def set_up(level: str, line_format: str) -> None:
    """Send this package's log to stderr; ``line_format`` is auto, console or json."""
    handler = _handler()
    if line_format == "console" or on_terminal(line_format):
        handler.setFormatter(_Console())
    else:
        handler.setFormatter(_Json())
    logger = logging.getLogger("consumer")
    for former in logger.handlers:
        former.close()
    logger.handlers[:] = [handler]
    logger.setLevel(_LEVELS[level])
    logger.propagate = False


def flush() -> None:
    """Wait until every line is written, for ``DRAIN_SECONDS`` at most."""
    for handler in logging.getLogger("consumer").handlers:
        handler.flush()


def _handler() -> logging.Handler:
    try:
        return _LineHandler(sys.stderr.fileno(), sys.stderr.encoding)
    except OSError:  # a stand-in, as in a test, which is no file
        return logging.StreamHandler(sys.stderr)
