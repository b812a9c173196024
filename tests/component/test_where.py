"""What ``where`` makes of events, letters and receipts.

A fate that is told wrongly is worse than none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.adapters.kafka.scan import Scan
from consumer.config.settings import Settings
from consumer.core.offsets.settled_map import encode
from consumer.where.outcome import RowOutcome
from consumer.where.search import CodeSearch
from tests.unit.epcis import document, object_event

KEY = "HGDTQD54D5SD86EEDFS"


class Cluster:
    """The topics of a test, and what is in them so far."""

    def __init__(self, kafka: EmbeddedKafka, name: str) -> None:
        self.bootstrap = kafka.bootstrap_servers
        self.producer = Producer(
            {"bootstrap.servers": self.bootstrap, "linger.ms": 0, "log_level": 2}
        )
        self.written = 0
        self.events, self.letters, self.receipts = (
            f"{name}.{kind}" for kind in ("events", "letters", "receipts")
        )
        for topic in (self.events, self.letters, self.receipts):
            kafka.create_topic(topic)

    def write(self, topic: str, value: bytes, key: bytes = b"k", headers: Any = ()) -> None:
        self.written += 1
        at = 1_800_000_000_000 + self.written
        self.producer.produce(topic, value, key, partition=0, headers=list(headers), timestamp=at)
        assert self.producer.flush(10) == 0

    def event(self, content: Any) -> bytes:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.write(self.events, raw)
        return raw

    def letter(
        self, offset: int, raw: bytes, reason: str, item: dict[str, str] | None = None
    ) -> None:
        headers = {
            "__connect.errors.topic": self.events,
            "__connect.errors.partition": "0",
            "__connect.errors.offset": str(offset),
            "scm.reason": reason,
            "scm.message": "why",
        }
        if item is not None:
            (data_key, value), *_ = item.items()
            headers |= {
                "scm.data_key": data_key,
                "scm.key_value": value,
                "scm.row": json.dumps(item),
            }
        self.write(
            self.letters, raw, headers=[(name, text.encode()) for name, text in headers.items()]
        )

    def receipt(self, offset: int, item: dict[str, str]) -> None:
        (data_key, value), *fields = item.items()
        content = {
            "topic": self.events,
            "partition": 0,
            "offset": offset,
            "data_key": data_key,
            "key_value": value,
        }
        content |= {
            "fields": dict(fields),
            "http_status": 200,
            "accepted_at": "2026-11-22T16:30:00.000Z",
        }
        self.write(self.receipts, json.dumps(content).encode(), f"{data_key}={value}".encode())

    def commit(self, offset: int, metadata: str = "") -> None:
        with closing(
            Consumer({"bootstrap.servers": self.bootstrap, "group.id": "group"})
        ) as consumer:
            consumer.commit(
                offsets=[TopicPartition(self.events, 0, offset, metadata)], asynchronous=False
            )

    def fates(self, **sections: Any) -> list[RowOutcome]:
        kafka = {"bootstrap_servers": self.bootstrap, "group_id": "group", "topics": (self.events,)}
        topics = {"dead_letter": {"topic": self.letters}, "receipts": {"topic": self.receipts}}
        settings = Settings(kafka=kafka, **(topics | sections))
        scan = Scan(self.bootstrap, "group", {})
        try:
            return list(CodeSearch(settings, scan, KEY, lambda _: None).outcomes(None))
        finally:
            scan.close()


@pytest.fixture(scope="module")
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as embedded:
        yield embedded


@pytest.fixture
def cluster(kafka: EmbeddedKafka, request: pytest.FixtureRequest) -> Cluster:
    return Cluster(kafka, request.node.name)


def told(fates: list[RowOutcome]) -> list[tuple[int, str | None, str]]:
    return [(fate.offset, fate.data_key, fate.fate) for fate in fates]


def test_events_of_epcis_are_read_by_the_same_rules_as_when_they_are_consumed(
    cluster: Cluster,
) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.event(object_event(name, bizStep="packing"))
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    cluster.commit(2)
    fates = cluster.fates(epcis={"steps": ("receiving = receive_date: {date}", "packing =")})
    assert told(fates) == [(0, "extended_id", "accepted"), (1, None, "skipped")]
    assert fates[0].fields == {"receive_date": "2026-11-23"}


def test_a_letter_of_a_record_that_could_not_be_read_is_told_only_of_codes_that_stand_in_it(
    cluster: Cluster,
) -> None:
    mine, other = cluster.event(b"{%s" % KEY.encode()), cluster.event(b"{ANOTHER")
    cluster.letter(0, mine, "undecodable")
    cluster.letter(1, other, "undecodable")
    cluster.commit(2)
    assert told(cluster.fates()) == [(0, None, "dead_lettered")]


def test_a_rejected_part_of_a_record_says_nothing_of_its_other_rows(cluster: Cluster) -> None:
    good = object_event(f"urn:epc:id:sgtin:9506000.013435.{KEY}", bizStep="receiving")
    raw = cluster.event(document(good, good | {"action": "?"}))
    cluster.letter(0, raw, "invalid_event")
    cluster.commit(1)
    assert told(cluster.fates()) == [(0, "extended_id", "unknown"), (0, None, "dead_lettered")]
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    assert told(cluster.fates()) == [(0, "extended_id", "accepted"), (0, None, "dead_lettered")]


def test_rows_of_one_code_in_a_record_are_told_apart(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    raw = cluster.event(
        document(object_event(name, bizStep="receiving"), object_event(name, bizStep="shipping"))
    )
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    cluster.letter(0, raw, "rejected_by_api", {"extended_id": KEY, "ship_date": "2026-11-23"})
    cluster.commit(1)
    assert [(fate.fields, fate.fate) for fate in cluster.fates()] == [
        ({"receive_date": "2026-11-23"}, "accepted"),
        ({"ship_date": "2026-11-23"}, "dead_lettered"),
    ]


def test_of_a_row_that_was_read_twice_the_latest_is_told(cluster: Cluster) -> None:
    """The group was set back: what was dead-lettered at first was accepted then."""
    item = {"extended_id": KEY, "line": "L1"}
    raw = cluster.event(item)
    cluster.letter(0, raw, "unknown_key", item)
    cluster.receipt(0, item)
    cluster.commit(1)
    assert told(cluster.fates()) == [(0, "extended_id", "accepted")]


def test_what_settles_while_it_is_searched_is_not_told_as_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = {"extended_id": KEY, "line": "L1"}
    cluster.event(item)
    records = Scan.records

    def meanwhile(scan: Scan, keys: Any, since: Any) -> Iterator[Any]:
        yield from records(scan, keys, since)
        if keys[0][0] == cluster.events:
            cluster.receipt(0, item)
            cluster.commit(1)

    monkeypatch.setattr(Scan, "records", meanwhile)
    assert told(cluster.fates()) == [(0, "extended_id", "accepted")]


def test_what_cannot_be_read_without_a_registry_that_is_away_is_unknown(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.where.search.SCHEMA_SECONDS", 0.2)
    cluster.event(b"\x00\x00\x00\x00\x07" + KEY.encode())
    cluster.commit(1)
    fates = cluster.fates(schema_registry={"url": "http://127.0.0.1:9"})
    assert told(fates) == [(0, None, "unknown")]


# -- what is known, and what today's rules would say ---------------------------------------------


def test_what_todays_rules_would_reject_is_not_called_dead_lettered_without_a_letter(
    cluster: Cluster,
) -> None:
    """It was accepted when the field was none of date_fields."""
    cluster.event({"extended_id": KEY, "day": "soon"})
    cluster.commit(1)
    for sections in ({"receipts": {"topic": ""}}, {}):
        (fate,) = cluster.fates(events={"date_fields": ("day",)}, **sections)
        assert fate.fate == "unknown", "where: a fate is told that nobody wrote down"
        assert fate.told.startswith("settled (the group has committed 1); accepted or not: unknown")
        assert 'by today\'s rules it would be rejected: invalid_value: "day" is "soon"' in fate.told


def test_what_todays_rules_would_skip_is_not_called_skipped_unless_receipts_were_kept_then(
    cluster: Cluster,
) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.commit(1)
    skipping = {"epcis": {"steps": ("receiving =",)}}
    for sections in ({"receipts": {"topic": ""}}, {}):
        (fate,) = cluster.fates(**skipping, **sections)
        assert fate.fate == "unknown", "where: a fate is told that nobody wrote down"
        assert "by today's rules it sets nothing, and would be skipped" in fate.told
    cluster.receipt(0, {"extended_id": "ANOTHER", "line": "L1"})
    (fate,) = cluster.fates(**skipping)
    assert fate.fate == "skipped"
    assert fate.told.startswith(
        "settled (the group has committed 1), without a dead letter or a receipt; "
    )


def test_what_is_not_settled_is_not_called_skipped_or_rejected_yet(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.event({"extended_id": KEY, "activation_status": "9"})
    fates = cluster.fates(epcis={"steps": ("receiving =",)})
    assert [fate.fate for fate in fates] == ["unsettled"] * 2, (
        "where: a fate is told that nobody wrote down"
    )
    assert fates[1].told.startswith(
        "nothing is committed yet; by today's rules it would be rejected: invalid_value: "
    )


def test_what_the_settled_map_names_is_settled_and_it_is_said_by_what(cluster: Cluster) -> None:
    for line in ("L0", "L1"):
        cluster.event({"extended_id": KEY, "line": line})
    cluster.commit(0, encode(0, 0, [(1, 2)], 4000))
    first, second = cluster.fates(receipts={"topic": ""})
    assert (first.fate, first.told) == ("unsettled", "committed: 0")
    assert (
        second.told == "settled (named by the settled map at 0); "
        "accepted or not: unknown without receipts.topic"
    )


def test_fields_are_told_as_they_were_sent_and_not_as_they_would_be_read_today(
    cluster: Cluster,
) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    raw = cluster.event(object_event(name, bizStep="receiving"))
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.receipt(0, {"extended_id": KEY, "received": "then"})
    cluster.letter(1, raw, "rejected_by_api", {"serial_number": KEY, "received": "then"})
    cluster.commit(2)
    accepted, lettered = cluster.fates(epcis={"steps": ("receiving = now: {date}",)})
    assert (accepted.fate, accepted.data_key, accepted.fields) == (
        "accepted",
        "extended_id",
        {"received": "then"},
    )
    assert (lettered.fate, lettered.data_key, lettered.fields) == (
        "dead_lettered",
        "serial_number",
        {"received": "then"},
    )


def test_letters_of_rows_that_todays_rules_do_not_make_are_told(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    raw = cluster.event(
        document(object_event(name, bizStep="receiving"), object_event(name, bizStep="shipping"))
    )
    cluster.letter(0, raw, "rejected_by_api", {"extended_id": KEY, "of old": "rules"})
    cluster.commit(1)
    assert [(fate.fate, fate.fields) for fate in cluster.fates()] == [
        ("unknown", {"receive_date": "2026-11-23"}),
        ("unknown", {"ship_date": "2026-11-23"}),
        ("dead_lettered", {"of old": "rules"}),
    ]


def test_the_letter_of_an_event_that_was_refused_whole_is_told_of_each_of_its_codes(
    cluster: Cluster,
) -> None:
    names = [f"urn:epc:id:sgtin:9506000.013435.{code}" for code in (KEY, "OTHER")]
    raw = cluster.event(object_event(*names, action="ADD", ilmd={"sellByDate": "soon"}))
    cluster.letter(0, raw, "invalid_value")
    cluster.commit(1)
    assert told(cluster.fates()) == [(0, None, "dead_lettered")]
