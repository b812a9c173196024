"""The line publishes in order and at its pace, in the background, and says when it cannot."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.demo import publishing
from consumer.demo.line import CODER, GATE, START, Message
from consumer.demo.publishing import LinePublisher, Published
from consumer.demo.topics import TopicReader
from consumer.errors import UserError
from tests.support.process import wait_until

TOPIC = "line.events"


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as embedded:
        embedded.create_topic(TOPIC)
        yield embedded


def messages(count: int) -> list[Message]:
    return [
        Message(
            START + timedelta(seconds=n),
            f"KEY-{n % 7}",
            f"{n}".encode(),
            (("h", b"1"),),
            CODER,
            f"code {n}",
        )
        for n in range(count)
    ]


def finished(publisher: LinePublisher) -> Published:
    def look() -> Published | None:
        progress = publisher.progress()
        return progress if progress.finished else None

    progress = wait_until(look, 20.0)
    assert progress is not None
    return progress


def test_all_messages_in_the_order_of_their_keys_and_not_faster_than_the_pace(
    kafka: EmbeddedKafka,
) -> None:
    begun = time.monotonic()
    with LinePublisher(kafka.bootstrap_servers, TOPIC, messages(100), 200.0) as publisher:
        done = finished(publisher)
    assert time.monotonic() - begun >= 0.5
    with TopicReader(kafka.bootstrap_servers, "standalone-reader") as topics:
        records = topics.read(TOPIC)
        ends = topics.ends(TOPIC)
    assert done.events == len(records) == 100
    assert done.ends == {number: end for number, end in ends.items() if end}
    assert (done.stations[CODER].events, done.stations[CODER].last) == (100, "code 99")
    assert done.stations[GATE].events == 0
    assert done.clock == START + timedelta(seconds=99)
    for key in {record.key for record in records}:
        numbers = [int(record.value or b"") for record in records if record.key == key]
        assert numbers == sorted(numbers)


def test_a_line_without_an_end_stops_when_it_is_closed(kafka: EmbeddedKafka) -> None:
    with LinePublisher(
        kafka.bootstrap_servers, TOPIC, itertools.cycle(messages(10)), 100.0
    ) as publisher:
        wait_until(lambda: publisher.progress().events >= 5, 20.0)
        assert not publisher.progress().finished
        closing = time.monotonic()
    assert time.monotonic() - closing < 5
    closed = publisher.progress()
    assert closed.finished
    with TopicReader(kafka.bootstrap_servers, "standalone-reader") as topics:
        assert sum(topics.ends(TOPIC).values()) >= closed.events


def test_events_that_kafka_does_not_take_are_told(
    monkeypatch: pytest.MonkeyPatch, kafka: EmbeddedKafka
) -> None:
    monkeypatch.setattr(publishing, "FLUSH_SECONDS", 0.5)
    kafka.close()
    with LinePublisher(kafka.bootstrap_servers, TOPIC, messages(3), 1000.0) as publisher:

        def failure() -> str:
            try:
                publisher.progress()
            except UserError as error:
                return str(error)
            return ""

        assert "could not publish 3 of 3 events: no answer within 0.5 s" in wait_until(
            failure, 20.0
        )
