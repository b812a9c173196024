"""Flow control: the one place where what is unsettled is counted and bounded (I6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

P = TypeVar("P")

#: Reading starts again when less than this share of a bound is taken, so that it does not stutter
#: at the bound.
RESUME_SHARE = 0.9
#: How rows that cannot go share the bounds: half belongs to the owned partitions, to each as much.
#: Of the other half a partition may take so many times as much as is left of it; once it is paused
#: for that, it is read on when it holds only so many times as much. So one hot partition gets most
#: of the bound, and whatever some do, all others have room (dynamic thresholds).
QUOTA_FACTOR = 4.0
QUOTA_RESUME_FACTOR = 2.0


class Flow:
    """Rows and bytes that are read and not settled, and whether there is room for more (I6)."""

    __slots__ = ("_idle", "_max_bytes", "_max_rows", "full", "rows", "size")

    def __init__(self, max_rows: int, max_bytes: float) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.rows = 0
        self.size = 0
        self.full = False
        self._idle = (0.0, 0.0)  # rows and bytes that could not go when it was last looked

    def reserve(self, rows: int, size: int) -> None:
        """Count rows and bytes that were taken in."""
        self.rows += rows
        self.size += size
        assert self.rows >= 0, "fewer than no rows are unsettled"
        assert self.size >= 0, "fewer than no bytes are unsettled"

    def release(self, rows: int, size: int) -> None:
        """Count rows and bytes that were settled or released."""
        self.rows -= rows
        self.size -= size
        assert self.rows >= 0, "more rows are settled than were read"
        assert self.size >= 0, "more bytes are settled than were read"

    def reads(self) -> bool:
        """Return whether there is room to read more."""
        rows, size = self._idle if self.full else (0.0, 0.0)
        share = RESUME_SHARE if self.full else 1.0
        self.full = self.rows >= _end(rows, self._max_rows, share) or self.size >= _end(
            size, self._max_bytes, share
        )
        return not self.full

    @property
    def room(self) -> int:
        """Return the rows that may still be read before the bound; negative: it is passed."""
        return self._max_rows - self.rows

    @property
    def room_at_once(self) -> int:
        """Return the records that may be read at once: not all that is free for one partition."""
        free = self._max_rows - self.rows
        return max(1, free // 8 if self.near_limit else min(free, self._max_rows // 2))

    @property
    def near_limit(self) -> bool:
        """Return whether so much is taken that one partition may be over its quota."""
        share = 0.5 * QUOTA_FACTOR / (1.0 + QUOTA_FACTOR)
        return self.rows > share * self._max_rows or self.size > share * self._max_bytes

    def over_quota(
        self, idle: Mapping[P, tuple[int, int]], paused: Collection[P], owned: int
    ) -> set[P]:
        """Return the partitions to pause, so that the others have room (I8).

        ``idle``: rows and bytes of each partition that cannot go now. ``paused``: those that are
        paused for this already. ``owned``: how many partitions there are.
        """
        rows = {partition: float(held[0]) for partition, held in idle.items()}
        sizes = {partition: float(held[1]) for partition, held in idle.items()}
        over_quota = _over_quota(rows, paused, self._max_rows, owned) | _over_quota(
            sizes, paused, self._max_bytes, owned
        )
        self._idle = sum(rows.values()), sum(sizes.values())
        return over_quota


def _end(idle: float, bound: float, share: float) -> float:
    """Return up to where is read: what cannot go, and a share of what rows that can go may take."""
    return min(bound, idle + (bound - idle) * share)  # records of many rows may be beyond the bound


def _over_quota(held: Mapping[P, float], paused: Collection[P], bound: float, owned: int) -> set[P]:
    own = 0.5 * bound / (owned + 1)
    more = {partition: count - own for partition, count in held.items() if count > own}
    left = max(0.0, 0.5 * bound - sum(more.values()))
    return {
        p
        for p, count in more.items()
        if count > left * (QUOTA_RESUME_FACTOR if p in paused else QUOTA_FACTOR)
    }
