"""The formats' encoders: bytes of records, made here and not by the product.

Flat events know one data key for a whole topic. So the day in flat events is four topics, one for
each data key, read one after the other: no order is promised between topics. ``FLAT_KEYS`` says in
which order; what must come of it is the script in that order.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro

from tests.factory.script import (
    STOLEN,
    Blacklisted,
    Commissioned,
    Happening,
    Loaded,
    Packed,
    Shipped,
    Unit,
    What,
)
from tests.support.epcis_xml import to_xml

SCHEMA = fastavro.parse_schema(
    json.loads((Path(__file__).parents[2] / "schemas" / "scm_event.avsc").read_text())
)
UNIT_FIELDS = {"case": "case_code", "box": "box_code", "pallet": "pallet_code"}
#: Data keys in the order in which their topics are read: items into units, units onto pallets,
#: pallets away.
FLAT_KEYS = ("extended_id", "box_code", "case_code", "serial_number", "pallet_code")
HAPPENED_AT = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
#: The settings under which EPCIS events mean what the others say.
EPCIS_SETTINGS = {
    "codes": [
        r"pallet_code = 00/(1\d{17})",
        r"case_code = https://line\.example\.com/case/(\w+)",
        r"box_code = https://line\.example\.com/box/(\w+)",
        r"extended_id = 01/\d{14}/21/(.+)",
    ],
    "unit_codes": ["case_code = serial_number"],
}


#: The fields that the headers of a scan may tell.
SCAN_FIELDS = (
    "activation_status",
    "production_date",
    "after_sell_by",
    "blacklist_reason",
    "ship_date",
    *UNIT_FIELDS.values(),
)
SCAN_SETTINGS = {
    "code": [
        r"extended_id = 01/\d{14}/21/(\d{4}ITEM\d{8})",
        r"pallet_code = 00/(1\d{17})",
        r"case_code = https://line\.example\.com/case/(\d+C)",
        r"box_code = https://line\.example\.com/box/(\d+B)",
        r"serial_number = https://line\.example\.com/label/(\d+C)",
    ],
    "set": ["* = " + ", ".join(f"{name}: {{header.{name}}}" for name in SCAN_FIELDS)],
}


class Update:
    """One code or unit and what is set for it.

    ``also``: the data key by which the unit's own code is named.
    """

    def __init__(
        self, data_key: str, value: str, fields: dict[str, Any], also: str | None = None
    ) -> None:
        self.data_key = data_key
        self.value = value
        self.fields = fields
        self.also = also


def updates(what: What) -> Iterator[Update]:
    """Return what happens, code by code and unit by unit."""
    match what:
        case Commissioned(items, made_on, sell_by):
            for item in items:
                fields = {
                    "activation_status": 1,
                    "production_date": made_on,
                    "after_sell_by": sell_by,
                }
                yield Update("extended_id", item, fields)
        case Packed(items, into):
            for item in items:
                yield Update("extended_id", item, {UNIT_FIELDS[into.kind]: into.name})
        case Loaded(unit, pallet):
            also = "serial_number" if unit.kind == "case" else None
            yield Update(UNIT_FIELDS[unit.kind], unit.name, {"pallet_code": pallet.name}, also)
        case Shipped(pallet, day):
            yield Update("pallet_code", pallet.name, {"ship_date": day})
        case Blacklisted(item, reason):
            yield Update(
                "extended_id", item, {"activation_status": 2, "blacklist_reason": int(reason)}
            )


def as_json(what: What) -> Iterator[bytes]:
    """Return envelopes."""
    for update in updates(what):
        event: dict[str, Any] = {
            "data_key": update.data_key,
            "key_value": update.value,
            "scm_data": update.fields,
        }
        if update.also:
            event["also_update"] = {"data_key": update.also, "key_value": update.value}
        yield json.dumps(event).encode()


def as_avro(what: What) -> Iterator[bytes]:
    """Return raw Avro by the published schema."""
    for update in updates(what):
        out = io.BytesIO()
        event = {
            "event_id": f"{update.value}-{'-'.join(update.fields)}",
            "occurred_at": HAPPENED_AT,
            "source": "station",
            "data_key": update.data_key,
            "key_value": update.value,
            "scm_data": update.fields,
            "also_update": {"data_key": update.also, "key_value": update.value}
            if update.also
            else None,
        }
        fastavro.schemaless_writer(out, SCHEMA, event)
        yield out.getvalue()


def _epcis_event(what: What) -> dict[str, Any]:
    event: dict[str, Any] = {
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"]
    }
    event |= {"eventTime": "2026-12-01T08:00:00Z", "eventTimeZoneOffset": "+08:00"}
    match what:
        case Commissioned(items, made_on, sell_by):
            event |= {"type": "ObjectEvent", "action": "ADD", "bizStep": "commissioning"}
            event["epcList"] = [_item(item) for item in items]
            event["ilmd"] = {"cbvmda:productionDate": made_on, "cbvmda:sellByDate": sell_by}
        case Packed(items, into):
            event |= _aggregation(into, [_item(item) for item in items])
        case Loaded(unit, pallet):
            event |= _aggregation(pallet, [_unit(unit)])
        case Shipped(pallet, day):
            event |= {
                "type": "ObjectEvent",
                "action": "OBSERVE",
                "bizStep": "shipping",
                "epcList": [_unit(pallet)],
            }
            event["eventTime"] = f"{day}T08:00:00Z"
        case Blacklisted(item, reason):
            event |= {
                "type": "ObjectEvent",
                "action": "OBSERVE",
                "bizStep": "inspecting",
                "epcList": [_item(item)],
            }
            event["disposition"] = "stolen" if reason == STOLEN else "damaged"
    return event


def as_epcis(what: What) -> Iterator[bytes]:
    """Return one EPCIS event for all that happens at once."""
    yield json.dumps(_epcis_event(what)).encode()


def as_epcis_xml(what: What) -> Iterator[bytes]:
    """Return the same event as a document of EPCIS 1.2 in XML, as packaging lines send it."""
    yield to_xml(_epcis_event(what), "1.2")


def _aggregation(parent: Unit, children: list[str]) -> dict[str, Any]:
    about = {"type": "AggregationEvent", "action": "ADD", "bizStep": "packing"}
    return {**about, "parentID": _unit(parent), "childEPCs": children}


def _item(code: str) -> str:
    return f"https://id.gs1.org/01/09506000134352/21/{code}"


def _unit(unit: Unit) -> str:
    if unit.kind == "pallet":
        return f"https://id.gs1.org/00/{unit.name}"
    return f"https://line.example.com/{unit.kind}/{unit.name}"


#: What a scanner sends for a value of each data key; for items in turn.
_SCANS = {
    "extended_id": (
        "]d2010950600013435221{}\x1d10L-17",
        "\x02(01)09506000134352(21){}\x03",
        "HTTPS://ID.GS1.ORG/01/09506000134352/21/{}\r\n",
        "010950600013435221{}",
    ),
    "pallet_code": ("]C100{}",),
    "case_code": ("https://line.example.com/case/{}",),
    "box_code": ("https://line.example.com/box/{}\r\n",),
    "serial_number": ("https://line.example.com/label/{}",),
}


def scans(what: What) -> Iterator[tuple[bytes, list[tuple[str, bytes]]]]:
    """Return what scanners send: the value of each record, and its headers."""
    for number, update in enumerate(updates(what)):
        headers = [(name, str(value).encode()) for name, value in update.fields.items()]
        for data_key in (update.data_key, update.also):
            if data_key is not None:
                spellings = _SCANS[data_key]
                yield spellings[number % len(spellings)].format(update.value).encode(), headers


ENCODERS: dict[str, Callable[[What], Iterator[bytes]]] = {
    "json": as_json,
    "avro": as_avro,
    "epcis": as_epcis,
    "epcis-xml": as_epcis_xml,
}


def flat_topics(happenings: Iterable[Happening]) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return the records of each data key's topic: key and value."""
    topics: dict[str, list[tuple[bytes, bytes]]] = {data_key: [] for data_key in FLAT_KEYS}
    for happening in happenings:
        for update in updates(happening.what):
            for data_key in (update.data_key, update.also):
                if data_key is not None:
                    item = {data_key: update.value, **update.fields}
                    topics[data_key].append((happening.order.encode(), json.dumps(item).encode()))
    return topics


def in_flat_order(happenings: list[Happening]) -> list[Happening]:
    """Return the script as the topics of flat events are read."""

    def topic(happening: Happening) -> int:
        match happening.what:
            case Loaded():
                return 1
            case Shipped():
                return 2
            case _:
                return 0

    return sorted(happenings, key=topic)
