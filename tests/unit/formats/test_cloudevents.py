"""CloudEvents in structured mode: an event of any kind in an envelope of other systems."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.model import InvalidEvent
from consumer.formats import decoder
from tests.unit.epcis import ITEM, document, items, object_event, record, rows_of
from tests.unit.formats.test_formats import dumped

FLAT = {"extended_id": "K", "a": "1"}
ENVELOPE = {"key_value": "K", "scm_data": {"a": "1"}}


def cloud(data: Any, **members: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "c-1",
        "source": "/line/3",
        "type": "com.example.packed",
        "time": "2026-11-22T23:30:00+08:00",
        "datacontenttype": "application/json",
        "data": data,
        **members,
    }


@pytest.mark.parametrize("data", [FLAT, ENVELOPE, object_event(ITEM, bizStep="shipping")])
def test_what_is_in_it_is_read_as_if_it_stood_alone(data: dict[str, Any]) -> None:
    assert items(cloud(data)) == items(data)


def test_formats_insist_on_what_is_in_it() -> None:
    assert items(cloud(ENVELOPE), "json") == [FLAT]
    event = object_event(ITEM, bizStep="shipping")
    assert items(cloud(event), "epcis") == items(event)
    for form, data in (("json", FLAT), ("epcis", ENVELOPE), ("epcis", FLAT)):
        with pytest.raises(InvalidEvent) as raised:
            rows_of(cloud(data), form)
        assert raised.value.reason == "invalid_event"


def test_its_id_and_time_stand_in_where_the_event_has_none() -> None:
    event = decoder("auto")(dumped(cloud(FLAT)))
    assert (event.event_id, event.occurred_at) == ("c-1", "2026-11-22T23:30:00+08:00")
    own = ENVELOPE | {"event_id": "e-1", "occurred_at": "2026-11-22T01:00:00Z"}
    event = decoder("auto")(dumped(cloud(own)))
    assert (event.event_id, event.occurred_at) == ("e-1", "2026-11-22T01:00:00Z")
    event = decoder("auto")(dumped(cloud(FLAT, id=5, time="yesterday")))
    assert (event.event_id, event.occurred_at) == (None, None)
    into = record()
    shipped = object_event(ITEM, bizStep="shipping")
    rows_of(cloud(shipped), into=into)
    assert into.event_id == "c-1"
    rows_of(cloud(document(shipped, 5)), into=into)
    assert into.event_id == "c-1"


@pytest.mark.parametrize("data", ["text", None, 5, [FLAT], True])
def test_data_that_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(InvalidEvent, match="an event is an object in its") as raised:
        rows_of(cloud(data, more=1))
    assert (raised.value.reason, raised.value.field) == ("invalid_event", "data")


def test_binary_data_is_refused() -> None:
    event = cloud(None) | {"data_base64": "e30=", "n": 1}
    del event["data"]
    with pytest.raises(InvalidEvent, match='a CloudEvent with "data_base64"'):
        rows_of(event)


def test_an_upload_item_with_a_field_of_that_name_is_none() -> None:
    assert items(FLAT | {"specversion": 1}) == [FLAT | {"specversion": "1"}]
    assert items(FLAT | {"specversion": 1, "data": "x"}, "flat") == [
        FLAT | {"specversion": "1", "data": "x"}
    ]


def test_however_deep_one_lies_in_another_it_is_no_event_and_ends_nothing() -> None:
    for depth in (2, 600, 900):
        raw = b'{"specversion":"1.0","data":' * depth + dumped(FLAT) + b"}" * depth
        with pytest.raises(InvalidEvent) as raised:
            rows_of(raw)
        assert raised.value.reason == "key_missing"
