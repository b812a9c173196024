"""The letters of a command, and what became of each, in a temporary database on disk.

There may be millions, more than the memory is to hold. The database has no name: it is gone with
the process, however that ends. It holds what is listed and counted, not the records themselves.

States: **open**; **replayed**: a record with its ``scm.replay_of`` is or was in a source topic;
**resolved**: a marker names it. A letter that was replayed and resolved is replayed: that is what
happened. ``came_back``: the replayed record was rejected again, and this is its letter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from consumer.dead_letters.letter import Letter, Marker, Place
from consumer.dead_letters.texts import complaint
from consumer.errors import UserError

OPEN, REPLAYED, RESOLVED = "open", "replayed", "resolved"
STATES = (OPEN, REPLAYED, RESOLVED)

#: Rows that are written at once.
BATCH = 1000
#: What the database may keep in memory, KiB.
_CACHE_KIB = 8192

_TABLES = """
CREATE TABLE letters (
  partition INTEGER, offset INTEGER, at INTEGER, reason TEXT, message TEXT, complaint TEXT,
  field TEXT, data_key TEXT, key_value TEXT,
  topic TEXT, source_partition INTEGER, source_offset INTEGER, ours INTEGER,
  state TEXT, because TEXT, PRIMARY KEY (partition, offset)) WITHOUT ROWID;
CREATE TABLE copies (
  partition INTEGER, offset INTEGER, topic TEXT, copy_partition INTEGER, copy_offset INTEGER,
  at INTEGER, PRIMARY KEY (partition, offset)) WITHOUT ROWID;
CREATE TABLE returns (
  partition INTEGER, offset INTEGER, next_partition INTEGER, next_offset INTEGER,
  PRIMARY KEY (partition, offset)) WITHOUT ROWID;
"""
_REPLAYED = """
UPDATE letters SET state = 'replayed' WHERE (partition, offset) IN
  (SELECT partition, offset FROM copies UNION SELECT partition, offset FROM returns)
"""
_ADD = "INSERT OR REPLACE INTO letters VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,'open',NULL)"
#: The columns of ``Listed``; the letters' own stand first.
_LISTED = """
SELECT l.partition, l.offset, l.at, reason, message, field, data_key, key_value,
  l.topic, source_partition, source_offset, state, because,
  c.topic, copy_partition, copy_offset, c.at, next_partition, next_offset
FROM (SELECT * FROM letters WHERE ? IN ('', state)
      ORDER BY at DESC, partition DESC, offset DESC LIMIT ?) l
LEFT JOIN copies c USING (partition, offset) LEFT JOIN returns r USING (partition, offset)
ORDER BY l.at, l.partition, l.offset
"""


class Listed(msgspec.Struct, frozen=True):
    """One letter as it is listed, with its state. The names are those of ``--json``."""

    letter: Place
    at: int  #: milliseconds since the epoch
    reason: str
    message: str
    field: str | None
    data_key: str | None
    key_value: str | None
    source: Place | None
    state: str
    because: str | None  #: why it was resolved
    replayed_to: Place | None  #: None: not replayed, or the copy is gone from its topic by now
    replayed_at: int | None
    came_back: Place | None  #: the letter of the replayed record, which was rejected again


class LetterStore:
    """Takes in letters, markers and copies in any order but one: markers after their letters.

    (They are so in the topic: a marker stands in its letters' partition.) Raise UserError when the
    disk has no room.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # Without a name: a temporary file that nobody else can open, and that is nowhere to stay.
        self._database = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "temp_store=FILE", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_TABLES)
        self._letters: list[tuple[Any, ...]] = []
        self._copies: list[tuple[Any, ...]] = []

    def add(self, letter: Letter) -> None:
        """Take in a letter that the command is about."""
        source = letter.source or (None, None, None)
        said = complaint(letter.message, letter.key_value)
        row = (
            *letter.place[1:],
            letter.at,
            letter.reason,
            letter.message,
            said,
            letter.field,
            letter.data_key,
            letter.key_value,
            *source,
            letter.ours,
        )
        self._letters.append(row)
        if len(self._letters) >= BATCH:
            self.flush()

    def add_return(self, letter: Letter) -> None:
        """Take in a letter as what became of the one before it in its chain, if that is one."""
        before = letter.replay_of
        if before is None or before.topic != self._topic or before == letter.place:
            return
        values = (*before[1:], *letter.place[1:])
        with self._told():
            self._database.execute("INSERT OR REPLACE INTO returns VALUES (?,?,?,?)", values)

    def add_copy(self, of: Place, copy: Place, at: int) -> None:
        """Take in a record that a replay of the letter ``of`` wrote to a source topic."""
        if of.topic == self._topic:
            self._copies.append((*of[1:], *copy, at))
            if len(self._copies) >= BATCH:
                self.flush()

    def resolve(self, marker: Marker) -> None:
        """Take in a marker."""
        if marker.topic != self._topic:
            return
        self.flush()
        state = REPLAYED if marker.replayed else RESOLVED
        with self._told():
            self._database.executemany(
                "UPDATE letters SET state = ?, because = ? "
                "WHERE partition = ? AND offset BETWEEN ? AND ? AND state = 'open'",
                [(state, marker.because, marker.partition, *ends) for ends in marker.ranges],
            )

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._told():
            self._database.execute("BEGIN")
            self._database.executemany(_ADD, self._letters)
            self._database.executemany(
                "INSERT OR REPLACE INTO copies VALUES (?,?,?,?,?,?)", self._copies
            )
            self._database.execute("COMMIT")
        self._letters.clear()
        self._copies.clear()

    def settle(self) -> None:
        """Set the states, once all is taken in."""
        self.flush()
        with self._told():
            self._database.execute(_REPLAYED)

    def source_topics(self) -> list[tuple[str, int, bool]]:
        """Return the topics that the letters come from.

        Each with the time of its oldest letter, and whether this program wrote any of its letters.
        """
        rows = self.query(
            "SELECT topic, MIN(at), MAX(ours) FROM letters WHERE topic IS NOT NULL GROUP BY topic"
        )
        return [(topic, at, bool(ours)) for topic, at, ours in rows]

    def listed(self, *, state: str = "", newest: int | None = None) -> Iterator[Listed]:
        """Yield the letters by their time, or the newest so many of them."""
        for row in self.query(_LISTED, (state, -1 if newest is None else newest)):
            yield self._listed(*row)

    def open_offsets(self) -> Iterator[tuple[int, int]]:
        """Yield partition and offset of the open letters, in order."""
        yield from self.query(
            "SELECT partition, offset FROM letters WHERE state = 'open' ORDER BY 1, 2"
        )

    def counts(self) -> dict[str, int]:
        """Return how many letters are in each state."""
        found = dict(self.query("SELECT state, COUNT(*) FROM letters GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def query(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a question to the database."""
        self.flush()
        with self._told():
            yield from self._database.execute(sql, values)

    def close(self) -> None:
        """Remove the database."""
        self._database.close()

    def _listed(self, *row: Any) -> Listed:
        (partition, offset, at, reason, message, field, data_key, key_value, *source) = row[:11]
        state, because, copy_topic, copy_partition, copy_offset, copy_at, *following = row[11:]
        return Listed(
            letter=Place(self._topic, partition, offset),
            at=at,
            reason=reason,
            message=message,
            field=field,
            data_key=data_key,
            key_value=key_value,
            source=None if source[0] is None else Place(*source),
            state=state,
            because=because,
            replayed_to=None
            if copy_topic is None
            else Place(copy_topic, copy_partition, copy_offset),
            replayed_at=copy_at,
            came_back=None if following[0] is None else Place(self._topic, *following),
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the letters cannot be kept in a temporary file: {error}; free some room there, "
                "or name another folder with SQLITE_TMPDIR"
            ) from None
