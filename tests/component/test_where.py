"""What ``where`` makes of events, letters and receipts: a fate that is told wrongly is worse than none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.config.settings import Settings
from consumer.kafka.embedded import EmbeddedKafka
from consumer.kafka.scan import Scan
from consumer.where.search import Fate, Search
from tests.core.epcis import document, object_event

KEY = "HGDTQD54D5SD86EEDFS"


class Cluster:
    """The topics of a test, and what is in them so far."""

    def __init__(self, kafka: EmbeddedKafka, name: str) -> None:
        self.bootstrap = kafka.bootstrap_servers
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0, "log_level": 2})
        self.written = 0
        self.events, self.letters, self.receipts = (f"{name}.{kind}" for kind in ("events", "letters", "receipts"))
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

    def letter(self, offset: int, raw: bytes, reason: str, item: dict[str, str] | None = None) -> None:
        headers = {
            "__connect.errors.topic": self.events,
            "__connect.errors.partition": "0",
            "__connect.errors.offset": str(offset),
            "scm.reason": reason,
            "scm.message": "why",
        }
        if item is not None:
            (data_key, value), *_ = item.items()
            headers |= {"scm.data_key": data_key, "scm.key_value": value, "scm.row": json.dumps(item)}
        self.write(self.letters, raw, headers=[(name, text.encode()) for name, text in headers.items()])

    def receipt(self, offset: int, item: dict[str, str]) -> None:
        (data_key, value), *fields = item.items()
        content = {"topic": self.events, "partition": 0, "offset": offset, "data_key": data_key, "key_value": value}
        content |= {"fields": dict(fields), "http_status": 200, "accepted_at": "2026-11-22T16:30:00.000Z"}
        self.write(self.receipts, json.dumps(content).encode(), f"{data_key}={value}".encode())

    def commit(self, offset: int) -> None:
        with closing(Consumer({"bootstrap.servers": self.bootstrap, "group.id": "group"})) as consumer:
            consumer.commit(offsets=[TopicPartition(self.events, 0, offset)], asynchronous=False)

    def fates(self, **sections: Any) -> list[Fate]:
        kafka = {"bootstrap_servers": self.bootstrap, "group_id": "group", "topics": (self.events,)}
        topics = {"dead_letter": {"topic": self.letters}, "receipts": {"topic": self.receipts}}
        settings = Settings(kafka=kafka, **topics, **sections)
        scan = Scan(self.bootstrap, "group", {})
        try:
            return list(Search(settings, scan, KEY, lambda _: None).fates(None))
        finally:
            scan.close()


@pytest.fixture(scope="module")
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as embedded:
        yield embedded


@pytest.fixture
def cluster(kafka: EmbeddedKafka, request: pytest.FixtureRequest) -> Cluster:
    return Cluster(kafka, request.node.name)


def told(fates: list[Fate]) -> list[tuple[int, str | None, str]]:
    return [(fate.offset, fate.data_key, fate.fate) for fate in fates]


def test_events_of_epcis_are_read_by_the_same_rules_as_when_they_are_consumed(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.event(object_event(name, bizStep="packing"))
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    cluster.commit(2)
    fates = cluster.fates(epcis={"steps": ("receiving = receive_date: {date}", "packing =")})
    assert told(fates) == [(0, "extended_id", "accepted"), (1, None, "skipped")]
    assert fates[0].fields == {"receive_date": "2026-11-23"}


def test_a_letter_of_a_record_that_could_not_be_read_is_told_only_of_codes_that_stand_in_it(cluster: Cluster) -> None:
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
    raw = cluster.event(document(object_event(name, bizStep="receiving"), object_event(name, bizStep="shipping")))
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
