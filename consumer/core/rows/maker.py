"""From an event to the rows it asks for.

Values become strings, and every rule is checked on the way.

This is the hot path. Most events hold short texts only and break no rule: such an item is judged as
a whole, with what is kept for its field names, and its dictionary is sent as it is where the key
stands first. Whatever is unusual (a number, a null, a failed check) is judged again field by field,
and only that decides what is wrong with a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from consumer.core.model import (
    KEYS_OF_ONE_CODE,
    Event,
    EventBatch,
    InvalidEvent,
    Record,
    Rejection,
    Row,
)
from consumer.core.rows.special_fields import field_problem, field_rules
from consumer.core.rows.validation import (
    MAX_VALUE,
    graver,
    key_blank,
    key_conflict,
    kind_of,
    no_fields,
    quoted,
    timestamp_date,
)

#: A number is written out up to here: an exponent of a million is nine characters and would be a
#: megabyte.
MAX_DIGITS = 10_000
_MAX_BITS = MAX_DIGITS * 3322 // 1000  # log2(10) is a little under 3.322

#: Stands in a rejected row for a number that is not written out. Over 50 characters, so a replay
#: fails as well.
NOT_WRITTEN_OUT = f"(a number of more than {MAX_DIGITS:,} digits, too long to be written out)"

#: A record is taken in whole, so there is a bound to what it may ask for.
MAX_ROWS = 10_000

# A topic has a handful of field sets; events with ever new or very many names must not fill the
# memory.
_MAX_PLANS = 1024
_MAX_PLAN_BYTES = 4096

# What JSON takes for a member beside name and value: four quotes, a colon, a comma.
_JSON_BYTES = 6

Checks = tuple[tuple[str, Callable[[str], bool]], ...]
#: What holds for all items of the same names: shape, checks of the special fields, fields that are
#: logistic units.
Plan = tuple[tuple[str, ...], Checks, tuple[str, ...]]


def refused_row(record: Record, bad: InvalidEvent) -> Row:
    """What stands for a record, or a part of one, that cannot become rows.

    It has no key, and why as its rejection.
    """
    stage = "decode" if bad.reason == "undecodable" else "validate"
    why = Rejection(bad.reason, bad.message, bad.field, stage)
    return Row(record, None, None, {}, (), 0, rejection=why)


class RowMaker:
    """Makes an event's rows.

    One, two where the logistic unit is itself a code, many where a record has several.

    ``default_data_key``: the data key of events that name none. ``date_fields``: the campaign's
    fields of type Date. ``uniform_fields``: whether a row's shape (what may share a window) is its
    set of field names, else (). ``logistic_units``: fields whose value is a unit that codes are put
    into.
    """

    def __init__(
        self,
        default_data_key: str,
        date_fields: Collection[str] = (),
        *,
        uniform_fields: bool = True,
        logistic_units: Collection[str] = (),
    ) -> None:
        self._default_data_key = default_data_key
        self._date_fields = frozenset(date_fields)
        self._rules = field_rules(date_fields)
        self._uniform_fields = uniform_fields
        self._units = frozenset(logistic_units)
        self._plans: dict[tuple[str, ...], Plan] = {}

    def rows(self, event: Event, record: Record) -> list[Row]:
        """The rows of an event, those that fail a rule with their rejection (I1).

        Sets the record's ``event_id``.

        A flat event (one without a key value) has its key among its fields. Raises BadEvent if the
        event as a whole makes no row: ``key_missing``, found before any value is looked at, or
        ``invalid_event``. Of several events each is judged for itself, and what makes no row is a
        row that carries its rejection.
        """
        fields = event.fields
        value = event.key_value
        if event.plain and value is None:
            # Flat, short texts only: what nearly every record is. Its names say what else is to be
            # checked.
            names = tuple(fields)
            data_key = self._default_data_key
            if names and names[0] == data_key:
                value = fields[data_key]
                shape, checks, units = self._plans.get(names) or self._new_plan(names)
                if value and not value.isspace() and not (checks and _fails(checks, fields)):
                    joins = _joins(units, data_key, fields) if units else ()
                    return [
                        Row(
                            record,
                            data_key,
                            value,
                            fields,
                            shape,
                            record.size - record.beside,
                            joins,
                        )
                    ]
        return self._usual_rows(event, record)

    def _usual_rows(self, event: Event, record: Record) -> list[Row]:
        """The same for any event.

        In an envelope, flat with the key in another place, or several.
        """
        if type(event) is EventBatch:
            return self._rows_of(event, record)
        record.event_id = event.event_id
        fields, value = event.fields, event.key_value
        data_key = self._default_data_key if event.data_key is None else event.data_key
        if value is None:
            value = fields.get(data_key)
        item = {data_key: value, **fields}
        if (
            not (
                event.plain
                or all(type(text) is str and len(text) <= MAX_VALUE for text in fields.values())
            )
            or event.also_update is not None
            or type(value) is not str
            or not value
            or value.isspace()
            or item[data_key] != value
        ):
            return self._judged_rows(event, record, data_key, value)
        names = tuple(item)
        shape, checks, units = self._plans.get(names) or self._new_plan(names)
        if checks and _fails(checks, item):
            return self._judged_rows(event, record, data_key, value)
        size = record.size - record.beside
        return [
            Row(
                record,
                data_key,
                value,
                item,
                shape,
                size,
                _joins(units, data_key, item) if units else (),
            )
        ]

    def _rows_of(self, several: EventBatch, record: Record) -> list[Row]:
        rows: list[Row] = []
        self._add_rows_of(several, record, rows)
        record.event_id = several.event_id
        rows = _without_repeats(rows, self._units)
        for row in rows:
            row.size = (
                sum(map(len, row.item))
                + sum(map(len, row.item.values()))
                + _JSON_BYTES * len(row.item)
            )
        return rows

    def _add_rows_of(self, several: EventBatch, record: Record, rows: list[Row]) -> None:
        """Add the rows of an event about several codes.

        If what it sets for all of them is at fault, one for them all.

        So a shared value that breaks a rule costs one dead letter, not one for each code: each of
        them is the whole record.
        """
        try:
            fault = self._shared_fault(several)
        except InvalidEvent as bad:
            fault = Rejection(bad.reason, bad.message, bad.field)
        if fault is not None:
            message = several.called + fault.message
            rows.append(refused_row(record, InvalidEvent(fault.reason, message, fault.field)))
            return
        for part in several.parts:
            if isinstance(part, InvalidEvent):
                rows.append(refused_row(record, part))
            elif isinstance(part, EventBatch):
                self._add_rows_of(part, record, rows)
            else:
                try:
                    rows += self.rows(part, record)
                except InvalidEvent as bad:
                    rows.append(refused_row(record, bad))
            if len(rows) > MAX_ROWS:
                raise InvalidEvent(
                    "invalid_event", f"it makes more than {MAX_ROWS:,} rows; publish it in parts"
                )

    def _shared_fault(self, several: EventBatch) -> Rejection | None:
        """What is wrong with what an event sets for all of its codes.

        None: nothing, or it is about one code only.

        BadEvent: such a value cannot be sent at all. What is wrong with one code, or its key, is
        found with its row.
        """
        about = [part for part in several.parts if type(part) is Event]
        if len({(part.data_key, part.key_value) for part in about}) < 2:
            return None
        if not any(part.fields for part in about):
            return no_fields()
        fields = _without_idle_status(several.fields)
        keys = {
            part.data_key for part in about
        }  # a field that is the key of a row may differ from it, and from it only
        rejection: Rejection | None = None
        for name, value in fields.items():
            if value is not None and name not in keys:
                text = value if type(value) is str else self._text(name, value)
                rejection = self._checked(name, text, rejection)[1]
        return rejection

    def _judged_rows(self, event: Event, record: Record, data_key: str, value: Any) -> list[Row]:
        fields = _without_idle_status(event.fields)
        row = self._judged_row(record, data_key, value, fields)
        if event.also_update is None:
            return [row]
        also = self._judged_row(record, *event.also_update, fields)
        if also.data_key == row.data_key and also.value == row.value:
            message = '"also_update" names the same code as the event itself'
            raise InvalidEvent("invalid_event", message, "also_update")
        return [row, also]

    def _judged_row(self, record: Record, data_key: str, value: Any, fields: dict[str, Any]) -> Row:
        """Any row: its values as text, and the gravest of what is wrong with it as its rejection."""
        key: str = value if type(value) is str else _key_text(data_key, value)
        rejection = key_blank(data_key) if not key or key.isspace() else None
        item = {data_key: key}
        for name, field in fields.items():
            if field is None:
                continue
            text = field if type(field) is str else self._text(name, field)
            if (len(text) > MAX_VALUE or name in self._rules) and name != data_key:
                text, rejection = self._checked(name, text, rejection)
            item[name] = text
        if item[data_key] != key:  # the key field stands among the fields, too
            rejection = graver(rejection, key_conflict(data_key, item[data_key]))
            item[data_key] = key
        if len(item) == 1:
            rejection = graver(rejection, no_fields())
        names = tuple(item)
        shape, _, units = self._plans.get(names) or self._new_plan(names)
        joins = _joins(units, data_key, item) if units and rejection is None else ()
        size = record.size - record.beside
        return Row(record, data_key, key, item, shape, size, joins, rejection=rejection)

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, datetime) and name in self._date_fields:
            return value.date().isoformat()
        return text_of(name, value)

    def _checked(
        self, name: str, text: str, rejection: Rejection | None
    ) -> tuple[str, Rejection | None]:
        """A long or special value as it is sent, and the row's rejection so far."""
        if name in self._date_fields:
            text = timestamp_date(text) or text
        return text, graver(rejection, field_problem(self._rules.get(name), name, text))

    def _new_plan(self, names: tuple[str, ...]) -> Plan:
        """What holds for every item of these names.

        One shape object for every order of the same names.
        """
        ordered = tuple(sorted(names))
        checks = tuple((name, self._rules[name].passes) for name in ordered if name in self._rules)
        if len(names) == 1 or ("status" in names and "activation_status" in names):
            checks = ((names[0], _never),)
        units = tuple(name for name in ordered if name in self._units)
        plan = (ordered if self._uniform_fields else (), checks, units)
        if sum(map(len, names)) <= _MAX_PLAN_BYTES:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[names] = self._plans.setdefault(ordered, plan)
        return plan


class TaskRowMaker(RowMaker):
    """Makes rows that go asynchronously.

    All of them, or those whose data key may select many codes.

    Rows with the same data may share a call, so the data is the shape of such a row.
    """

    def __init__(self, *arguments: Any, every: bool, **more: Any) -> None:
        """As every row maker's.

        ``every``: all rows, not only those of data keys that may select many codes.
        """
        super().__init__(*arguments, **more)
        self._every = every

    def rows(self, event: Event, record: Record) -> list[Row]:
        """The rows of an event, as every row maker's."""
        rows = super().rows(event, record)
        for row in rows:
            if row.data_key is not None and (self._every or row.data_key not in KEYS_OF_ONE_CODE):
                go_by_task(row)
        return rows


def go_by_task(row: Row) -> None:
    """From now on this row goes asynchronously."""
    row.by_task = True
    data = sorted((name, value) for name, value in row.item.items() if name != row.data_key)
    row.shape = tuple(text for pair in data for text in pair)


def _without_idle_status(fields: dict[str, Any]) -> dict[str, Any]:
    """The API lets activation_status win (guide "Activate Codes").

    What status says beside it does not matter.
    """
    if "status" in fields and fields.get("activation_status") is not None:
        return {name: field for name, field in fields.items() if name != "status"}
    return fields


def _without_repeats(rows: list[Row], units: Collection[str]) -> list[Row]:
    """Without the rows that say once more what was said of their key, with nothing in between that
    it could undo.

    That is an update by a unit, one of a unit's children, or one by another data key: it may be of
    the same code.
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


def _joins(
    units: tuple[str, ...], data_key: str, item: dict[str, Any]
) -> tuple[tuple[str, str], ...]:
    """The units that a row puts codes into.

    An empty value takes them out of one, and nobody knows of which.
    """
    return tuple((name, item[name]) for name in units if name != data_key and item[name])


def _fails(checks: Checks, item: dict[str, Any]) -> bool:
    return any(not passes(item[name]) for name, passes in checks)


def _never(_: str) -> bool:
    """The check of items that must be judged by field, whatever they hold."""
    return False


def text_of(name: str, value: object) -> str:
    """A value that is not text, as the API gets it.

    Raises BadEvent (``invalid_event``) if there is no way.

    A timestamp is refused here: only in a configured date field is it clear what to send of it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return NOT_WRITTEN_OUT if (text := number_text(name, value)) is None else text
    if isinstance(value, datetime):
        message = (
            f"{quoted(name)} is a timestamp; to send its date, list the field in events.date_fields"
        )
        raise InvalidEvent("invalid_event", message, name)
    if isinstance(value, date):
        return value.isoformat()
    message = (
        f"{quoted(name)} is {kind_of(value)}; a field is text, a number, a boolean, a date or null"
    )
    raise InvalidEvent("invalid_event", message, name)


def number_text(name: str, value: float | Decimal) -> str | None:
    """A number in plain notation, None if that takes more than ``MAX_DIGITS``.

    BadEvent if it is not finite.

    Integers in full, decimals with the digits they were written with (1.10, and 1e3 as 1000),
    binary floats by the shortest digits that mean the same (100.0 as 100).
    """
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            return None
        try:
            return str(value)
        except ValueError:  # Python's limit on converting long integers; decimal has none
            return f"{Decimal(value):f}"
    if not value.is_finite() if isinstance(value, Decimal) else not isfinite(value):
        raise InvalidEvent(
            "invalid_event", f"{quoted(name)} is {value}, which is no number to send", name
        )
    text = str(value)
    if isinstance(value, float):
        if text.endswith(".0"):
            text = text[:-2]
        text = f"{Decimal(text):f}" if "e" in text else text
        return "0" if text == "-0" else text
    if "E" not in text:
        return text if len(text) <= MAX_DIGITS else None
    return None if abs(value.adjusted()) + len(text) > MAX_DIGITS else f"{value:f}"


def _key_text(data_key: str, value: object) -> str:
    if value is None:
        raise InvalidEvent(
            "key_missing", f"the event has no {quoted(data_key)}, which is its data key", data_key
        )
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        message = f"the key {quoted(data_key)} is {kind_of(value)}; it must be a string or a number"
        raise InvalidEvent("invalid_event", message, data_key)
    text = number_text(data_key, value)
    if text is None:
        message = f"the key {quoted(data_key)} is a number of more than {MAX_DIGITS:,} digits"
        raise InvalidEvent("invalid_event", message, data_key)
    return text
