"""Keep what was rejected in the last fifteen minutes, in bounded memory: counts, messages, latest.

It costs something for rejected rows only. A message goes into logs and pages, so it is shown
without the code that it is about (``public_message``). Messages that differ by numbers alone, such
as by a line, are counted as one; the first wording stands for all.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from consumer.core.counters import OTHER
from consumer.core.effects import DeadLetter
from consumer.core.model import Rejection, Row

#: What is older is forgotten.
WINDOW_SECONDS = 900.0
#: Counts are kept by spans of so many seconds; a span goes when all of it is too old.
SPAN_SECONDS = 60.0
#: The latest rejections that are kept.
MAX_LATEST = 10
#: Different messages that are counted in a span; what comes beyond is "other".
MAX_MESSAGES = 20
#: Characters of a message that are kept.
MAX_MESSAGE = 200
#: Stands for a code, or for a value, in a message.
HIDDEN_KEY, HIDDEN_VALUE = "(key)", '"…"'

_QUOTED = re.compile(r'"[^"]*"')
_NUMBER = re.compile(r"\d+")


def public_message(row: Row, why: Rejection) -> str:
    """Return why a row was rejected, without its code.

    The messages of validation quote values, and one that names a code may stand anywhere in a
    record: of what they quote only names of fields are shown. The API's message is shown as it is,
    but for the row's key and its units.
    """
    text = why.message
    for value in (row.value, *(unit for _, unit in row.joins)):
        if value:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN_KEY, text)
    if why.stage != "upload":
        names = {HIDDEN_KEY, row.data_key, why.field, *row.item}
        text = _QUOTED.sub(
            lambda found: found[0] if found[0][1:-1] in names else HIDDEN_VALUE, text
        )
        if text.count('"') % 2:  # a value with a quotation mark in it
            text = text[: text.index('"')] + HIDDEN_VALUE
    return " ".join(text.split())[:MAX_MESSAGE]


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """One rejected row; ``at``: on the owner's clock, seconds."""

    at: float
    reason: str
    field: str | None
    message: str
    where: str  #: topic[partition]@offset
    data_key: str | None
    key_value: str | None
    http_status: int | None


class Messages(Counter[tuple[str, str]]):
    """Counts by reason and message; of messages that differ by numbers the first stands for all."""

    def __init__(self, most: int = MAX_MESSAGES) -> None:
        super().__init__()
        self._most = most
        self._shown: dict[tuple[str, str], tuple[str, str]] = {}

    def count(self, reason: str, message: str, number: int = 1) -> None:
        """Add to a message's count; new ones beyond the bound are counted as "other"."""
        like = (reason, _NUMBER.sub("#", message))
        shown = self._shown.get(like)
        if shown is None:
            full = len(self._shown) >= self._most
            shown = (reason, OTHER) if full else (reason, message)
            if not full:
                self._shown[like] = shown
        self[shown] += number


class _Span(msgspec.Struct):
    begin: float
    reasons: Counter[str]
    messages: Messages


class RecentRejections:
    """The rejections of the last fifteen minutes; ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spans: deque[_Span] = deque()
        self._latest: deque[Rejected] = deque(maxlen=MAX_LATEST)

    def add(self, letter: DeadLetter, message: str) -> None:
        """Take in a rejected row; ``message`` as ``public_message`` gives it."""
        now = self._clock()
        row, why = letter.row, letter.rejection
        if not self._spans or now - self._spans[-1].begin >= SPAN_SECONDS:
            self._forget(now)
            self._spans.append(_Span(now, Counter(), Messages()))
        span = self._spans[-1]
        span.reasons[why.reason] += 1  # one of few words
        span.messages.count(why.reason, message)
        self._latest.append(
            Rejected(
                now,
                why.reason,
                why.field,
                message,
                f"{row.record.partition}@{row.record.offset}",
                row.data_key,
                row.value,
                why.http_status,
            )
        )

    @property
    def by_reason(self) -> Counter[str]:
        """Return how many there were, by reason."""
        self._forget(self._clock())
        total: Counter[str] = Counter()
        for span in self._spans:
            total.update(span.reasons)
        return total

    @property
    def messages(self) -> list[tuple[str, str, int]]:
        """Return reasons and messages with their counts, the commonest first."""
        self._forget(self._clock())
        total = Messages(MAX_MESSAGES * len(self._spans))
        for span in self._spans:
            for (reason, message), count in span.messages.items():
                total.count(reason, message, count)
        return [(reason, message, count) for (reason, message), count in total.most_common()]

    @property
    def latest(self) -> list[Rejected]:
        """Return the latest, the newest first."""
        since = self._clock() - WINDOW_SECONDS
        return [found for found in reversed(self._latest) if found.at >= since]

    def _forget(self, now: float) -> None:
        while self._spans and now - self._spans[0].begin >= WINDOW_SECONDS + SPAN_SECONDS:
            self._spans.popleft()
