"""Rows that go asynchronously: which they are, and which may share a task."""

from __future__ import annotations

from typing import Any

from consumer.core.model import KEYS_OF_ONE_CODE, Event, Record, Row
from consumer.core.rows.maker import RowMaker


class TaskRowMaker(RowMaker):
    """Makes rows that go asynchronously: all, or those whose data key may select many codes.

    Rows with the same data may share a call, so the data is the shape of such a row.
    """

    def __init__(self, *arguments: Any, every: bool, **more: Any) -> None:
        """``every``: all rows, not only those of data keys that may select many codes."""
        super().__init__(*arguments, **more)
        self._every = every

    def rows(self, event: Event, record: Record) -> list[Row]:
        """Return the rows of an event, as every row maker does."""
        rows = super().rows(event, record)
        for row in rows:
            if row.data_key is not None and (self._every or row.data_key not in KEYS_OF_ONE_CODE):
                go_by_task(row)
        return rows


def go_by_task(row: Row) -> None:
    """Let this row go asynchronously from now on."""
    row.by_task = True
    data = sorted((name, value) for name, value in row.item.items() if name != row.data_key)
    row.shape = tuple(text for pair in data for text in pair)
