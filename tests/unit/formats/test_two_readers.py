"""JSON that two readers would read differently, or of which a part would be lost in silence."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.model import Event, InvalidEvent, Record
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import FORMATS, Schemas, decoder

ENVELOPE = b'{"key_value":"K","scm_data":{"a":"1"}'
EPCIS = b'{"type":"ObjectEvent","action":"OBSERVE","bizStep":"shipping","epcList":["AAAA1111"]'
CLOUD = b'{"specversion":"1.0","id":"1","data":'


def problem(raw: bytes, form: str = "auto") -> InvalidEvent:
    with pytest.raises(InvalidEvent) as raised:
        decoder(form)(raw)
    return raised.value


REPEATS = {
    "the key of a flat record": ("flat", b'{"a":"1","b":"2","a":"3"}', "a"),
    "the same value twice": ("flat", b'{"a":"1","a":"1"}', "a"),
    "an escaped spelling of it": ("flat", b'{"a":"1","\\u0061":"1"}', "a"),
    "beside an escaped mark": ("flat", b'{"a":"say \\"x\\"","b":"1","b":"2"}', "b"),
    "beside a backslash": ("flat", b'{"a":"C:\\\\","b":"1","b":"2"}', "b"),
    "of a number": ("flat", b'{"a":1,"b":"2","a":3}', "a"),
    "a member of an envelope": ("json", ENVELOPE + b',"key_value":"L"}', "key_value"),
    "all fields of an envelope": ("json", ENVELOPE + b',"scm_data":{"a":"2"}}', "scm_data"),
    "a field of an envelope": ("json", b'{"key_value":"K","scm_data":{"a":"1","a":"2"}}', "a"),
    "of an envelope, null first": ("json", ENVELOPE + b',"source":null,"source":"x"}', "source"),
    "in also_update": (
        "json",
        ENVELOPE + b',"also_update":{"data_key":"b","key_value":"1","key_value":"2"}}',
        "key_value",
    ),
    "in a list": ("json", ENVELOPE + b',"x":[{"y":1},[{"z":1,"z":1}]]}', "z"),
    "with a byte order mark": (
        "json",
        b"\xef\xbb\xbf" + ENVELOPE + b',"key_value":"L"}',
        "key_value",
    ),
    "of EPCIS": ("epcis", EPCIS + b',"bizStep":"packing"}', "bizStep"),
    "in a member of EPCIS": (
        "epcis",
        EPCIS + b',"ilmd":{"cbvmda:lotNumber":"1","cbvmda:lotNumber":"2"}}',
        "cbvmda:lotNumber",
    ),
}


@pytest.mark.parametrize("case", REPEATS)
def test_name_that_comes_twice_in_an_object_is_refused(case: str) -> None:
    form, raw, name = REPEATS[case]
    for used in (form, "auto"):
        bad = problem(raw, used)
        assert (bad.reason, bad.field) == ("invalid_event", name)
        assert f'"{name}" more than once' in bad.message
    framed = b"\0\0\0\0\x07" + raw.removeprefix(b"\xef\xbb\xbf")
    assert problem(framed, form).field == name
    schemas = Schemas(lambda: 0.0)
    schemas.learn(7, "JSON", "{}")
    with pytest.raises(InvalidEvent, match="more than once"):
        decoder("auto", schemas)(framed)
    if form != "flat":
        event = raw.removeprefix(b"\xef\xbb\xbf")
        assert problem(CLOUD + event + b"}").field == name


def test_name_that_comes_twice_in_a_cloud_event_is_refused() -> None:
    assert problem(CLOUD + ENVELOPE + b'},"id":"2"}').field == "id"


@pytest.mark.parametrize("depth", [900, 5000])
def test_repeat_at_any_depth_is_refused_and_raises_nothing_else(depth: int) -> None:
    deep = b'{"a":' * depth + b'{"x":1,"x":2}' + b"}" * depth
    assert (
        problem(b'{"key_value":"K","scm_data":{},"more":' + deep + b"}").reason == "invalid_event"
    )


texts = st.text(st.sampled_from('a":\\,{}[]é\n\u2028'), max_size=5)
trees: st.SearchStrategy[Any] = st.recursive(
    texts | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, texts, min_size=1, max_size=4), st.booleans())
def test_flat_records_of_any_text_are_read_and_their_repeats_are_not(
    fields: dict[str, str], ascii_only: bool
) -> None:
    text = json.dumps(fields, ensure_ascii=ascii_only)
    assert decoder("flat")(text.encode()).fields == fields
    first = json.dumps(next(iter(fields)))
    assert problem((text[:-1] + f',{first}:""}}').encode(), "flat").reason == "invalid_event"


@given(trees, st.booleans())
def test_other_members_of_an_envelope_may_be_anything_but_repeats(
    tree: Any, ascii_only: bool
) -> None:
    event = {"key_value": "K", "scm_data": {"a": "1"}, "more": tree}
    text = json.dumps(event, ensure_ascii=ascii_only)
    assert decoder("json")(text.encode()) == Event({"a": "1"}, None, "K")
    twice = text[:-1] + ',"more":null}'
    assert problem(twice.encode(), "json").field == "more"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("12345678901234567890.1", "12345678901234567890.1"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("1e2", "100"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
    ],
)
def test_number_is_sent_with_the_digits_it_was_written_with(number: str, text: str) -> None:
    event = decoder("auto")(f'{{"extended_id":"K","a":{number}}}'.encode())
    record = Record(Partition("events", 0, 0, None), 0, None, 0)
    (row,) = RowMaker("extended_id").rows(event, record)
    assert row.item == {"extended_id": "K", "a": text}


@pytest.mark.parametrize("number", ["1e99999999999999999999", "-1e-99999999999999999999"])
def test_number_beyond_any_spoils_nothing_unless_it_is_sent(number: str) -> None:
    beside = f'{{"key_value":"K","scm_data":{{"a":1.5}},"more":{number}}}'.encode()
    assert decoder("json")(beside) == Event({"a": Decimal("1.5")}, None, "K")
    event = decoder("flat")(f'{{"extended_id":"K","a":{number}}}'.encode())
    record = Record(Partition("events", 0, 0, None), 0, None, 0)
    with pytest.raises(InvalidEvent, match='"a" is a number that is too large'):
        RowMaker("extended_id").rows(event, record)


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "-Infinity", '"\\ud800"', '"\\udfff\\ud800"']
)
def test_what_is_no_json_or_no_text_is_refused(literal: str) -> None:
    for form in ("json", "auto"):
        raw = ENVELOPE.replace(b'"1"', literal.encode()) + b"}"
        assert problem(raw, form).reason == "invalid_event"


# -- lost in silence ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("activation_status", "2"), ("status", "1"), ("product", '"p"'), ("intended_market", '"de"')],
)
def test_special_field_beside_the_fields_is_refused(name: str, value: str) -> None:
    raw = ENVELOPE + f',"{name}":{value}}}'.encode()
    for form in ("json", "auto"):
        bad = problem(raw, form)
        assert (bad.reason, bad.field) == ("invalid_event", name)
        assert 'belong into "scm_data"' in bad.message


def test_special_field_beside_the_fields_is_ignored_if_null_or_set_there_as_well() -> None:
    read = decoder("auto")
    assert read(ENVELOPE + b',"product":null}') == Event({"a": "1"}, None, "K")
    both = b'{"key_value":"K","scm_data":{"product":"p"},"product":"x"}'
    assert read(both) == Event({"product": "p"}, None, "K")
    assert read(ENVELOPE + b',"my_own":"x"}') == Event({"a": "1"}, None, "K")


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in ("avro", "scan")])
@pytest.mark.parametrize("schema", [b'{"type":"struct"}', b"null"])
def test_wrapper_of_kafka_connect_is_refused_with_what_to_set(form: str, schema: bytes) -> None:
    raw = b'{"schema":' + schema + b',"payload":{"extended_id":"K","a":"1"}}'
    bad = problem(raw, form)
    assert bad.reason == "invalid_event"
    assert "value.converter.schemas.enable=false" in bad.message


def test_which_records_came_before_makes_no_difference() -> None:
    """``auto`` tries first what the last record was."""
    raws = [
        b'{"extended_id":"K","a":"1"}',
        b'{"extended_id":"K","a":1}',
        b'{"key_value":"K","scm_data":{"a":"1"}}',
        b'{"key_value":"K","scm_data":{"a":1,"b":2.50,"c":null,"d":"x"}}',
        b'{"key_value":"K","source":null,"data_key":null,"also_update":null,"scm_data":{"a":"1"}}',
        b'{"n":1,"key_value":"K","scm_data":{"a":"1"}}',
        b'{"n":null,"key_value":"K","scm_data":{"a":true}}',
        CLOUD + b'{"key_value":"K","scm_data":{"a":"1"}}}',
    ]
    alone = [decoder("auto")(raw) for raw in raws]
    one = decoder("auto")
    rng = random.Random(1)
    for _ in range(200):
        at = rng.randrange(len(raws))
        event = one(raws[at])
        assert (event.fields, event.key_value) == (alone[at].fields, alone[at].key_value)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"key_value":"K","scm_data":{"a":1,"a":"x"}}',
        b'{"key_value":"K","scm_data":{"a":"x","a":1}}',
        b'{"key_value":"K","scm_data":{"a":1},"scm_data":{"b":1}}',
        b'{"key_value":"K","source":"x","source":null,"scm_data":{"a":1}}',
        b'{"key_value":"K","source":null,"source":null,"scm_data":{"a":"1"}}',
        b'{"extended_id":"K","a":1,"a":"x:y"}',
        b'{"extended_id" :"K","a":1,"a" :2,"b":"\\":"}',
        b'{"extended_id":"K","a":1,"a":2,"t":"2026-11-22T23:30:00+08:00"}',
        b'{"extended_id":"K","t":"23:30","a":"1","a":"2"}',
    ],
)
def test_a_name_that_comes_twice_is_found_among_numbers_nulls_and_colons(raw: bytes) -> None:
    for first in (b'{"extended_id":"K","a":"1"}', b'{"key_value":"K","scm_data":{"a":"1"}}'):
        decode = decoder("auto")
        decode(first)
        with pytest.raises(InvalidEvent, match="more than once"):
            decode(raw)
