"""``publish`` of EPCIS XML: a document for each event, in order, in flat memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import UserError
from consumer.formats.safe_xml import PIECE
from consumer.publish.lines import kind_of_file
from consumer.publish.xml_file import MAX_EVENT, XmlFile
from tests.component.test_publish_command import run
from tests.support.epcis_xml import to_xml
from tests.unit.epcis import CONTEXT, ITEM, SSCC, aggregation, document, items, object_event

EVENTS = (
    object_event(ITEM, action="ADD", ilmd={"cbvmda:productionDate": "2026-11-22"}),
    aggregation(SSCC, ITEM, bizStep="packing"),
    object_event(SSCC, bizStep="shipping"),
)
ROWS = items(document(*EVENTS))
QUERY = {
    "@context": CONTEXT,
    "type": "EPCISQueryDocument",
    "epcisBody": {"queryResults": {"resultsBody": {"eventList": list(EVENTS)}}},
}


def divided(raw: bytes) -> list[tuple[int, bytes]]:
    return list(XmlFile(BufferedReader(BytesIO(raw))))


def utf_16(raw: bytes, encoding: str = "utf-16") -> bytes:
    text = raw.decode().replace("utf-8", "utf-16")
    return text.encode(encoding) if encoding == "utf-16" else ("\ufeff" + text).encode(encoding)


XML = to_xml(document(*EVENTS), "1.2")
HEADER = b"<EPCISHeader><a/>" + b"<b>x</b>" * 99_999 + b"</EPCISHeader>"
ROOT = (
    b"<e:EPCISDocument xmlns:e='urn:epcglobal:epcis:xsd:1'\n creationDate='2026-12-01T08:00:00Z'>"
)


@pytest.mark.parametrize(
    "raw",
    [
        *(to_xml(document(*EVENTS), version) for version in ("1.1", "2.0")),
        *(to_xml(QUERY, version) for version in ("1.1", "2.0")),
        to_xml(QUERY, "1.2", soap=True),
        to_xml(EVENTS[0]).replace(b"<ObjectEvent>", b"<!-- > --><ObjectEvent a='>'>"),
        b"\xef\xbb\xbf" + XML,
        b"\r\n" + XML,
        utf_16(XML),
        utf_16(XML, "utf-16-le"),
        utf_16(XML, "utf-16-be"),
        XML.replace(b"<EPCISBody>", HEADER + b"<EPCISBody>"),
        XML.replace(b"<ObjectEvent>", b"<!--" + b"-a" * 40_000 + b"--><ObjectEvent>"),
        XML.replace(b"ns0", "h\u00e9".encode()),
    ],
)  # fmt: skip
def test_the_documents_of_a_files_events_make_the_rows_of_the_file(raw: bytes) -> None:
    documents = divided(raw)
    assert [number for number, _ in documents] == list(range(1, len(documents) + 1))
    assert [row for _, one in documents for row in items(one)] == items(raw)
    assert all(len(one) < 2_000 for _, one in documents), "neither header nor comments go along"


def test_an_event_keeps_its_bytes_and_the_tags_around_it() -> None:
    raw = (
        b"<?xml version='1.0'  encoding=\"UTF-8\"?>\n<!-- from the line -->\n"
        + ROOT
        + b"<EPCISHeader>x</EPCISHeader>\n<EPCISBody><EventList >\n"
        b"<ObjectEvent><a  b='1'/>&amp;<![CDATA[<]]></ObjectEvent\n><extension><AssociationEvent/>"
        b"</extension></EventList></EPCISBody></e:EPCISDocument>"
    )
    root = b"<?xml version='1.0'  encoding=\"UTF-8\"?>" + ROOT + b"<EPCISBody><EventList >"
    end = b"</EventList></EPCISBody></e:EPCISDocument>"
    assert divided(raw) == [
        (1, root + b"<ObjectEvent><a  b='1'/>&amp;<![CDATA[<]]></ObjectEvent\n>" + end),
        (2, root + b"<extension><AssociationEvent/></extension>" + end),
    ]


class Endless(RawIOBase):
    """A file of so many events that is never whole in memory."""

    def __init__(self, events: int) -> None:
        super().__init__()
        head, event, tail = self.parts()
        self._parts: Iterator[bytes] = iter([head, *[event] * events, tail])
        self._left = b""

    @staticmethod
    def parts() -> tuple[bytes, bytes, bytes]:
        raw = to_xml(document(EVENTS[1]))
        start, end = raw.index(b"<AggregationEvent>"), raw.index(b"</EventList>")
        return raw[:start], raw[start:end] * 10, raw[end:]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._parts, b"")
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


@pytest.mark.alone
def test_a_long_file_takes_no_more_memory_than_a_short_one() -> None:
    tracemalloc.start()
    count = sum(1 for _ in XmlFile(BufferedReader(Endless(200), PIECE)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2_000
    assert peak < 4 * 1024**2


@pytest.mark.parametrize(
    ("raw", "events", "message"),
    [
        (XML[:-30], 3, "not XML: unclosed token at line"),
        (XML.replace(b"<AggregationEvent>", b"<AggregationEvent"), 1, "not XML"),
        (XML[: XML.index(b"<ObjectEvent>")], 0, "no element found"),
        (b"<!DOCTYPE x>" + XML.partition(b"?>")[2], 0, "document type declaration"),
        (b"<html/>", 0, "no EPCIS: the element html"),
        (XML.replace(b"utf-8", b"windows-1252"), 0, 'its encoding is "windows-1252"'),
        (to_xml(document() | {"epcisBody": {"eventList": [], "event": EVENTS[0]}}, "2.0").replace(
            b"ObjectEvent>", b"x>").replace(b"EventList", b"Events"), 0, "no events"),
        (
            XML.replace(b"<action>", b"<a>" + b"x" * MAX_EVENT * 2 + b"</a><action>", 1),
            0,
            "an event is longer than",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_on_ends_there_with_the_place(
    raw: bytes, events: int, message: str
) -> None:
    found: list[tuple[int, bytes]] = []
    with pytest.raises(UserError, match=message):
        found.extend(XmlFile(BufferedReader(BytesIO(raw))))
    # What is malformed is found in pieces: of the one that holds it, no event is handed out.
    assert len(found) <= events


def test_the_kind_is_told_by_the_ending_or_the_first_byte() -> None:
    for raw in (XML, b" \n" + XML, b"\xef\xbb\xbf" + XML, utf_16(XML)):
        assert kind_of_file("-", BufferedReader(BytesIO(raw))) == "xml"
        assert kind_of_file("shift.csv", BufferedReader(BytesIO(raw))) == "csv"
    assert kind_of_file("shift.XML", BufferedReader(BytesIO(b""))) == "xml"


def test_a_file_is_checked_event_by_event_and_told_by_their_numbers(tmp_path: Path) -> None:
    bad = object_event("?", bizStep="shipping")
    raw = to_xml(document(EVENTS[0], bad, EVENTS[1], object_event(ITEM, bizStep="storing")))
    (tmp_path / "shift.xml").write_bytes(raw)
    done = run(tmp_path, "shift.xml", "--dry-run")
    assert done.returncode == 1
    line = raw[: raw.index(b"<epc>?")].count(b"\n") + 1 - 4
    assert done.stderr.splitlines()[0] == (
        f'event 2 (line {line}): invalid_event: "epcList" is not as the rules of [epcis] need it; '
        "log.keys = true shows why"
    )
    assert done.stderr.splitlines()[1].startswith("event 4 (line ")
    shown = done.stdout
    assert "event 1, key HGDTQD54D5SD86EEDFS: <?xml version='1.0' encoding='utf-8'?>" in shown
    assert "event 3, key HGDTQD54D5SD86EEDFS: <?xml" in shown
    assert shown.splitlines()[-1] == (
        "dry run: 2 of 4 events would be published to scm.events; 2 refused (invalid_event 2)"
    )
    done = run(tmp_path, "shift.xml", "--dry-run", "--from-line", "3", "--key", "case_code")
    assert "event 3, key 095060000000000015: " in done.stdout
    assert "1 of 2 events" in done.stdout


def test_a_file_that_is_cut_off_says_with_which_event_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "shift.xml").write_bytes(XML[:-30])
    done = run(tmp_path, "shift.xml", "--dry-run")
    assert done.returncode == 1
    assert "error: shift.xml: not XML: unclosed token at line" in done.stderr
    assert "go on with --from-line 4" in done.stderr


def test_a_format_that_is_not_epcis_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "shift.xml").write_bytes(XML)
    done = run(tmp_path, "shift.xml", "--dry-run", env={"SCM_EVENTS__FORMAT": "json"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "an event of EPCIS, of which none is made in the format json" in done.stderr
