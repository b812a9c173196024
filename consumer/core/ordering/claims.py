"""Order: a lock table with shared and exclusive locks, FIFO per key, deadlock-free.

A record queues for all locks of all its rows at once, when it arrives. So rows cannot wait for each
other in a circle (conservative locking).

A row *selects* by its (data key, value): an exclusive claim. A row that puts codes into a logistic
unit *joins* that unit: a shared claim on (the unit's field, its value). Exclusive claims go with no
other, shared ones with each other. So a unit's children are packed side by side, and an update by
the unit waits until all of them are in, and they for it.

Claims are granted in the order of arrival, and held until the *record* is settled, through every
retry, division and parking. A record of several rows is sent again whole after a restart as long as
one of its rows is not settled. So what its rows hold, the record goes on holding when they are
done, exclusively if one of them did: such a repeat would else undo what later records said. And no
record is settled before an earlier one of its codes. What a record holds does not keep out its own
rows: the next that waits for the key goes when the one before it is done.

A row whose claims are all granted is ready. It waits for earlier records and for earlier rows of
its own record, for nothing else.

Claims are one per key over all partitions: two partitions can carry one code, and no request may
hold it twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from consumer.core.model import Record, Row, Stage
from consumer.core.ordering.lock_queue import Holder, LockQueue, RecordLocks


class Claims:
    """The lock table (I2, I4).

    A row costs a look-up to acquire and one to release each of its claims.
    """

    def __init__(self) -> None:
        # A key that one row alone (or one record) has claimed, and no row waits for, is held by
        # that itself: nearly all are. By data key, which events name: one without any held key is
        # dropped.
        self._held: dict[str, dict[str, Holder | LockQueue]] = {}
        self._waiting: dict[Row, None] = {}
        self._records: dict[Record, RecordLocks] = {}

    def __len__(self) -> int:
        """Return how many keys are held."""
        return sum(map(len, self._held.values()))

    def waiting(self) -> Iterator[Row]:
        """Yield the rows that wait for earlier ones."""
        return iter(self._waiting)

    def waiting_counts(self) -> tuple[int, int]:
        """Return how many rows wait for an earlier row, and how many for the call of one.

        Such a call, lost or of a revoked row, may still take effect.
        """
        late: set[Row] = set()
        if self._waiting:
            for held in chain.from_iterable(keys.values() for keys in self._held.values()):
                if type(held) is LockQueue and held.waiting:
                    first = next(iter(held.holders))
                    if type(first) is Row and first.stage in (Stage.CLAIM_HELD, Stage.DONE):
                        late.update(row for row, _ in held.waiting)
        return len(self._waiting) - len(late), len(late)

    def holder_before(self, row: Row) -> Holder | None:
        """Return who holds a key that a waiting row waits for; None: it does not wait."""
        for key, value in _claims(row):
            held = self._held[key][value]
            if type(held) is LockQueue and row not in held.holders:
                return next(iter(held.holders))
        return None

    def expect(self, record: Record) -> None:
        """Make ready for the rows of a record that has several."""
        assert record not in self._records, "a record is expected twice"
        self._records[record] = RecordLocks()

    def acquire(self, rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
        """Queue for the claims of arriving rows, those of a record all at once.

        Return the rows that are ready, and those that are awaited from now on. A row that names no
        code (it is on its way to the dead-letter topic) claims nothing and is ready.
        """
        ready: list[Row] = []
        expedited: list[Row] = []
        by_key = self._held
        several = self._records
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
        """Let a row wait for a key; what stands right before it is awaited from now on."""
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
        elif self._records:
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
        several = self._records.get(record)
        if several is None or several.awaited or record is row.record:
            return
        several.awaited = True
        for each in several.rows:
            if not each.awaited:
                each.awaited = True
                expedited.append(each)

    def release(self, rows: Iterable[Row]) -> list[Row]:
        """Release the claims of rows that are done; return the rows that became ready by it (I2).

        What a row of a record that is not settled holds stays with the record.
        """
        ready: list[Row] = []
        by_key = self._held
        several = self._records
        for row in rows:
            if several and (own := several.get(row.record)) is not None:
                if not row.record.settled:
                    self._keep(row, own, ready)
                    continue
                self._release_record(row.record, ready)
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

    def release_records(self, records: Iterable[Record]) -> list[Row]:
        """Release what these records, settled or revoked, hold for rows that are done.

        Return the rows that became ready by it. Rows of theirs that are still in flight, or of
        which a lost call may still take effect, keep their claims.
        """
        ready: list[Row] = []
        for record in records:
            if record in self._records:
                self._release_record(record, ready)
        return ready

    def _release_record(self, record: Record, ready: list[Row]) -> None:
        by_key = self._held
        for key, value in self._records.pop(record).held:
            keys = by_key[key]
            if keys[value] is record and len(keys) > 1:
                del keys[value]
            else:
                self._leave(key, value, record, ready)

    def _keep(self, row: Row, locks: RecordLocks, ready: list[Row]) -> None:
        """Let a record that is not settled hold what a row of it that is done held."""
        record = row.record
        locks.rows.pop(row, None)
        for claim in _claims(row):
            key, value = claim
            keys = self._held[key]
            queue = keys[value]
            if type(queue) is not LockQueue:
                assert queue is row, "a claim is released that is not held"
                keys[value] = record
                locks.held.append(claim)
                continue
            shared = queue.remove(row)
            if record in queue.holders:
                shared = queue.remove(record) and shared
            else:
                locks.held.append(claim)
            queue.add(record, shared=shared)
            self._admit(queue, ready)

    def _leave(self, key: str, value: str, holder: Holder, ready: list[Row]) -> None:
        """Take one from the holders of a key; when it was the last, the first that wait get it."""
        keys = self._held[key]
        queue = keys[value]
        if type(queue) is LockQueue:
            queue.remove(holder)
            self._admit(queue, ready)
            if queue.exclusive and len(queue.holders) == 1 and not queue.waiting:
                keys[value] = next(iter(queue.holders))
            if queue.holders:
                return
        else:
            assert queue is holder, "a claim is released that is not held"
        del keys[value]
        if not keys:
            del self._held[key]

    def _admit(self, queue: LockQueue, ready: list[Row]) -> None:
        """Grant a key to the first that wait, if they can have it: one alone, or all that share."""
        granted: list[Row] = []
        while queue.waiting and queue.admits(queue.waiting[0][0], shared=queue.waiting[0][1]):
            row, shared = queue.waiting.popleft()
            queue.add(row, shared=shared)
            granted.append(row)
        for row in granted:
            row.awaited = row.awaited or bool(queue.waiting)
            row.blocked -= 1
            assert row.blocked >= 0, "a row is granted more claims than it waits for"
            if not row.blocked:
                del self._waiting[row]
                ready.append(row)

    def withdraw(self, rows: Iterable[Row]) -> list[Row]:
        """Take waiting rows of revoked partitions, which are done, out of their queues (fencing).

        Return the rows that became ready by it: a waiting row may have held some of its claims.
        """
        ready: list[Row] = []
        held: list[tuple[str, str, Row]] = []
        queues: dict[tuple[str, str], None] = {}
        for row in rows:
            del self._waiting[row]
            for key, value in _claims(row):
                queue = self._held[key][value]
                if queue is row or (type(queue) is LockQueue and row in queue.holders):
                    held.append((key, value, row))
                else:
                    queues[key, value] = None
        for key, value in queues:
            queue = self._held[key][value]
            assert type(queue) is LockQueue
            queue.waiting = deque(pair for pair in queue.waiting if pair[0].stage != Stage.DONE)
        for key, value in queues:
            queue = self._held[key][value]
            assert type(queue) is LockQueue
            self._admit(queue, ready)
            if not queue.waiting:
                for holder in queue.holders:
                    if isinstance(holder, Row) and holder.record not in self._records:
                        holder.awaited = self._is_awaited(holder)
        for key, value, row in held:
            self._leave(key, value, row, ready)
        return ready

    def _is_awaited(self, row: Row) -> bool:
        found = (self._held[key].get(value) for key, value in _claims(row))
        return any(
            type(queue) is LockQueue and row in queue.holders and queue.waiting for queue in found
        )


def _claims(row: Row) -> tuple[tuple[str, str], ...]:
    names_none = row.rejection is not None and not _has_key(row)
    if names_none or row.data_key is None or row.value is None:
        return ()
    return ((row.data_key, row.value), *row.joins)


def _has_key(row: Row) -> bool:
    """Return whether a row names a code; one that does not was rejected when it was made."""
    return row.data_key is not None and bool(row.value) and not str(row.value).isspace()
