"""docker-compose.yml carried out on this machine without an engine: what it starts
works together.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.deploy import compose
from tests.deploy.dockerfile import Image
from tests.deploy.rehearsal import Rehearsal
from tests.support.apicurio import Apicurio
from tests.support.process import wait_until

OUTSIDE, INSIDE = 9092, 19092


@pytest.fixture(scope="module")
def stand(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """Yield everything, started in the order that the file asks for."""
    with Rehearsal(tmp_path_factory.mktemp("rehearsal"), image) as stand:
        stand.start_kafka()
        stand.start_from_image("sandbox")
        stand.wait_healthy("kafka")
        stand.make_topics()
        stand.wait_healthy("sandbox")
        stand.start_from_image("consumer")
        stand.wait_healthy("consumer")
        yield stand


def _outside(stand: Rehearsal) -> str:
    """Return where this machine reaches Kafka: what is published as localhost:9092."""
    return f"localhost:{stand.addresses.port('kafka', OUTSIDE)}"


def _sandbox(stand: Rehearsal, path: str) -> Any:
    with urlopen(
        f"http://127.0.0.1:{stand.addresses.port('sandbox', 8080)}{path}", timeout=10
    ) as answer:
        return json.load(answer)


def _publish(stand: Rehearsal, key: str, value: bytes) -> None:
    failed: list[object] = []
    producer = Producer({"bootstrap.servers": _outside(stand)})
    producer.produce(
        "scm.events",
        value,
        key,
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    assert producer.flush(30) == 0
    assert failed == []


def test_kafka_sends_clients_of_each_listener_on_to_an_address_that_they_can_reach(
    stand: Rehearsal,
) -> None:
    for host, port in (("localhost", OUTSIDE), ("127.0.0.1", INSIDE)):
        here = stand.addresses.port("kafka", port)
        metadata = AdminClient({"bootstrap.servers": f"127.0.0.1:{here}"}).list_topics(timeout=30)
        (broker,) = metadata.brokers.values()
        assert f"{broker.host}:{broker.port}" == f"{host}:{here}"


def test_the_topics_are_there_once_and_making_them_again_changes_nothing(stand: Rehearsal) -> None:
    stand.make_topics()
    found = AdminClient({"bootstrap.servers": _outside(stand)}).list_topics(timeout=30).topics
    partitions = {
        name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")
    }
    assert partitions == {"scm.events": 4, "scm.events.dlq": 4}


def test_an_event_published_on_this_machine_reaches_the_sandbox(stand: Rehearsal) -> None:
    _publish(stand, "CODE1", b'{"extended_id": "CODE1", "intended_market": "cn"}')
    wait_until(
        lambda: "CODE1" in json.dumps(_sandbox(stand, "/sandbox/state")),
        30,
        lambda: stand.log("consumer"),
    )
    assert _sandbox(stand, "/sandbox/rules")["broken"] == {}


def test_an_event_that_breaks_a_rule_reaches_the_dead_letter_topic(stand: Rehearsal) -> None:
    _publish(stand, "CODE2", b'{"extended_id": "CODE2", "activation_status": 7}')
    letter = _first_dead_letter(stand)
    assert letter.key() == b"CODE2"
    assert ("scm.reason", b"invalid_value") in cast("list[tuple[str, bytes]]", letter.headers())


def _first_dead_letter(stand: Rehearsal) -> Message[bytes, bytes]:
    reader = Consumer(
        {
            "bootstrap.servers": _outside(stand),
            "group.id": "reader",
            "auto.offset.reset": "earliest",
        }
    )
    reader.subscribe(["scm.events.dlq"])
    try:
        found = wait_until(lambda: reader.poll(0.5), 30, lambda: stand.log("consumer"))
        assert found is not None
        assert found.error() is None
        return found
    finally:
        reader.close()


def test_an_event_in_avro_is_read_with_its_schema_from_the_registry(stand: Rehearsal) -> None:
    url = stand.addresses.here(
        compose.environment("consumer")["SCM_SCHEMA_REGISTRY__URL"], "consumer"
    )
    with (
        closing(Apicurio()) as registry,
        SchemaRegistryClient({"url": url, "timeout": 30}) as client,
    ):
        registry.port, registry.url = stand.addresses.port("registry", 8080), url
        registry.start()
        schema = (compose.ROOT / "schemas" / "scm_event.avsc").read_text()
        # By the topic's name: other strategies ask the registry for what it may not know, and wait
        # for the answer.
        encode = AvroSerializer(
            client, schema, conf={"subject.name.strategy": topic_subject_name_strategy}
        )
        moment = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
        event = {
            "event_id": "1",
            "occurred_at": moment,
            "key_value": "CODE5",
            "scm_data": {"intended_market": "cn"},
        }
        value = encode(event, SerializationContext("scm.events", MessageField.VALUE))
        assert isinstance(value, bytes)
        assert value[0] == 0
        _publish(stand, "CODE5", value)
        wait_until(
            lambda: "CODE5" in json.dumps(_sandbox(stand, "/sandbox/state")),
            60,
            lambda: stand.log("consumer"),
        )


def test_prometheus_sees_what_the_consumer_counts(stand: Rehearsal) -> None:
    address = stand.start_prometheus()
    _publish(stand, "CODE3", b'{"extended_id": "CODE3", "intended_market": "cn"}')

    def consumed() -> float:
        query = "sum(scm_consumer_records_consumed_total{job='scm-consumer',topic='scm.events'})"
        try:
            with urlopen(
                f"{address}/api/v1/query?{urlencode({'query': query})}", timeout=10
            ) as answer:
                return sum(
                    float(series["value"][1]) for series in json.load(answer)["data"]["result"]
                )
        except OSError:
            return 0  # not ready yet

    wait_until(lambda: consumed() >= 1, 60, lambda: stand.log("prometheus"))


@pytest.mark.parametrize("name", ["sandbox", "consumer"])
def test_a_health_check_fails_when_nobody_answers_or_the_answer_is_no(
    name: str, image: Image, tmp_path: Path
) -> None:
    stand = Rehearsal(tmp_path, image)
    assert not stand.healthy(name)
    port = {"sandbox": 8080, "consumer": 9464}[name]
    with _answering(stand.addresses.port(name, port), 503):
        assert not stand.healthy(name)
    with _answering(stand.addresses.port(name, port), 200):
        assert stand.healthy(name)


class _answering:  # noqa: N801 - reads as what it does
    """Yield a server that gives every request one status."""

    def __init__(self, port: int, status: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_the_consumer_stops_in_order_within_its_grace_period_and_goes_on_when_it_is_started_again(
    stand: Rehearsal,
) -> None:
    assert stand.stop("consumer") == 0, stand.log("consumer")
    assert not stand.healthy("consumer")
    _publish(stand, "CODE4", b'{"extended_id": "CODE4", "intended_market": "cn"}')
    stand.start_from_image("consumer")
    stand.wait_healthy("consumer")
    wait_until(
        lambda: "CODE4" in json.dumps(_sandbox(stand, "/sandbox/state")),
        30,
        lambda: stand.log("consumer"),
    )
