"""The letters of a replay with their records, their verdicts, and where they went.

In a temporary database on disk without a name, as ``LetterStore``: only a letter at a time is in
memory. ``letters`` are told in the order in which they were added, ``handled`` by their place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from consumer.dead_letters.letter import Letter, Place
from consumer.errors import UserError

_TABLES = """
CREATE TABLE records (number INTEGER PRIMARY KEY, record BLOB);
CREATE TABLE letters (partition INTEGER, offset INTEGER, number INTEGER,
  verdict TEXT, because TEXT, topic TEXT, sent_partition INTEGER, sent_offset INTEGER,
  PRIMARY KEY (partition, offset)) WITHOUT ROWID;
"""
#: Letters that are written at once.
_BATCH = 1000
_CACHE_KIB = 2048


class Handled(msgspec.Struct, frozen=True):
    """A letter, its verdict, and where its copy went."""

    letter: Letter
    verdict: str
    because: str
    sent: Place | None


class RecordStore:
    """Letters of one dead-letter topic. Raise UserError when the disk has no room."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "temp_store=FILE", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_TABLES)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Letter).decode
        self._records: list[tuple[int, bytes]] = []
        self._places: list[tuple[int, int, int]] = []
        self.count = 0

    def add(self, letter: Letter) -> None:
        """Take in a letter; each is there once."""
        self.count += 1
        self._records.append((self.count, self._encode(letter)))
        self._places.append((*letter.place[1:], self.count))
        if len(self._records) >= _BATCH:
            self._flush()

    def letters(self) -> Iterator[Letter]:
        """Yield the letters."""
        self._flush()
        with self._told():
            for (record,) in self._database.execute("SELECT record FROM records ORDER BY number"):
                yield self._decode(record)

    def letter(self, place: Place) -> Letter:
        """Return the letter at a place; it is there."""
        sql = (
            "SELECT record FROM letters JOIN records USING (number) "
            "WHERE partition = ? AND offset = ?"
        )
        with self._told():
            (record,) = self._database.execute(sql, place[1:]).fetchone()
        return self._decode(record)

    def judge(self, place: Place, verdict: str, because: str) -> None:
        """Note the verdict of a letter."""
        self._do(
            "UPDATE letters SET verdict = ?, because = ? WHERE partition = ? AND offset = ?",
            (verdict, because, *place[1:]),
        )

    def sent(self, place: Place, to: Place) -> None:
        """Note where the copy of a letter went."""
        self._do(
            "UPDATE letters SET topic = ?, sent_partition = ?, sent_offset = ? "
            "WHERE partition = ? AND offset = ?",
            (*to, *place[1:]),
        )

    def handled(self) -> Iterator[Handled]:
        """Yield the letters with what became of each in this run."""
        sql = (
            "SELECT record, verdict, because, topic, sent_partition, sent_offset "
            "FROM letters JOIN records USING (number) ORDER BY partition, offset"
        )
        with self._told():
            for row in self._database.execute(sql):
                sent = None if row[3] is None else Place(*row[3:])
                yield Handled(self._decode(row[0]), row[1] or "", row[2] or "", sent)

    def sent_offsets(self) -> Iterator[tuple[int, int]]:
        """Yield partition and offset of the letters whose copy went, in order."""
        sql = "SELECT partition, offset FROM letters WHERE topic IS NOT NULL ORDER BY 1, 2"
        with self._told():
            yield from self._database.execute(sql)

    def close(self) -> None:
        """Remove the database."""
        self._database.close()

    def _do(self, sql: str, values: tuple[object, ...]) -> None:
        with self._told():
            self._database.execute(sql, values)

    def _flush(self) -> None:
        if not self._records:
            return
        with self._told():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO records VALUES (?,?)", self._records)
            self._database.executemany(
                "INSERT INTO letters (partition, offset, number) VALUES (?,?,?)", self._places
            )
            self._database.execute("COMMIT")
        self._records.clear()
        self._places.clear()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the letters cannot be kept in a temporary file: {error}; free some room there, "
                "or name another folder with SQLITE_TMPDIR"
            ) from None
