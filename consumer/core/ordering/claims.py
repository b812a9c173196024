"""Who must wait for whom: the one place that decides order.

A row *selects* by its (data key, value): an exclusive claim. A row that puts codes into a logistic
unit *joins* that unit: a shared claim on (the unit's field, its value). Exclusive claims go with no
other, shared ones with each other. So a unit's children are packed side by side, and an update by
the unit waits until all of them are in, and they for it.

Claims are queued when a record arrives, granted in that order, and held until the *record* is
settled, through every retry, split and parking. A record of several rows is sent again whole after
a restart as long as one of its rows is not settled. So what its rows hold, the record goes on
holding when they are done, exclusively if one of them did: such a repeat would else undo what later
records said. And no record is settled before an earlier one of its codes. What a record holds does
not keep out its own rows: the next that waits for the key goes when the one before it is done.

A row whose claims are all granted is ready. It waits for earlier records and for earlier rows of
its own record, for nothing else. All claims of a record are queued at once, so rows cannot wait for
each other in a circle.

Claims are one per key over all partitions: two partitions can carry one code, and no request may
hold it twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from consumer.core.model import Record, Row, Stage

#: Who holds a key: a row, or the record of rows that are done.
Holder = Row | Record


class LockQueue:
    """Who holds one key, and the rows that wait for it, in the order of their arrival."""

    __slots__ = ("exclusive", "holders", "waiting")

    def __init__(self, holder: Holder, *, shared: bool) -> None:
        self.holders: dict[Holder, bool] = {holder: shared}  #: each with whether it shares
        self.exclusive = int(not shared)  #: holders that do not
        self.waiting: deque[tuple[Row, bool]] = deque()  #: each with whether it would share

    def admits(self, row: Row, *, shared: bool) -> bool:
        """Return whether a row can hold the key beside those that do (I4).

        What its own record holds does not keep it out.
        """
        own = self.holders.get(row.record)
        if shared:
            return self.exclusive == (own is False)
        return len(self.holders) == (own is not None)

    def add(self, holder: Holder, *, shared: bool) -> None:
        """Make it one of the holders."""
        self.holders[holder] = shared
        self.exclusive += not shared

    def remove(self, holder: Holder) -> bool:
        """Take it from the holders; return whether it did share."""
        assert holder in self.holders, "a row frees a claim that it does not hold"
        shared = self.holders.pop(holder)
        self.exclusive -= not shared
        return shared


class RecordLocks:
    """A record of several rows that is not settled."""

    __slots__ = ("awaited", "held", "rows")

    def __init__(self) -> None:
        self.rows: dict[Row, None] = {}  #: those that are not done
        self.held: list[tuple[str, str]] = []  #: what the record holds for those that are
        self.awaited = False  #: a row of another record waits for it: none of its rows lingers


class Claims:
    """The held and awaited keys (I2, I4).

    Cost of a row: a look-up to queue and one to free, for each of its claims.
    """

    def __init__(self) -> None:
        # A key that one row alone (or one record) has claimed, and no row waits for, is held by
        # that itself: nearly all are. By data key, which events name: one without any held key is
        # dropped.
        self._held: dict[str, dict[str, Holder | LockQueue]] = {}
        self._waiting: dict[Row, None] = {}
        self._several: dict[Record, RecordLocks] = {}

    def __len__(self) -> int:
        """Return how many keys are held."""
        return sum(map(len, self._held.values()))

    def waiting(self) -> Iterator[Row]:
        """The rows that wait for earlier ones."""
        return iter(self._waiting)

    def waiting_counts(self) -> tuple[int, int]:
        """How many rows wait for an earlier row, and for a lost or orphaned call that may still
        take effect.
        """
        late = sum(self._is_late(row) for row in self._waiting)
        return len(self._waiting) - late, late

    def _is_late(self, row: Row) -> bool:
        for key, value in _claims(row):
            held = self._held[key][value]
            if type(held) is LockQueue and row not in held.holders:
                first = next(iter(held.holders))
                if type(first) is Row and first.stage in (Stage.CLAIM_HELD, Stage.DONE):
                    return True
        return False

    def expect(self, record: Record) -> None:
        """Make ready for the rows of a record that has several."""
        self._several[record] = RecordLocks()

    def acquire(self, rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
        """Queue the claims of arriving rows.

        Return (those that are ready, rows awaited from now on).

        All rows of a record come at once. One that names no code (it is on its way to the
        dead-letter topic) claims nothing and is ready.
        """
        ready: list[Row] = []
        expedited: list[Row] = []
        by_key = self._held
        several = self._several
        for row in rows:
            if row.rejection is not None and not _has_key(row):
                ready.append(row)
                continue
            if several and (own := several.get(row.record)) is not None:
                own.rows[row] = None
            key: Any = row.data_key
            value: Any = row.value
            keys = by_key.get(key)
            if keys is None:
                keys = by_key[key] = {}
            held = keys.setdefault(value, row)
            if held is row and not row.joins:
                ready.append(row)  # as nearly all are
                continue
            if held is not row:
                self._wait(keys, value, held, row, expedited, shared=False)
            for join in row.joins:
                self._join(row, *join, expedited)
            if row.blocked:
                self._waiting[row] = None
            else:
                ready.append(row)
        return ready, expedited

    def _join(self, row: Row, key: str, value: str, expedited: list[Row]) -> None:
        keys = self._held.setdefault(key, {})
        held = keys.get(value)
        if held is None:
            keys[value] = LockQueue(row, shared=True)
        elif type(held) is LockQueue and not held.waiting and held.admits(row, shared=True):
            held.add(row, shared=True)
        else:
            self._wait(keys, value, held, row, expedited, shared=True)

    def _wait(
        self,
        keys: dict[str, Holder | LockQueue],
        value: str,
        held: Holder | LockQueue,
        row: Row,
        expedited: list[Row],
        *,
        shared: bool,
    ) -> None:
        """Put a row into a key's line; what stands right before it is awaited from now on."""
        if type(held) is not LockQueue:
            assert isinstance(held, (Row, Record))
            held = keys[value] = LockQueue(held, shared=False)
        if not held.waiting:
            for holder in held.holders:
                if isinstance(holder, Record):
                    self._expedite(holder, row, expedited)
                    continue
                if not holder.awaited:
                    holder.awaited = True
                    expedited.append(holder)
                self._expedite(holder.record, row, expedited)
        elif self._several:
            # Those that wait are awaited when they get the key; the other rows of their records
            # may be in the lanes already. Behind one that shares, an exclusive row waits for all
            # before it that do.
            _, beside = held.waiting[-1]
            for ahead, shares in reversed(held.waiting):
                if shares != beside:
                    break
                self._expedite(ahead.record, row, expedited)
                if shared or not shares:
                    break
        held.waiting.append((row, shared))
        row.blocked += 1

    def _expedite(self, record: Record, row: Row, expedited: list[Row]) -> None:
        """Let no row of a record linger any more: ``row`` waits for it, so for all its rows."""
        several = self._several.get(record)
        if several is None or several.awaited or record is row.record:
            return
        several.awaited = True
        for each in several.rows:
            if not each.awaited:
                each.awaited = True
                expedited.append(each)

    def free(self, rows: Iterable[Row]) -> list[Row]:
        """Free the claims of rows that are done; return the rows that became ready by it (I2).

        What a row of a record that is not settled holds stays with the record.
        """
        ready: list[Row] = []
        by_key = self._held
        several = self._several
        for row in rows:
            if several and (own := several.get(row.record)) is not None:
                if not row.record.settled:
                    self._keep(row, own, ready)
                    continue
                self._release(row.record, ready)
            if row.rejection is not None and not _has_key(row):
                continue
            key: Any = row.data_key
            value: Any = row.value
            keys = by_key[key]
            if keys[value] is row:
                del keys[value]
                if not keys:
                    del by_key[key]
            else:
                self._leave(key, value, row, ready)
            for unit, joined in row.joins:
                self._leave(unit, joined, row, ready)
        return ready

    def release(self, records: Iterable[Record]) -> list[Row]:
        """Free what these records, settled or taken away, hold for rows that are done.

        Return the rows that became ready by it. Rows of theirs that are still in flight, or of
        which a lost call may still take effect, keep their claims.
        """
        ready: list[Row] = []
        for record in records:
            if record in self._several:
                self._release(record, ready)
        return ready

    def _release(self, record: Record, ready: list[Row]) -> None:
        by_key = self._held
        for key, value in self._several.pop(record).held:
            keys = by_key[key]
            if keys[value] is record and len(keys) > 1:
                del keys[value]
            else:
                self._leave(key, value, record, ready)

    def _keep(self, row: Row, several: RecordLocks, ready: list[Row]) -> None:
        """Let a record that is not settled hold what a row of it did that is done."""
        record = row.record
        several.rows.pop(row, None)
        for claim in _claims(row):
            key, value = claim
            keys = self._held[key]
            line = keys[value]
            if type(line) is not LockQueue:
                assert line is row, "a row frees a claim that it does not hold"
                keys[value] = record
                several.held.append(claim)
                continue
            shared = line.remove(row)
            if record in line.holders:
                shared = line.remove(record) and shared
            else:
                several.held.append(claim)
            line.add(record, shared=shared)
            self._admit(line, ready)

    def _leave(self, key: str, value: str, holder: Holder, ready: list[Row]) -> None:
        """One leaves the holders of a key; the next in line get it, when it was the last."""
        keys = self._held[key]
        line = keys[value]
        if type(line) is LockQueue:
            line.remove(holder)
            self._admit(line, ready)
            if line.exclusive and len(line.holders) == 1 and not line.waiting:
                keys[value] = next(iter(line.holders))
            if line.holders:
                return
        else:
            assert line is holder, "a row frees a claim that it does not hold"
        del keys[value]
        if not keys:
            del self._held[key]

    def _admit(self, line: LockQueue, ready: list[Row]) -> None:
        """The first in line get the key if they can: one row alone, or all that can share it."""
        granted: list[Row] = []
        while line.waiting and line.admits(line.waiting[0][0], shared=line.waiting[0][1]):
            row, shared = line.waiting.popleft()
            line.add(row, shared=shared)
            granted.append(row)
        for row in granted:
            row.awaited = row.awaited or bool(line.waiting)
            row.blocked -= 1
            if not row.blocked:
                del self._waiting[row]
                ready.append(row)

    def withdraw(self, rows: Iterable[Row]) -> list[Row]:
        """Take waiting rows of a partition that was taken away out of their lines (fencing).

        The rows that became ready by it: a waiting row may have held some of its claims already.
        """
        ready: list[Row] = []
        held: list[tuple[str, str, Row]] = []
        lines: dict[tuple[str, str], None] = {}
        for row in rows:
            del self._waiting[row]
            for key, value in _claims(row):
                line = self._held[key][value]
                if line is row or (type(line) is LockQueue and row in line.holders):
                    held.append((key, value, row))
                else:
                    lines[key, value] = None
        for key, value in lines:
            line = self._held[key][value]
            assert type(line) is LockQueue
            line.waiting = deque(pair for pair in line.waiting if pair[0].stage != Stage.DONE)
        for key, value in lines:
            line = self._held[key][value]
            assert type(line) is LockQueue
            self._admit(line, ready)
            if not line.waiting:
                for holder in line.holders:
                    if isinstance(holder, Row) and holder.record not in self._several:
                        holder.awaited = self._is_awaited(holder)
        for key, value, row in held:
            self._leave(key, value, row, ready)
        return ready

    def _is_awaited(self, row: Row) -> bool:
        found = (self._held[key].get(value) for key, value in _claims(row))
        return any(
            type(line) is LockQueue and row in line.holders and line.waiting for line in found
        )


def _claims(row: Row) -> tuple[tuple[str, str], ...]:
    if (
        row.data_key is None
        or row.value is None
        or (row.rejection is not None and not _has_key(row))
    ):
        return ()
    return ((row.data_key, row.value), *row.joins)


def _has_key(row: Row) -> bool:
    """Return whether a row names a code; one that does not was rejected when it was made."""
    return row.data_key is not None and bool(row.value) and not str(row.value).isspace()
