"""Make an event of each line of a table."""

from __future__ import annotations

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.validation import MAX_VALUE
from consumer.publish.damage import refuse_damage
from consumer.publish.doubts import TableDoubts, Warn
from consumer.publish.making import RECORD, Clock, Making, event_ids, order_key


class TableEvents:
    """Makes an event of each line of a table with these columns.

    The fields of empty cells are not sent; with ``empty_erases`` they are, and erase. ``warn``:
    called with what is doubtful about a line.
    """

    def __init__(self, making: Making, names: list[str], warn: Warn, *, empty_erases: bool) -> None:
        names = [*names, *making.constants]
        self._constants = list(making.constants.values())
        self._at = names.index(making.data_key)
        self._warn = warn
        self._names = (making.data_key, *(name for name in names if name != making.data_key))
        self._doubts = TableDoubts(self._names)
        self._source, self._order_by = making.source, making.order_by
        self._rows = making.rules().rows
        self._encode = making.encode()
        self._ids = event_ids()
        self._now = Clock()
        self._empty_erases = empty_erases

    def make(self, line: int, cells: list[str]) -> tuple[str, bytes]:
        """Return the record's key and value; ``cells`` is used up. Raise InvalidEvent."""
        if self._at:
            cells.insert(0, cells.pop(self._at))
        refuse_damage(self._names, cells)
        cells += self._constants
        data_key, value = self._names[0], cells[0]
        # The table has counted the cells; a second count takes 4 % of the whole time.
        item = dict(zip(self._names, cells))  # noqa: B905
        if "" in cells and not self._empty_erases:
            item = {data_key: value, **{name: cell for name, cell in item.items() if cell}}
        row = self._rows(Event(item, plain=max(map(len, cells)) <= MAX_VALUE), RECORD)[0]
        if row.rejection is not None:
            raise InvalidEvent(row.rejection.reason, row.rejection.message, row.rejection.field)
        fields = row.item
        key = order_key(row, self._order_by) if self._order_by else value
        for doubt in self._doubts.of(line, cells):
            self._warn(line, doubt)
        del fields[data_key]
        members = {
            "event_id": f"{self._ids}{line}",
            "occurred_at": self._now(),
            "source": self._source,
            "data_key": data_key,
            "key_value": value,
            "scm_data": fields,
        }
        return key, self._encode(members)
