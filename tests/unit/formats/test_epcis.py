"""From EPCIS events to rows: what a packaging line writes, and what is refused, not guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.core.model import InvalidEvent, Row
from consumer.core.rows.maker import MAX_ROWS, RowMaker
from consumer.formats import EpcisRules, Schemas, decoder
from consumer.formats.epcis_rules import canonical
from tests.unit.epcis import (
    ITEM,
    OTHER_SSCC,
    SSCC,
    aggregation,
    document,
    items,
    object_event,
    record,
    refusal,
    rows_of,
    rules,
)

CODE = "HGDTQD54D5SD86EEDFS"
CASE, PALLET = "095060000000000015", "095060000000000022"

# -- the line's events ---------------------------------------------------------------------------


def test_commissioning_activates_each_code_with_what_its_master_data_tells() -> None:
    ilmd = {
        "cbvmda:productionDate": "2026-11-22",
        "https://ns.example.com/sellByDate": "2027-05-22",
        "x:lot": "L1",
    }
    event = object_event(ITEM, "ABCDEFGH-2", action="ADD", bizStep="commissioning", ilmd=ilmd)
    told = {
        "activation_status": "1",
        "production_date": "2026-11-22",
        "after_sell_by": "2027-05-22",
    }
    assert items(event) == [{"extended_id": CODE, **told}, {"extended_id": "ABCDEFGH-2", **told}]
    products = ("9506000134352 = prod_1",)
    assert items(event, products=products) == [
        {"extended_id": CODE, "activation_status": "1", "product": "prod_1"} | told,
        {"extended_id": "ABCDEFGH-2", **told},
    ]


def test_packing_gives_a_row_for_each_child_that_joins_the_unit() -> None:
    rows = rows_of(aggregation(SSCC, ITEM, "ABCDEFGH-2", bizStep="packing"))
    assert [row.item for row in rows] == [
        {"extended_id": CODE, "case_code": CASE},
        {"extended_id": "ABCDEFGH-2", "case_code": CASE},
    ]
    assert [row.joins for row in rows] == [(("case_code", CASE),)] * 2


def test_what_is_packed_from_units_is_the_next_unit() -> None:
    event = aggregation(OTHER_SSCC, SSCC)
    assert items(event) == [{"case_code": CASE, "pallet_code": PALLET}]
    assert items(event, unit_codes=("case_code = serial_number",)) == [
        {"case_code": CASE, "pallet_code": PALLET},
        {"serial_number": CASE, "pallet_code": PALLET},
    ]


def test_units_that_are_told_apart_by_their_names_need_no_packing_to_be_known() -> None:
    codes = (
        r"case_code = .*/case/(\d+)",
        r"pallet_code = urn:x:pallet:(.+)",
        r"extended_id = (.+)",
    )
    case, pallet = "https://line.example.com/case/456", "urn:x:pallet:p001"
    assert items(aggregation(pallet, ITEM), codes=codes) == [
        {"extended_id": f"01/09506000134352/21/{CODE}", "pallet_code": "p001"}
    ]
    assert items(object_event(case, bizStep="shipping"), codes=codes) == [
        {"case_code": "456", "ship_date": "2026-11-23"}
    ]
    field, message = refusal(aggregation(case, "https://x/case/7"), codes=codes)
    assert field == "parentID"
    assert message.endswith(
        "is a case_code by epcis.codes, and so is what goes into it: tell them apart there"
    )


def test_shipping_by_a_unit_updates_what_is_in_it_at_the_events_own_date() -> None:
    destinations = [
        {"type": "owning_party", "destination": "urn:epc:id:pgln:9506000.00000"},
        {"type": "location", "destination": "urn:epc:id:sgln:9506000.00001.0"},
    ]
    event = object_event(
        SSCC, bizStep="urn:epcglobal:cbv:bizstep:shipping", destinationList=destinations
    )
    assert items(event) == [{"pallet_code": CASE, "ship_date": "2026-11-23"}]
    markets = ("urn:epc:id:sgln:9506000.00001. = cn",)
    assert items(event, markets=markets) == [
        {"pallet_code": CASE, "ship_date": "2026-11-23", "intended_market": "cn"}
    ]
    assert items(event, unit_codes=("pallet_code = serial_number",)) == [
        {"pallet_code": CASE, "ship_date": "2026-11-23"},
        {"serial_number": CASE, "ship_date": "2026-11-23"},
    ]


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        (
            {"bizStep": "destroying", "action": "DELETE"},
            {"activation_status": "2", "blacklist_reason": "5"},
        ),
        (
            {"bizStep": "inspecting", "disposition": "stolen"},
            {"activation_status": "2", "blacklist_reason": "4"},
        ),
        (
            {"bizStep": "shipping", "disposition": "https://ref.gs1.org/cbv/Disp-damaged"},
            {"ship_date": "2026-11-23", "activation_status": "2", "blacklist_reason": "5"},
        ),
        ({"bizStep": "decommissioning", "action": "DELETE"}, {"activation_status": "0"}),
        ({"action": "DELETE"}, {"activation_status": "0"}),
        ({"action": "ADD"}, {"activation_status": "1"}),
        ({"bizStep": "https://ns.gs1.org/cbv/BizStep-receiving"}, {"receive_date": "2026-11-23"}),
        ({"bizStep": "shipping", "disposition": "in_transit"}, {"ship_date": "2026-11-23"}),
    ],
)
def test_step_and_disposition_say_what_is_set(
    members: dict[str, Any], fields: dict[str, str]
) -> None:
    assert items(object_event(ITEM, **members)) == [{"extended_id": CODE, **fields}]


def test_unpacking_erases_the_unit_of_each_child() -> None:
    event = aggregation(SSCC, ITEM, action="DELETE", bizStep="unpacking")
    assert items(event) == [{"extended_id": CODE, "case_code": ""}]
    assert items(aggregation(OTHER_SSCC, SSCC, action="DELETE")) == [
        {"case_code": CASE, "pallet_code": ""}
    ]


def test_seeing_a_unit_with_its_children_changes_the_unit_and_packs_nothing() -> None:
    event = aggregation(SSCC, ITEM, action="OBSERVE", bizStep="shipping")
    assert items(event) == [{"pallet_code": CASE, "ship_date": "2026-11-23"}]
    event = aggregation(None, ITEM, action="OBSERVE", bizStep="shipping")
    assert items(event) == [{"extended_id": CODE, "ship_date": "2026-11-23"}]
    _, message = refusal(aggregation(SSCC, ITEM, action="OBSERVE", bizStep="packing"))
    assert message.endswith("only ADD and DELETE change what is packed")


def test_steps_of_a_packing_are_set_beside_the_unit() -> None:
    event = aggregation(
        SSCC, ITEM, bizStep="packing", readPoint={"id": "urn:epc:id:sgln:9506000.00001.7"}
    )
    steps = ("packing = pack_date: {date}, line: {readPoint}, gtin: {gtin}",)
    assert items(event, steps=steps) == [
        {
            "extended_id": CODE,
            "pack_date": "2026-11-23",
            "line": "urn:epc:id:sgln:9506000.00001.7",
            "gtin": "09506000134352",
            "case_code": CASE,
        }
    ]


def test_a_label_that_begins_or_ends_says_nothing_about_what_is_in_the_unit() -> None:
    for members in (
        {"action": "ADD", "bizStep": "commissioning"},
        {"action": "DELETE", "bizStep": "decommissioning"},
    ):
        event = object_event(SSCC, **members)
        assert items(event) == []
        (item,) = items(event, unit_codes=("pallet_code = serial_number",))
        assert item["serial_number"] == CASE
        assert [item["extended_id"] for item in items(object_event(SSCC, ITEM, **members))] == [
            CODE
        ]


def test_steps_with_nothing_to_set_are_skipped() -> None:
    assert items(object_event(ITEM, bizStep="storing"), steps=("storing =",)) == []
    assert items(document(object_event(ITEM, bizStep="storing")), steps=("storing =",)) == []


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "offset", "date"),
    [
        ("2026-11-22T16:30:00Z", "+08:00", "2026-11-23"),
        ("2026-11-22T16:30:00+01:00", "+01:00", "2026-11-22"),
        ("2026-11-22T03:30:00+00:00", "-05:30", "2026-11-21"),
        ("2026-12-31T23:59:60z", "Z", "2026-12-31"),
        ("2026-11-22T16:30:00.123456789Z", "+08:00", "2026-11-23"),
    ],
)
def test_dates_are_those_of_the_events_own_offset(time: str, offset: str | None, date: str) -> None:
    event = object_event(ITEM, bizStep="shipping", eventTime=time, eventTimeZoneOffset=offset)
    assert items(event) == [{"extended_id": CODE, "ship_date": date}]


def test_members_stand_in_texts_and_alone_keep_their_kind() -> None:
    steps = (
        "shipping = a: {n}, b: L-{n}/{date}, c: {flag}, d: {missing}, e: x{missing}, f: , g: fix",
    )
    event = json.dumps(object_event(ITEM, bizStep="shipping", flag=True)).replace(
        "}", ', "ex:n": 1.50}'
    )
    assert items(event.encode(), steps=steps) == [
        {
            "extended_id": CODE,
            "a": "1.50",
            "b": "L-1.50/2026-11-23",
            "c": "true",
            "f": "",
            "g": "fix",
        }
    ]


SECOND = "urn:epc:id:sgtin:9506000.113435.JF5FPO58DFITE4EDXD2"  # of another GTIN: 19506000134359
LONG = "https://line.example.com/unit/" + "x" * 51


def told(rows: list[Row]) -> list[tuple[str | None, str | None]]:
    """Return, of each row, its code and the reason for which it is rejected."""
    return [(row.value, None if row.rejection is None else row.rejection.reason) for row in rows]


def test_what_is_wrong_with_one_code_costs_the_other_codes_of_the_event_nothing() -> None:
    rows = rows_of(object_event(ITEM, " ", bizStep="shipping"), codes=("extended_id = .*",))
    assert [row.rejection and row.rejection.reason for row in rows] == [None, "key_blank"]
    products = ("9506000134352 = " + "x" * 51, "19506000134359 = prod_2")
    rows = rows_of(object_event(ITEM, SECOND, ITEM + "2", action="ADD"), products=products)
    assert told(rows) == [
        (CODE, "value_too_long"), ("JF5FPO58DFITE4EDXD2", None), (f"{CODE}2", "value_too_long")
    ]  # fmt: skip


@pytest.mark.promise("I6")
@pytest.mark.parametrize(
    ("event", "lists", "reason", "field"),
    [
        (
            object_event(ITEM, SECOND, action="ADD", ilmd={"sellByDate": "soon"}),
            {},
            "invalid_value",
            "after_sell_by",
        ),
        (
            object_event(ITEM, SECOND, bizStep="shipping", ilmd={"x:lot": "L" * 51}),
            {"steps": ("shipping = batch: {lot}",)},
            "value_too_long",
            "batch",
        ),
        (
            object_event(ITEM, SECOND, bizStep="shipping"),
            {"steps": ("shipping = date_consumed: {date}",)},
            "forbidden_field",
            "date_consumed",
        ),
        (
            object_event(ITEM, SECOND, bizStep="shipping"),
            {"steps": ("shipping = batch: {lot}",)},
            "no_fields",
            None,
        ),
        (
            aggregation(LONG, ITEM, "ABCDEFGH-2"),
            {"codes": ("case_code = .*/(x+)", "extended_id = (.+)")},
            "value_too_long",
            "case_code",
        ),
        (
            object_event(SSCC, OTHER_SSCC, bizStep="shipping", ilmd={"sellByDate": "soon"}),
            {
                "steps": ("shipping = after_sell_by: {sellByDate}",),
                "unit_codes": ("pallet_code = serial_number",),
            },
            "invalid_value",
            "after_sell_by",
        ),
    ],
)
def test_a_fault_in_what_an_event_sets_for_all_of_its_codes_is_one_refusal(
    event: dict[str, Any], lists: dict[str, Any], reason: str, field: str | None
) -> None:
    """Each dead letter is the whole record: thousands of codes must not make thousands of them."""
    for members in (event, document(event)):
        rows = rows_of(members, **lists)
        assert told(rows) == [(None, reason)], (
            "I6: one letter for each code of an event that is refused whole"
        )
        (row,) = rows
        assert row.rejection is not None
        assert (row.rejection.field, row.rejection.stage, row.item) == (field, "validate", {})


def test_in_a_document_a_refused_event_is_named_and_the_others_are_sent() -> None:
    bad = object_event(
        ITEM, SECOND, action="ADD", eventID="urn:uuid:7", ilmd={"sellByDate": "soon"}
    )
    rows = rows_of(
        document(
            object_event(ITEM, bizStep="receiving"), bad, object_event(SECOND, bizStep="receiving")
        )
    )
    assert told(rows) == [(CODE, None), (None, "invalid_value"), ("JF5FPO58DFITE4EDXD2", None)]
    why = rows[1].rejection
    assert why is not None
    assert why.message.startswith(
        'event 2 of 3 ("urn:uuid:7"): "after_sell_by" is "soon"; allowed: '
    )


@pytest.mark.parametrize("epcs", [(ITEM,), (ITEM, ITEM)])
def test_the_refusal_of_an_event_about_one_code_names_the_code(epcs: tuple[str, ...]) -> None:
    rows = rows_of(object_event(*epcs, action="ADD", ilmd={"sellByDate": "soon"}))
    assert told(rows) == [(CODE, "invalid_value")]
    assert rows[0].item["after_sell_by"] == "soon"


def test_event_id_and_time_are_kept_for_tracing() -> None:
    into = record()
    rows_of(object_event(ITEM, bizStep="shipping", eventID="urn:uuid:1"), into=into)
    assert into.event_id == "urn:uuid:1"
    one = object_event(ITEM, bizStep="shipping", eventID="urn:uuid:2")
    rows_of(document(one), into=into)
    assert into.event_id == "urn:uuid:2"
    rows_of(document(one, one), into=into)
    assert into.event_id is None, "of several events it would be the wrong one for some rows"


# -- documents -----------------------------------------------------------------------------------


def test_a_document_gives_the_rows_of_all_its_events_in_order() -> None:
    packed, shipped = aggregation(SSCC, ITEM), object_event(ITEM, bizStep="shipping")
    assert items(document(packed, shipped)) == items(packed) + items(shipped)
    single = document() | {"epcisBody": {"event": packed}}
    assert items(single) == items(packed)
    assert items(document(packed, shipped), "epcis") == items(document(packed, shipped))


def test_an_event_that_is_refused_costs_the_others_of_its_document_nothing() -> None:
    bad = object_event(ITEM, type="TransactionEvent", eventID="urn:uuid:7")
    rows = rows_of(
        document(aggregation(SSCC, ITEM), bad, 5, object_event(ITEM, bizStep="shipping"))
    )
    assert [row.item for row in rows if row.rejection is None] == [
        {"extended_id": CODE, "case_code": CASE},
        {"extended_id": CODE, "ship_date": "2026-11-23"},
    ]
    first, second = (row.rejection for row in rows if row.rejection is not None)
    assert (first.reason, first.field, first.stage) == ("invalid_event", "type", "validate")
    assert first.message.startswith(
        'event 2 of 4 ("urn:uuid:7"): the "type" is "TransactionEvent": only ObjectEvent'
    )
    assert second.message == "event 3 of 4: an event is an object, not a number"


def test_an_event_with_one_name_that_means_nothing_is_refused_whole() -> None:
    rows = rows_of(document(aggregation(SSCC, ITEM, "?"), aggregation(SSCC, "ABCDEFGH-2")))
    assert [row.value for row in rows] == [None, "ABCDEFGH-2"]
    rows = rows_of(
        document(object_event(ITEM, "?", bizStep="shipping"), aggregation(SSCC, "ABCDEFGH-2"))
    )
    assert [row.value for row in rows] == [None, "ABCDEFGH-2"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"eventList": []},
        {"eventList": "x"},
        {"event": 5},
        {"queryResults": {"eventList": []}},
    ],
)
def test_a_document_without_events_is_refused(body: Any) -> None:
    with pytest.raises(InvalidEvent) as raised:
        rows_of(document() | {"epcisBody": body})
    assert raised.value.reason == "invalid_event"


def test_over_ten_thousand_rows_are_refused_as_one() -> None:
    many = [f"ABCDEFGH-{number}" for number in range(MAX_ROWS + 1)]
    assert len(items(object_event(*many[1:], bizStep="shipping"))) == MAX_ROWS
    half = MAX_ROWS // 2 + 1
    two = document(
        object_event(*many[:half], bizStep="shipping"),
        object_event(*many[half:], "ZZZZZZZZ", bizStep="shipping"),
    )
    for event in (object_event(*many, bizStep="shipping"), two):
        with pytest.raises(InvalidEvent, match="makes more than 10,000 rows") as raised:
            rows_of(event)
        assert raised.value.reason == "invalid_event"


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "field", "message"),
    [
        (
            object_event(ITEM, type="AssociationEvent"),
            "type",
            "only ObjectEvent and AggregationEvent are read",
        ),
        (object_event(ITEM, type=None), "type", 'the "type" is missing'),
        (object_event(ITEM, type=5), "type", "must be a string"),
        (object_event(ITEM, action="MOVE"), "action", "allowed are ADD, OBSERVE and DELETE"),
        (object_event(ITEM, action=None), "action", "missing"),
        (
            object_event(ITEM, errorDeclaration={"reason": "did_not_occur"}),
            "errorDeclaration",
            "cannot be undone",
        ),
        (object_event(ITEM, bizStep="storing"), "bizStep", 'step "storing" sets: add one there'),
        (object_event(ITEM), "bizStep", "what this event sets"),
        (object_event(bizStep="shipping"), "epcList", "missing or empty"),
        (object_event(ITEM, bizStep="shipping", epcList="x"), "epcList", "must be a list"),
        (object_event(ITEM, bizStep="shipping", epcList=[5]), "epcList", "one is a number"),
        (
            object_event(ITEM, bizStep="shipping", quantityList=[{"quantity": 5}]),
            "quantityList",
            "without naming",
        ),
        (object_event("short", bizStep="shipping"), "epcList", "no rule of epcis.codes fits it"),
        (object_event("x" * 501, bizStep="shipping"), "epcList", "more than 500 characters"),
        (object_event("urn:epc:id:sgtin:9506000.01.1", bizStep="shipping"), "epcList", "13 digits"),
        (object_event("urn:epc:id:sscc:9506000.00001", bizStep="shipping"), "epcList", "17 digits"),
        (
            object_event("urn:epc:id:sgtin:9506000.013435.%FF", bizStep="shipping"),
            "epcList",
            "escapes",
        ),
        (
            object_event("https://id.gs1.org/01/9506000134352", bizStep="shipping"),
            "epcList",
            "fits it (as 01/09506000134352)",
        ),
        (object_event(ITEM, action="ADD", bizStep="destroying"), "action", "contradicts"),
        (object_event(ITEM, action="DELETE", bizStep="commissioning"), "action", "contradicts"),
        (object_event(ITEM, eventTime="2026-11-22"), "eventTime", "a time with an offset"),
        (object_event(ITEM, eventTime=None), "eventTime", "missing"),
        (object_event(ITEM, eventTimeZoneOffset="8"), "eventTimeZoneOffset", "such as +08:00"),
        (
            object_event(ITEM, eventTime="0001-01-01T00:00:00Z", eventTimeZoneOffset="-01:00"),
            "eventTime",
            "range",
        ),
        (
            object_event(ITEM, bizStep="shipping", destinationList=[5]),
            "destinationList",
            "must be a list of objects",
        ),
        (aggregation(None, ITEM), "parentID", "missing"),
        (aggregation(SSCC), "childEPCs", "name the children"),
        (aggregation(SSCC, action="DELETE"), "childEPCs", "name the children"),
        (aggregation(ITEM, "ABCDEFGH-2"), "parentID", "and so is what goes into it"),
        (aggregation(ITEM, SSCC), "parentID", "is a extended_id by epcis.codes, which is no unit"),
    ],
)
def test_what_cannot_be_told_for_certain_is_refused(
    event: dict[str, Any], field: str, message: str
) -> None:
    found, said = refusal(event)
    assert (found, message in said) == (field, True), said


def test_what_should_be_listed_and_is_not_is_refused() -> None:
    assert (
        "GTIN 09506000134352 is not in epcis.products"
        in refusal(object_event(ITEM, action="ADD"), products=("12345678 = a",))[1]
    )
    event = object_event(
        ITEM, bizStep="shipping", destinationList=[{"type": "x", "destination": "urn:other"}]
    )
    assert "epcis.markets" in refusal(event, markets=("urn:epc: = cn",))[1]
    field, message = refusal(
        object_event(ITEM, bizStep="shipping", x=[1]), steps=("shipping = a: {x}",)
    )
    assert (field, message) == ("x", '"x" is a list, which no field can be set to')


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epc", "name"),
    [
        # The examples of the EPC Tag Data Standard and of the Digital Link standard.
        ("urn:epc:id:sgtin:0614141.112345.400", "01/10614141123459/21/400"),
        ("urn:epc:id:sscc:0614141.1234567890", "00/106141412345678908"),
        ("urn:epc:id:sgtin:9506000.013435.A%2FB%251", "01/09506000134352/21/A/B%1"),
        (
            "https://id.gs1.org/01/09506000134352/10/ABC1/21/123456?17=180426",
            "01/09506000134352/21/123456",
        ),
        (
            "https://brand.example.com/some/path/01/9506000134352/21/12%2F3#x",
            "01/09506000134352/21/12/3",
        ),
        ("http://example.org/00/106141412345678908/", "00/106141412345678908"),
        ("https://id.gs1.org/01/09506000134352/22/2A/10/ABC1", "01/09506000134352"),
        ("https://example.org/01/abc", "https://example.org/01/abc"),
        ("https://example.org", "https://example.org"),
        ("HGDTQD54D5SD86EEDFS", "HGDTQD54D5SD86EEDFS"),
        ("urn:epc:id:sgln:9506000.00001.0", "urn:epc:id:sgln:9506000.00001.0"),
    ],
)
def test_names_of_gs1_have_one_form(epc: str, name: str) -> None:
    assert canonical(epc) == name


def test_without_rules_every_name_is_refused() -> None:
    with pytest.raises(InvalidEvent, match=r"no rule of epcis\.steps"):
        decoder("auto")(json.dumps(object_event(ITEM, bizStep="shipping")).encode())
    with pytest.raises(ValueError, match=r"no rule of epcis\.codes fits it"):
        EpcisRules().code("A")


# -- telling it from other JSON ------------------------------------------------------------------


def test_auto_tells_it_by_its_context_or_type() -> None:
    event = object_event(ITEM, bizStep="shipping")
    without = {name: value for name, value in event.items() if name != "@context"}
    assert items(event) == items(without) == items(event, "epcis") == items(without, "epcis")
    with pytest.raises(InvalidEvent, match='the "type" is missing'):
        rows_of({name: value for name, value in event.items() if name != "type"})
    flat = {"extended_id": "K", "type": "ObjectEvents", "n": 1}
    assert items(flat) == [{"extended_id": "K", "type": "ObjectEvents", "n": "1"}]
    assert items({"key_value": "K", "scm_data": {"a": "1"}, "@context": [1]}) == [
        {"extended_id": "K", "a": "1"}
    ]


@pytest.mark.parametrize(
    "raw", [b"[]", b'{"extended_id":"K","a":"1"}', b'{"key_value":"K","scm_data":{"a":"1"}}']
)
def test_format_epcis_takes_nothing_else(raw: bytes) -> None:
    with pytest.raises(InvalidEvent) as raised:
        decoder("epcis")(raw)
    assert raised.value.reason == "invalid_event"


@pytest.mark.parametrize("form", ["auto", "epcis"])
def test_it_may_stand_in_a_frame_of_a_json_schema(form: str) -> None:
    event = object_event(ITEM, bizStep="shipping")
    framed = b"\x00\x00\x00\x00\x07" + json.dumps(event).encode()
    assert items(framed, form) == items(event)
    schemas = Schemas(lambda: 0.0)
    schemas.learn(7, "JSON", "{}")
    rows = RowMaker("extended_id").rows(decoder(form, schemas, rules())(framed), record())
    assert [row.item for row in rows] == items(event)
