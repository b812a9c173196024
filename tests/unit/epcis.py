"""Events of EPCIS as a packaging line writes them, and what the consumer makes of them by given
rules.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.config.settings import EpcisSettings
from consumer.core.model import InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import Decoder, EpcisRules, decoder
from tests.support.epcis_xml import to_xml

UNITS = ("case_code", "pallet_code")
CONTEXT = ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"]
WHEN = {"eventTime": "2026-11-22T16:30:00.000Z", "eventTimeZoneOffset": "+08:00"}
ITEM = "urn:epc:id:sgtin:9506000.013435.HGDTQD54D5SD86EEDFS"
SSCC = "urn:epc:id:sscc:9506000.0000000001"
OTHER_SSCC = "https://id.gs1.org/00/095060000000000022"


def object_event(*epcs: str, action: Any = "OBSERVE", **members: Any) -> dict[str, Any]:
    return {
        "@context": CONTEXT,
        "type": "ObjectEvent",
        **WHEN,
        "action": action,
        "epcList": list(epcs),
        **members,
    }


def aggregation(
    parent: str | None, *children: str, action: str = "ADD", **members: Any
) -> dict[str, Any]:
    event = {
        "@context": CONTEXT,
        "type": "AggregationEvent",
        **WHEN,
        "action": action,
        "childEPCs": list(children),
    }
    return event | ({} if parent is None else {"parentID": parent}) | members


def document(*events: Any, **members: Any) -> dict[str, Any]:
    return {
        "@context": CONTEXT,
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-11-22T16:30:00Z",
        "epcisBody": {"eventList": list(events)},
        **members,
    }


def rules(**lists: tuple[str, ...]) -> EpcisRules:
    """The default rules, some of them replaced."""
    return EpcisRules(UNITS, **(EpcisSettings().model_dump() | lists))


def record() -> Record:
    return Record(Partition("t", 0, 0, None), 0, None, 0)


def rows_of(
    event: Any, form: str = "auto", into: Record | None = None, **lists: tuple[str, ...]
) -> list[Row]:
    """The rows of a record. What can be written as XML must make the same ones in each version."""
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    read = decoder(form, rules=rules(**lists))
    if isinstance(event, dict) and "epcis" in str(event.get("@context")):
        wanted = _told(read, raw)
        for version in ("2.0", "1.2"):
            try:
                xml = to_xml(event, version)
            except (TypeError, KeyError):
                continue
            assert _told(read, xml) == wanted, xml.decode()
    return _rows(read, raw, into or record())


def _rows(read: Decoder, raw: bytes, into: Record) -> list[Row]:
    return RowMaker("extended_id", logistic_units=UNITS).rows(read(raw), into)


def _told(read: Decoder, raw: bytes) -> tuple[list[Any], str | None]:
    """The outcome of a record. In XML an event is always one of a document."""
    into = record()
    try:
        rows = _rows(read, raw, into)
    except InvalidEvent as bad:
        return [({}, (bad.reason, bad.field, bad.message))], None
    told = [
        (
            row.item,
            row.rejection and (row.rejection.reason, row.rejection.field, row.rejection.message),
        )
        for row in rows
    ]
    return told, into.event_id


def items(event: Any, form: str = "auto", **lists: Any) -> list[dict[str, str]]:
    """Return what is sent of a record; fail if any of it is refused."""
    rows = rows_of(event, form, **lists)
    assert [row.rejection for row in rows] == [None] * len(rows)
    assert [row.value for row in rows] == [next(iter(row.item.values())) for row in rows]
    return [row.item for row in rows]


def refusal(event: Any, **lists: Any) -> tuple[str | None, str]:
    """The field and message with which an event is refused as a whole, alone as in a document."""
    with pytest.raises(InvalidEvent) as raised:
        rows_of(event, **lists)
    bad = raised.value
    assert bad.reason == "invalid_event"
    (row,) = rows_of(document(event), **lists)
    assert row.rejection is not None
    why = row.rejection
    assert (why.reason, why.field, why.message) == (bad.reason, bad.field, bad.message)
    assert (row.value, row.item) == (None, {})
    return bad.field, bad.message
