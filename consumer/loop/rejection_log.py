"""Telling dead letters in the log: one by one for who asks for it, else summed up now and then."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from consumer.core.effects import DeadLetter
from consumer.core.model import Record

#: Dead letters are summed up in a line at most this often.
EVERY_SECONDS = 5.0


class RejectionLog:
    """Gathers dead letters to tell; ``clock`` in seconds, ``to``: where their rows go, for people.

    Keys are shown at info level only with ``show_keys``.
    """

    def __init__(
        self, log: logging.Logger, clock: Callable[[], float], to: str, *, show_keys: bool
    ) -> None:
        self._log = log
        self._clock = clock
        self._to = to
        self._level = logging.INFO if show_keys else logging.DEBUG
        self._told_at = 0.0
        self._untold: Counter[str] = Counter()
        self._first: Record | None = None  # of those that are not told yet

    def add(self, letter: DeadLetter) -> None:
        """A letter is on its way."""
        why = letter.rejection
        if self._log.isEnabledFor(self._level):
            row = letter.row
            self._log.log(
                self._level,
                "rejected: %s=%s: %s: %s",
                row.data_key,
                row.value,
                why.reason,
                why.message,
            )
        if self._first is None:
            self._first = letter.row.record
        self._untold[why.reason] += 1

    def tell_now_and_then(self) -> None:
        """Tell how many there were, unless that was told a moment ago."""
        if self._untold and self._clock() - self._told_at >= EVERY_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Tell how many there were since this was told last."""
        if self._first is not None:
            told = ", ".join(f"{reason} {count}" for reason, count in self._untold.most_common())
            partition, offset = self._first.partition, self._first.offset
            place = f"{partition.topic}[{partition.number}] at {offset}"
            self._log.warning("rows %s: %s, first from %s", self._to, told, place)
            self._untold.clear()
            self._first = None
            self._told_at = self._clock()
