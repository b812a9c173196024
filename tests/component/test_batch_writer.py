"""The writer of batches, over an embedded Kafka: each record's place, or why it has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from consumer.adapters.kafka.batch_writer import BatchWriter, ToWrite
from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.errors import UserError


@pytest.fixture(scope="module")
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as embedded:
        embedded.create_topic("out")
        yield embedded


def record(value: bytes, partition: int | None = 0, topic: str = "out") -> ToWrite:
    return ToWrite(topic, partition, b"k", value, [("h", b"1"), ("n", None)])


def test_of_each_record_it_is_told_where_it_stands_in_order(kafka: EmbeddedKafka) -> None:
    with closing(BatchWriter(kafka.bootstrap_servers, {})) as writer:
        written = writer.write([record(b"%d" % number) for number in range(50)])
        offsets = [one.offset for one in written]
        assert offsets == list(range(offsets[0], offsets[0] + 50))
        assert {one.partition for one in written} == {0}
        assert writer.write([]) == []


def test_without_a_partition_the_key_decides_as_in_java(kafka: EmbeddedKafka) -> None:
    with closing(BatchWriter(kafka.bootstrap_servers, {})) as writer:
        first, second = (writer.write([record(b"x", None)])[0].partition for _ in range(2))
    assert first == second


def test_a_record_that_is_too_large_is_refused_and_the_others_go(kafka: EmbeddedKafka) -> None:
    properties = {"message.max.bytes": "2000"}
    with closing(BatchWriter(kafka.bootstrap_servers, properties)) as writer:
        first, second, third = writer.write([record(b"a"), record(b"b" * 5000), record(b"c")])
    assert third.offset == first.offset + 1
    assert (second.offset, "refuses the record" in second.refused) == (-1, True)


def test_a_kafka_that_does_not_answer_ends_the_batch_with_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumer.adapters.kafka.batch_writer.PATIENCE_SECONDS", 0.5)
    with (
        closing(BatchWriter("127.0.0.1:1", {})) as writer,
        pytest.raises(UserError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"),
    ):
        writer.write([record(b"x")])
