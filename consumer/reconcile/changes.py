"""Keep all changes of a run in a temporary database, so that memory does not grow with them.

SQLite, in an unnamed file of the folder for temporary files: it is gone when the run ends, however
it ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import orjson

from consumer.reconcile.expectation import Change, Key

#: Rows that are written at once.
BATCH = 5_000
#: Pages of the file that are kept in memory, KiB.
CACHE_KIB = 96 * 1024
#: Units whose changes are remembered: codes of one unit often stand side by side.
UNITS_REMEMBERED = 2_000

_SCHEMA = """
CREATE TABLE change (
    data_key INTEGER, value TEXT, time INTEGER, partition INTEGER, offset INTEGER, row INTEGER,
    fields INTEGER, texts BLOB, event_id TEXT, settled INTEGER
);
CREATE TABLE letter (partition INTEGER, offset INTEGER, data_key TEXT, value TEXT);
CREATE TABLE seen (data_key INTEGER, value TEXT, PRIMARY KEY (data_key, value)) WITHOUT ROWID;
"""
_SELECT = (
    "SELECT time, partition, offset, row, fields, texts, event_id, settled FROM change "
    "WHERE data_key = ? AND value = ? ORDER BY time, partition, offset, row"
)


class NewChange:
    """One row of an event on its way into the database."""

    __slots__ = ("data_key", "event_id", "fields", "offset", "partition", "row", "settled", "time")

    def __init__(
        self,
        data_key: str,
        value: str,
        moment: tuple[int, int, int, int],
        fields: Mapping[str, str],
        event_id: str,
        *,
        settled: bool,
    ) -> None:
        self.data_key = (data_key, value)
        self.time, self.partition, self.offset, self.row = moment
        self.fields = fields
        self.event_id = event_id
        self.settled = settled


class Changes:
    """The changes, by data key and value."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, cached_statements=32)
        self._db.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB};"
            f"PRAGMA temp_store=FILE; BEGIN; {_SCHEMA}"
        )
        self._batch: list[tuple[object, ...]] = []
        # Names come again and again: a number stands for each, and for each list of names.
        self._numbers: dict[str, int] = {}
        self._field_lists: dict[tuple[str, ...], int] = {}
        self._lists: list[tuple[str, ...]] = []
        #: By partition: the time until which events of other partitions may be gone that are newer,
        #: and the offset of its last gap; see ``certain``.
        self.blind_until: dict[int, int] = {}
        self.last_gap: dict[int, int] = {}
        self.count = 0  #: changes that were added, less those that were dead-lettered
        self.of_unit = lru_cache(UNITS_REMEMBERED)(self._of_unit)

    # -- writing ---------------------------------------------------------------------------------

    def add(self, change: NewChange) -> None:
        """Add a change."""
        data_key, value = change.data_key
        names = tuple(change.fields)
        number = self._field_lists.get(names)
        if number is None:
            number = self._field_lists[names] = len(self._lists)
            self._lists.append(names)
        self._batch.append(
            (
                self._number(data_key),
                value,
                change.time,
                change.partition,
                change.offset,
                change.row,
                number,
                orjson.dumps(tuple(change.fields.values())),
                change.event_id,
                change.settled,
            )
        )
        self.count += 1
        if len(self._batch) >= BATCH:
            self._flush()

    def add_letters(self, letters: Iterable[tuple[int, int, str | None, str | None]]) -> None:
        """Add dead letters: partition, offset, data key and value; None: of the whole record."""
        self._db.executemany("INSERT INTO letter VALUES (?, ?, ?, ?)", letters)

    def finish(self) -> None:
        """Take out what was dead-lettered, and make the rest ready to be looked up."""
        self._flush()
        self._db.execute("CREATE INDEX by_letter ON letter (partition, offset)")
        self._db.execute("CREATE TABLE name (number INTEGER PRIMARY KEY, text TEXT)")
        self._db.executemany(
            "INSERT INTO name VALUES (?, ?)", ((n, name) for name, n in self._numbers.items())
        )
        removed = self._db.execute(
            "DELETE FROM change WHERE EXISTS (SELECT 1 FROM letter JOIN name ON "
            "name.number = change.data_key WHERE letter.partition = change.partition AND "
            "letter.offset = change.offset AND (letter.data_key IS NULL OR "
            "(letter.data_key = name.text AND letter.value IS change.value)))"
        )
        self.count -= removed.rowcount
        self._db.execute("CREATE INDEX by_key ON change (data_key, value)")

    def _flush(self) -> None:
        self._db.executemany("INSERT INTO change VALUES (?,?,?,?,?,?,?,?,?,?)", self._batch)
        self._batch.clear()

    def _number(self, data_key: str) -> int:
        return self._numbers.setdefault(data_key, len(self._numbers))

    # -- reading ---------------------------------------------------------------------------------

    @property
    def data_keys(self) -> list[str]:
        """Return all data keys that changes name."""
        return list(self._numbers)

    @property
    def fields(self) -> set[str]:
        """Return all fields that changes set."""
        return {name for names in self._lists for name in names}

    def of(self, key: Key) -> list[Change]:
        """Return the changes that name this data key and value, in their order."""
        number = self._numbers.get(key[0])
        if number is None:
            return []
        return [self._change(row) for row in self._db.execute(_SELECT, (number, key[1]))]

    def _of_unit(self, key: Key) -> tuple[Change, ...]:
        return tuple(self.of(key))

    def mark_seen(self, keys: Sequence[Key]) -> bool:
        """Note that the API has the code with these keys; return whether one is noted already."""
        again = False
        for data_key, value in keys:
            done = self._db.execute(
                "INSERT OR IGNORE INTO seen VALUES (?, ?)", (self._number(data_key), value)
            )
            again = again or done.rowcount == 0
        return again

    def forget_seen(self) -> None:
        """Note no code any more, as before the first document."""
        self._db.execute("DELETE FROM seen")

    def unseen(self, data_key: str) -> Iterator[str]:
        """Yield the values of a data key that changes name and the API does not have."""
        number = self._numbers.get(data_key)
        found = self._db.execute(
            "SELECT DISTINCT value FROM change WHERE data_key = ? AND NOT EXISTS (SELECT 1 FROM "
            "seen WHERE seen.data_key = change.data_key AND seen.value = change.value) "
            "ORDER BY value",
            (number,),
        )
        return (value for (value,) in found)

    @property
    def file_bytes(self) -> int:
        """Return the size of the temporary file."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(size)

    def close(self) -> None:
        """Drop it all."""
        self._db.close()

    def _change(self, row: tuple[int, int, int, int, int, bytes, str, int]) -> Change:
        time, partition, offset, number, fields, texts, event_id, settled = row
        return Change(
            (time, partition, offset, number),
            dict(zip(self._lists[fields], orjson.loads(texts), strict=True)),
            event_id,
            bool(settled),
            self._certain(time, partition, offset),
        )

    def _certain(self, time: int, partition: int, offset: int) -> bool:
        """Return whether no event that is gone can have come after this one."""
        if offset < self.last_gap.get(partition, 0):
            return False
        return all(time >= until for other, until in self.blind_until.items() if other != partition)
