"""The replay: what must come of published records, one by one, from the guides and the contract.

Slow and plain on purpose: it reads every record by itself, with nothing of the consumer that it
checks.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from consumer.demo.evidence import FactoryWorld, Fields, TopicRecord

Key = tuple[str, str]  #: data key and key value

MAX_CHARACTERS = 50


@dataclass(frozen=True, slots=True)
class ExpectedRow:
    """One item of an upload: what a record asks for."""

    data_key: str
    key_value: str
    fields: Fields

    @property
    def item(self) -> dict[str, str]:
        """Return it as it is sent."""
        return {self.data_key: self.key_value} | dict(self.fields)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that must be there, of a record or a row; ``sent``: the API rejected it."""

    record: TopicRecord
    reason: str
    row: ExpectedRow | None = None
    sent: bool = False


@dataclass
class Expected:
    """The end: every code's fields, the rows accepted for each key in order, the dead letters."""

    state: dict[str, dict[str, str]]
    updates: dict[Key, list[Fields]] = field(default_factory=lambda: defaultdict(list))
    letters: list[Letter] = field(default_factory=list)
    skipped: int = 0  #: tombstones


class Bad(Exception):  # noqa: N818 - a finding, not a fault
    """The reason for which there is no row, in ``args[0]``."""


def replay(world: FactoryWorld, published: Sequence[TopicRecord]) -> Expected:
    """Return everything that must come of these records.

    They are taken partition by partition, in the order of their offsets.
    """
    expected = Expected({code: dict(fields) for code, fields in world.codes.items()})
    reader = _ValueReader(world)
    for record in sorted(
        published, key=lambda record: (record.topic, record.partition, record.offset)
    ):
        if record.value is None:
            expected.skipped += 1
            continue
        try:
            rows = reader.rows(record.value)
        except Bad as bad:
            expected.letters.append(Letter(record, bad.args[0]))
            continue
        for row in rows:
            _settle(expected, world, record, row)
    return expected


def _settle(expected: Expected, world: FactoryWorld, record: TopicRecord, row: ExpectedRow) -> None:
    reason = broken_rule(row, world)
    if reason:
        expected.letters.append(Letter(record, reason, row))
        return
    row = ExpectedRow(
        row.data_key, row.key_value, {n: v for n, v in row.fields.items() if n != row.data_key}
    )
    codes = _selected(expected.state, row.data_key, row.key_value)
    product = row.fields.get("product")
    if not codes:
        expected.letters.append(Letter(record, "unknown_key", row, sent=True))
    elif product is not None and product not in world.products:
        expected.letters.append(Letter(record, "rejected_by_api", row, sent=True))
    else:
        expected.updates[row.data_key, row.key_value].append(row.fields)
        for code in codes:
            _store(expected.state[code], row.fields)


def _selected(state: Mapping[str, Fields], data_key: str, value: str) -> list[str]:
    """Return the codes of a key: one by its id, or all whose field has exactly that value."""
    if data_key == "extended_id":
        return [value] if value in state else []
    return [code for code, fields in state.items() if fields.get(data_key) == value]


def _store(code: dict[str, str], fields: Fields) -> None:
    for name, value in fields.items():
        stored = "activation_status" if name == "status" else name  # its older name
        if value:
            code[stored] = value
        else:
            code.pop(stored, None)  # empty text erases


def broken_rule(row: ExpectedRow, world: FactoryWorld) -> str | None:
    """Return the reason for which a row must not be sent, or None."""
    fields = row.fields
    if not row.key_value.strip():
        return "key_blank"
    if any(len(value) > MAX_CHARACTERS for name, value in fields.items() if name != row.data_key):
        return "value_too_long"
    if "date_consumed" in fields:
        return "forbidden_field"
    if any(not _allowed(name, value, world) for name, value in fields.items()):
        return "invalid_value"
    if fields.get(row.data_key, row.key_value) != row.key_value:
        return "key_conflict"
    return None if fields.keys() - {row.data_key} else "no_fields"


def _allowed(name: str, value: str, world: FactoryWorld) -> bool:
    if name in ("activation_status", "status"):
        return value in ("0", "1", "2")
    if name == "product":
        return value != ""
    if name == "blacklist_reason":
        return value == "" or value in [str(number) for number in range(11)]
    if name == "after_sell_by" or name in world.date_fields:
        return value == "" or _is_day(value)
    return True


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class _ValueReader:
    """From bytes to rows."""

    def __init__(self, world: FactoryWorld) -> None:
        self._world = world
        self._schema = parse_schema(dict(world.schema))

    def rows(self, value: bytes) -> list[ExpectedRow]:
        """Return the rows of a record's value; raise Bad."""
        if value.lstrip(b" \t\r\n")[:1] in (b"{", b"["):
            event = self._json(value)
            if "scm_data" not in event:
                return [self._flat(event)]
        else:
            event = self._avro(value)
        return self._event(event)

    def _json(self, value: bytes) -> dict[str, Any]:
        try:
            event = json.loads(value.decode("utf-8"), parse_float=Decimal)
        except ValueError:
            raise Bad("undecodable") from None
        if not isinstance(event, dict):
            raise Bad("invalid_event")
        return event

    def _avro(self, value: bytes) -> dict[str, Any]:
        stream = BytesIO(value)
        try:
            event: Any = schemaless_reader(stream, self._schema, None)
        except Exception:  # foreign bytes fail in any way
            raise Bad("undecodable") from None
        if stream.read(1):
            raise Bad("undecodable")
        return dict(event)

    def _flat(self, item: dict[str, Any]) -> ExpectedRow:
        data_key = self._world.data_key
        key = item.get(data_key)
        if key is None:
            raise Bad("key_missing")
        if not isinstance(key, str):
            raise Bad("invalid_event")  # the line writes keys as text only
        return ExpectedRow(
            data_key, key, self._texts({n: v for n, v in item.items() if n != data_key})
        )

    def _event(self, event: dict[str, Any]) -> list[ExpectedRow]:
        data, key = event["scm_data"], event.get("key_value")
        data_key = event.get("data_key") or self._world.data_key
        if not isinstance(data, dict) or not isinstance(key, str | None):
            raise Bad("invalid_event")
        if key is None:
            raise Bad("key_missing")
        fields = self._texts(data)
        also = event.get("also_update")
        if not also:
            return [ExpectedRow(data_key, key, fields)]
        if (also["data_key"], also["key_value"]) == (data_key, key):
            raise Bad("invalid_event")
        return [
            ExpectedRow(data_key, key, fields),
            ExpectedRow(also["data_key"], also["key_value"], fields),
        ]

    def _texts(self, data: dict[str, Any]) -> dict[str, str]:
        """Return the fields that are sent, as the strings the API takes."""
        fields = {
            name: self._text(name, value) for name, value in data.items() if value is not None
        }
        if "activation_status" in fields:
            fields.pop("status", None)  # it would be overridden
        return fields

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, str):
            if name in self._world.date_fields and "T" in value:
                # the date at the event's own offset
                return datetime.fromisoformat(value).date().isoformat()
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, Decimal) and value.is_finite():
            return f"{value:f}"  # as written, without an exponent
        if isinstance(value, float) and math.isfinite(value):
            return f"{Decimal(repr(value)):f}".removesuffix(".0")
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.isoformat()
        raise Bad("invalid_event")
