"""Schema ids in headers, GUIDs, and the frames of other registries."""

from __future__ import annotations

from uuid import UUID

import pytest

from consumer.core.model import InvalidEvent
from consumer.formats import FORMATS, Decoder, NeedsSchema, Schemas, decoder, framed

NAME = "__value_schema_id"
GUID = UUID("89791762-2336-4186-9674-299b90a802e2")
ID = b"\x00\x00\x00\x00\x07"
BY_GUID = b"\x01" + GUID.bytes
EVENT = b'{"extended_id":"K","a":"1"}'
OWN = """{"type": "record", "name": "Own", "fields": [
    {"name": "key_value", "type": "string"},
    {"name": "scm_data", "type": {"type": "map", "values": "string"}}]}"""
DATUM = b"\x02K\x02\x02a\x021\x00"
GLUE = b"\x03\x00" + GUID.bytes + DATUM
EIGHT = b"\x00" + (7).to_bytes(8) + DATUM


@pytest.fixture
def schemas() -> Schemas:
    return Schemas(lambda: 0.0)


def message(decode: Decoder, raw: bytes) -> str:
    with pytest.raises(InvalidEvent) as raised:
        decode(raw)
    assert raised.value.reason == "undecodable"
    return raised.value.message


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "scan"])
@pytest.mark.parametrize(("content", "schema_id"), [(ID, 7), (BY_GUID, str(GUID))])
def test_header_counts_before_the_value(
    form: str, content: bytes, schema_id: int | str, schemas: Schemas
) -> None:
    raw = framed(DATUM, NAME, content, has_registry=True)
    with pytest.raises(NeedsSchema) as needs:
        decoder(form, schemas)(raw)
    assert needs.value.schema_id == schema_id
    schemas.learn(schema_id, "AVRO", OWN)
    event = decoder(form, schemas)(raw)
    assert (event.key_value, event.fields) == ("K", {"a": "1"})


def test_schema_of_a_guid_may_be_json_and_may_be_refused(schemas: Schemas) -> None:
    raw = framed(EVENT, NAME, BY_GUID, has_registry=True)
    schemas.learn(str(GUID), "JSON", "{}")
    assert decoder("auto", schemas)(raw).fields == {"extended_id": "K", "a": "1"}
    schemas = Schemas(lambda: 0.0)
    schemas.learn(str(GUID), "PROTOBUF", "")
    assert f"schema {GUID} is of type PROTOBUF" in message(decoder("auto", schemas), raw)


def test_guid_may_stand_before_the_value_as_well(schemas: Schemas) -> None:
    for raw in (b"\x01", BY_GUID[:16]):
        assert "fewer than its header" in message(decoder("auto", schemas), raw)
    assert decoder("auto")(BY_GUID + EVENT).fields == {"extended_id": "K", "a": "1"}
    assert "set schema_registry.url" in message(decoder("auto"), BY_GUID + DATUM)


@pytest.mark.parametrize("value", [EVENT, b" \n[]", b'<?xml version="1.0"?><a/>'])
def test_what_tells_itself_needs_no_registry(value: bytes) -> None:
    assert framed(value, NAME, ID, has_registry=False) == value
    assert framed(value, "apicurio.value.globalId", b"\0" * 8, has_registry=True) == value


def test_datum_of_a_schema_that_cannot_be_looked_up_is_refused() -> None:
    with pytest.raises(InvalidEvent, match=r"set schema_registry\.url"):
        framed(DATUM, NAME, ID, has_registry=False)
    for name in ("apicurio.value.globalId", "apicurio.value.contentId"):
        with pytest.raises(InvalidEvent, match="Apicurio"):
            framed(DATUM, name, b"\0" * 8, has_registry=True)


@pytest.mark.parametrize("content", [None, b"", b"\x00\x00", b"7", BY_GUID[:16], b"\x02" * 17])
def test_header_in_another_form_is_refused(content: bytes | None) -> None:
    with pytest.raises(InvalidEvent, match="must be 0x00 and an id of 4 bytes") as raised:
        framed(DATUM, NAME, content, has_registry=True)
    assert raised.value.reason == "undecodable"


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "scan"])
@pytest.mark.parametrize("registry", [True, False])
def test_frames_of_other_registries_are_refused_by_their_name(
    form: str, registry: bool, schemas: Schemas
) -> None:
    decode = decoder(form, schemas if registry else None)
    for raw in (GLUE, b"\x03\x05" + GLUE[2:]):
        assert f"AWS Glue Schema Registry do (version {GUID})" in message(decode, raw)
    assert "Apicurio Registry do (an id of eight bytes, 7)" in message(decode, EIGHT)
