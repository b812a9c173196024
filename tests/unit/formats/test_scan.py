"""Scans: the one code that they certainly are, or a refusal. The table of damage: docs/scans.md."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from consumer.core.model import Event, InvalidEvent
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import Origin, ScanDecoder, ScanRules, decoder
from consumer.loop.intake import Intake
from tests.fuzz.scans import judge, scan_of
from tests.unit.runner_fakes import Message

pytestmark = pytest.mark.promise("I1")

SCANS = 20_000
LINK = "https://id.gs1.org/01/09506000134352/21/"


def read(scan: str | bytes, origin: Origin | None = None, **rules: Any) -> Event:
    usual: dict[str, Any] = {"code": [r"extended_id = ([A-Z0-9]{8})"], "set": ["* = a: 1"]}
    raw = scan.encode() if isinstance(scan, str) else scan
    return ScanDecoder(ScanRules(**(usual | rules)))(raw, origin or Origin())


def why(scan: str | bytes, origin: Origin | None = None, **rules: Any) -> str:
    with pytest.raises(InvalidEvent) as refused:
        read(scan, origin, **rules)
    return refused.value.message


def test_no_damage_makes_a_wrong_code_and_biip_reads_the_same() -> None:
    """``make fuzz-scans`` is a long run."""
    start = random.randrange(10**12)  # others every time
    for number in range(start, start + SCANS):
        scan = scan_of(number)
        try:
            judge(scan)
        except Exception as error:
            raise AssertionError(f"scan {number} {scan}: {error}") from error


def test_two_rules_that_read_a_scan_differently_refuse_it() -> None:
    rules = [r"extended_id = (\d{20})", r"pallet_code = 00/(\d{18})"]
    assert "in 2 ways by scan.code (as extended_id and pallet_code)" in why(
        "00195060000000000098", code=rules
    )
    # What they read alike is taken, and what is no SSCC is no code either.
    assert read("HGDTQD54", code=["extended_id = [A-Z0-9]{8}", "extended_id = HG.+"]).key_value
    assert "check digit of the SSCC" in why("00195060000000000097", code=rules)


def test_an_open_pattern_refuses_what_a_lost_separator_may_have_made() -> None:
    text = "010950600013435221ABCDEF17261231"
    assert "which is right is not certain" in why(text, code=[r"a = 01/\d{14}/21/(.+)"])
    assert read(text, code=[r"a = 01/\d{14}/21/([A-Z0-9]{14})"]).key_value == "ABCDEF17261231"


def test_a_url_in_upper_case_whose_code_may_have_been_in_lower_case_is_refused() -> None:
    assert read(f"{LINK.upper()}ABCDEFGH", code=[r"a = 01/\d{14}/21/([A-Z]{8})"]).key_value
    assert "is not certain" in why(f"{LINK.upper()}ABCDEFGH", code=[r"a = 01/\d{14}/21/(\w{8})"])
    # One letter in lower case shows that the case is as it was printed.
    assert read(f"{LINK.upper()}aBCDEFGH", code=[r"a = 01/\d{14}/21/(\w{8})"]).key_value


def test_base64_is_read_where_only_it_makes_a_code() -> None:
    def wrapped(payload: object) -> str:
        return json.dumps({"data": {"payload": payload}})

    where: dict[str, Any] = {"text": "data.payload"}
    assert read(wrapped("HGDTQD54"), **where).key_value == "HGDTQD54"
    assert read(wrapped(base64.b64encode(b"HGDTQD54\r\n").decode()), **where).key_value
    both = base64.b64encode(b"ABCDEF").decode()
    assert "in 2 ways" in why(wrapped(both), code=[r"a = (\w{6,8})"], **where)
    assert 'has no member "data.payload"' in why('{"data": {}}', **where)
    assert 'has no member "data"' in why("{}", **where)
    assert "is a number; a scan is a string" in why(wrapped(12345678), **where)
    with pytest.raises(InvalidEvent, match="not JSON") as refused:
        read("HGDTQD54", **where)
    assert refused.value.reason == "undecodable"


def test_prefix_and_suffix_must_be_there() -> None:
    adds: dict[str, Any] = {"prefix": "\x02yz/", "suffix": "#\r\n"}
    assert read("\x02yz/HGDTQD54#\r\n", **adds).key_value == "HGDTQD54"
    assert read("yz/HGDTQD54#", **adds).key_value == "HGDTQD54"
    assert "does not begin with scan.prefix" in why("zy/HGDTQD54#", **adds)
    assert "does not end with scan.suffix" in why("yz/HGDTQD54", **adds)


def test_fields_are_those_of_the_topic_over_those_of_all() -> None:
    sets = ["* = a: 1, b: {key}", "t = a: {header.line}-{topic}, d: {date}, t: {time}"]
    origin = Origin("t", 1795390200000, b"k", (("line", b"6"), ("line", b"7")))
    event = read("HGDTQD54", origin, set=sets, time_zone="+08:00")
    assert event == Event(
        {"a": "7-t", "b": "k", "d": "2026-11-23", "t": "2026-11-23T07:30:00.000+08:00"},
        "extended_id",
        "HGDTQD54",
        None,
        1795390200000,
    )
    other = Origin("u", None)
    assert read("HGDTQD54", other, set=sets).fields == {"a": "1"}
    assert "has no timestamp" in why("HGDTQD54", Origin("t"), set=sets)
    assert "record's key is no text" in why("HGDTQD54", Origin("u", 0, b"\xff"), set=sets)


def test_the_day_is_that_of_the_time_zone_summer_and_winter() -> None:
    sets, zone = ["* = t: {time}"], "Europe/Zurich"
    summer = read("HGDTQD54", Origin("t", 1782856800000), set=sets, time_zone=zone)
    assert summer.fields == {"t": "2026-07-01T00:00:00.000+02:00"}


def test_the_data_key_is_that_of_the_rule_else_of_the_section_else_of_events() -> None:
    pattern = [r"https://qr\.example\.com/\?c=(\w{8})"]
    scan = "https://qr.example.com/?c=HGDTQD54"
    assert read(scan, code=pattern).data_key == "extended_id"
    assert read(scan, code=pattern, data_key="serial_number").data_key == "serial_number"
    assert read("HGDTQD54", code=["rfid = .{8}"], data_key="serial_number").data_key == "rfid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b"HGDTQD54" * 100, "more than 500 characters"),
        ("HGDTQD5\u200b4", "not ASCII"),
        (b"HGDT\tQD54", "control character"),
        (b"\x00\x00\x00\x00\x01HGDTQD54", "control character"),
        (b'{"payload": "HGDTQD54"}', "no rule of scan.code fits"),
    ],
)
def test_what_is_no_scan_is_refused(text: str | bytes, message: str) -> None:
    assert message in why(text)


def test_bytes_that_are_no_text_are_undecodable() -> None:
    with pytest.raises(InvalidEvent) as refused:
        read(b"HGDTQD54\xff")
    assert refused.value.reason == "undecodable"


def test_without_rules_every_scan_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="no rule"):
        decoder("scan")(b"HGDTQD54")


def test_the_intake_gives_a_scan_its_topic_and_time() -> None:
    rules = ScanRules(code=[r"extended_id = (\w{8})"], set=["events = d: {date}, t: {topic}"])
    intake = Intake(ScanDecoder(rules), RowMaker("extended_id"))
    partition = Partition("events", 0, 0, None)
    _, rows, _ = intake.take(partition, [Message(0, b"HGDTQD54\r\n")], 0.0)
    assert [row.item for row in rows] == [
        {"extended_id": "HGDTQD54", "d": "2023-11-14", "t": "events"}
    ]
    # A record that waits for room is given them, too.
    intake.take(partition, [Message(1, b"HGDTQD55")], 0.0, room=0)
    _, rows = intake.retry(partition, 0.0)
    assert [row.value for row in rows] == ["HGDTQD55"]
