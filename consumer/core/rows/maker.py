"""From an event to the rows it asks for: values become strings, and every rule is checked.

This is the hot path. Most events hold short texts only and break no rule: such an item is judged as
a whole, with what is kept for its field names, and its dictionary is sent as it is where the key
stands first. Whatever is unusual (a number, a null, a failed check) is judged again field by field,
and only that decides what is wrong with a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent, Record, Rejection, Row
from consumer.core.rows.repeats import without_repeats
from consumer.core.rows.special_fields import field_problem, field_rules
from consumer.core.rows.validation import (
    MAX_VALUE,
    graver,
    key_blank,
    key_conflict,
    no_fields,
    timestamp_date,
)
from consumer.core.rows.values import key_text, text_of

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
    """Return the row that stands for a record, or a part of one, that cannot become rows.

    It has no key; its rejection says why.
    """
    stage = "decode" if bad.reason == "undecodable" else "validate"
    why = Rejection(bad.reason, bad.message, bad.field, stage)
    return Row(record, None, None, {}, (), 0, rejection=why)


class RowMaker:
    """Makes an event's rows: one, two where the logistic unit is itself a code, many of a batch.

    ``default_data_key``: the data key of events that name none. ``date_fields``: the campaign's
    fields of type Date. ``uniform_fields``: a row's shape (what may share a window) is its set of
    field names, else (). ``logistic_units``: fields whose value is a unit that codes are put into.
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
        """Return the rows of an event, those that fail a rule with their rejection (I1).

        The record's ``event_id`` is set. A flat event (one without a key value) has its key among
        its fields. Of several events each is judged for itself, and what makes no row is a row that
        carries its rejection. Raise InvalidEvent if the event as a whole makes no row:
        ``key_missing``, found before any value is looked at, or ``invalid_event``.
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
        """Return the rows of any event: in an envelope, with the key elsewhere, or a batch."""
        if type(event) is EventBatch:
            return self._rows_of(event, record)
        record.event_id = event.event_id
        fields, value = event.fields, event.key_value
        data_key = self._default_data_key if event.data_key is None else event.data_key
        if value is None:
            value = fields.get(data_key)
        item = {data_key: value, **fields}
        plain = event.plain or all(
            type(text) is str and len(text) <= MAX_VALUE for text in fields.values()
        )
        if (
            not plain
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
        joins = _joins(units, data_key, item) if units else ()
        return [Row(record, data_key, value, item, shape, size, joins)]

    def _rows_of(self, batch: EventBatch, record: Record) -> list[Row]:
        rows: list[Row] = []
        self._add_rows_of(batch, record, rows)
        record.event_id = batch.event_id
        rows = without_repeats(rows, self._units)
        for row in rows:
            texts = sum(map(len, row.item)) + sum(map(len, row.item.values()))
            row.size = texts + _JSON_BYTES * len(row.item)
        return rows

    def _add_rows_of(self, batch: EventBatch, record: Record, rows: list[Row]) -> None:
        """Add the rows of an event batch; if what is set for all of them is at fault, only one.

        So a shared value that breaks a rule costs one dead letter, not one for each code: each of
        them is the whole record.
        """
        try:
            fault = self._shared_fault(batch)
        except InvalidEvent as bad:
            fault = Rejection(bad.reason, bad.message, bad.field)
        if fault is not None:
            message = batch.called + fault.message
            rows.append(refused_row(record, InvalidEvent(fault.reason, message, fault.field)))
            return
        for part in batch.parts:
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

    def _shared_fault(self, batch: EventBatch) -> Rejection | None:
        """Return what is wrong with what a batch sets for all of its codes.

        None: nothing, or it is about one code only. What is wrong with one code, or its key, is
        found with its row. Raise InvalidEvent if such a value cannot be sent at all.
        """
        about = [part for part in batch.parts if type(part) is Event]
        if len({(part.data_key, part.key_value) for part in about}) < 2:
            return None
        if not any(part.fields for part in about):
            return no_fields()
        fields = _without_idle_status(batch.fields)
        # A field that is the key of a row may differ from it, and from it only.
        keys = {part.data_key for part in about}
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
        """Return any row, its values as text; the gravest fault of it is its rejection."""
        key: str = value if type(value) is str else key_text(data_key, value)
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
        """Return a long or special value as it is sent, and the row's rejection so far."""
        if name in self._date_fields:
            text = timestamp_date(text) or text
        return text, graver(rejection, field_problem(self._rules.get(name), name, text))

    def _new_plan(self, names: tuple[str, ...]) -> Plan:
        """Return what holds for every item of these names, whatever their order."""
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


def _without_idle_status(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without a status that the API ignores.

    It lets activation_status win (guide "Activate Codes").
    """
    if "status" in fields and fields.get("activation_status") is not None:
        return {name: field for name, field in fields.items() if name != "status"}
    return fields


def _joins(
    units: tuple[str, ...], data_key: str, item: dict[str, Any]
) -> tuple[tuple[str, str], ...]:
    """Return the units that a row puts codes into.

    An empty value takes codes out of a unit, and nobody knows of which.
    """
    return tuple((name, item[name]) for name in units if name != data_key and item[name])


def _fails(checks: Checks, item: dict[str, Any]) -> bool:
    for name, passes in checks:  # noqa: SIM110 - a generator would cost more than the checks
        if not passes(item[name]):
            return True
    return False


def _never(_: str) -> bool:
    """Fail, as the check of items that must be judged by field, whatever they hold."""
    return False
