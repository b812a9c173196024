"""Inputs for the decoders: events of every format as they should be, and in a cruel world.

An input depends on its number alone, so that one that fails is found again by it.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro

from tests.fuzz.samples import (
    CLOUD,
    COMMISSIONED,
    DOCUMENT,
    ENVELOPE,
    EVENTS,
    FLAT,
    NEWER,
    OBJECTS,
    OLDER,
    PACKED,
    SHIPPED,
    SHIPPED_UNIT,
)
from tests.fuzz.scans import scan_of
from tests.support.epcis_xml import to_xml
from tests.unit.epcis import ITEM, SSCC


class Raw(str):
    """A value written into JSON as it stands."""

    __slots__ = ()


#: Values that somebody will put somewhere one day.
ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**63, -(2**64), 1.5),
    *("", " ", "\u00a0", "x" * 51, "x" * 600, "a\nb\x00", "\U0001f600", "é", "{date}"),
    *([], {}, [[]], [None], {"": ""}, {"id": "x"}, {"id": 5}, [5, "x", {}], ["", " "]),
    *(
        "2026-02-30",
        "2026-11-22T23:30:00+08:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
    ),
    *(
        "+99:99",
        "-23:59",
        "Z",
        "ADD",
        "DELETE",
        "OBSERVE",
        "shipping",
        "commissioning",
        "0",
        "1",
        "2",
    ),
    *("EPCISDocument", "ObjectEvent", "AggregationEvent", "TransactionEvent"),
    *(
        ITEM,
        SSCC,
        "urn:epc:id:sgtin:9506000.0134.1",
        "urn:epc:id:sgtin:9506000.013435.%ff%00",
        "urn:epc:id:sscc:.",
    ),
    *(
        "https://x/01/1/21/",
        "http://",
        "https://id.gs1.org/01/09506000134352/21/%",
        "https://[::1/00/1",
        "00/1",
    ),
    *map(Raw, ("NaN", "-Infinity", "1e999999999", "-0", "1e-5000", "0.1e+2", "9" * 5000, "1e400")),
    *map(Raw, ("1" + "0" * 400 + ".5", r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', '"\xed"')),
    *map(Raw, ("tru", "'x'", "01", "+1", "[1,]", '{"a":1,"a":2}', "", "[" * 40 + "]" * 40)),
]
NAMES = sorted(
    {
        name
        for made in (FLAT, ENVELOPE, COMMISSIONED, SHIPPED_UNIT, PACKED, DOCUMENT, CLOUD)
        for name in made
    }
    | {
        "status",
        "blacklist_reason",
        "date_consumed",
        "after_sell_by",
        "event",
        "eventList",
        "errorDeclaration",
    }
    | {
        "",
        "a.b",
        "x:y",
        "data_base64",
        "quantityList",
        "childQuantityList",
        "extended_id ",
        "x" * 5000,
    }
)
TOKENS = [
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"NaN", b"1e999", b"null", b"\\ud800", b'"scm_data"', b'"@context"', b'"type"', b'"data"'),
    *(b"<", b">", b"</epc>", b"<epc>", b"&amp;", b"&a;", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>"),
    *(b"<extension>", b"</extension>", b"<!--", b"-->", b"xmlns='urn:x'", b"<?xml version='1.0'?>"),
    *(b"\x00\x00\x00\x00\x01", b"\x80" * 10, b"\xfe\xff\xff\xff\xff\x01"),
]


def _written(value: Any, rng: random.Random) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        members = [
            f"{json.dumps(name, ensure_ascii=False)}:{_written(inner, rng)}"
            for name, inner in value.items()
        ]
        if members and rng.random() < 0.02:
            members.append(rng.choice(members))  # a name twice
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(_written(inner, rng) for inner in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _changed(value: Any, rng: random.Random, depth: int = 0) -> Any:
    """Return the value with one thing in it that is different, somewhere."""
    if depth and (rng.random() < 0.3 or not isinstance(value, dict | list) or not value):
        return rng.choice(ODD) if rng.random() < 0.8 else rng.choice(OBJECTS)
    if isinstance(value, list):
        place = rng.randrange(len(value))
        way = rng.random()
        if way < 0.15:
            return value[:place] + value[place + 1 :]
        if way < 0.3:
            return value + value[place:]
        return [
            _changed(inner, rng, depth + 1) if at == place else inner
            for at, inner in enumerate(value)
        ]
    name, way = rng.choice(list(value)), rng.random()
    if way < 0.15:
        return {other: inner for other, inner in value.items() if other != name}
    if way < 0.3:
        return value | {rng.choice(NAMES): rng.choice(ODD)}
    if way < 0.4:
        return {
            rng.choice(NAMES) if other == name else other: inner for other, inner in value.items()
        }
    return value | {name: _changed(value[name], rng, depth + 1)}


def _json(rng: random.Random) -> bytes:
    value: Any = rng.choice(OBJECTS)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        value = _changed(value, rng) if isinstance(value, dict | list) and value else value
    if rng.random() < 0.02:
        value = [value]
    return _written(value, rng).encode("utf-8", "surrogatepass")


def _datum(schema: dict[str, Any], members: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), members)
    return out.getvalue()


DATA = {
    1: _datum(SHIPPED, ENVELOPE | {"occurred_at": 1_700_000_000_000}),
    2: _datum(NEWER, ENVELOPE | {"occurred_at": 1_700_000_000_000, "more": ["a", None]}),
    3: _datum(OLDER, ENVELOPE),
    6: b"\x04" + _datum(SHIPPED, ENVELOPE | {"occurred_at": 1_700_000_000_000}),
}


def _avro(rng: random.Random) -> bytes:
    schema_id = rng.choice(list(DATA))
    if rng.random() < 0.3:
        return DATA[1] if schema_id > 1 else _bent(DATA[1], rng)
    payload = DATA[schema_id] if rng.random() < 0.4 else _bent(DATA[rng.choice(list(DATA))], rng)
    return b"\x00" + schema_id.to_bytes(4, "big") + payload


def _framed(rng: random.Random) -> bytes:
    return b"\x00" + rng.choice((4, 4, 4, 5, 7, 2**32 - 1)).to_bytes(4, "big") + _json(rng)


def _bent(raw: bytes, rng: random.Random) -> bytes:
    """Return the bytes with some of them different."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 12))):
        at, way = rng.randrange(len(raw) + 1), rng.randrange(6)
        if way == 0:
            raw = raw[:at]
        elif way == 1:
            raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
        elif way == 2:
            raw = raw[:at] + rng.choice(TOKENS) + raw[at + rng.choice((0, 0, 1, 4)) :]
        elif way == 3:
            raw = raw[:at] + raw[at + rng.randrange(1, 9) :]
        elif way == 4:
            raw = raw[:at] + raw[max(0, at - rng.randrange(1, 40)) : at] + raw[at:]
        else:
            raw = raw[at:] + raw[:at]
    return raw


def _bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 5, 6, 30, 200)))


def _huge(rng: random.Random) -> bytes:
    """Return few and small words that say much."""
    count = rng.choice((1_000, 10_000, 100_000))
    return rng.choice(HUGE)(count)


def _in(event: dict[str, Any], **members: Any) -> bytes:
    return _written(event | members, random.Random(0)).encode()


def _with_inside(inside: bytes) -> bytes:
    """Return a document that goes on like this behind the first tag of its first event."""
    return to_xml(COMMISSIONED).replace(b"<ObjectEvent>", b"<ObjectEvent>" + inside, 1)


HUGE: list[Callable[[int], bytes]] = [
    lambda count: b"[" * count,
    lambda count: b'{"a":' * count + b"1" + b"}" * count,
    lambda count: b'{"extended_id":"K","a":%s}' % (b"[" * count + b"]" * count),
    lambda count: b'{"extended_id":"K","n":%s}' % (b"9" * count),
    lambda count: b'{"extended_id":"K","n":1e%s}' % (b"9" * min(count, 5000)),
    lambda count: b'{"extended_id":"K","n":1e-%d}' % count,
    lambda count: b'{"extended_id":"K","a":"%s"}' % (b"x" * count),
    lambda count: (
        b'{"extended_id":"K",%s}' % b",".join(b'"f%d":1' % number for number in range(count))
    ),
    lambda count: b'{"extended_id":"K",%s}' % b",".join([b'"f":1'] * count),
    lambda count: _in(COMMISSIONED, epcList=[f"ABCDEFGH-{number}" for number in range(count)]),
    lambda count: _in(COMMISSIONED, epcList=[ITEM] * count),
    lambda count: _in(PACKED, childEPCs=[f"ABCDEFGH-{number}" for number in range(count)]),
    lambda count: _in(PACKED, parentID="https://" + "/01/1" * count),
    lambda count: _in(COMMISSIONED, epcList=["urn:epc:id:sgtin:" + "%41" * count]),
    lambda count: _in(COMMISSIONED, ilmd={f"x:f{number}": number for number in range(count)}),
    lambda count: _in(DOCUMENT, epcisBody={"eventList": [None] * count}),
    lambda count: _in(DOCUMENT, epcisBody={"eventList": [PACKED] * (count // 10)}),
    lambda count: _in(SHIPPED_UNIT, destinationList=[{"destination": "x"}] * count),
    lambda count: b"<a>" * count,
    lambda count: b"<!DOCTYPE a [" + b'<!ENTITY a "a">' * count,
    lambda count: b"<a " + b"b='c' " * count,
    lambda count: b"<!--" + b"-" * count,
    lambda count: _with_inside(b"<x>" * count),
    lambda count: _with_inside(b"<x/>" * count),
    lambda count: _with_inside(b"".join(b"<x%d/>" % number for number in range(count))),
    lambda count: _with_inside(b"<epcList>" + b"<epc>A</epc>" * count),
    lambda count: _with_inside(b"<epcList><epc>" + b"&#65;" * count),
    lambda count: _with_inside(b"<x>" + b"\n" * count),
    lambda count: _with_inside(b"</ObjectEvent>" + b"<ObjectEvent/>" * count),
    lambda count: to_xml(DOCUMENT).replace(b"<EventList>", b"<EventList>" + b"<extension>" * count),
    lambda count: b'{"specversion":1,"data":' * count + b"{}" + b"}" * count,
    lambda count: b"\x00\x00\x00\x00\x02" + DATA[2][:-1] + b"\x00" * count,
    lambda count: (
        b"\x00\x00\x00\x00\x02" + DATA[2][:-9] + b"\xfe\xff\xff\xff\xff\x01" + b"\x00" * count
    ),
]


def _xml(rng: random.Random) -> bytes:
    """Return an event in XML, changed before it was written as far as XML can hold that."""
    for _ in range(5):
        value: Any = rng.choice((*EVENTS, DOCUMENT))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            value = _changed(value, rng) if isinstance(value, dict) and value else value
        try:
            raw = to_xml(value, rng.choice(("1.1", "1.2", "2.0")), soap=rng.random() < 0.1)
            raw.decode()
        except (AttributeError, IndexError, KeyError, LookupError, TypeError, ValueError):
            continue  # nothing that XML could hold
        if rng.random() < 0.1:
            return raw.decode().replace("utf-8", "utf-16").encode("utf-16")
        return raw
    return to_xml(DOCUMENT)


def _scan(rng: random.Random) -> bytes:
    raw = scan_of(rng.randrange(10**12)).raw
    if rng.random() < 0.5:
        return raw
    payload = base64.b64encode(raw).decode() if rng.random() < 0.3 else raw.decode("latin-1")
    wrapped = json.dumps({"topic": "line/7", "payload": payload}).encode()
    return wrapped if rng.random() < 0.7 else _bent(wrapped, rng)


_KINDS: list[tuple[Callable[[random.Random], bytes], float]] = [
    (_json, 0.35),
    (lambda rng: _bent(_json(rng), rng), 0.15),
    (_xml, 0.08),
    (lambda rng: _bent(_xml(rng), rng), 0.07),
    (_avro, 0.15),
    (_framed, 0.1),
    (lambda rng: _bent(_framed(rng), rng), 0.05),
    (_bytes, 0.03),
    (_scan, 0.1),
]
_MAKERS, _WEIGHTS = [make for make, _ in _KINDS], [weight for _, weight in _KINDS]
#: One input in so many is a huge one; prime, so that every format gets its share.
HUGE_EVERY = 2_003


def input_of(number: int) -> bytes:
    """Return the input of this number."""
    rng = random.Random(number)
    if number % HUGE_EVERY == HUGE_EVERY - 1:
        return _huge(rng)
    return rng.choices(_MAKERS, _WEIGHTS)[0](rng)
