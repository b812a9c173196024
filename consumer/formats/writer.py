"""Decode Avro by its writer's schema: older or newer than the shipped one, or the publisher's own.

The event is taken from the datum by the names of its members; the shipped schema plays no part.
Resolving against it (Avro's schema resolution) would give the same for every writer that it takes,
as all its defaults are null, which is absent. But it refuses writers for nothing: a record of
another name, a ``scm_data`` with fewer or other kinds of values. And it would confuse milliseconds
with microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastavro import parse_schema

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.validation import kind_of
from consumer.formats.avro import plain_time, read_datum
from consumer.formats.envelope import Decoder, event_from, is_timestamp, milliseconds
from consumer.formats.logical import readable

#: Bytes before the datum: 0x00 and the schema's id.
HEADER_SIZE = 5
#: Values that one value of a type may consist of without taking a byte. Events need none.
MAX_EMPTY_VALUES = 1000


class WriterSchema:
    """A publisher's schema, made ready to read its events.

    ``references``: the schemas it refers to, each after those it refers to itself. Any exception at
    construction means that the schema cannot be read.
    """

    def __init__(self, name: str, text: str, references: Sequence[str] = ()) -> None:
        named: dict[str, Any] = {}
        for reference in references:
            parse_schema(readable(json.loads(reference)), named_schemas=named)
        schema = json.loads(text)
        self._name = name
        self._per_millisecond = plain_time(schema)
        schema = readable(schema)
        # fastavro parses only a record once and for all, with the types it refers to. As its one
        # field takes no byte more, any other type is read inside one.
        self._wrapped = not isinstance(schema, dict) or schema.get("type") != "record"
        if self._wrapped:
            schema = {
                "type": "record",
                "name": "Wrapped",
                "fields": [{"name": "value", "type": schema}],
            }
        self._schema = parse_schema(schema, named_schemas=named)
        _Sizes(named).empty_values(self._schema)

    def event(self, raw: bytes, _: Decoder) -> Event:
        """Return the event in a frame of this schema. Raise InvalidEvent only."""
        members = read_datum(raw, HEADER_SIZE, self._schema, self._name)
        if self._wrapped:
            members = members["value"]
        if type(members) is not dict:
            raise InvalidEvent(
                "invalid_event",
                f"by {self._name} the value is {kind_of(members)}; an event is a record",
            )
        at = members.get("occurred_at")
        return event_from(members, at // self._per_millisecond if type(at) is int else _moment(at))


class _Sizes:
    """Refuses, with ValueError, a schema by which a few bytes could end the process.

    Three kinds could. A type that contains itself: fastavro reads it on the stack, however deep it
    goes. An array of values that take no byte: there may be any number of them. Records in records
    that make very many such values: two in each of thirty layers are a thousand million. No event
    needs any of them.
    """

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._known: dict[str, int] = {}

    def empty_values(self, node: Any, inside: frozenset[str] = frozenset()) -> int:
        """Return how many values are read for one value of a type that takes no byte.

        0: every value of the type takes at least one byte. ``inside``: the records it stands in.
        """
        if isinstance(node, list):
            for branch in node:
                self.empty_values(branch, inside)
            return 0
        if isinstance(node, dict):
            return self._described(node, inside)
        if node in inside:
            raise ValueError(f"{node} contains itself")
        if node not in self._named:
            return int(node == "null")
        if node not in self._known:
            self._known[node] = self._described(self._named[node], inside)
        return self._known[node]

    def _described(self, node: dict[str, Any], inside: frozenset[str]) -> int:
        kind = node["type"]
        if kind in ("record", "error"):
            within = inside | {node["name"]}
            counts = [self.empty_values(field["type"], within) for field in node["fields"]]
            if sum(counts) > MAX_EMPTY_VALUES:
                raise ValueError(
                    f"a {node['name']} has more than {MAX_EMPTY_VALUES} values that take no bytes"
                )
            return 1 + sum(counts) if all(counts) else 0
        if kind == "fixed":
            return int(not node["size"])
        if kind == "array" and self.empty_values(node["items"], inside):
            raise ValueError("it has an array of values that take no bytes")
        if kind == "map":
            self.empty_values(node["values"], inside)
        return 0 if kind in ("array", "map", "enum") else self.empty_values(kind, inside)


def _moment(value: Any) -> str | int | None:
    """Return any other ``occurred_at``: a datetime where the record stands in a union."""
    if isinstance(value, datetime):
        return milliseconds(value)
    if value is None or is_timestamp(value):
        return value  # type: ignore[no-any-return]
    raise InvalidEvent(
        "invalid_event",
        '"occurred_at" must be an Avro timestamp or RFC 3339 text with an offset, '
        f"not {kind_of(value)}",
        "occurred_at",
    )
