"""Confluent's wire format with a real registry: published with Confluent's own serializers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from consumer.formats.schemas import read_schema
from tests.support.apicurio import Apicurio, RegistryUnavailable
from tests.support.job import Job
from tests.support.process import wait_until

SHIPPED = read_schema("scm_event.avsc")
#: Other strategies ask the registry for what it may not know, and wait for the answer.
BY_TOPIC = {"subject.name.strategy": topic_subject_name_strategy}
Publish = Callable[[dict[str, Any]], bytes]


@pytest.fixture(scope="module")
def registry() -> Iterator[Apicurio]:
    with closing(Apicurio()) as running:
        try:
            running.start()
        except RegistryUnavailable as reason:
            pytest.fail(str(reason), pytrace=False)
        yield running


@pytest.fixture
def client(registry: Apicurio) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry.url, "timeout": 30}) as found:
        yield found


def avro(client: SchemaRegistryClient, topic: str, schema: Schema | dict[str, Any]) -> Publish:
    """Return a publisher of Avro as Confluent's serializer makes one; it registers its schema."""
    text = schema if isinstance(schema, Schema) else json.dumps(schema)
    serialize = AvroSerializer(client, text, conf=BY_TOPIC)
    return lambda event: serialize(event, SerializationContext(topic, MessageField.VALUE)) or b""


def json_schema(client: SchemaRegistryClient, topic: str) -> Publish:
    """Return a publisher of JSON with its schema."""
    serialize = JSONSerializer(
        json.dumps(read_schema("scm_event.schema.json")), client, conf=BY_TOPIC
    )
    return lambda event: serialize(event, SerializationContext(topic, MessageField.VALUE)) or b""


def event(key: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e-{key}",
        "occurred_at": datetime.now(UTC),
        "key_value": key,
        "scm_data": fields,
    }


def unknown(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + b"rest"


def produce(job: Job, partition: int, *values: bytes) -> None:
    job.kafka.produce(job.topic, [(b"line", value, partition, None) for value in values])


def committed(job: Job, *partitions: int) -> list[int | None]:
    found = job.kafka.committed(job.group, job.topic)
    return [found.get(partition) for partition in partitions]


def test_frames_of_every_kind_are_read_by_the_schema_they_were_written_with(
    job: Job, registry: Apicurio, client: SchemaRegistryClient
) -> None:
    older = {
        **SHIPPED,
        "fields": [f for f in SHIPPED["fields"] if f["name"] not in ("source", "also_update")],
    }
    newer = {
        **SHIPPED,
        "fields": [*SHIPPED["fields"], {"name": "lot", "type": "string", "default": ""}],
    }
    assert client.set_compatibility(f"{job.topic}-value", "BACKWARD")
    first, second = avro(client, job.topic, older), avro(client, job.topic, newer)
    market = {"type": "enum", "name": "Market", "namespace": "com.example", "symbols": ["cn", "de"]}
    client.register_schema(f"{job.topic}-market", Schema(json.dumps(market), "AVRO"))
    own = {
        "type": "record",
        "name": "Packed",
        "namespace": "com.example",
        "fields": [
            {"name": "key_value", "type": "string"},
            {"name": "scm_data", "type": {"type": "map", "values": "com.example.Market"}},
            {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        ],
    }
    links = [SchemaReference("com.example.Market", f"{job.topic}-market", 1)]
    referring = avro(client, f"{job.topic}-own", Schema(json.dumps(own), "AVRO", links))
    in_json = json_schema(client, f"{job.topic}-json")
    produce(
        job,
        0,
        first(event("CODE-OLD", weight=100.0, sealed=True, day=date(2024, 5, 1), count=7)),
        second(
            {
                **event("CODE-NEW", product="P1"),
                "lot": "L1",
                "source": "line-3",
                "data_key": "extended_id",
            }
        ),
        referring(event("CODE-REF", intended_market="cn")),
        in_json({"key_value": "CODE-JSON", "scm_data": {"weight": 1.5, "note": None}}),
        unknown(1_000_000),
        b'{"extended_id": "CODE-FLAT", "line": "L1"}',
        first(event("CODE-OLD", weight=101.5)),
    )

    out = job.run_to_end(schema_registry={"url": registry.url})

    codes = job.sandbox.state()["codes"]
    assert {code: codes[code] for code in codes if code.startswith("CODE-")} == {
        "CODE-OLD": {"weight": "101.5", "sealed": "true", "day": "2024-05-01", "count": "7"},
        "CODE-NEW": {"product": "P1"},
        "CODE-REF": {"intended_market": "cn"},
        "CODE-JSON": {"weight": "1.5"},
        "CODE-FLAT": {"line": "L1"},
    }
    (letter,) = job.kafka.read_all(job.letters)
    told = {name: value.decode() for name, value in letter.headers}
    assert letter.value == unknown(1_000_000)
    assert (told["scm.reason"], told["__connect.errors.stage"]) == ("undecodable", "decode")
    assert told["scm.message"] == f"schema 1000000 is not in the registry at {registry.url}"
    assert "7 consumed = 6 accepted + 1 rejected" in out
    job.assert_committed_to_the_end()


def test_registry_that_is_away_holds_up_its_partition_only_and_all_arrives_in_order_once_it_is_back(
    job: Job, registry: Apicurio, client: SchemaRegistryClient
) -> None:
    publish = avro(client, job.topic, SHIPPED)
    steps = [publish(event("CODE-A", step=str(step))) for step in range(5)]
    registry.stop()
    produce(
        job,
        0,
        b'{"extended_id": "CODE-A", "step": "plain"}',
        *steps[:3],
        b'{"extended_id": "CODE-A", "step": "x"}',
    )
    produce(
        job, 1, *(b'{"extended_id": "CODE-%d", "line": "L1"}' % number for number in range(2000))
    )
    with job.process(schema_registry={"url": registry.url}) as consumer:
        line = consumer.wait_for_line("schema registry at", 30)
        assert "does not answer" in line
        assert "schema_registry.url" in line
        wait_until(lambda: committed(job, 0, 1) == [1, 2000], 30, lambda: consumer.err)
        produce(job, 0, *steps[3:])
        assert job.sandbox.state()["codes"]["CODE-A"] == {"step": "plain"}

        registry.start()

        wait_until(lambda: committed(job, 0) == [7], 60, lambda: consumer.err)
        consumer.wait_for_line("answers again", 5)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(20) == 0, consumer.err
        assert "Traceback" not in consumer.err
        assert "2007 consumed = 2007 accepted" in consumer.out
    rows = job.sandbox.journal()["rows"]
    sent = [row["fields"]["step"] for row in rows if row["key_value"] == "CODE-A"]
    assert sent == ["plain", "0", "1", "2", "x", "3", "4"]
    assert not job.kafka.read_all(job.letters)
