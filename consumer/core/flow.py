"""When to stop reading: the one place where what is unsettled is counted and bounded (I6)."""

from __future__ import annotations

#: Reading starts again when this share of a bound is free, so that it does not stutter at the bound.
RESUME_SHARE = 0.9


class Flow:
    """Rows and bytes that are read and not settled, and whether there is room for more."""

    __slots__ = ("_max_bytes", "_max_rows", "full", "rows", "size")

    def __init__(self, max_rows: int, max_bytes: float) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.rows = 0
        self.size = 0
        self.full = False

    def took(self, rows: int, size: int) -> None:
        """Rows and bytes were taken in."""
        self.rows += rows
        self.size += size

    def gave(self, rows: int, size: int) -> None:
        """Rows and bytes were settled or released."""
        self.rows -= rows
        self.size -= size

    def reads(self) -> bool:
        """Whether there is room to read more."""
        share = RESUME_SHARE if self.full else 1.0
        self.full = self.rows >= self._max_rows * share or self.size >= self._max_bytes * share
        return not self.full

    @property
    def room(self) -> int:
        """Rows that may still be read before the bound; negative: so many more than it are."""
        return self._max_rows - self.rows
