"""EPCIS in XML: every version and wrapping, and what is refused before it can do harm.

That events in XML mean what they mean in JSON, ``test_epcis.py`` and ``test_epcis_meaning.py``
show: each of their events is read in both.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from consumer.core.model import InvalidEvent
from consumer.core.rows.maker import MAX_ROWS
from consumer.formats import decoder
from consumer.formats.encode import encoder
from tests.support.epcis_xml import to_xml
from tests.unit.epcis import (
    CONTEXT,
    ITEM,
    SSCC,
    aggregation,
    document,
    items,
    object_event,
    rows_of,
)

CODE = "HGDTQD54D5SD86EEDFS"
EVENTS = (
    object_event(ITEM, action="ADD", ilmd={"cbvmda:productionDate": "2026-11-22"}),
    aggregation(SSCC, ITEM, bizStep="packing"),
    object_event(SSCC, bizStep="shipping"),
)
XML = to_xml(document(*EVENTS))
ROWS = items(document(*EVENTS))
QUERY = {
    "@context": CONTEXT,
    "type": "EPCISQueryDocument",
    "epcisBody": {"queryResults": {"resultsBody": {"eventList": list(EVENTS)}}},
}


def refused(raw: bytes, form: str = "auto") -> InvalidEvent:
    with pytest.raises(InvalidEvent) as raised:
        rows_of(raw, form)
    return raised.value


def event_xml(inside: str, kind: str = "ObjectEvent", version: int = 2) -> bytes:
    """Return a document with an event that has these elements beside its usual ones."""
    return (
        f'<e:EPCISDocument xmlns:e="urn:epcglobal:epcis:xsd:{version}" '
        'xmlns:cbvmda="urn:epcglobal:cbv:mda" xmlns:acme="https://acme.example.com/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><EPCISBody><EventList>'
        f"<{kind}><eventTime>2026-11-22T16:30:00Z</eventTime>"
        f"<eventTimeZoneOffset>+08:00</eventTimeZoneOffset>{inside}</{kind}>"
        "</EventList></EPCISBody></e:EPCISDocument>"
    ).encode()


SHIPPING = (
    f"<epcList><epc>{ITEM}</epc></epcList><action>OBSERVE</action><bizStep>shipping</bizStep>"
)
SHIPPED = [{"extended_id": CODE, "ship_date": "2026-11-23"}]

# -- versions and wrappings ----------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "2.0"])
def test_every_version_is_read_and_so_are_results_of_queries(version: str) -> None:
    assert items(to_xml(document(*EVENTS), version)) == ROWS
    assert items(to_xml(QUERY, version)) == ROWS
    for members in (document(*EVENTS), QUERY):
        assert items(to_xml(members, version, soap=True)) == ROWS


@pytest.mark.parametrize("form", ["auto", "epcis"])
def test_it_is_told_by_its_first_byte(form: str) -> None:
    for raw in (XML, b" \n\t" + XML, b"\xef\xbb\xbf" + XML, XML.partition(b"?>")[2]):
        assert items(raw, form) == ROWS
    text = XML.decode().replace("utf-8", "utf-16")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        mark = "" if encoding == "utf-16" else "\ufeff"
        assert items((mark + text).encode(encoding), form) == ROWS


@pytest.mark.parametrize("form", ["json", "flat", "avro"])
def test_other_formats_do_not_take_it(form: str) -> None:
    assert refused(XML, form).reason == "undecodable"


def test_an_avro_event_whose_id_has_thirty_characters_begins_like_xml() -> None:
    members = {"event_id": "x" * 30, "key_value": "K", "scm_data": {"a": "1"}}
    raw = encoder("avro")(members)
    assert raw.startswith(b"<")
    assert items(raw) == [{"extended_id": "K", "a": "1"}]


def test_elements_may_stand_in_the_namespace_of_epcis_and_an_event_alone() -> None:
    default = XML.replace(b"xmlns:ns0=", b"xmlns=").replace(b"ns0:", b"")
    assert items(default) == ROWS
    for root in ("ObjectEvent", 'e:ObjectEvent xmlns:e="urn:epcglobal:epcis:xsd:2"'):
        name = root.split()[0]
        raw = f"<{root}>" + event_xml(SHIPPING).decode().split("<ObjectEvent>")[1].split("</Obj")[0]
        assert items((raw + f"</{name}>").encode()) == SHIPPED


def test_newer_members_stand_in_extensions_in_the_first_versions() -> None:
    inside = (
        f"<baseExtension><eventID>urn:uuid:1</eventID></baseExtension>{SHIPPING}"
        "<extension><sourceList/><extension><persistentDisposition><set>stolen</set>"
        "</persistentDisposition></extension></extension>"
    )
    assert items(event_xml(inside, version=1)) == [
        SHIPPED[0] | {"activation_status": "2", "blacklist_reason": "4"}
    ]
    counted = "<extension><quantityList><quantityElement/></quantityList></extension>"
    assert "without naming" in refusal(SHIPPING + counted)
    taken_back = "<baseExtension><errorDeclaration/></baseExtension>"
    assert "cannot be undone" in refusal(SHIPPING + taken_back)


def refusal(inside: str) -> str:
    (row,) = rows_of(event_xml(inside))
    assert row.rejection is not None
    assert row.rejection.reason == "invalid_event"
    return row.rejection.message


@pytest.mark.parametrize("kind", ["TransactionEvent", "QuantityEvent", "acme:ObjectEvent"])
def test_other_kinds_of_events_are_refused_by_their_names(kind: str) -> None:
    (row,) = rows_of(event_xml(SHIPPING, kind))
    assert row.rejection is not None
    assert (row.rejection.field, "only ObjectEvent" in row.rejection.message) == ("type", True)


def test_events_in_extensions_of_the_list_are_events() -> None:
    raw = event_xml(SHIPPING).replace(
        b"</EventList>",
        b"<extension><TransformationEvent/><extension><AssociationEvent/></extension></extension>"
        b"</EventList>",
    )
    said = ["" if row.rejection is None else row.rejection.message for row in rows_of(raw)]
    assert said[0] == ""
    assert said[1].startswith('event 2 of 3: the "type" is "TransformationEvent"')
    assert said[2].startswith('event 3 of 3: the "type" is "AssociationEvent"')


# -- members -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "value"),
    [
        ("<ilmd><cbvmda:lot> L 1\n</cbvmda:lot></ilmd>", "L 1"),
        ("<ilmd><acme:lot>old</acme:lot><cbvmda:lot>L</cbvmda:lot></ilmd>", "L"),
        ("<ilmd><extension><lot>L</lot></extension></ilmd>", "L"),
        ("<extension><ilmd><cbvmda:lot>L</cbvmda:lot></ilmd></extension>", "L"),
        ("<acme:lot>L</acme:lot>", "L"),
        ("<acme:lot><![CDATA[a<b]]>&amp;&#67;</acme:lot>", "a<b&C"),
        ("<extension><lot>L</lot></extension>", "L"),
        ('<x:lot xmlns:x="urn:epcglobal:cbv:mda:">L</x:lot><acme:lot>old</acme:lot>', "L"),
        ('<acme:lot xsi:nil="true"/>', None),
        ("<acme:lot/>", None),
        ("<!-- no lot --><?acme lot?>", None),
    ],
)
def test_a_members_value_is_its_text_without_white_space_around_it(
    inside: str, value: str | None
) -> None:
    (item,) = items(event_xml(SHIPPING + inside), steps=("shipping = a: 1, lot: {lot}",))
    assert item.get("lot") == value


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("<acme:lot><acme:part>1</acme:part></acme:lot>", "is an object"),
        ("<acme:lot>1</acme:lot><acme:lot>2</acme:lot>", "is a list"),
    ],
)
def test_a_member_that_is_no_text_is_refused_where_a_rule_asks_for_it(
    inside: str, message: str
) -> None:
    assert items(event_xml(SHIPPING + inside)) == SHIPPED
    (row,) = rows_of(event_xml(SHIPPING + inside), steps=("shipping = lot: {lot}",))
    assert row.rejection is not None
    assert message in row.rejection.message


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (f"{SHIPPING}<action>DELETE</action>", '"action" stands in it more than once'),
        (f"{SHIPPING}<extension><bizStep>x</bizStep></extension>", '"bizStep" stands in it more'),
        (f"{SHIPPING}<epcList/>", '"epcList" stands in it more than once'),
        ("<epcList>urn:x</epcList>", '"epcList" has text where elements belong'),
        ("<epcList><id>urn:x</id></epcList>", '"epcList" has an element "id"'),
        (f"urn:x{SHIPPING}", "has text where elements belong"),
        (
            f"{SHIPPING}<persistentDisposition>stolen</persistentDisposition>",
            "has text where elements belong",
        ),
        (f"{SHIPPING}<persistentDisposition><was>x</was></persistentDisposition>", 'element "was"'),
        ("<epcList><epc><b>x</b></epc></epcList><action>OBSERVE</action>", "one is an object"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(inside: str, message: str) -> None:
    assert message in refusal(inside)


def test_sensor_data_and_parties_are_no_hindrance() -> None:
    inside = (
        "<sensorElementList><sensorElement><sensorReport value='1'/>text</sensorElement>"
        "</sensorElementList><bizTransactionList><bizTransaction type='po'>x</bizTransaction>"
        "</bizTransactionList><acme:mixed>a<acme:b/>c</acme:mixed>"
    )
    assert items(event_xml(SHIPPING + inside)) == SHIPPED


# -- refused as a whole --------------------------------------------------------------------------

BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]>"
)
EXTERNAL = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
REMOTE = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'
PARAMETER = b'<!DOCTYPE x [<!ENTITY %% p SYSTEM "http://127.0.0.1:9/x"> %p;]>'
LONG = b"a" * 1_000_000


@pytest.mark.parametrize("raw", [BOMB, EXTERNAL, REMOTE, PARAMETER, b"<!DOCTYPE project>"])
def test_a_document_type_declaration_is_refused_where_it_begins(raw: bytes) -> None:
    bad = refused(raw + XML.partition(b"?>")[2].replace(CODE.encode(), b"&a;"))
    assert bad.reason == "invalid_event"
    assert "document type declaration (DTD)" in bad.message
    assert "line 1" in bad.message


@pytest.mark.parametrize(
    ("raw", "reason", "message"),
    [
        (event_xml("<x>" * 100_000), "invalid_event", "more than 100 deep"),
        (XML[:-20], "undecodable", "not XML: no element found at line"),
        (XML + b"<x/>", "undecodable", "junk after document element"),
        (event_xml(SHIPPING + "<x>"), "undecodable", "mismatched tag at line 1, column"),
        (event_xml(SHIPPING + "<x:y/>"), "undecodable", "unbound prefix"),
        (event_xml(SHIPPING + "<x>&a;</x>"), "undecodable", "undefined entity"),
        (event_xml(SHIPPING + "<x a='1' a='2'/>"), "undecodable", "duplicate attribute"),
        (
            XML.decode().replace(CODE, "CODE\u00e9").encode("latin-1"),
            "undecodable",
            "is it in the encoding that its first line says?",
        ),
        (XML.replace(b"utf-8", b"utf-16"), "undecodable", "encoding"),
        (XML.decode().encode("utf-16"), "undecodable", "encoding"),
        (XML.replace(b"utf-8", b"windows-1252"), "undecodable", 'its encoding is "windows-1252"'),
        (XML.replace(b"utf-8", b"utf-7"), "undecodable", 'its encoding is "utf-7"; save it as'),
        (b"<a b='" + LONG + b"'/>", "invalid_event", "a tag or comment is longer"),
        (b"<" + LONG + b"/>", "invalid_event", "a tag or comment is longer"),
        (b"<a><!--" + LONG + b"--></a>", "invalid_event", "no EPCIS"),
        (
            XML.replace(b"<EPCISBody>", b"<EPCISBody><!--" + LONG + b"-->"),
            "invalid_event",
            "longer",
        ),
        (
            event_xml("<x " + " ".join(f"a{n}='1'" for n in range(101)) + "/>"),
            "invalid_event",
            "more than 100 attributes",
        ),
        (
            event_xml("".join(f"<x{n}/>" for n in range(6000))),
            "invalid_event",
            "5,000 different names",
        ),
        (b"<html><body/></html>", "invalid_event", "no EPCIS: the element html, without a names"),
        (b"<EPCISDocument/>", "invalid_event", "no EPCIS: the element EPCISDocument, without"),
        (
            b'<EPCISDocument xmlns="urn:epcglobal:epcis:xsd:3"/>',
            "invalid_event",
            "of the namespace urn:epcglobal:epcis:xsd:3",
        ),
        (
            b'<e:EPCISDocument xmlns:e="urn:epcglobal:epcis:xsd:1"><EPCISBody/></e:EPCISDocument>',
            "invalid_event",
            "no events",
        ),
        (b"<", "undecodable", "not XML"),
    ],
)
def test_other_xml_is_refused_with_the_place(raw: bytes, reason: str, message: str) -> None:
    bad = refused(raw)
    assert (bad.reason, message in bad.message) == (reason, True), bad.message


@pytest.mark.alone
@pytest.mark.parametrize(
    "raw",
    [
        BOMB + b"<a>&z;</a>",
        event_xml("<x>" * 5_000_000),
        b"<a b='" + LONG * 20,
        b"<a><!--" + LONG * 20,
        b"<?xml " + LONG * 20,
        b"<" + LONG * 20,
        XML.replace(b"</epc>", b"&#65;" * 4_000_000 + b"</epc>", 1),
    ],
    ids=["bomb", "depth", "attribute", "comment", "declaration", "name", "references"],
)
def test_what_is_refused_costs_neither_time_nor_memory(raw: bytes) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        rows = rows_of(raw)
        assert [row.rejection is None for row in rows].count(False), "part of it is refused"
    except InvalidEvent:
        pass
    used = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 10
    assert peak < 64 * 1024**2 + len(raw)


def test_over_ten_thousand_rows_are_refused_as_soon_as_they_are_counted() -> None:
    names = "".join(f"<epc>ABCDEFGH-{n}</epc>" for n in range(MAX_ROWS + 1))
    raw = event_xml(
        f"<epcList>{names}</epcList><action>OBSERVE</action><bizStep>shipping</bizStep>"
    )
    bad = refused(raw[: -len("</EventList></EPCISBody></e:EPCISDocument>")])
    assert bad.message == "it makes more than 10,000 rows; publish it in parts"
    events = "<ObjectEvent/>" * (MAX_ROWS + 1)
    many = event_xml("").replace(b"</EventList>", events.encode() + b"</EventList>")
    assert "more than 10,000 rows" in refused(many).message


@pytest.mark.alone
def test_a_record_of_ten_megabytes_takes_little_more_memory_than_its_bytes() -> None:
    sensors = "<sensorElement><sensorReport value='26.0' type='Temperature'/></sensorElement>" * 140
    inside = SHIPPING + f"<sensorElementList>{sensors}</sensorElementList>"
    one = event_xml(inside).decode().split("<EventList>")[1].split("</EventList>")[0]
    raw = event_xml("").replace(b"</EventList>", (one * 900).encode() + b"</EventList>")
    assert len(raw) > 10_000_000
    read = decoder("auto", rules=None)
    tracemalloc.start()
    read(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 1024**2


def test_without_rules_every_event_is_refused() -> None:
    batch: Any = decoder("epcis")(XML)
    assert {type(part) for part in batch.parts} == {InvalidEvent}
