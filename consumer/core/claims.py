"""Who must wait for whom: the one place that decides order.

A row *selects* by its (data key, value): an exclusive claim. A row that puts codes into a logistic unit *joins* that
unit: a shared claim on (the unit's field, its value). Exclusive claims go with no other, shared ones with each other.
So a unit's children are packed side by side, and an update by the unit waits until all of them are in, and they for it.

Claims are queued when a record arrives, granted in that order, and held until the row is settled, through every retry,
split and parking. A row whose claims are all granted is ready. All claims of a record are queued at once, so rows
cannot wait for each other in a circle.

Claims are one per key over all partitions: two partitions can carry one code, and no request may hold it twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from consumer.core.model import Row, Stage


class Line:
    """The rows that hold one key, and those that wait for it, in the order of their arrival."""

    __slots__ = ("holders", "shared", "waiting")

    def __init__(self, holder: Row, *, shared: bool) -> None:
        self.holders = {holder: None}  #: one, or any number that share
        self.shared = shared
        self.waiting: deque[tuple[Row, bool]] = deque()  #: each with whether it would share


class Claims:
    """The held and awaited keys. Cost of a row: a look-up to queue and one to free, for each of its claims."""

    def __init__(self) -> None:
        # A key that one row alone has claimed, and no row waits for, is held by the row itself: nearly all are.
        self._held: dict[str, dict[str, Row | Line]] = {}
        self._waiting: dict[Row, None] = {}

    def __len__(self) -> int:
        """How many keys are held."""
        return sum(map(len, self._held.values()))

    def waiting(self) -> Iterator[Row]:
        """The rows that wait for earlier ones."""
        return iter(self._waiting)

    def lines(self) -> tuple[int, int]:
        """How many rows wait for an earlier row, and for a lost or orphaned call that may still take effect."""
        late = sum(self._is_late(row) for row in self._waiting)
        return len(self._waiting) - late, late

    def _is_late(self, row: Row) -> bool:
        for key, value in _claims(row):
            held = self._held[key][value]
            if type(held) is Line and row not in held.holders:
                first = next(iter(held.holders))
                if first.stage in (Stage.GHOST, Stage.DONE):
                    return True
        return False

    def queue(self, rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
        """Queue the claims of arriving rows: (the rows that are ready, the holders that are awaited from now on).

        A row without a key (it is on its way to the dead-letter topic) claims nothing and is ready.
        """
        ready: list[Row] = []
        urged: list[Row] = []
        by_key = self._held
        for row in rows:
            value = row.value
            if value is None or row.data_key is None:
                ready.append(row)
                continue
            keys = by_key.get(row.data_key)
            if keys is None:
                keys = by_key[row.data_key] = {}
            held = keys.setdefault(value, row)
            if held is row and not row.joins:
                ready.append(row)  # as nearly all are
                continue
            if held is not row:
                _wait(keys, value, held, row, urged, shared=False)
            for join in row.joins:
                self._join(row, *join, urged)
            if row.blocked:
                self._waiting[row] = None
            else:
                ready.append(row)
        return ready, urged

    def _join(self, row: Row, key: str, value: str, urged: list[Row]) -> None:
        keys = self._held.setdefault(key, {})
        held = keys.get(value)
        if held is None:
            keys[value] = Line(row, shared=True)
        elif type(held) is Line and held.shared and not held.waiting:
            held.holders[row] = None
        else:
            _wait(keys, value, held, row, urged, shared=True)

    def free(self, rows: Iterable[Row]) -> list[Row]:
        """Free the claims that these rows hold; the rows that became ready by it."""
        ready: list[Row] = []
        by_key = self._held
        for row in rows:
            value = row.value
            if value is None or row.data_key is None:
                continue
            keys = by_key[row.data_key]
            if keys[value] is row:
                del keys[value]
            else:
                self._leave(keys, value, row, ready)
            for key, joined in row.joins:
                self._leave(by_key[key], joined, row, ready)
        return ready

    def _leave(self, keys: dict[str, Row | Line], value: str, row: Row, ready: list[Row]) -> None:
        """A row leaves the holders of a key; the next in line get it, when it was the last."""
        line = keys[value]
        assert type(line) is Line, "a row frees a claim that it does not hold"
        assert row in line.holders, "a row frees a claim that it does not hold"
        del line.holders[row]
        if line.holders:
            return
        if not line.waiting:
            del keys[value]
            return
        line.shared = line.waiting[0][1]
        self._admit(line, ready)
        if not line.shared and not line.waiting:
            keys[value] = next(iter(line.holders))

    def _admit(self, line: Line, ready: list[Row]) -> None:
        """The first in line get the key: one row alone, or all that can share it."""
        granted: list[Row] = []
        while line.waiting and line.waiting[0][1] == line.shared and (line.shared or not line.holders):
            row, _ = line.waiting.popleft()
            line.holders[row] = None
            granted.append(row)
        for row in granted:
            row.awaited = row.awaited or bool(line.waiting)
            row.blocked -= 1
            if not row.blocked:
                del self._waiting[row]
                ready.append(row)

    def withdraw(self, rows: Iterable[Row]) -> list[Row]:
        """Take waiting rows, which are done, out of their lines (their partition was taken away).

        The rows that became ready by it: a waiting row may have held some of its claims already.
        """
        ready: list[Row] = []
        held: list[tuple[str, str, Row]] = []
        lines: dict[tuple[str, str], None] = {}
        for row in rows:
            del self._waiting[row]
            for key, value in _claims(row):
                line = self._held[key][value]
                if line is row or (type(line) is Line and row in line.holders):
                    held.append((key, value, row))
                else:
                    lines[key, value] = None
        for key, value in lines:
            line = self._held[key][value]
            assert type(line) is Line
            line.waiting = deque(pair for pair in line.waiting if pair[0].stage != Stage.DONE)
        for key, value in lines:
            line = self._held[key][value]
            assert type(line) is Line
            if line.shared:
                self._admit(line, ready)
            if not line.waiting:
                for holder in line.holders:
                    holder.awaited = self._is_awaited(holder)
        for key, value, row in held:
            keys = self._held[key]
            if keys[value] is row:
                del keys[value]
            else:
                self._leave(keys, value, row, ready)
        return ready

    def _is_awaited(self, row: Row) -> bool:
        found = (self._held[key].get(value) for key, value in _claims(row))
        return any(type(line) is Line and row in line.holders and line.waiting for line in found)


def _claims(row: Row) -> Iterator[tuple[str, str]]:
    if row.data_key is not None and row.value is not None:
        yield row.data_key, row.value
        yield from row.joins


def _wait(
    keys: dict[str, Row | Line], value: str, held: Row | Line, row: Row, urged: list[Row], *, shared: bool
) -> None:
    """A row takes its place in a key's line; those that hold the key are awaited from now on."""
    if type(held) is not Line:
        assert isinstance(held, Row)
        held = keys[value] = Line(held, shared=False)
    if not held.waiting:
        for holder in held.holders:
            if not holder.awaited:
                holder.awaited = True
                urged.append(holder)
    held.waiting.append((row, shared))
    row.blocked += 1
