"""Read Avro's logical types so that no value of one can spoil the record it stands in.

fastavro's own readers raise for what Python's types cannot hold: a date after the year 9999 in a
member that nobody asked for would make the whole record unreadable. They round a decimal to its
precision, and know no nanoseconds. These here give an ``Unsendable`` instead, which is refused
where it is to be sent and is nothing elsewhere.

By Avro's specification ("Logical Types") a logical type that is unknown or ill-formed, such as a
decimal whose scale is above its precision, is ignored: the value is that of the type beneath. A
``float`` has 32 bits: it is read as the shortest decimal that means the same 32 bits, 4.7 and not
4.699999809265137.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from struct import pack
from typing import Any

from fastavro.read import LOGICAL_READERS

from consumer.core.rows.validation import Unsendable
from consumer.core.rows.values import MAX_DIGITS

#: Before the names of logical types that are read here: fastavro's readers are for one process.
_OWN = "scm-consumer-"
_EPOCH = datetime(1970, 1, 1)
_FIRST_DAY = date.min.toordinal()
_LAST_DAY = date.max.toordinal()
_EPOCH_DAY = date(1970, 1, 1).toordinal()
#: More bytes than a decimal can have that is written out; a power of ten of them takes long.
_MAX_BYTES = MAX_DIGITS
#: Nanoseconds in a unit of a timestamp.
_NANOSECONDS = {"millis": 1_000_000, "micros": 1000, "nanos": 1}
_SHORTEST_DIGITS = range(1, 10)  # nine tell any two values of 32 bits apart

_Read = Callable[[Any, Any, Any], Any]


def readable(node: Any) -> Any:
    """Return a schema, or a part of one, with the logical types that are read here, and no other.

    UUIDs stay the text that they are in the bytes, durations binary data.
    """
    if isinstance(node, list):
        return [readable(part) for part in node]
    if node == "float":
        return {"type": "float", "logicalType": f"{_OWN}float"}
    if not isinstance(node, dict):
        return node
    changed = dict(node)
    logical = changed.pop("logicalType", None)
    for name in ("items", "values", "fields"):
        if name in node:
            changed[name] = readable(node[name])
    kind = node.get("type")
    if not isinstance(kind, str):
        changed["type"] = readable(kind)
    elif "name" in node and not _is_named(kind):
        changed["type"] = readable(kind)  # a field
    elif kind == "float" or _is_read(kind, logical, node):
        changed["logicalType"] = _OWN + ("float" if kind == "float" else logical)
    return changed


def _is_named(kind: str) -> bool:
    return kind in ("record", "error", "fixed", "enum")


def _is_read(kind: str, logical: object, node: dict[str, Any]) -> bool:
    if f"{kind}-{logical}" not in _READERS:
        return False
    if logical != "decimal":
        return True
    precision, scale = node.get("precision"), node.get("scale", 0)
    return type(precision) is int and type(scale) is int and 0 <= scale <= precision > 0


def _float(value: float, _: Any, __: Any) -> float:
    """Return the number whose shortest decimal is that of the 32 bits."""
    bits = pack("<f", value)
    for digits in _SHORTEST_DIGITS:
        short = float(f"{value:.{digits}g}")
        # One that is rounded up may be beyond the largest.
        with suppress(OverflowError):
            if pack("<f", short) == bits:
                return short
    return value  # not a number


def _date(days: int, _: Any, __: Any) -> date | Unsendable:
    day = _EPOCH_DAY + days
    if not _FIRST_DAY <= day <= _LAST_DAY:
        return Unsendable("a date outside the years 1 to 9999")
    return date.fromordinal(day)


def _timestamp(nanoseconds: int, *, local: bool) -> _Read:
    def read(count: int, _: Any, __: Any) -> datetime | Unsendable:
        try:
            moment = _EPOCH + timedelta(microseconds=count * nanoseconds // 1000)
        except OverflowError:
            return Unsendable("a timestamp outside the years 1 to 9999")
        return moment if local else moment.replace(tzinfo=UTC)

    return read


def _time(_: int, __: Any, ___: Any) -> Unsendable:
    return Unsendable("a time of day")


def _decimal(raw: bytes, schema: Any, _: Any) -> Decimal | Unsendable:
    """Return the number with every digit it has, also those beyond its precision."""
    if len(raw) > _MAX_BYTES:
        return Unsendable(f"a number of more than {MAX_DIGITS:,} digits")
    number = Decimal(int.from_bytes(raw, signed=True)).as_tuple()
    return Decimal((number.sign, number.digits, -schema.get("scale", 0)))


_READERS: dict[str, _Read] = {
    "float-float": _float,
    "int-date": _date,
    "bytes-decimal": _decimal,
    "fixed-decimal": _decimal,
    "int-time-millis": _time,
    "long-time-micros": _time,
}
for _unit, _size in _NANOSECONDS.items():
    _READERS[f"long-timestamp-{_unit}"] = _timestamp(_size, local=False)
    _READERS[f"long-local-timestamp-{_unit}"] = _timestamp(_size, local=True)
for _name, _read in _READERS.items():
    _kind, _, _logical = _name.partition("-")
    LOGICAL_READERS[f"{_kind}-{_OWN}{_logical}"] = _read
