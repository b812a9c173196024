"""Who must wait for whom: the one place that decides order.

A row claims its (data key, value) exclusively, from arrival until it is settled, through every retry, split and
parking. Claims are queued in arrival order and granted in that order; a row whose claim is granted is ready.
All claims of a record are queued when it arrives, so a cycle of waiting rows cannot form.

Claims are one per key over all partitions: two partitions can carry one code, and no request may hold it twice.
Shared claims (a row that puts codes into a logistic unit) take their place in the same lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from consumer.core.model import Row, Stage

#: A key is held by a lone row, or by the first of a line of rows.
Held = Row | deque[Row]


class Claims:
    """The held and awaited keys. Cost: a dictionary look-up to queue and one to free."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Held]] = {}

    def __len__(self) -> int:
        """How many keys are held."""
        return sum(map(len, self._held.values()))

    def waiting(self) -> Iterator[Row]:
        """The rows that wait for an earlier one."""
        for keys in self._held.values():
            for held in keys.values():
                if type(held) is deque:
                    yield from islice(held, 1, None)

    def lines(self) -> tuple[int, int]:
        """How many rows wait for an earlier row, and for a lost or orphaned call that may still take effect."""
        earlier = late = 0
        for keys in self._held.values():
            for held in keys.values():
                if type(held) is deque:
                    if held[0].stage in (Stage.GHOST, Stage.DONE):
                        late += len(held) - 1
                    else:
                        earlier += len(held) - 1
        return earlier, late

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
            if held is row:
                ready.append(row)
                continue
            if type(held) is deque:
                held.append(row)
                continue
            assert isinstance(held, Row)
            keys[value] = deque((held, row))
            held.awaited = True
            urged.append(held)
        return ready, urged

    def free(self, rows: Iterable[Row]) -> list[Row]:
        """Free the claims that these rows hold; the rows that became ready by it."""
        ready: list[Row] = []
        by_key = self._held
        for row in rows:
            value = row.value
            if value is None or row.data_key is None:
                continue
            keys = by_key[row.data_key]
            held = keys[value]
            if held is row:
                del keys[value]
                continue
            assert type(held) is deque, "a row frees a claim that it does not hold"
            assert held[0] is row, "a row frees a claim that it does not hold"
            held.popleft()
            following = held[0]
            if len(held) == 1:
                keys[value] = following
            else:
                following.awaited = True
            ready.append(following)
        return ready

    def withdraw(self, rows: Iterable[Row]) -> None:
        """Take waiting rows out of their lines (their partition was taken away); each line is rebuilt once."""
        for data_key, value in {(row.data_key, row.value) for row in rows}:
            assert data_key is not None
            assert value is not None
            keys = self._held[data_key]
            line = keys[value]
            assert type(line) is deque
            holder = line[0]
            kept = deque(row for row in line if row is holder or row.stage != Stage.DONE)
            keys[value] = kept if len(kept) > 1 else holder
            holder.awaited = len(kept) > 1
