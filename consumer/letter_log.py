"""Telling dead letters in the log: one by one for who asks for it, else summed up now and then."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from consumer.core.pipeline import Letter

#: Dead letters are summed up in a line at most this often.
EVERY_SECONDS = 5.0


class LetterLog:
    """Gathers dead letters to tell; ``clock`` in seconds. Keys are shown at info level only with ``show_keys``."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float], *, show_keys: bool) -> None:
        self._log = log
        self._clock = clock
        self._level = logging.INFO if show_keys else logging.DEBUG
        self._told_at = 0.0
        self._untold: Counter[str] = Counter()

    def add(self, letter: Letter) -> None:
        """A letter is on its way."""
        why = letter.rejection
        if self._log.isEnabledFor(self._level):
            row = letter.row
            self._log.log(self._level, "rejected: %s=%s: %s: %s", row.data_key, row.value, why.reason, why.message)
        self._untold[why.reason] += 1

    def tell_now_and_then(self) -> None:
        """Tell how many there were, unless that was told a moment ago."""
        if self._untold and self._clock() - self._told_at >= EVERY_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Tell how many there were since this was told last."""
        if self._untold:
            told = ", ".join(f"{reason} {count}" for reason, count in self._untold.most_common())
            self._log.warning("rows to the dead-letter topic: %s", told)
            self._untold.clear()
            self._told_at = self._clock()
