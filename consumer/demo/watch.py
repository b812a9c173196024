"""Watching from outside while the consumer works: all there is to show, a few times a second."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from consumer.demo.publishing import Published
from consumer.demo.topics import Tail, TopicReader
from consumer.sandbox import Sandbox

#: Answers and dead letters that are remembered to be shown.
REMEMBERED = 30
#: Keys of rows that failed, remembered to recognise them when they are sent again.
MAX_PENDING = 10_000

WORDS = {200: "accepted", 400: "bad rows", 429: "throttled", 503: "unavailable"}


@dataclass(frozen=True, slots=True)
class SeenUpload:
    """An upload and what the API made of it; ``status`` None: no answer was sent."""

    status: int | None
    data_key: str
    rows: int
    applied: int
    again: int = 0  #: of its rows, those that had been sent before

    @property
    def word(self) -> str:
        """Return what it means, in a few words."""
        if self.status is None:
            return "applied, answer lost" if self.applied else "no answer: applied?"
        return WORDS.get(self.status, "failed")


@dataclass(frozen=True, slots=True)
class SeenDeadLetter:
    """A dead letter, as a person reads it; ``key`` may be empty."""

    reason: str
    place: str  #: topic[partition]@offset
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of everything."""

    seconds: float  #: since the consumer's start
    line: Published
    total: int  #: events that the line will publish; 0: it goes on and on
    committed: Mapping[int, int] = field(default_factory=dict)  #: by partition
    applied: int = 0  #: rows at the API, those sent again included
    requests: Mapping[str, int] = field(default_factory=dict)  #: by status; "none": no answer
    answers: Sequence[SeenUpload] = ()  #: the last ones, the latest last
    letters: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)  #: dead letters by reason
    last_letters: Sequence[SeenDeadLetter] = ()  #: the latest last
    notable: Sequence[str] = ()  #: what happened for the first time so far, in words, in its order
    status: Mapping[str, Any] | None = None  #: the consumer's own, from its ops address

    @property
    def settled(self) -> int:
        """Return the records accepted, dead-lettered or skipped, by the consumer's own count."""
        ledger: Mapping[str, int] = (self.status or {}).get("ledger", {})
        return min(
            self.line.events,
            sum(ledger.get(name, 0) for name in ("accepted", "rejected", "skipped")),
        )

    @property
    def done(self) -> bool:
        """Return whether the line has finished and everything of it is committed."""
        ends = self.line.ends
        return self.line.finished and all(
            self.committed.get(number, 0) >= end for number, end in ends.items()
        )


class Watch:
    """Gathers what is new at every look; ``dead_letters`` reads their topic."""

    def __init__(
        self,
        topic: str,
        topics: TopicReader,
        dead_letters: Tail,
        api: Sandbox,
        status: Callable[[], dict[str, Any] | None],
    ) -> None:
        self._begun = time.monotonic()
        self._topic = topic
        self._topics = topics
        self._dead_letters = dead_letters
        self._api = api
        self._status = status
        self._journal_at = 0
        self._pending: dict[tuple[str, str], None] = {}  # rows that failed and will be sent again
        self._answers: deque[SeenUpload] = deque(maxlen=REMEMBERED)
        self._letters: deque[SeenDeadLetter] = deque(maxlen=REMEMBERED)
        self._reasons: Counter[str] = Counter()
        self._notable: dict[str, str] = {}

    def look(self, line: Published, total: int) -> Progress:
        """Return how far everything is.

        Raises UserError or KafkaException when Kafka cannot be looked at.
        """
        self._read_letters()
        self._read_journal()
        stats = self._api.stats()
        return Progress(
            seconds=time.monotonic() - self._begun,
            line=line,
            total=total,
            committed=self._topics.committed(self._topic, line.ends),
            applied=stats["rows_applied"],
            requests=stats["requests"],
            answers=tuple(self._answers),
            letters=self._reasons.total(),
            reasons=dict(self._reasons),
            last_letters=tuple(self._letters),
            notable=tuple(self._notable.values()),
            status=self._status(),
        )

    def _read_journal(self) -> None:
        page = self._api.journal(self._journal_at)
        self._journal_at = page["next"]
        for entry in page["requests"]:
            if entry["method"] == "POST":
                self._take(entry)

    def _take(self, entry: Mapping[str, Any]) -> None:
        data_key = entry["data_key"] or ""
        keys = [(data_key, value) for value in entry["keys"]]
        again = sum(key in self._pending for key in keys)
        for key in keys:
            if entry["status"] == 200:
                self._pending.pop(key, None)
            else:
                self._pending[key] = None
        for key in list(islice(self._pending, max(0, len(self._pending) - MAX_PENDING))):
            del self._pending[key]
        answer = SeenUpload(entry["status"], data_key, entry["rows"], entry["applied"], again)
        self._answers.append(answer)
        if answer.status != 200:
            self._note(answer.word, f"the API: {_told(answer)}")
        elif again:
            self._note("again", f"sent again and accepted: {again} rows of a window")

    def _read_letters(self) -> None:
        for record in self._dead_letters.new():
            headers = {name: _printable(value or b"") for name, value in record.headers}
            letter = _letter(headers)
            self._letters.append(letter)
            self._reasons[letter.reason] += 1
            self._note(
                letter.reason, f"dead letter, {letter.reason}: {letter.place}: {letter.message}"
            )
            self._pending.pop((headers.get("scm.data_key", ""), letter.key), None)

    def _note(self, kind: str, text: str) -> None:
        self._notable.setdefault(kind, text)


def _told(answer: SeenUpload) -> str:
    return f"{f'{answer.status}, ' if answer.status else ''}{answer.word} ({answer.rows} rows)"


def _printable(text: bytes) -> str:
    """Return text of any origin, without anything that would move a cursor."""
    return "".join(
        letter if letter.isprintable() else "?" for letter in text.decode("utf-8", "replace")
    )


def _letter(headers: Mapping[str, str]) -> SeenDeadLetter:
    topic, partition, offset = (
        headers.get(f"__connect.errors.{name}", "?") for name in ("topic", "partition", "offset")
    )
    return SeenDeadLetter(
        reason=headers.get("scm.reason", "?"),
        place=f"{topic}[{partition}]@{offset}",
        key=headers.get("scm.key_value", ""),
        message=headers.get("scm.message", ""),
    )
