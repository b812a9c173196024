"""A lock queue: who holds one key, shared or alone, and the rows that wait for it (FIFO)."""

from __future__ import annotations

from collections import deque

from consumer.core.model import Record, Row

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
        assert holder not in self.holders, "a key is claimed twice by one holder"
        self.holders[holder] = shared
        self.exclusive += not shared

    def remove(self, holder: Holder) -> bool:
        """Take it from the holders; return whether it did share."""
        assert holder in self.holders, "a claim is released that is not held"
        shared = self.holders.pop(holder)
        self.exclusive -= not shared
        assert self.exclusive >= 0, "fewer than no exclusive holders"
        return shared


class RecordLocks:
    """A record of several rows that is not settled."""

    __slots__ = ("awaited", "held", "rows")

    def __init__(self) -> None:
        self.rows: dict[Row, None] = {}  #: those that are not done
        self.held: list[tuple[str, str]] = []  #: what the record holds for those that are
        self.awaited = False  #: a row of another record waits for it: none of its rows lingers
