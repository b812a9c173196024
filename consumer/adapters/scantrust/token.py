"""The UAT token: read from a setting, or from a file that is read again while it is used."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from consumer.errors import ConfigError
from consumer.hiding import known

_log = logging.getLogger(__name__)

#: A token file is read again when the token is needed and was read longer ago than this, in
#: seconds. Reading a few bytes is as cheap as looking whether they have changed, and cannot be
#: fooled by times and sizes.
REREAD_SECONDS = 1.0


class TokenSource:
    """The token as it is now; safe to share between threads.

    With ``token_file`` the file is read, and read again while it is used; else ``token`` is used as
    it is. Raises ConfigError when there is no usable token at the start. Later a file that has
    become unreadable, empty or malformed leaves the last good token in use: a secret being replaced
    is not a reason to stop.
    """

    def __init__(
        self, token: str, token_file: str = "", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = Path(token_file) if token_file else None
        self._clock = clock
        self._lock = threading.Lock()
        self._complained = False
        self._read_at = clock()
        try:
            self._token = _read(self._file) if self._file else checked(token)
        except (OSError, ValueError) as error:
            where = f"api.token_file: {token_file}" if token_file else "api.token"
            advice = "" if token or token_file else "; set api.token or api.token_file"
            raise ConfigError([f"{where}: {_reason(error)}{advice}"]) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def current(self) -> str:
        """Return the token to send now."""
        if self._file is not None and self._clock() >= self._read_at + REREAD_SECONDS:
            with self._lock:
                # Else another thread has just read it.
                if self._clock() >= self._read_at + REREAD_SECONDS:
                    self._read_again(self._file)
        return self._token

    def refresh(self) -> bool:
        """Read the file again now, as after a 401; return whether the token is another one."""
        with self._lock:
            before = self._token
            if self._file is not None:
                self._read_again(self._file)
            return self._token != before

    def _read_again(self, file: Path) -> None:
        self._read_at = self._clock()
        try:
            self._token = _read(file)
            self._complained = False
        except (OSError, ValueError) as error:
            if not self._complained:
                self._complained = True
                _log.warning(
                    "api.token_file: %s: %s; the last good token stays in use", file, _reason(error)
                )


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        return checked(stream.read(65536).decode("utf-8-sig", "replace"))


def checked(text: str) -> str:
    """Return the token without white space around it.

    Raise ValueError, which does not quote it, when no header can carry it.
    """
    token = text.strip()
    if not token:
        raise ValueError("no token in it")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError(
            "the token holds characters that an HTTP header cannot carry "
            "(spaces, line breaks, non-ASCII)"
        )
    known.add(token)
    return token


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or type(error).__name__})"
    return str(error)
