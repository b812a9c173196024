"""Leave out the rows of a record that repeat what an earlier one says."""

from __future__ import annotations

from collections.abc import Collection

from consumer.core.model import Row


def without_repeats(rows: list[Row], units: Collection[str]) -> list[Row]:
    """Return the rows without those that only say once more what was said of their key.

    A repeat stays where it may undo what stands in between: an update by a unit, one of a unit's
    children, or one by another data key, which may be of the same code.
    """
    kept: list[Row] = []
    latest: dict[str, Row] = {}  # by key, of the rows that can be repeated
    data_key: str | None = None
    for row in rows:
        if row.data_key != data_key:
            latest.clear()
            data_key = row.data_key
        if row.value is not None:
            last = latest.get(row.value)
            if last is not None and (last.item, last.rejection) == (row.item, row.rejection):
                continue
            if data_key in units:
                latest.clear()
            latest[row.value] = row
        kept.append(row)
    return kept
