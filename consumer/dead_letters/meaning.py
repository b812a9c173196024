"""The fields that a row sets, to be compared: which fields are one, what is one event's order.

Fields are bits of a mask, so a field set is a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from consumer.core.model import Row

#: Fields that are one at the API, or that mean nothing without the other (docs/replay.md).
SAME_FIELD = {"status": "activation_status", "blacklist_reason": "activation_status"}

#: Different fields that are told apart; those beyond count as one, so that masks stay short.
MOST_FIELDS = 1000

#: Room for the numbers of a record's rows, of which there are 10,000 at most. The last one stands
#: for all of them.
ROW_BITS = 14
LAST_ROW = (1 << ROW_BITS) - 1

_MOST_PLANS = 1024


def field_of(name: str) -> str:
    """Return the name under which a field is compared."""
    return SAME_FIELD.get(name, name)


class Fields:
    """The fields that letters set, each a bit. Fields that none of them sets are of no interest."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}
        self._plans: dict[tuple[str, ...], int] = {}

    def learn(self, names: Iterable[str]) -> None:
        """Give each of the fields a bit, if it has none."""
        for name in map(field_of, names):
            if name not in self._bits:
                self._bits[name] = 1 << min(len(self._bits), MOST_FIELDS)
                self._plans.clear()

    def mask(self, data_key: str, item: Mapping[str, str]) -> int:
        """Return the fields that a row sets, of those that are of interest.

        ``item``: the row as it is sent, the key first.
        """
        names = tuple(item)
        mask = self._plans.get(names)
        if mask is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            mask = self._plans[names] = self.bits(name for name in names if name != data_key)
        return mask

    def bits(self, names: Iterable[str]) -> int:
        """Return the mask of these fields."""
        mask = 0
        for name in names:
            mask |= self._bits.get(field_of(name), 0)
        return mask

    def names(self, mask: int) -> frozenset[str]:
        """Return the fields of a mask, by the names under which they are compared."""
        return frozenset(name for name, bit in self._bits.items() if bit & mask)


def row_numbers(rows: Sequence[Row]) -> list[int]:
    """Return the place of each row in the order of its record, from 1.

    Neighbours that set the same fields to the same values have no order: the children of a case, a
    unit and its own code (``also_update``).
    """
    numbers: list[int] = []
    number, last = 0, None
    for row in rows:
        fields = {name: value for name, value in row.item.items() if name != row.data_key}
        if fields != last:
            number, last = number + 1, fields
        numbers.append(min(number, LAST_ROW))
    return numbers
