"""Progress (I8): the rows that wait for no row that is at fault go on, whatever other rows do.

A row waits for another where both claim a key, one of them alone, and the other came first. A
record's rows hold what they claim until all of it is settled. Between partitions, either may come
first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from tests.simulation.documents import Key, PublishedRow
from tests.simulation.published import PublishedRecord
from tests.simulation.witness import Tag


class _Held(NamedTuple):
    """A claim of a record that is not settled for as long as something in it is at fault."""

    tag: Tag
    alone: bool
    at_fault: bool  #: the row itself is, or waits for one that is


def independent(
    records: Mapping[tuple[int, int], PublishedRecord], at_fault: Collection[Tag]
) -> list[Tag]:
    """Return the rows that neither are at fault nor wait for one that is, by partition."""
    waiting = set(at_fault)
    rows = [row for at in sorted(records) for row in records[at].rows]
    records_at_fault = {tag[:2] for tag in waiting}
    held: dict[Key, list[_Held]] = {}
    found = -1
    while found != len(waiting):
        found = len(waiting)
        held.clear()
        for row in rows:
            if row.tag[:2] in records_at_fault:
                for key, alone in claims(row):
                    held.setdefault(key, []).append(_Held(row.tag, alone, row.tag in waiting))
        for row in rows:
            if row.tag not in waiting and any(
                _waits(row, alone, held.get(key, ())) for key, alone in claims(row)
            ):
                waiting.add(row.tag)
                records_at_fault.add(row.tag[:2])
    return [row.tag for row in rows if row.tag not in waiting]


def _waits(row: PublishedRow, alone: bool, held: list[_Held] | tuple[()]) -> bool:
    for other in held:
        if not (alone or other.alone):
            continue
        if other.tag[:2] == row.tag[:2]:
            if other.at_fault and other.tag < row.tag:
                return True
        elif other.tag[0] != row.tag[0] or other.tag < row.tag:
            return True
    return False


def claims(row: PublishedRow) -> list[tuple[Key, bool]]:
    """Return the keys of a row, each with whether it goes with no other."""
    return [(row.key, True), *((key, False) for key in row.joins)]
