"""Log dead letters: one by one for who asks for it, else summed up now and then."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from consumer.core.effects import DeadLetter
from consumer.core.model import Record

#: Dead letters are summed up in a line at most this often.
EVERY_SECONDS = 5.0


class RejectionLog:
    """Counts dead letters by reason; ``clock`` in seconds, ``to``: where rows go, for people.

    Keys are shown at info level only with ``show_keys``.
    """

    def __init__(
        self, log: logging.Logger, clock: Callable[[], float], to: str, *, show_keys: bool
    ) -> None:
        self._log = log
        self._clock = clock
        self._to = to
        self._level = logging.INFO if show_keys else logging.DEBUG
        self._logged_at = 0.0
        self._counts: Counter[str] = Counter()
        self._first: Record | None = None  # of those that are counted

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter that is on its way."""
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
        self._counts[why.reason] += 1

    def summarize_now_and_then(self) -> None:
        """Log how many there were, unless that was done a moment ago."""
        if self._counts and self._clock() - self._logged_at >= EVERY_SECONDS:
            self.summarize()

    def summarize(self) -> None:
        """Log how many there were since the last time."""
        if self._first is not None:
            counts = ", ".join(f"{reason} {count}" for reason, count in self._counts.most_common())
            partition, offset = self._first.partition, self._first.offset
            place = f"{partition.topic}[{partition.number}] at {offset}"
            self._log.warning("rows %s: %s, first from %s", self._to, counts, place)
            self._counts.clear()
            self._first = None
            self._logged_at = self._clock()
