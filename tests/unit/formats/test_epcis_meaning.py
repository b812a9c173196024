"""EPCIS events say more than step and codes, or contradict themselves: never passed over.

Every event that XML can hold is read in XML, too (``tests.unit.epcis.rows_of``).
"""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.model import InvalidEvent
from tests.unit.epcis import (
    CONTEXT,
    ITEM,
    OTHER_SSCC,
    SSCC,
    aggregation,
    document,
    items,
    object_event,
    refusal,
    rows_of,
)

CODE = "HGDTQD54D5SD86EEDFS"
CASE = "095060000000000015"
STOLEN = {"activation_status": "2", "blacklist_reason": "4"}
SHIPPED = {"ship_date": "2026-11-23"}

# -- dispositions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"persistentDisposition": {"set": ["stolen"]}}, SHIPPED | STOLEN),
        ({"persistentDisposition": {"set": ["urn:epcglobal:cbv:disp:stolen"]}}, SHIPPED | STOLEN),
        (
            {"persistentDisposition": {"set": ["completeness_verified", "stolen"]}},
            SHIPPED | STOLEN,
        ),
        (
            {"disposition": "in_transit", "persistentDisposition": {"set": ["stolen"]}},
            SHIPPED | STOLEN,
        ),
        ({"disposition": "stolen", "persistentDisposition": {"set": ["stolen"]}}, SHIPPED | STOLEN),
        ({"persistentDisposition": {"unset": ["completeness_inferred"]}}, SHIPPED),
        ({"persistentDisposition": {}}, SHIPPED),
    ],
)
def test_a_persistent_disposition_counts_as_a_disposition(
    members: dict[str, Any], fields: dict[str, str]
) -> None:
    assert items(object_event(ITEM, bizStep="shipping", **members)) == [
        {"extended_id": CODE, **fields}
    ]


@pytest.mark.parametrize(
    ("members", "field", "message"),
    [
        ({"persistentDisposition": "stolen"}, "persistentDisposition", "must be an object"),
        ({"persistentDisposition": {"set": "stolen"}}, "set", "must be a list"),
        ({"persistentDisposition": {"set": ["stoln"]}}, "persistentDisposition", "none of the CBV"),
        (
            {"persistentDisposition": {"unset": ["stolen"]}},
            "persistentDisposition",
            "cannot be undone",
        ),
        (
            {"disposition": "damaged", "persistentDisposition": {"set": ["stolen"]}},
            "persistentDisposition",
            "damaged and stolen set",
        ),
        ({"disposition": "https://ref.gs1.org/cbv/disp-stolen"}, "disposition", "none of the CBV"),
        ({"disposition": "urn:epcglobal:cbv:disp:stoln"}, "disposition", "none of the CBV"),
        ({"disposition": "Stolen"}, "disposition", "none of the CBV"),
        ({"disposition": "destroying"}, "disposition", "none of the CBV"),
        ({"disposition": "urn:epcglobal:cbv:bizstep:stolen"}, "disposition", "none of the CBV"),
        ({"disposition": "https://acme.example.com/contaminated"}, "disposition", "add one there"),
        ({"bizStep": "stolen"}, "bizStep", "is a disposition"),
        ({"bizStep": "urn:epcglobal:cbv:disp:shipping"}, "bizStep", "no rule of epcis.steps"),
    ],
)
def test_a_disposition_that_is_not_understood_is_refused(
    members: dict[str, Any], field: str, message: str
) -> None:
    found, said = refusal(object_event(ITEM, **({"bizStep": "shipping"} | members)))
    assert (found, message in said) == (field, True), said


def test_a_disposition_of_ones_own_needs_a_rule_that_may_be_empty() -> None:
    event = object_event(ITEM, bizStep="shipping", disposition="https://acme.example.com/hot")
    assert items(event, steps=("shipping = a: 1", "https://acme.example.com/hot =")) == [
        {"extended_id": CODE, "a": "1"}
    ]
    assert items(event, steps=("shipping = a: 1", "https://acme.example.com/hot = hot: yes")) == [
        {"extended_id": CODE, "a": "1", "hot": "yes"}
    ]


@pytest.mark.parametrize("step", [{}, {"bizStep": "decommissioning"}])
def test_a_unit_that_is_stolen_or_destroyed_with_its_label_reaches_its_codes(
    step: dict[str, str],
) -> None:
    event = object_event(SSCC, action="DELETE", disposition="stolen", **step)
    assert items(event) == [{"pallet_code": CASE, **STOLEN}]
    assert items(event, unit_codes=("pallet_code = serial_number",)) == [
        {"serial_number": CASE, **STOLEN, "activation_status": "2"},
        {"pallet_code": CASE, **STOLEN},
    ]
    lasting = object_event(
        SSCC, action="DELETE", persistentDisposition={"set": ["destroyed"]}, **step
    )
    assert items(lasting) == [
        {"pallet_code": CASE, "activation_status": "2", "blacklist_reason": "5"}
    ]
    assert items(object_event(SSCC, action="DELETE", disposition="inactive", **step)) == []


# -- contradictions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "step"),
    [
        *(("ADD", step) for step in ("unpacking", "unloading", "disassembling", "removing")),
        *(("ADD", step) for step in ("decommissioning", "destroying")),
        *(("DELETE", step) for step in ("packing", "loading", "assembling", "installing")),
        ("DELETE", "commissioning"),
    ],
)
def test_packing_whose_action_contradicts_its_step_is_refused(action: str, step: str) -> None:
    for name in (step, f"https://ref.gs1.org/cbv/BizStep-{step}"):
        field, message = refusal(aggregation(SSCC, ITEM, action=action, bizStep=name))
        assert field == "action"
        assert f"{action} contradicts the step {step}" in message


@pytest.mark.parametrize(
    ("action", "step"),
    [("ADD", "packing"), ("ADD", "loading"), ("DELETE", "unpacking"), ("DELETE", "shipping")],
)
def test_packing_with_another_step_is_read(action: str, step: str) -> None:
    (item,) = items(aggregation(SSCC, ITEM, action=action, bizStep=step))
    assert item["case_code"] == (CASE if action == "ADD" else "")


def test_a_misspelt_step_of_packing_is_refused_and_one_of_ones_own_is_not() -> None:
    for name in ("unpackin", "urn:epcglobal:cbv:bizstep:unpackin", "cbv:bizstep-unpacking"):
        assert refusal(aggregation(SSCC, ITEM, bizStep=name))[0] == "bizStep"
    assert items(aggregation(SSCC, ITEM, bizStep="https://acme.example.com/palletising"))


# -- two things of one name ----------------------------------------------------------------------

SAME_SERIAL = ("urn:epc:id:sgtin:9506000.013435.1001", "urn:epc:id:sgtin:9506000.013436.1001")


def test_two_things_that_one_key_stands_for_are_refused() -> None:
    for event in (
        object_event(*SAME_SERIAL, bizStep="receiving"),
        aggregation(SSCC, *SAME_SERIAL),
        aggregation(None, *SAME_SERIAL, action="OBSERVE", bizStep="receiving"),
    ):
        _, message = refusal(event)
        assert 'both are the extended_id "1001"' in message
    one, other = "https://a.example.com/q/1", "https://b.example.com/q/1"
    refusal(object_event(one, other, bizStep="receiving"), codes=("extended_id = .*/q/(.+)",))


def test_in_a_document_every_event_that_names_one_of_them_is_refused() -> None:
    first, second = (object_event(name, bizStep="receiving") for name in SAME_SERIAL)
    rows = rows_of(document(first, object_event(ITEM, bizStep="receiving"), second))
    assert [row.value for row in rows] == [None, CODE, None]
    assert [row.rejection and row.rejection.reason for row in rows] == [
        "invalid_event", None, "invalid_event"
    ]  # fmt: skip


def test_two_spellings_of_one_thing_are_one() -> None:
    link = f"https://id.gs1.org/01/09506000134352/21/{CODE}"
    assert len(items(object_event(ITEM, link, bizStep="receiving"))) == 1


# -- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["2026-11-22T16:30:00Z", "2026-11-22T16:30:00+08:00"])
def test_the_day_is_not_guessed_where_the_events_offset_is_missing(time: str) -> None:
    event = object_event(ITEM, bizStep="shipping", eventTime=time)
    del event["eventTimeZoneOffset"]
    field, message = refusal(event)
    assert (field, "is missing" in message) == ("eventTimeZoneOffset", True)


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-22T23:60:00+08:00",
        "2026-11-22T24:00:00Z",
        "2026-11-22T23:59:61Z",
        "2026-11-22T23:59:60Z",  # no month ends
        "2026-11-30T23:59:60+08:00",  # not at midnight of UTC
        "2026-02-30T12:00:00Z",
        "2026-11-22T12:00:00",
        "2026-11-22T12:00Z",
        "2026-11-22 12:00:00Z",
        "20261122T120000Z",
        "2026-W47-7T12:00:00Z",
        "2026-11-22T12:00:00,5Z",
        "2026-11-22T12:00:00+08",
        "2026-11-22T12:00:00+08:60",
        "2026-11-22T12:00:00+24:00",
        "0000-01-01T00:00:00Z",
    ],
)
def test_a_time_that_rfc_3339_does_not_know_is_refused(time: str) -> None:
    assert refusal(object_event(ITEM, bizStep="shipping", eventTime=time))[0] == "eventTime"


@pytest.mark.parametrize(
    ("time", "date"),
    [
        ("2026-12-31T23:59:60Z", "2027-01-01"),
        ("2027-01-01T07:59:60.5+08:00", "2027-01-01"),
        ("2026-11-22t16:30:00.123456789z", "2026-11-23"),
        ("2026-11-22T16:30:00-00:00", "2026-11-23"),
    ],
)
def test_leap_seconds_and_small_letters_are_read(time: str, date: str) -> None:
    event = object_event(ITEM, bizStep="shipping", eventTime=time)
    assert items(event) == [{"extended_id": CODE, "ship_date": date}]


@pytest.mark.parametrize(
    "offset", ["+14:01", "+15:00", "-23:00", "+8:00", "+0800", "+08:60", "CET"]
)
def test_an_offset_that_epcis_does_not_know_is_refused(offset: str) -> None:
    event = object_event(ITEM, bizStep="shipping", eventTimeZoneOffset=offset)
    assert refusal(event)[0] == "eventTimeZoneOffset"
    assert items(object_event(ITEM, bizStep="shipping", eventTimeZoneOffset="+14:00"))


# -- master data ---------------------------------------------------------------------------------

MADE = ("commissioning = made: {productionDate}",)


@pytest.mark.parametrize(
    ("ilmd", "made"),
    [
        ({"acme:productionDate": "old", "cbvmda:productionDate": "new"}, "new"),
        ({"cbvmda:productionDate": "new", "acme:productionDate": "old"}, "new"),
        ({"acme:productionDate": "old", "productionDate": "new"}, "new"),
        ({"acme:productionDate": "new"}, "new"),
        ({"acme:productionDate": "new", "other:productionDate": "new"}, "new"),
    ],
)
def test_names_of_the_cbv_count_before_those_of_others(ilmd: dict[str, Any], made: str) -> None:
    event = object_event(ITEM, action="ADD", ilmd=ilmd)
    assert items(event, steps=MADE) == [{"extended_id": CODE, "made": made}]


def test_a_prefix_that_the_context_gives_to_others_is_theirs() -> None:
    context = [*CONTEXT, {"cbvmda": "https://acme.example.com/", "m": "urn:epcglobal:cbv:mda:"}]
    ilmd = {"cbvmda:productionDate": "old", "m:productionDate": "new"}
    event = object_event(ITEM, action="ADD", ilmd=ilmd) | {"@context": context}
    assert items(event, steps=MADE) == [{"extended_id": CODE, "made": "new"}]
    inside = {name: value for name, value in event.items() if name != "@context"}
    outside = document(inside) | {"@context": context}
    assert items(outside, steps=MADE) == [{"extended_id": CODE, "made": "new"}]


def test_names_of_two_others_that_differ_are_refused() -> None:
    ilmd = {"a:productionDate": "1", "b:productionDate": "2"}
    field, message = refusal(object_event(ITEM, action="ADD", ilmd=ilmd), steps=MADE)
    assert (field, "told more than once" in message) == ("productionDate", True)


def test_an_events_own_member_counts_before_one_of_others() -> None:
    event = object_event(
        ITEM, bizStep="shipping", readPoint={"id": "urn:here"}, ilmd={"acme:readPoint": "there"}
    )
    assert items(event, steps=("shipping = at: {readPoint}",)) == [
        {"extended_id": CODE, "at": "urn:here"}
    ]


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_value_erases_no_field(empty: str | None) -> None:
    ilmd = {"cbvmda:productionDate": empty}
    event = object_event(ITEM, action="ADD", ilmd=ilmd)
    assert items(event) == [{"extended_id": CODE, "activation_status": "1"}]
    steps = ("commissioning = made: {productionDate}, batch: L-{productionDate}, a: 1",)
    assert items(event, steps=steps) == [{"extended_id": CODE, "a": "1"}]


# -- markets -------------------------------------------------------------------------------------

MARKETS = ("urn:epc:id:sgln:9506000.00001. = cn", "urn:epc:id:sgln:9506000.00002. = de")


def test_destinations_in_two_markets_are_refused() -> None:
    def event(*names: str) -> dict[str, Any]:
        listed = [{"type": "location", "destination": name} for name in names]
        return object_event(SSCC, bizStep="shipping", destinationList=listed)

    cn, de = "urn:epc:id:sgln:9506000.00001.0", "urn:epc:id:sgln:9506000.00002.0"
    owner = "urn:epc:id:pgln:9506000.00000"
    _, message = refusal(event(cn, de), markets=MARKETS)
    assert "two markets by epcis.markets: cn and de" in message
    (item,) = items(event(owner, cn, cn.replace(".0", ".1")), markets=MARKETS)
    assert item["intended_market"] == "cn"


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"https://id.gs1.org/01/09506000134352/21/{CODE[:8]}/{CODE[8:]}", "%2F"),
        ("urn:epc:id:sscc:95060001234.0004", "17 digits together"),
        ("https://id.gs1.org/00/09506000000000001", "an SSCC has 18 digits, not 17"),
        ("https://id.gs1.org/01/09506000134353/21/A", "check digit"),
        ("urn:epc:tag:sgtin-96:3.9506000.013435.1", "a tag URI"),
        ("urn:epc:idpat:sgtin:9506000.013435.*", "a pattern"),
        ("09506000134352", "it looks like a bare GTIN"),
        ("095060000000000015", "it looks like a bare SSCC"),
        ("12345678", "it looks like a bare GTIN"),
        ("1234567890", "no rule of epcis.codes"),
        ("010950600013435221HGDTQD54", "it looks like a GS1 element string"),
        ("(01)09506000134352(21)HGDTQD54", "it looks like a GS1 element string"),
        ("https://id.gs1.org/AQnYUc1gmiCNV4JGYgYAUOsSG", "compressed Digital Link"),
    ],
)
def test_a_name_that_is_not_certain_is_refused_with_what_it_looks_like(
    name: str, message: str
) -> None:
    field, said = refusal(object_event(name, bizStep="shipping"))
    assert (field, message in said) == ("epcList", True), said


def test_scheme_and_host_may_stand_in_any_case() -> None:
    link = f"HTTPS://ID.GS1.ORG/01/09506000134352/21/{CODE}"
    assert items(object_event(link, bizStep="shipping")) == [{"extended_id": CODE, **SHIPPED}]
    codes = (r"extended_id = https://qr\.example\.com/q/(.+)",)
    own = object_event("HTTPS://QR.EXAMPLE.COM/q/aBc", bizStep="shipping")
    assert items(own, codes=codes) == [{"extended_id": "aBc", **SHIPPED}]


# -- results of queries --------------------------------------------------------------------------


def query(*events: Any) -> dict[str, Any]:
    return {
        "@context": CONTEXT,
        "type": "EPCISQueryDocument",
        "epcisBody": {
            "queryResults": {
                "queryName": "SimpleEventQuery",
                "resultsBody": {"eventList": list(events)},
            }
        },
    }


def test_the_result_of_a_query_is_read_as_a_document() -> None:
    events = aggregation(OTHER_SSCC, SSCC), object_event(ITEM, bizStep="receiving")
    assert items(query(*events)) == items(document(*events))
    assert items(query()) == [], "a query that has found nothing says nothing"


@pytest.mark.parametrize("body", [{}, {"queryResults": 5}, {"queryResults": {"resultsBody": {}}}])
def test_a_query_document_without_a_result_is_refused(body: Any) -> None:
    with pytest.raises(InvalidEvent) as raised:
        rows_of(query() | {"epcisBody": body})
    assert raised.value.reason == "invalid_event"
