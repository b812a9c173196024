"""Events of every format as they should be, and the schemas that they are written by."""

from __future__ import annotations

import json
from typing import Any

from consumer.formats.schemas import read_schema
from tests.unit.epcis import ITEM, OTHER_SSCC, SSCC, aggregation, document, object_event

SHIPPED = read_schema("scm_event.avsc")
NEWER = SHIPPED | {
    "fields": [
        *SHIPPED["fields"],
        {"name": "more", "type": {"type": "array", "items": ["null", "string"]}},
    ]
}
OLDER = SHIPPED | {
    "fields": [f for f in SHIPPED["fields"] if f["name"] in ("key_value", "scm_data")]
}
#: Of the registry, by id: type and text.
SCHEMAS = {
    1: ("AVRO", json.dumps(SHIPPED)),
    2: ("AVRO", json.dumps(NEWER)),
    3: ("AVRO", json.dumps(OLDER)),
    4: ("JSON", "{}"),
    5: ("PROTOBUF", "syntax"),
    6: ("AVRO", json.dumps(["null", "string", SHIPPED])),
}
FLAT: dict[str, Any] = {
    "extended_id": "HGDTQD54D5SD86EEDFS",
    "activation_status": 1,
    "weight": 1.50,
    "product": "p",
}
ENVELOPE: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": "2026-11-22T23:30:00+08:00",
    "source": "line-3",
    "data_key": "case_code",
    "key_value": "456",
    "scm_data": {"ship_date": "2026-11-22", "pallet_code": "p1", "n": 5, "b": True, "z": None},
    "also_update": {"data_key": "serial_number", "key_value": "456"},
}
COMMISSIONED = object_event(
    ITEM,
    "ABCDEFGH-1",
    action="ADD",
    bizStep="commissioning",
    eventID="urn:uuid:1",
    ilmd={"cbvmda:productionDate": "2026-11-22", "cbvmda:lotNumber": 7},
)
SHIPPED_UNIT = object_event(
    SSCC,
    bizStep="urn:epcglobal:cbv:bizstep:shipping",
    disposition="stolen",
    readPoint={"id": "urn:epc:id:sgln:9506000.00001.7"},
    destinationList=[{"type": "location", "destination": "urn:epc:id:sgln:9506000.00001.0"}],
)
PACKED = aggregation(SSCC, ITEM, "ABCDEFGH-1", bizStep="packing")
UNPACKED = aggregation(OTHER_SSCC, SSCC, action="DELETE")
EVENTS = [
    COMMISSIONED,
    SHIPPED_UNIT,
    PACKED,
    UNPACKED,
    aggregation(SSCC, ITEM, action="OBSERVE", bizStep="shipping"),
]
DOCUMENT = document(*EVENTS)
CLOUD = {
    "specversion": "1.0",
    "id": "c-1",
    "source": "/l",
    "type": "t",
    "time": "2026-11-22T23:30:00Z",
    "data": ENVELOPE,
}
OBJECTS: list[Any] = [
    FLAT,
    ENVELOPE,
    *EVENTS,
    DOCUMENT,
    CLOUD,
    CLOUD | {"data": FLAT},
    CLOUD | {"data": DOCUMENT},
]
