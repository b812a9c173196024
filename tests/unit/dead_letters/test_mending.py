"""A replay sends a dead letter byte for byte, or mended, or nothing and says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.maker import RowMaker
from consumer.dead_letters.letter import Letter, Place
from consumer.dead_letters.mending import Copy, Mend, Mender, Unusable
from consumer.errors import UserError
from consumer.formats import EpcisRules, decoder
from consumer.formats.encode import encoder
from tests.unit.dead_letters.history import UNITS

ENVELOPE: dict[str, Any] = {
    "event_id": "e-1",
    "occurred_at": "2026-11-22T23:30:00+08:00",
    "source": "line-3",
    "key_value": "A",
    "scm_data": {"Product": "wrong", "weight": 2.50, "note": None, "after_sell_by": "2027-01-31"},
}
ROW = {"extended_id": "A", "Product": "wrong", "weight": "2.5", "after_sell_by": "2027-01-31"}


def letter(value: bytes | None, **more: Any) -> Letter:
    members: dict[str, Any] = {
        "place": Place("dlq", 0, 7),
        "at": 1_780_000_000_000,
        "key": b"A",
        "value": value,
        "headers": (),
        "source": Place("events", 3, 512),
        "reason": "rejected_by_api",
        "data_key": "extended_id",
        "key_value": "A",
    }
    return Letter(**members | more)


def copy_of(
    raw: bytes | dict[str, Any],
    mend: Mend = Mend(),  # noqa: B008 - immutable
    form: str = "auto",
    without: frozenset[str] = frozenset(),
    **more: Any,
) -> Copy | Unusable:
    value = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    event: Event | InvalidEvent
    try:
        event = decoder(form)(value)
    except InvalidEvent as bad:
        event = bad
    maker = RowMaker("extended_id", logistic_units=UNITS)
    mender = Mender(mend, form, "extended_id", maker, lambda topic: topic == "events")
    return mender.copy(letter(value, **more), event, without)


def sent(copy: Copy | Unusable) -> dict[str, Any]:
    assert isinstance(copy, Copy), copy
    members: dict[str, Any] = json.loads(copy.value)
    return members


def why(copy: Copy | Unusable) -> str:
    assert isinstance(copy, Unusable), copy
    return copy.because


def test_what_is_not_mended_goes_byte_for_byte() -> None:
    raw = b'{"extended_id" :"A",  "n":1.50}'
    copy = copy_of(raw)
    assert isinstance(copy, Copy)
    assert (copy.value, copy.mended) == (raw, False)
    assert [row.item for row in copy.rows] == [{"extended_id": "A", "n": "1.50"}]


def test_options_that_change_nothing_of_it_mend_nothing() -> None:
    copy = copy_of(ENVELOPE, Mend.parse(["Product=wrong"], ["colour=color"], ["lot"]))
    assert isinstance(copy, Copy)
    assert not copy.mended


def test_a_mended_event_keeps_its_id_its_time_and_its_source() -> None:
    members = sent(copy_of(ENVELOPE, Mend.parse(["product=p_1"], ["Product=product"], ["weight"])))
    assert members == {
        "event_id": "e-1",
        "occurred_at": "2026-11-22T23:30:00+08:00",
        "source": "line-3",
        "data_key": "extended_id",
        "key_value": "A",
        "scm_data": {"product": "p_1", "after_sell_by": "2027-01-31"},
    }


def test_an_event_without_an_id_gets_that_of_its_letter() -> None:
    assert sent(copy_of(b'{"extended_id":"A","f":"1"}', Mend.parse(["f=2"])))["event_id"] == (
        "events-3-512"
    )


def test_an_option_can_erase_a_field_and_add_one() -> None:
    copy = copy_of(ENVELOPE, Mend.parse(["Product=", "new=a=b"]))
    assert sent(copy)["scm_data"]["Product"] == ""
    assert sent(copy)["scm_data"]["new"] == "a=b"


def test_another_data_key_keeps_the_value() -> None:
    copy = copy_of(ENVELOPE, Mend.parse(data_key="serial_number"))
    assert isinstance(copy, Copy)
    assert copy.rows[0].item["serial_number"] == "A"


@pytest.mark.parametrize(
    "mend", [Mend.parse(data_key="code"), Mend.parse(renames=["code=extended_id"])]
)
def test_an_event_without_a_key_can_be_given_one(mend: Mend) -> None:
    raw = b'{"code":"A","f":"1"}'
    assert "key_missing" in why(copy_of(raw, data_key=None, key_value=None))
    assert sent(copy_of(raw, mend, data_key=None, key_value=None))["key_value"] == "A"


def test_a_field_that_cannot_be_sent_can_be_left_out() -> None:
    raw = b'{"extended_id":"A","f":"1","bad":[1]}'
    assert "a list" in why(copy_of(raw))
    assert sent(copy_of(raw, Mend.parse(unsets=["bad"])))["scm_data"] == {"f": "1"}


def test_only_missing_leaves_fields_out_by_their_meaning() -> None:
    raw = b'{"extended_id":"A","activation_status":"2","blacklist_reason":"4","f":"1"}'
    copy = copy_of(raw, without=frozenset({"activation_status"}))
    assert sent(copy)["scm_data"] == {"f": "1"}


@pytest.mark.parametrize(
    ("mend", "reason"),
    [
        (Mend.parse(["after_sell_by=soon"]), "invalid_value"),
        (Mend.parse(["date_consumed=1"]), "forbidden_field"),
        (Mend.parse([f"f={'x' * 51}"]), "value_too_long"),
        (Mend.parse(["extended_id=B"]), "key_conflict"),
        (Mend.parse(unsets=["Product", "weight", "after_sell_by"]), "no_fields"),
        (Mend.parse(renames=["Product=weight"]), "weight"),
    ],
)
def test_what_would_be_refused_again_is_unusable(mend: Mend, reason: str) -> None:
    assert reason in why(copy_of(ENVELOPE, mend))


def test_a_value_that_today_breaks_a_rule_is_unusable_unless_it_is_mended() -> None:
    raw = b'{"extended_id":"A","activation_status":"7"}'
    assert "it would be rejected again: invalid_value" in why(copy_of(raw))
    assert sent(copy_of(raw, Mend.parse(["activation_status=1"])))


@pytest.mark.parametrize(
    ("raw", "more", "reason"),
    [
        (b"\xff\xff", {}, "undecodable"),
        (b"[1]", {}, "invalid_event"),
        (b'{"extended_id":"A","f":"1"}', {"source": None}, "does not say which record"),
        (
            b'{"extended_id":"A","f":"1"}',
            {"source": Place("others", 0, 1)},
            "not among kafka.topics",
        ),
    ],
)
def test_what_nothing_mends(raw: bytes, more: dict[str, Any], reason: str) -> None:
    assert reason in why(copy_of(raw, **more))


# -- formats ---------------------------------------------------------------------------------------


def avro_of(members: dict[str, Any]) -> bytes:
    return encoder("avro")(members)


@pytest.mark.parametrize("form", ["avro", "auto"])
def test_avro_is_mended_into_what_the_consumer_reads(form: str) -> None:
    copy = copy_of(avro_of(ENVELOPE), Mend.parse(["Product=p_1"]), form)
    assert isinstance(copy, Copy)
    event = decoder(form)(copy.value)
    assert (event.event_id, event.source, event.fields["Product"]) == ("e-1", "line-3", "p_1")
    assert copy.value.startswith(b"{") == (form == "auto")
    when = {"avro": 1_795_361_400_000, "auto": "2026-11-22T15:30:00.000Z"}[form]
    assert event.occurred_at == when


def test_flat_is_mended_into_flat() -> None:
    copy = copy_of(b'{"extended_id":"A","f":"1"}', Mend.parse(["f=2"]), "flat")
    assert sent(copy) == {"extended_id": "A", "f": "2"}


def test_flat_has_no_room_for_another_data_key() -> None:
    copy = copy_of(b'{"extended_id":"A","f":"1"}', Mend.parse(data_key="serial_number"), "flat")
    assert "flat" in why(copy)


# -- records of several rows -----------------------------------------------------------------------

BOTH = {
    **ENVELOPE,
    "data_key": "case_code",
    "key_value": "X",
    "scm_data": {"ship_date": "2026-11-22"},
    "also_update": {"data_key": "serial_number", "key_value": "X"},
}


def test_of_a_record_of_several_rows_the_rejected_one_goes_alone() -> None:
    item = {"serial_number": "X", "ship_date": "2026-11-22"}
    copy = copy_of(BOTH, data_key="serial_number", key_value="X", item=item)
    assert sent(copy) == {
        "event_id": "e-1",
        "occurred_at": "2026-11-22T23:30:00+08:00",
        "source": "line-3",
        "data_key": "serial_number",
        "key_value": "X",
        "scm_data": {"ship_date": "2026-11-22"},
    }


def test_a_letter_without_its_row_is_found_by_its_key() -> None:
    assert sent(copy_of(BOTH, data_key="serial_number", key_value="X"))["data_key"] == (
        "serial_number"
    )


def epcis(*events: dict[str, Any]) -> dict[str, Any]:
    return {"type": "EPCISDocument", "epcisBody": {"eventList": list(events)}}


def observed(*epcs: str, kind: str = "ObjectEvent") -> dict[str, Any]:
    return {
        "type": kind,
        "eventID": "urn:e",
        "eventTime": "2026-11-22T16:30:00Z",
        "eventTimeZoneOffset": "+08:00",
        "action": "OBSERVE",
        "bizStep": "receiving",
        "epcList": list(epcs),
    }


ITEM = {"extended_id": "AAAAAAAA", "receive_date": "2026-11-23"}


def rules() -> Any:
    return EpcisRules(
        UNITS,
        codes=(r"extended_id = [\w-]{8,}",),
        unit_codes=(),
        steps=("receiving = receive_date: {date}",),
        products=(),
        markets=(),
    )


def epcis_copy(raw: dict[str, Any], form: str = "auto", mend: Mend = Mend(), **more: Any) -> Any:  # noqa: B008
    value = json.dumps(raw).encode()
    event = decoder(form, rules=rules())(value)
    maker = RowMaker("extended_id", logistic_units=UNITS)
    mender = Mender(mend, form, "extended_id", maker, lambda _: True)
    return mender.copy(letter(value, **more), event)


def test_of_an_epcis_event_the_rejected_code_goes_alone_with_the_events_time() -> None:
    copy = epcis_copy(observed("AAAAAAAA", "BBBBBBBB"), key_value="AAAAAAAA", item=ITEM)
    members = sent(copy)
    assert members["scm_data"] == {"receive_date": "2026-11-23"}
    assert (members["event_id"], members["key_value"]) == ("urn:e", "AAAAAAAA")
    assert members["occurred_at"].startswith("2026-11-22T16:30:00")


def test_an_epcis_event_of_one_row_goes_byte_for_byte() -> None:
    copy = epcis_copy(observed("AAAAAAAA"), "epcis", key_value="AAAAAAAA", item=ITEM)
    assert not copy.mended


def test_where_only_epcis_is_read_a_single_row_of_several_is_unusable() -> None:
    copy = epcis_copy(observed("AAAAAAAA", "BBBBBBBB"), "epcis", key_value="AAAAAAAA", item=ITEM)
    assert "EPCIS" in why(copy)


def test_an_event_that_was_refused_as_a_whole_goes_as_a_whole() -> None:
    nothing: dict[str, Any] = {"data_key": None, "key_value": None}
    copy = epcis_copy(observed("AAAAAAAA", "BBBBBBBB"), **nothing)
    assert (copy.mended, len(copy.rows)) == (False, 2)
    mended = epcis_copy(observed("AAAAAAAA", "BBBBBBBB"), mend=Mend.parse(["f=1"]), **nothing)
    assert "single rows" in why(mended)


def test_a_part_of_a_document_that_could_not_be_read_is_unusable() -> None:
    document = epcis(observed("AAAAAAAA"), observed("BBBBBBBB", kind="TransactionEvent"))
    assert "part of a document" in why(epcis_copy(document, data_key=None, key_value=None))


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        (["product"], [], []),
        (["=x"], [], []),
        (["a=1", "a=2"], [], []),
        ([], ["a="], []),
        ([], ["a=b", "a=c"], []),
        ([], ["a=c", "b=c"], []),
        ([], [], [], " "),
    ],
)
def test_options_that_say_nothing_or_two_things_are_refused(options: Any) -> None:
    with pytest.raises(UserError):
        Mend.parse(*options)


def test_two_fields_can_change_names() -> None:
    copy = copy_of(b'{"extended_id":"A","f":"1","g":"2"}', Mend.parse(renames=["f=g", "g=f"]))
    assert sent(copy)["scm_data"] == {"g": "1", "f": "2"}
