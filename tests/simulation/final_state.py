"""The final state: what the API holds in the end, beside an independent replay of what was
published.

Each partition is looked at as if the API held its rows alone. Order is promised within a partition;
so what one says of a code that several partitions write is compared with what that partition
published. Of each key, and of each code that was put into a unit, it is known which row set each
field last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.simulation.documents import UNIT, Key, PublishedRow
from tests.simulation.witness import Tag

#: What is set: by which row and, for a code by its unit, through which.
Place = tuple[int, Key]
Reach = tuple[int, Key, Key]


@dataclass
class Fate:
    """The outcome of the rows, as far as it bears on what the API holds."""

    floor: Callable[[int], int]  #: by partition: what was published before is not the group's
    rejected: Callable[[Tag], bool]  #: whether it has a dead letter, so that it does not count
    #: Whether the answer that settled it is one to a call that took effect for it.
    sure: Callable[[Tag], bool]


@dataclass
class Difference:
    """A field that does not stand as it should."""

    what: str
    field: str
    held: Tag | None
    expected: Tag | None
    late: bool  #: what stands there was set by a call that took effect after its owner's time

    def __str__(self) -> str:
        return (
            f"in the end {self.field} of {self.what} stands as {self.held} said, "
            f"not as {self.expected} did"
        )


@dataclass
class FinalState:
    """The rows that took effect, in the order in which they did."""

    #: Codes that an update by their unit reached which was published before they were put in.
    reached_later: int = 0
    _held: dict[Place, dict[str, tuple[Tag, bool]]] = field(default_factory=dict)
    _reached: dict[Reach, dict[str, tuple[Tag, bool]]] = field(default_factory=dict)
    _members: dict[Place, dict[Key, None]] = field(default_factory=dict)

    def applied(self, row: PublishedRow, *, late: bool) -> None:
        """Let a row take effect.

        ``late``: by a call of an owner whose time is over, which nobody could hold back.
        """
        number = row.tag[0]
        said = (row.tag, late)
        held = self._held.setdefault((number, row.key), {})
        for name in row.fields:
            held[name] = said
        for unit in row.joins:
            self._members.setdefault((number, unit), {})[row.key] = None
        if row.key[0] == UNIT:
            for code in self._members.get((number, row.key), ()):
                reached = self._reached.setdefault((number, row.key, code), {})
                for name in row.fields:
                    reached[name] = said

    def differences(self, rows: Iterable[PublishedRow], fate: Fate) -> list[Difference]:
        """Compare with a replay of the published rows, in the order of their partitions."""
        replay = _Replay(fate)
        for row in rows:
            replay.take(row)
        found: list[Difference] = []
        for (number, key), fields in replay.held.items():
            held = self._held.get((number, key), {})
            what = f"{key} by partition {number}"
            found += _compare(what, fields, held)
        for (number, unit, code), fields in replay.reached.items():
            # there is no order with leaving or changing a unit
            if len(replay.units[number, code]) == 1:
                held = self._reached.get((number, unit, code), {})
                what = f"{code}, which was put into {unit}, by partition {number}"
                found += _compare(what, fields, held)
        self.reached_later = len(self._reached.keys() - replay.reached.keys())
        return found


def _compare(
    what: str, fields: dict[str, list[Tag | None]], held: dict[str, tuple[Tag, bool]]
) -> list[Difference]:
    found = []
    for name, allowed in fields.items():
        tag, late = held.get(name, (None, False))
        if tag not in allowed and None not in allowed:
            found.append(Difference(what, name, tag, allowed[0], late))
    return found


class _Replay:
    """The rows that may have set each field last, as the rows come one after the other.

    The first of them did for certain. The others may have, or not: an answer left them out, or they
    took effect and were rejected later. None: perhaps nobody did.
    """

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self.held: dict[Place, dict[str, list[Tag | None]]] = {}
        self.reached: dict[Reach, dict[str, list[Tag | None]]] = {}
        self.units: dict[Place, set[Key]] = {}
        self._members: dict[Place, dict[Key, bool]] = {}

    def take(self, row: PublishedRow) -> None:
        fate, number = self._fate, row.tag[0]
        if row.invalid or row.tag[1] < fate.floor(number):
            return
        sure = fate.sure(row.tag) and not fate.rejected(row.tag)
        _set(self.held.setdefault((number, row.key), {}), row, sure=sure)
        for unit in row.joins:
            self.units.setdefault((number, row.key), set()).add(unit)
            members = self._members.setdefault((number, unit), {})
            members[row.key] = members.get(row.key, False) or sure
        if row.key[0] == UNIT:
            for code, joined in self._members.get((number, row.key), {}).items():
                _set(
                    self.reached.setdefault((number, row.key, code), {}), row, sure=sure and joined
                )


def _set(fields: dict[str, list[Tag | None]], row: PublishedRow, *, sure: bool) -> None:
    for name in row.fields:
        if sure:
            fields[name] = [row.tag]
        else:
            fields.setdefault(name, [None]).append(row.tag)
