"""CloudEvents in structured mode: an event of any kind in an envelope of other systems."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from consumer.core.model import InvalidEvent
from consumer.formats import decoder
from tests.support.epcis_xml import to_xml
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


SHIPPED = object_event(ITEM, bizStep="shipping")


def in_base64(raw: bytes) -> dict[str, Any]:
    event = cloud(None, datacontenttype="application/xml") | {
        "data_base64": base64.b64encode(raw).decode()
    }
    del event["data"]
    return event


@pytest.mark.parametrize("form", ["auto", "epcis"])
def test_xml_of_epcis_stands_in_it_as_text_or_in_base64(form: str) -> None:
    raw = to_xml(document(SHIPPED, SHIPPED | {"eventTime": "2026-11-23T07:00:00Z"}))
    for event in (cloud(raw.decode(), datacontenttype="application/xml"), in_base64(raw)):
        assert items(event, form) == items(raw, form)
        into = record()
        rows_of(event, into=into)
        assert into.event_id == "c-1"


def test_in_binary_mode_xml_is_the_record_s_value() -> None:
    """The attributes are headers, such as ce_id, and are not looked at."""
    raw = to_xml(SHIPPED)
    assert items(raw) == items(SHIPPED)


def test_xml_as_text_has_the_encoding_of_the_text_whatever_its_first_line_says() -> None:
    event = SHIPPED | {"bizStep": "https://line.example.com/köln"}
    rule = ("https://line.example.com/köln = gate: köln",)
    text = to_xml(event).decode()
    for encoding in ("UTF-16", "ISO-8859-1"):
        told = text.replace("encoding='utf-8'", f'encoding="{encoding}"')
        assert encoding in told
        assert items(cloud(told), steps=rule) == items(event, steps=rule)


@pytest.mark.parametrize("form", ["auto", "epcis"])
def test_xml_in_it_that_is_none_of_epcis_or_cut_off_is_refused_as_it_would_be_alone(
    form: str,
) -> None:
    whole = to_xml(SHIPPED)
    for raw in (b"<a/>", whole[:-9], b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'):
        with pytest.raises(InvalidEvent) as alone:
            rows_of(raw, form)
        for event in (cloud(raw.decode()), in_base64(raw)):
            with pytest.raises(InvalidEvent) as raised:
                rows_of(event, form)
            assert raised.value.reason == alone.value.reason


@pytest.mark.parametrize("text", ["PGEv!!", "e30=", 5, None, ""])
def test_base64_that_holds_no_xml_is_refused(text: Any) -> None:
    event = in_base64(b"") | {"data_base64": text}
    with pytest.raises(InvalidEvent, match='a CloudEvent with "data_base64"') as raised:
        rows_of(event)
    assert raised.value.reason == "invalid_event"


def test_of_data_twice_nobody_knows_which_counts() -> None:
    event = cloud(FLAT) | {"data_base64": "e30="}
    with pytest.raises(InvalidEvent, match="both"):
        rows_of(event)


def test_the_format_json_takes_no_epcis_in_it() -> None:
    with pytest.raises(InvalidEvent):
        rows_of(cloud(to_xml(SHIPPED).decode()), "json")
