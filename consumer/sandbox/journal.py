"""The journal: applied rows, requests, broken rules, in order, and figures over all of them.

Not thread-safe: every caller holds the store's lock.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from consumer.sandbox.rules import Mistake


class RowEntry(NamedTuple):
    """A row that was applied. ``fields`` are the fields as sent, without the key."""

    request: int
    data_key: str
    key_value: str
    fields: dict[str, str]
    codes: int  #: how many codes it changed or could have changed
    at: float  #: seconds since the epoch
    task: str | None = None  #: the id of the task that applied it; None: the call itself


class RequestEntry(NamedTuple):
    """A call to the API, entered when its answer was decided and before the answer is sent."""

    request: int
    method: str
    path: str
    status: int | None  #: None: no answer was sent
    data_key: str | None
    rows: int
    keys: list[str]
    applied: int
    fault: str | None  #: kinds of the faults that took part, joined by "+"
    bytes: int
    at: float  #: arrival, seconds since the epoch
    task: str | None = None  #: the id of the task that it began, or asked about


class Journal:
    """An append-only list; the position of an entry, from 1, is its sequence number."""

    def __init__(self) -> None:
        self._entries: list[RowEntry | RequestEntry] = []
        self._broken: dict[str, dict[str, Any]] = {}
        self._advice: dict[str, dict[str, Any]] = {}
        self._statuses: Counter[str] = Counter()
        self._recent: deque[float] = deque()
        self._requests = self._rows_received = self._rows_applied = 0
        self._in_progress = self._max_concurrent = self._peak = 0
        self.connections = 0

    def arrive(self) -> int:
        """Count a request in; return its number, from 1 in the order of arrival."""
        now = time.monotonic()
        self._recent.append(now)
        while self._recent[0] <= now - 1.0:
            self._recent.popleft()
        self._peak = max(self._peak, len(self._recent))
        self._in_progress += 1
        self._max_concurrent = max(self._max_concurrent, self._in_progress)
        self._requests += 1
        return self._requests

    def leave(self) -> None:
        """Count a request out: it has its answer, or never gets one."""
        self._in_progress -= 1

    def add_rows(self, rows: Sequence[RowEntry]) -> None:
        """Append applied rows."""
        self._entries.extend(rows)
        self._rows_applied += len(rows)

    def add_request(self, entry: RequestEntry) -> None:
        """Append an answered (or unanswered) request."""
        self._entries.append(entry)
        self._statuses["none" if entry.status is None else str(entry.status)] += 1
        self._rows_received += entry.rows

    def judge(self, request: int, broken: Iterable[Mistake], advice: Iterable[Mistake]) -> None:
        """Remember rules that a request broke, and advice that it did not follow."""
        for table, mistakes in ((self._broken, broken), (self._advice, advice)):
            for mistake in mistakes:
                about = table.setdefault(
                    mistake.rule, {"count": 0, "example": {"request": request, **_said(mistake)}}
                )
                about["count"] += 1

    def page(self, after: int = 0, limit: int | None = None) -> dict[str, Any]:
        """Return at most ``limit`` entries after the one numbered ``after``; ``next`` asks for
        more.
        """
        after = max(0, after)
        end = len(self._entries) if limit is None else min(len(self._entries), after + limit)
        rows: list[dict[str, Any]] = []
        requests: list[dict[str, Any]] = []
        for seq, entry in enumerate(self._entries[after:end], after + 1):
            (rows if isinstance(entry, RowEntry) else requests).append(
                {"seq": seq, **entry._asdict()}
            )
        return {
            "rows": rows,
            "requests": requests,
            "next": max(after, end),
            "last": len(self._entries),
        }

    def rules(self) -> dict[str, Any]:
        """Return rules broken and advice not followed: name → count and the first example."""
        return {"broken": _copied(self._broken), "advice": _copied(self._advice)}

    def stats(self) -> dict[str, Any]:
        """Return figures over every call to the API.

        ``requests`` is by status, "none" where no answer was sent.
        """
        return {
            "requests": dict(self._statuses),
            "arrived": self._requests,
            "rows_received": self._rows_received,
            "rows_applied": self._rows_applied,
            "in_progress": self._in_progress,
            "max_concurrent": self._max_concurrent,
            "peak_per_second": self._peak,
            "connections": self.connections,
        }


def _said(mistake: Mistake) -> dict[str, Any]:
    return {
        name: value
        for name, value in mistake._asdict().items()
        if value is not None and name != "rule"
    }


def _copied(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        rule: {"count": about["count"], "example": dict(about["example"])}
        for rule, about in table.items()
    }
