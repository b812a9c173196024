"""Confluent's wire format: records that are frames, their content, and schemas that are allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.model import Event, InvalidEvent, Record
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import FORMATS as ALL_FORMATS
from consumer.formats import Decoder, NeedsSchema, Schemas, decoder
from consumer.formats.frames import MAX_SCHEMAS, REFUSED_SECONDS
from consumer.formats.schemas import read_schema

SHIPPED = read_schema("scm_event.avsc")
FORMATS = tuple(form for form in ALL_FORMATS if form != "scan")  # a scan is in no frame
READER = fastavro.parse_schema(SHIPPED)
WHEN = datetime(2024, 5, 1, 21, 30, 0, 123000, tzinfo=UTC)
WHEN_MS = 1714599000123
EVENT: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": WHEN,
    "source": "line-3",
    "data_key": "case_code",
    "key_value": "12",
    "scm_data": {"a": "1", "b": None},
    "also_update": {"data_key": "serial_number", "key_value": "13"},
}
READ = Event(
    {"a": "1", "b": None},
    "case_code",
    "12",
    "e-1",
    WHEN_MS,
    ("serial_number", "13"),
    source="line-3",
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def datum(schema: Any, value: Any, *references: Any) -> bytes:
    named: dict[str, Any] = {}
    for reference in references:
        fastavro.parse_schema(reference, named_schemas=named)
    stream = BytesIO()
    if isinstance(
        schema, (str, list)
    ):  # fastavro finds the types of other schemas only from within a record
        schema, value = record("Around", {"name": "value", "type": schema}), {"value": value}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema, named_schemas=named), value)
    return stream.getvalue()


def frame(schema_id: int, payload: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + payload


def record(name: str, *fields: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": namespace, "fields": list(fields)}


def changed(*, without: tuple[str, ...] = (), **members: Any) -> dict[str, Any]:
    """Return the shipped schema with some members left out, and others of another type or new."""
    fields = [
        {"name": field["name"], "type": members.pop(field["name"])}
        if field["name"] in members
        else field
        for field in SHIPPED["fields"]
        if field["name"] not in without
    ]
    return {
        **SHIPPED,
        "fields": fields + [{"name": name, "type": kind} for name, kind in members.items()],
    }


def refusal(decode: Decoder, raw: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as raised:
        decode(raw)
    assert "\n" not in raised.value.message
    return raised.value.reason, raised.value.message


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schemas(clock: Clock) -> Schemas:
    return Schemas(clock)


def read_by(schema: Any, value: Any, *references: Any) -> Event:
    """Return what a publisher with this schema wrote, as the consumer reads it."""
    schemas = Schemas(Clock())
    schemas.learn(
        7, "AVRO", json.dumps(schema), [json.dumps(reference) for reference in references]
    )
    return decoder("auto", schemas)(frame(7, datum(schema, value, *references)))


# -- what is a frame -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_type_of_the_schema_decides_how_a_frame_is_read_whatever_the_format(
    form: str, schemas: Schemas
) -> None:
    schemas.learn(1, "AVRO", json.dumps(SHIPPED))
    schemas.learn(2**32 - 1, "JSON", "{}")
    decode = decoder(form, schemas)
    assert decode(frame(1, datum(SHIPPED, EVENT))) == READ
    flat, envelope = b'{"extended_id":"K"}', b'{"key_value":"K","scm_data":{"a":"1"}}'
    if form not in ("json", "epcis"):
        assert decode(frame(2**32 - 1, flat)) == Event({"extended_id": "K"}, plain=True)
    if form not in ("flat", "epcis"):
        assert decode(frame(2**32 - 1, envelope)) == Event({"a": "1"}, None, "K", plain=True)
    assert refusal(decode, frame(2**32 - 1, b"{"))[0] == "undecodable"
    assert refusal(decode, frame(2**32 - 1, frame(1, b"x")))[0] == "undecodable"


@pytest.mark.parametrize("form", FORMATS)
def test_frame_of_an_unknown_schema_asks_for_it(form: str, schemas: Schemas) -> None:
    with pytest.raises(NeedsSchema) as raised:
        decoder(form, schemas)(frame(300, b"rest"))
    assert raised.value.schema_id == 300


def test_records_that_are_no_frames_need_no_schema(schemas: Schemas) -> None:
    bare, flat = datum(SHIPPED, EVENT), b'{"extended_id":"K"}'
    assert decoder("auto", schemas)(bare) == decoder("avro", schemas)(bare) == READ
    assert (
        decoder("auto", schemas)(flat)
        == decoder("flat", schemas)(flat)
        == Event({"extended_id": "K"}, plain=True)
    )
    assert decoder("json", schemas)(b'{"key_value":"K","scm_data":{}}').key_value == "K"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_frame_that_is_cut_in_its_header_is_undecodable(
    form: str, size: int, schemas: Schemas
) -> None:
    for decode in (decoder(form, schemas), decoder(form)):
        assert refusal(decode, bytes(size))[0] == "undecodable"


def test_frame_without_anything_behind_its_header_is_undecodable(schemas: Schemas) -> None:
    schemas.learn(0, "AVRO", json.dumps(SHIPPED))
    schemas.learn(1, "JSON", "{}")
    for schema_id in (0, 1):
        assert refusal(decoder("auto", schemas), frame(schema_id, b""))[0] == "undecodable"


# -- without a registry --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_without_a_registry_a_frame_is_read_by_the_shipped_schema_or_as_json(form: str) -> None:
    decode = decoder(form)
    assert decode(frame(9, datum(SHIPPED, EVENT))) == READ
    if form not in ("json", "epcis"):
        assert decode(frame(9, b'{"extended_id":"K"}')) == Event({"extended_id": "K"}, plain=True)


@pytest.mark.parametrize("form", ["auto", "avro"])
@pytest.mark.parametrize(
    "day", [datetime(2015, 1, 1, tzinfo=UTC), WHEN, datetime(2040, 1, 1, tzinfo=UTC)]
)
def test_without_a_registry_a_bare_event_with_an_empty_id_is_not_taken_for_a_frame(
    form: str, day: datetime
) -> None:
    event = decoder(form)(datum(SHIPPED, {**EVENT, "event_id": "", "occurred_at": day}))
    assert (event.event_id, event.key_value) == (None, "12")
    assert event.occurred_at == round(day.timestamp() * 1000)


@pytest.mark.parametrize("form", ["auto", "avro"])
@pytest.mark.parametrize("schema_id", [24, 2**23 + 24, 2**31 - 104])
def test_without_a_registry_a_frame_of_another_schema_is_not_taken_for_a_bare_event(
    form: str, schema_id: int
) -> None:
    """With id 24 and empty event_id, source and data_key, a key of 12 characters would follow."""
    old = changed(without=("event_id", "occurred_at", "source", "data_key"))
    raw = frame(schema_id, datum(old, {**EVENT, "key_value": "ABCDEFGHIJK"}))
    assert refusal(decoder(form), raw)[0] == "undecodable"


@pytest.mark.parametrize("form", FORMATS)
def test_without_a_registry_the_message_tells_how_to_read_other_schemas(form: str) -> None:
    raw = frame(513, datum(changed(without=("source",)), EVENT))
    reason, message = refusal(decoder(form), raw)
    assert reason == "undecodable"
    assert "schema 513" in message
    assert "schema_registry.url" in message


def test_without_a_registry_what_is_an_event_but_a_wrong_one_is_told_as_such() -> None:
    assert (
        refusal(decoder("auto"), frame(1, datum(SHIPPED, {**EVENT, "data_key": " "})))[0]
        == "invalid_event"
    )


# -- schemas that are of no use ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PROTOBUF", "XML"])
def test_other_types_are_refused_with_a_word_on_what_is_read(kind: str, schemas: Schemas) -> None:
    schemas.learn(4, kind, 'syntax = "proto3";')
    reason, message = refusal(decoder("auto", schemas), frame(4, b"\x00rest"))
    assert reason == "undecodable"
    assert kind in message
    assert "AVRO and JSON" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        '"Elsewhere"',
        '{"type": "record", "fields": []}',
        '{"type": "record", "name": "A", "fields": [{"name": "occurred_at"}]}',
        "[" * 10_000,
    ],
)
def test_schema_that_cannot_be_parsed_refuses_its_records(text: str, schemas: Schemas) -> None:
    schemas.learn(4, "AVRO", text)
    reason, message = refusal(decoder("auto", schemas), frame(4, b"rest"))
    assert reason == "undecodable"
    assert message.startswith("schema 4 cannot be read as Avro")


def test_refused_schema_is_asked_for_again_after_half_a_minute(
    schemas: Schemas, clock: Clock
) -> None:
    decode = decoder("auto", schemas)
    schemas.refuse(4, "schema 4 is not there")
    clock.now += REFUSED_SECONDS - 0.1
    assert refusal(decode, frame(4, b"rest")) == ("undecodable", "schema 4 is not there")
    clock.now += 0.2
    with pytest.raises(NeedsSchema):
        decode(frame(4, b"rest"))
    schemas.learn(4, "JSON", "{}")
    assert decode(frame(4, b'{"extended_id":"K"}')).fields == {"extended_id": "K"}


def test_schemas_are_kept_in_bounded_number(schemas: Schemas) -> None:
    decode = decoder("auto", schemas)
    for schema_id in range(3 * MAX_SCHEMAS):
        schemas.learn(schema_id, "JSON", "{}")
        schemas.refuse(2**31 + schema_id, "no")
        assert decode(frame(schema_id, b'{"extended_id":"K"}'))
    assert len(schemas._readers) <= MAX_SCHEMAS
    assert len(schemas._refused) <= MAX_SCHEMAS


# -- schema evolution ----------------------------------------------------------------------------

OPTIONAL = ("source", "data_key", "also_update")
EVOLVED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the shipped schema itself": (SHIPPED, EVENT),
    "older, without source": (changed(without=("source",)), EVENT),
    "older, without any optional member": (changed(without=OPTIONAL), EVENT),
    "newer, with another member": (changed(lot="string"), {**EVENT, "lot": "L1"}),
    "newer, with a whole record more": (
        changed(
            place=record(
                "Place", {"name": "site", "type": "string"}, {"name": "door", "type": "int"}
            )
        ),
        {**EVENT, "place": {"site": "S", "door": 3}},
    ),
    "newer, with an optional list": (
        changed(tags=["null", {"type": "array", "items": "string"}]),
        {**EVENT, "tags": ["x"]},
    ),
    "members in another order": ({**SHIPPED, "fields": SHIPPED["fields"][::-1]}, EVENT),
    "fewer kinds of values": (
        changed(scm_data={"type": "map", "values": "string"}),
        {**EVENT, "scm_data": {"a": "1", "c": ""}},
    ),
    "ints for longs and floats for doubles": (
        changed(scm_data={"type": "map", "values": ["int", "float", "string"]}),
        {**EVENT, "scm_data": {"n": 12, "f": 0.5, "s": "x"}},
    ),
    "members that were optional are required": (
        changed(source="string", data_key="string"),
        EVENT,
    ),
    "the unit is written, the reader has it optional": (
        changed(
            also_update=record(
                "AlsoUpdate", *({"name": n, "type": "string"} for n in ("data_key", "key_value"))
            )
        ),
        EVENT,
    ),
}


@pytest.mark.parametrize("case", EVOLVED)
def test_older_and_newer_writers_give_what_resolution_against_the_shipped_schema_gives(
    case: str,
) -> None:
    schema, value = EVOLVED[case]
    raw = datum(schema, value)
    resolved: Any = fastavro.schemaless_reader(BytesIO(raw), fastavro.parse_schema(schema), READER)
    resolved["occurred_at"] = (
        resolved["occurred_at"] - datetime(1970, 1, 1, tzinfo=UTC)
    ) // timedelta(milliseconds=1)
    also = resolved["also_update"]
    assert read_by(schema, value) == Event(
        resolved["scm_data"],
        resolved["data_key"],
        resolved["key_value"],
        resolved["event_id"],
        resolved["occurred_at"],
        also and (also["data_key"], also["key_value"]),
        source=resolved["source"],
    )


def test_record_may_have_another_name_and_namespace() -> None:
    schema = {**changed(), "name": "PackagingEvent", "namespace": "com.example.line"}
    assert read_by(schema, EVENT) == READ


def timestamp(unit: str) -> dict[str, str]:
    return {"type": "long", "logicalType": unit}


WHEN_TEXT = "2024-05-01T23:30:00.123+02:00"
TIMES: dict[str, tuple[Any, Any, Any]] = {
    "milliseconds": (timestamp("timestamp-millis"), WHEN, WHEN_MS),
    "microseconds": (timestamp("timestamp-micros"), WHEN, WHEN_MS),
    "nanoseconds": (timestamp("timestamp-nanos"), WHEN_MS * 1_000_000 + 999_999, WHEN_MS),
    "local milliseconds": (timestamp("local-timestamp-millis"), WHEN.replace(tzinfo=None), WHEN_MS),
    "optional, there": (["null", timestamp("timestamp-micros")], WHEN, WHEN_MS),
    "optional, not there": (["null", timestamp("timestamp-micros")], None, None),
    "a plain number of milliseconds": ("long", WHEN_MS, WHEN_MS),
    "RFC 3339": ("string", WHEN_TEXT, WHEN_TEXT),
    "out of any calendar": (timestamp("timestamp-millis"), 2**62, 2**62),
}


@pytest.mark.parametrize("case", TIMES)
def test_time_of_the_event_in_any_of_its_forms(case: str) -> None:
    kind, written, read = TIMES[case]
    assert read_by(changed(occurred_at=kind), {**EVENT, "occurred_at": written}).occurred_at == read


def test_time_of_the_event_may_be_absent_and_so_may_its_id() -> None:
    event = read_by(changed(without=("occurred_at", "event_id")), EVENT)
    assert (event.occurred_at, event.event_id, event.key_value) == (None, None, "12")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "yesterday"),
        ("double", 1.5),
        ("boolean", True),
        ({"type": "int", "logicalType": "date"}, date(2024, 5, 1)),
    ],
)
def test_time_of_another_kind_makes_the_event_invalid(kind: Any, value: Any) -> None:
    with pytest.raises(InvalidEvent, match="occurred_at") as raised:
        read_by(changed(occurred_at=kind), {**EVENT, "occurred_at": value})
    assert (raised.value.reason, raised.value.field) == ("invalid_event", "occurred_at")


VALUES: dict[str, tuple[Any, Any, str]] = {
    "text": ("string", " x ", " x "),
    "true": ("boolean", True, "true"),
    "a long": ("long", -(2**63), "-9223372036854775808"),
    "a whole double": ("double", 100.0, "100"),
    "a small double": ("double", 2.5e-05, "0.000025"),
    "a float": ("float", 0.5, "0.5"),
    "a date": ({"type": "int", "logicalType": "date"}, date(2024, 5, 1), "2024-05-01"),
    "a decimal": (
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        Decimal("1.10"),
        "1.10",
    ),
    "a UUID": ({"type": "string", "logicalType": "uuid"}, UUID(int=5), str(UUID(int=5))),
    "a symbol": ({"type": "enum", "name": "Market", "symbols": ["cn", "de"]}, "cn", "cn"),
    "a timestamp in a date field": (timestamp("timestamp-millis"), WHEN, "2024-05-01"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_become_text(case: str) -> None:
    kind, value, text = VALUES[case]
    schema = changed(scm_data={"type": "map", "values": ["null", kind]}, without=OPTIONAL)
    event = read_by(schema, {**EVENT, "scm_data": {"packed_on": value, "no": None}})
    (row,) = RowMaker("extended_id", ("packed_on",)).rows(
        event, Record(Partition("events", 0, 0, None), 0, None, 0)
    )
    assert row.item == {"extended_id": "12", "packed_on": text}


def test_fields_may_be_a_record_of_their_own() -> None:
    kind = record(
        "Fields",
        {"name": "product", "type": "string"},
        {"name": "weight", "type": ["null", "double"]},
    )
    event = read_by(
        changed(scm_data=kind), {**EVENT, "scm_data": {"product": "P1", "weight": None}}
    )
    assert event.fields == {"product": "P1", "weight": None}


def test_uuid_may_be_the_id_whatever_is_in_it() -> None:
    assert read_by(changed(event_id={"type": "string", "logicalType": "uuid"}), EVENT).event_id
    schemas = Schemas(Clock())
    schemas.learn(
        7, "AVRO", json.dumps(changed(event_id={"type": "string", "logicalType": "uuid"}))
    )
    assert decoder("auto", schemas)(frame(7, datum(SHIPPED, EVENT))) == READ


@pytest.mark.parametrize(
    ("schema", "value", "field"),
    [
        ("string", "text", None),
        ({"type": "array", "items": "string"}, ["x"], None),
        (changed(without=("scm_data",)), EVENT, "scm_data"),
        (changed(key_value="long"), {**EVENT, "key_value": 12}, "key_value"),
        (
            changed(scm_data={"type": "array", "items": "string"}),
            {**EVENT, "scm_data": ["x"]},
            "scm_data",
        ),
    ],
)
def test_datum_that_is_no_event_is_invalid(schema: Any, value: Any, field: str | None) -> None:
    with pytest.raises(InvalidEvent) as raised:
        read_by(schema, value)
    assert (raised.value.reason, raised.value.field) == ("invalid_event", field)


def test_datum_without_a_key_is_key_missing() -> None:
    with pytest.raises(InvalidEvent) as raised:
        read_by(changed(without=("key_value",)), EVENT)
    assert (raised.value.reason, raised.value.field) == ("key_missing", "key_value")


def test_every_truncation_and_any_trailing_byte_of_a_frame_is_undecodable(schemas: Schemas) -> None:
    schemas.learn(7, "AVRO", json.dumps(SHIPPED))
    raw = frame(7, datum(SHIPPED, EVENT))
    for end in range(1, len(raw)):
        assert refusal(decoder("auto", schemas), raw[:end])[0] == "undecodable"
    reason, message = refusal(decoder("auto", schemas), raw + b"x")
    assert (reason, "schema 7" in message) == ("undecodable", True)


# -- references ----------------------------------------------------------------------------------

KEY = record(
    "Key",
    {"name": "data_key", "type": "string"},
    {"name": "key_value", "type": "string"},
    namespace="a.b",
)
DATA = {"type": "map", "values": ["null", "string", "a.b.Market"]}
MARKET = {"type": "enum", "name": "Market", "namespace": "a.b", "symbols": ["cn", "de"]}


def test_types_of_other_subjects_are_resolved() -> None:
    schema = changed(also_update=["null", "a.b.Key"], scm_data=DATA)
    event = read_by(schema, {**EVENT, "scm_data": {"intended_market": "cn"}}, MARKET, KEY)
    assert event.fields == {"intended_market": "cn"}
    assert event.also_update == ("serial_number", "13")


def test_reference_may_refer_itself() -> None:
    outer = record("Outer", {"name": "inner", "type": "a.b.Key"}, namespace="a.b")
    event = read_by(
        changed(more="a.b.Outer"), {**EVENT, "more": {"inner": EVENT["also_update"]}}, KEY, outer
    )
    assert event == READ


@pytest.mark.parametrize("unit", ["timestamp-millis", "timestamp-micros"])
@pytest.mark.parametrize(
    "root", [lambda name: name, lambda name: ["null", "a.b.Key", name]], ids=["name", "union"]
)
def test_event_may_be_one_of_several_types_of_a_topic(
    unit: str, root: Callable[[str], Any]
) -> None:
    event = changed(occurred_at=timestamp(unit))
    assert read_by(root("io.scantrust.scm.ScmEvent"), EVENT, KEY, event) == READ


NODE = record("Node", {"name": "next", "type": ["null", "Node"]})
PING = record(
    "Ping",
    {
        "name": "pong",
        "type": {"type": "array", "items": record("Pong", {"name": "ping", "type": "Ping"})},
    },
)
NOTHING = record(
    "Nothing",
    {"name": "a", "type": "null"},
    {"name": "b", "type": {"type": "fixed", "name": "F", "size": 0}},
)


def tower(layers: int, leaf: str) -> dict[str, Any]:
    """Each record holds two of the one below, which stands in the first of them."""
    top = record("T0", {"name": "x", "type": leaf})
    for above in range(1, layers):
        top = record(
            f"T{above}", {"name": "a", "type": top}, {"name": "b", "type": f"T{above - 1}"}
        )
    return top


BOMBS: dict[str, Any] = {
    "a thousand million records without bytes": tower(30, "null"),
    "the same before a field that takes bytes": changed(
        more=record("E", {"name": "t", "type": tower(30, "null")})
    ),
    "a type that contains itself": NODE,
    "a type that contains itself, deeper": changed(more=["null", {"type": "map", "values": NODE}]),
    "types that contain each other": PING,
    "a type of a namespace that contains itself": changed(
        more=record("Node", {"name": "next", "type": ["null", "io.x.Node"]}, namespace="io.x")
    ),
    "an array of nulls": changed(more={"type": "array", "items": "null"}),
    "an array of records without bytes": changed(more={"type": "array", "items": NOTHING}),
    "an array of arrays of them": changed(
        more={"type": "array", "items": {"type": "array", "items": NOTHING}}
    ),
}


@pytest.mark.parametrize("case", BOMBS)
def test_schema_by_which_a_few_bytes_could_end_the_process_is_refused(
    case: str, schemas: Schemas
) -> None:
    schemas.learn(7, "AVRO", json.dumps(BOMBS[case]))
    for payload in (b"\x02" * 1_000_000, b"\xfe\xff\xff\xff\xff\xff\x01"):
        reason, message = refusal(decoder("auto", schemas), frame(7, payload))
        assert reason == "undecodable"
        assert message.startswith("schema 7 cannot be read as Avro (ValueError")


def test_type_that_is_used_often_is_fine() -> None:
    """Each layer has two of the one below: 16 million in all, if each were counted."""
    layers = [record("L0", {"name": "x", "type": "int"}, namespace="a.b")]
    layers += [
        record(
            f"L{above}",
            *({"name": name, "type": ["null", f"L{above - 1}"]} for name in "ab"),
            namespace="a.b",
        )
        for above in range(1, 25)
    ]
    more = {"a": {"a": None, "b": None}, "b": None}
    assert read_by(changed(more=["null", "a.b.L24"]), {**EVENT, "more": more}, *layers) == READ


NEWER = EVOLVED["newer, with a whole record more"]
NEWER_RAW = datum(*NEWER)
any_payload = st.binary(max_size=100) | st.builds(
    lambda at, junk: (
        NEWER_RAW[: at % len(NEWER_RAW)] + junk + NEWER_RAW[at % len(NEWER_RAW) + len(junk) :]
    ),
    st.integers(0, 1000),
    st.binary(max_size=3),
)


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.sampled_from([1, 2, 3]), any_payload)
def test_any_bytes_in_a_frame_give_an_event_or_are_refused(
    form: str, schema_id: int, payload: bytes
) -> None:
    schemas = Schemas(Clock())
    schemas.learn(1, "AVRO", json.dumps(NEWER[0]))
    schemas.learn(2, "JSON", "{}")
    for decode in (decoder(form, schemas), decoder(form)):
        refused: Exception | None = None
        try:
            assert RowMaker("extended_id").rows(
                decode(frame(schema_id, payload)),
                Record(Partition("events", 0, 0, None), 0, None, 0),
            )
        except (InvalidEvent, NeedsSchema) as error:
            refused = error
        if isinstance(refused, InvalidEvent):
            assert refused.reason in ("undecodable", "invalid_event", "key_missing")
        elif isinstance(refused, NeedsSchema):
            assert refused.schema_id == schema_id == 3


def test_missing_reference_refuses_the_records(schemas: Schemas) -> None:
    schemas.learn(7, "AVRO", json.dumps(changed(more="a.b.Key")))
    reason, message = refusal(decoder("auto", schemas), frame(7, b"rest"))
    assert reason == "undecodable"
    assert "a.b.Key" in message
