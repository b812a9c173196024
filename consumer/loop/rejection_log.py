"""Log dead letters: one by one for who asks for it, else summed up now and then."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from consumer.core.effects import DeadLetter
from consumer.core.model import Record
from consumer.loop.recent_rejections import Messages, RecentRejections, public_message

#: Dead letters are summed up in a line at most this often.
EVERY_SECONDS = 5.0
#: Reasons whose commonest message the line tells.
MAX_TOLD = 3


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
        self._messages = Messages()
        self._first: Record | None = None  # of those that are counted
        self.recent = RecentRejections(clock)

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
        message = public_message(letter.row, why)
        self._messages.count(why.reason, message)
        self.recent.add(letter, message)

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
            text = "rows %s: %s, first from %s; mostly: %s"
            self._log.warning(text, self._to, counts, place, self._commonest())
            self._counts.clear()
            self._messages = Messages()
            self._first = None
            self._logged_at = self._clock()

    def _commonest(self) -> str:
        """Return the commonest message of each of the commonest reasons."""
        first: dict[str, str] = {}
        for (reason, message), _ in self._messages.most_common():
            first.setdefault(reason, message)
        told = [reason for reason, _ in self._counts.most_common(MAX_TOLD)]
        return "; ".join(f"{reason}: {first[reason]}" for reason in told if reason in first)
