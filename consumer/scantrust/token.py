"""The UAT token: where it comes from, and when it is read again."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from consumer.errors import ConfigError

_log = logging.getLogger(__name__)

#: How often a token file is looked at, in seconds.
CHECK_SECONDS = 1.0


class TokenSource:
    """The token as it is now; safe to share between threads.

    With ``token_file`` the file is read, and read again when it changes; else ``token`` is used as it is.
    Raises ConfigError when there is no usable token at the start. Later a file that has become unreadable,
    empty or malformed leaves the last good token in use: a secret being replaced is not a reason to stop.
    """

    def __init__(
        self, token: str, token_file: str = "", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = Path(token_file) if token_file else None
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._complained = False
        try:
            self._token = self._read(self._file) if self._file else _checked(token)
        except (OSError, ValueError) as error:
            where = f"api.token_file: {token_file}" if token_file else "api.token"
            advice = "" if token or token_file else "; set api.token or api.token_file"
            raise ConfigError([f"{where}: {_reason(error)}{advice}"]) from None
        self._next_look = clock() + CHECK_SECONDS

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def current(self) -> str:
        """The token to send now."""
        if self._file is not None and self._clock() >= self._next_look:
            self._look(self._file, anyway=False)
        return self._token

    def refresh(self) -> bool:
        """Read the file again now, changed or not, as after a 401; True when the token is another one."""
        before = self._token
        if self._file is not None:
            self._look(self._file, anyway=True)
        return self._token != before

    def _look(self, file: Path, *, anyway: bool) -> None:
        with self._lock:
            if not anyway and self._clock() < self._next_look:
                return  # another thread has just looked
            self._next_look = self._clock() + CHECK_SECONDS
            try:
                if anyway or _identity(file.stat()) != self._seen:
                    self._token = self._read(file)
                self._complained = False
            except (OSError, ValueError) as error:
                self._seen = None  # look again each time: permissions may change without the file changing
                if not self._complained:
                    self._complained = True
                    _log.warning(
                        "api.token_file: %s: %s; the last good token stays in use", file, _reason(error)
                    )

    def _read(self, file: Path) -> str:
        with file.open("rb") as stream:
            # Taken before reading: a write that comes meanwhile shows as another identity at the next look.
            identity = _identity(os.fstat(stream.fileno()))
            token = _checked(stream.read(65536).decode("utf-8-sig", "replace"))
        self._seen = identity
        return token


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _checked(text: str) -> str:
    """The token without white space around it; ValueError (not quoting it) when no header can carry it."""
    token = text.strip()
    if not token:
        raise ValueError("no token in it")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError(
            "the token holds characters that an HTTP header cannot carry (spaces, line breaks, non-ASCII)"
        )
    return token


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or type(error).__name__})"
    return str(error)
