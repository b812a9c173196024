"""Keep what was found of codes, in a temporary database, and count it by code."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from consumer.reconcile.comparison import STALE, Difference, Kind
from consumer.reconcile.expectation import Change

#: The kinds from the gravest on; a code counts once, by the gravest of its fields.
ORDER = tuple(Kind)
UNDECIDED, ABSENT = ORDER.index(Kind.UNDECIDED), ORDER.index(Kind.ABSENT)
#: So many codes should hold a field that none holds: the campaign does not have it.
LEAST_DISCARDED = 2

_SCHEMA = """
CREATE TABLE finding (
    data_key TEXT, value TEXT, kind INTEGER, field TEXT, expected TEXT, held TEXT, cause TEXT,
    time INTEGER, partition INTEGER, offset INTEGER, row INTEGER, event_id TEXT
)
"""


class Findings:
    """The differences, field by field."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN; {_SCHEMA}")
        self.compared = 0  #: codes that were judged, missing ones among them

    def add(self, differences: Iterable[Difference]) -> None:
        """Take in one code: what differs, or nothing."""
        self.compared += 1
        self._db.executemany(
            "INSERT INTO finding VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    found.data_key,
                    found.key_value,
                    ORDER.index(found.kind),
                    found.field,
                    found.expected,
                    found.held,
                    found.cause,
                    *found.change.moment,
                    found.change.event_id,
                )
                for found in differences
            ),
        )

    def mark_discarded(self, field: str, why: str) -> None:
        """Take a field that no code holds for one that the campaign does not have.

        Unless fewer than ``LEAST_DISCARDED`` codes should hold it: then their rows were lost.
        """
        stale = (field, ORDER.index(Kind.DIFFERENT), STALE)
        (count,) = self._db.execute(
            "SELECT count(*) FROM finding WHERE field = ? AND kind = ? AND cause = ? "
            "AND held = '' AND expected != ''",
            stale,
        ).fetchone()
        if count >= LEAST_DISCARDED:
            self._db.execute(
                "UPDATE finding SET kind = ?, cause = ? WHERE field = ? AND kind = ? AND cause = ? "
                "AND held = '' AND expected != ''",
                (ORDER.index(Kind.DISCARDED), why, *stale),
            )

    def absent(self, field: str, limit: int) -> list[Difference]:
        """Return some codes that should hold something in a field that has no column."""
        rows = self._db.execute(
            "SELECT * FROM finding WHERE kind = ? AND field = ? AND data_key = 'extended_id' "
            "LIMIT ?",
            (ABSENT, field, limit),
        )
        return [_difference(row) for row in rows]

    def settle_absent(self, field: str, why: str) -> None:
        """Take a field that has no column for one that the campaign does not have."""
        self._db.execute(
            "UPDATE finding SET kind = ?, cause = ? WHERE kind = ? AND field = ?",
            (ORDER.index(Kind.DISCARDED), why, ABSENT, field),
        )

    def counts(self) -> dict[str, int]:
        """Return how many codes are of each kind."""
        found = dict(
            self._db.execute(
                "SELECT worst, count(*) FROM "
                "(SELECT min(kind) AS worst FROM finding WHERE kind <= ? GROUP BY data_key, value) "
                "GROUP BY worst",
                (UNDECIDED,),
            )
        )
        counts = {kind.value: found.get(number, 0) for number, kind in enumerate(ORDER)}
        counts["equal"] = self.compared - sum(found.values())
        order = ("equal", "missing", "different", "discarded", "undecided")
        return {name: counts[name] for name in order}

    def differences(self, limit: int = -1) -> Iterator[Difference]:
        """Yield the differences, the gravest kinds first, then by code; -1: all of them."""
        rows = self._db.execute(
            "SELECT * FROM finding WHERE kind <= ? ORDER BY kind, data_key, value, field LIMIT ?",
            (UNDECIDED, limit),
        )
        return map(_difference, rows)

    def by_code(self, kind: Kind, cause: str) -> Iterator[list[Difference]]:
        """Yield the differences of this kind and cause, those of one code together."""
        code: list[Difference] = []
        for found in self.differences():
            if found.kind is not kind or found.cause != cause:
                continue
            if code and (code[0].data_key, code[0].key_value) != (found.data_key, found.key_value):
                yield code
                code = []
            code.append(found)
        if code:
            yield code

    def close(self) -> None:
        """Drop it all."""
        self._db.close()


def _difference(columns: tuple[Any, ...]) -> Difference:
    data_key, value, kind, field, expected, held, cause, *moment, event_id = columns
    time, partition, offset, row = moment
    change = Change((time, partition, offset, row), {}, event_id, settled=True, certain=True)
    return Difference(data_key, value, ORDER[kind], field, expected, held, cause, change)
