"""Fold a code's changes, in their order, into what the API should hold for it.

A code is changed by the rows that name it, and by the rows that name a unit it is in at that time
(any data key that is a field of codes works so). Which unit it is in is itself told by a field.

What cannot be known is not claimed. A field is *open* when an event that sets it may not have been
uploaded when the API was asked; it is *uncertain* when events that are gone may have set it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

#: The order of changes: time (a partition's never goes back), partition, offset, row of the record.
Moment = tuple[int, int, int, int]
#: A data key and its value.
Key = tuple[str, str]


class Change(NamedTuple):
    """One row of an event: what it sets."""

    moment: Moment
    fields: Mapping[str, str]
    event_id: str
    settled: bool  #: it was uploaded before the API was asked
    certain: bool  #: no event that is gone can have replaced it

    @property
    def partition(self) -> int:
        """Return the number of its partition in this run."""
        return self.moment[1]

    @property
    def offset(self) -> int:
        """Return its offset."""
        return self.moment[2]


class Expected(NamedTuple):
    """The expected value of one field of a code."""

    value: str
    change: Change  #: that set it last
    older: tuple[str, ...]  #: what events set before it, the oldest first
    open: bool
    certain: bool


class _Field:
    """One field while the changes are folded."""

    __slots__ = ("certain", "change", "older", "open", "value")

    def __init__(self) -> None:
        self.value: str | None = None  # None: no change has set it
        self.change: Change | None = None
        self.older: list[str] = []
        self.open = False
        self.certain = True


class Fold:
    """Folds the changes of one code after another.

    ``by_unit``: returns the changes that name this data key and value, in their order.
    ``selectors``: the data keys that are fields of codes, such as ``case_code``.
    """

    def __init__(
        self, by_unit: Callable[[Key], Iterable[Change]], selectors: Collection[str]
    ) -> None:
        self._by_unit = by_unit
        self._selectors = frozenset(selectors)

    def expected(self, own: Iterable[Change], held: Mapping[str, str]) -> dict[str, Expected]:
        """Return what each field should hold that any change of the code sets.

        ``own``: the changes that name the code. ``held``: the units that the API says it is in;
        they hold from the beginning where no event says how it came into them, but then prove
        nothing, as nobody knows since when.
        """
        own = list(own)
        fields = self._folded(own, {})
        guessed = {
            name: held[name] for name in self._selectors if held.get(name) and name not in fields
        }
        if guessed:
            fields = self._folded(own, guessed)
        return {
            name: Expected(
                field.value,
                field.change,
                tuple(field.older),
                field.open,
                field.certain,
            )
            for name, field in fields.items()
            if field.value is not None and field.change is not None
        }

    def _folded(self, own: Iterable[Change], guessed: Mapping[str, str]) -> dict[str, _Field]:
        """Return the fields after all changes; ``guessed``: units that it is in from the first."""
        fields: dict[str, _Field] = {}
        queue: list[tuple[Moment, Key | None, Change]] = []
        seen: set[tuple[Moment, Key | None]] = set()

        def add(changes: Iterable[Change], via: Key | None, after: Moment | None) -> None:
            for change in changes:
                place = (change.moment, via)
                if (after is None or change.moment > after) and place not in seen:
                    seen.add(place)
                    heapq.heappush(queue, (change.moment, via, change))

        add(own, None, None)
        for name, value in guessed.items():
            add(self._by_unit((name, value)), (name, value), None)
        while queue:
            _, via, change = heapq.heappop(queue)
            is_in, is_open, certain = _membership(via, fields, guessed)
            if not is_in:
                if is_open:
                    for name in change.fields:
                        fields.setdefault(name, _Field()).open = True
                continue
            for name, value in change.fields.items():
                field = fields.setdefault(name, _Field())
                _set(field, value, change, is_open=is_open, certain=certain)
                if name in self._selectors and value:
                    add(self._by_unit((name, value)), (name, value), change.moment)
        return fields


def _membership(
    via: Key | None, fields: Mapping[str, _Field], guessed: Mapping[str, str]
) -> tuple[bool, bool, bool]:
    """Return whether a change by unit reaches the code, whether that is open, and certain."""
    if via is None:
        return True, False, True
    name, value = via
    field = fields.get(name)
    if field is None or field.value is None:
        return guessed.get(name) == value, False, False
    return field.value == value, field.open, field.certain


def _set(field: _Field, value: str, change: Change, *, is_open: bool, certain: bool) -> None:
    if field.value is not None:
        field.older.append(field.value)
    field.value, field.change = value, change
    # What is open stays so under later changes: only in one partition are rows sent in their order.
    field.open = field.open or is_open or not change.settled
    field.certain = certain and change.certain
