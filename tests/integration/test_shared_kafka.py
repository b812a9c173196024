"""The shared Kafka gives back what is written to it; it needs no JVM, so any Kafka will do."""

from __future__ import annotations

import time

from tests.support.kafka_witness import Kafka, ToSend, unique


def test_produced_records_are_read_back_byte_for_byte(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("read-back"), 3)
    before = time.time() * 1000
    headers = [("trace", b"\x00\xff"), ("trace", b"again")]
    kafka.produce(
        topic, [ToSend(b"a", b"one", 2, headers), (b"a", None, 2, None), (None, b"", 0, None)]
    )
    found = kafka.read_all(topic)
    assert [(r.partition, r.offset, r.key, r.value, r.headers) for r in found] == [
        (0, 0, None, b"", []),
        (2, 0, b"a", b"one", headers),
        (2, 1, b"a", None, []),
    ]
    assert all(before - 1 <= record.timestamp <= time.time() * 1000 + 1 for record in found)
    assert kafka.end_offsets(topic) == {0: 1, 1: 0, 2: 2}
