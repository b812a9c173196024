"""The outcomes of ``where``: from events, dead letters and receipts; none may be wrong."""

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
        self.events, self.dead_letters, self.receipts = (
            f"{name}.{kind}" for kind in ("events", "letters", "receipts")
        )
        for topic in (self.events, self.dead_letters, self.receipts):
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

    def dead_letter(
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
            self.dead_letters,
            raw,
            headers=[(name, text.encode()) for name, text in headers.items()],
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

    def outcomes(self, **sections: Any) -> list[RowOutcome]:
        kafka = {"bootstrap_servers": self.bootstrap, "group_id": "group", "topics": (self.events,)}
        topics = {"dead_letter": {"topic": self.dead_letters}, "receipts": {"topic": self.receipts}}
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


def fates_of(outcomes: list[RowOutcome]) -> list[tuple[int, str | None, str]]:
    return [(outcome.offset, outcome.data_key, outcome.fate) for outcome in outcomes]


def test_events_of_epcis_are_read_by_the_same_rules_as_when_they_are_consumed(
    cluster: Cluster,
) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.event(object_event(name, bizStep="packing"))
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    cluster.commit(2)
    outcomes = cluster.outcomes(epcis={"steps": ("receiving = receive_date: {date}", "packing =")})
    assert fates_of(outcomes) == [(0, "extended_id", "accepted"), (1, None, "skipped")]
    assert outcomes[0].fields == {"receive_date": "2026-11-23"}


def test_a_dead_letter_of_an_unreadable_record_counts_only_for_codes_that_stand_in_it(
    cluster: Cluster,
) -> None:
    mine, other = cluster.event(b"{%s" % KEY.encode()), cluster.event(b"{ANOTHER")
    cluster.dead_letter(0, mine, "undecodable")
    cluster.dead_letter(1, other, "undecodable")
    cluster.commit(2)
    assert fates_of(cluster.outcomes()) == [(0, None, "dead_lettered")]


def test_a_rejected_part_of_a_record_says_nothing_of_its_other_rows(cluster: Cluster) -> None:
    good = object_event(f"urn:epc:id:sgtin:9506000.013435.{KEY}", bizStep="receiving")
    raw = cluster.event(document(good, good | {"action": "?"}))
    cluster.dead_letter(0, raw, "invalid_event")
    cluster.commit(1)
    assert fates_of(cluster.outcomes()) == [
        (0, "extended_id", "unknown"),
        (0, None, "dead_lettered"),
    ]
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    assert fates_of(cluster.outcomes()) == [
        (0, "extended_id", "accepted"),
        (0, None, "dead_lettered"),
    ]


def test_a_marker_of_dlq_resolve_is_no_evidence_of_anything(cluster: Cluster) -> None:
    item = {"extended_id": KEY, "line": "L1"}
    cluster.dead_letter(0, cluster.event(item), "unknown_key", item)
    place = f"{cluster.dead_letters}[0]@0".encode()
    headers: list[tuple[str, str | bytes | None]] = [
        ("scm.resolves", place),
        ("scm.because", KEY.encode()),
    ]
    cluster.producer.produce(cluster.dead_letters, None, b"scm.resolves:0-0", 0, headers=headers)
    assert cluster.producer.flush(10) == 0
    cluster.commit(1)
    assert fates_of(cluster.outcomes()) == [(0, "extended_id", "dead_lettered")]


def test_rows_of_one_code_in_a_record_are_told_apart(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    raw = cluster.event(
        document(object_event(name, bizStep="receiving"), object_event(name, bizStep="shipping"))
    )
    cluster.receipt(0, {"extended_id": KEY, "receive_date": "2026-11-23"})
    cluster.dead_letter(0, raw, "rejected_by_api", {"extended_id": KEY, "ship_date": "2026-11-23"})
    cluster.commit(1)
    assert [(outcome.fields, outcome.fate) for outcome in cluster.outcomes()] == [
        ({"receive_date": "2026-11-23"}, "accepted"),
        ({"ship_date": "2026-11-23"}, "dead_lettered"),
    ]


def test_of_a_row_that_was_read_twice_the_latest_is_told(cluster: Cluster) -> None:
    """The group's offsets were reset: what was dead-lettered at first was accepted then."""
    item = {"extended_id": KEY, "line": "L1"}
    raw = cluster.event(item)
    cluster.dead_letter(0, raw, "unknown_key", item)
    cluster.receipt(0, item)
    cluster.commit(1)
    assert fates_of(cluster.outcomes()) == [(0, "extended_id", "accepted")]


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
    assert fates_of(cluster.outcomes()) == [(0, "extended_id", "accepted")]


def test_what_cannot_be_read_without_a_registry_that_is_away_is_unknown(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.decoding.SCHEMA_SECONDS", 0.2)
    cluster.event(b"\x00\x00\x00\x00\x07" + KEY.encode())
    cluster.commit(1)
    outcomes = cluster.outcomes(schema_registry={"url": "http://127.0.0.1:9"})
    assert fates_of(outcomes) == [(0, None, "unknown")]


# -- what is known, and what today's rules would say ---------------------------------------------


def test_what_todays_rules_would_reject_is_not_called_dead_lettered_without_a_dead_letter(
    cluster: Cluster,
) -> None:
    """It was accepted when the field was none of date_fields."""
    cluster.event({"extended_id": KEY, "day": "soon"})
    cluster.commit(1)
    for sections in ({"receipts": {"topic": ""}}, {}):
        (outcome,) = cluster.outcomes(events={"date_fields": ("day",)}, **sections)
        assert outcome.fate == "unknown", "where: a fate is told that nobody wrote down"
        assert outcome.told.startswith(
            "settled (the group has committed 1); accepted or not: unknown"
        )
        assert (
            'by today\'s rules it would be rejected: invalid_value: "day" is "soon"' in outcome.told
        )


def test_what_todays_rules_would_skip_is_not_called_skipped_unless_receipts_were_kept_then(
    cluster: Cluster,
) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.commit(1)
    skipping = {"epcis": {"steps": ("receiving =",)}}
    for sections in ({"receipts": {"topic": ""}}, {}):
        (outcome,) = cluster.outcomes(**skipping, **sections)
        assert outcome.fate == "unknown", "where: a fate is told that nobody wrote down"
        assert "by today's rules it sets nothing, and would be skipped" in outcome.told
    cluster.receipt(0, {"extended_id": "ANOTHER", "line": "L1"})
    (outcome,) = cluster.outcomes(**skipping)
    assert outcome.fate == "skipped"
    assert outcome.told.startswith(
        "settled (the group has committed 1), without a dead letter or a receipt; "
    )


def test_what_is_not_settled_is_not_called_skipped_or_rejected_yet(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    cluster.event(object_event(name, bizStep="receiving"))
    cluster.event({"extended_id": KEY, "activation_status": "9"})
    outcomes = cluster.outcomes(epcis={"steps": ("receiving =",)})
    assert [outcome.fate for outcome in outcomes] == ["unsettled"] * 2, (
        "where: a fate is told that nobody wrote down"
    )
    assert outcomes[1].told.startswith(
        "nothing is committed yet; by today's rules it would be rejected: invalid_value: "
    )


def test_what_the_settled_map_names_is_settled_and_it_is_said_by_what(cluster: Cluster) -> None:
    for line in ("L0", "L1"):
        cluster.event({"extended_id": KEY, "line": line})
    cluster.commit(0, encode(0, 0, [(1, 2)], 4000))
    first, second = cluster.outcomes(receipts={"topic": ""})
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
    cluster.dead_letter(1, raw, "rejected_by_api", {"serial_number": KEY, "received": "then"})
    cluster.commit(2)
    accepted, rejected = cluster.outcomes(epcis={"steps": ("receiving = now: {date}",)})
    assert (accepted.fate, accepted.data_key, accepted.fields) == (
        "accepted",
        "extended_id",
        {"received": "then"},
    )
    assert (rejected.fate, rejected.data_key, rejected.fields) == (
        "dead_lettered",
        "serial_number",
        {"received": "then"},
    )


def test_dead_letters_of_rows_that_todays_rules_do_not_make_are_shown(cluster: Cluster) -> None:
    name = f"urn:epc:id:sgtin:9506000.013435.{KEY}"
    raw = cluster.event(
        document(object_event(name, bizStep="receiving"), object_event(name, bizStep="shipping"))
    )
    cluster.dead_letter(0, raw, "rejected_by_api", {"extended_id": KEY, "of old": "rules"})
    cluster.commit(1)
    assert [(outcome.fate, outcome.fields) for outcome in cluster.outcomes()] == [
        ("unknown", {"receive_date": "2026-11-23"}),
        ("unknown", {"ship_date": "2026-11-23"}),
        ("dead_lettered", {"of old": "rules"}),
    ]


def test_the_dead_letter_of_an_event_refused_whole_is_shown_for_each_of_its_codes(
    cluster: Cluster,
) -> None:
    names = [f"urn:epc:id:sgtin:9506000.013435.{code}" for code in (KEY, "OTHER")]
    raw = cluster.event(object_event(*names, action="ADD", ilmd={"sellByDate": "soon"}))
    cluster.dead_letter(0, raw, "invalid_value")
    cluster.commit(1)
    assert fates_of(cluster.outcomes()) == [(0, None, "dead_lettered")]
