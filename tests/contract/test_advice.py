"""A running consumer says of trouble what ``check`` explains.

Where to look, and what to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from queue import SimpleQueue

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.dead_letter import DeadLetters
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.core.model import Row
from tests.contract.letters import letter_of
from tests.contract.member import Member
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import wait_until

PATIENCE_SECONDS = 30.0


@pytest.fixture
def begin() -> Iterator[Callable[..., Member]]:
    """Begins members, which leave at the end."""
    begun: list[Member] = []

    def begin(
        kafka: Kafka,
        topic: str,
        group: str,
        *,
        strategy: str = "cooperative-sticky",
        start_from: str = "earliest",
    ) -> Member:
        properties = {"partition.assignment.strategy": strategy}
        member = Member()
        member.source = Source(
            member, ReadFrom(kafka.bootstrap, group, [topic], start_from, "stop", properties)
        )
        member.source.subscribe()
        begun.append(member)
        return member

    yield begin
    for member in begun:
        member.source.close(5.0)


def told(caplog: pytest.LogCaptureFixture, words: str, *members: Member) -> str:
    """The first line with these words; "": there is none."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for member in members:
            member.step()
        for line in caplog.messages:
            if words in line:
                return line
        time.sleep(0.01)
    return ""


def test_members_that_share_in_another_way_are_told_the_cure(
    kafka: Kafka, begin: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = kafka.create_topic(unique("events"), 2), unique("group")
    first = begin(kafka, topic, group)
    until = time.monotonic() + PATIENCE_SECONDS
    while not first.owned and time.monotonic() < until:
        first.step()
    second = begin(kafka, topic, group, strategy="range")
    line = told(caplog, "nconsistent group protocol", first, second)
    assert "partition.assignment.strategy" in line, line
    assert "stop all of them first" in line


def test_a_compacted_dead_letter_topic_that_takes_no_letter_without_a_key_is_told_as_such(
    kafka: Kafka,
) -> None:
    topic = kafka.create_topic(unique("letters"), 1, {"cleanup.policy": "compact"})
    results: SimpleQueue[list[Row]] = SimpleQueue()
    letters = DeadLetters(
        results.put, topic=topic, bootstrap_servers=kafka.bootstrap, version="test"
    )
    with closing(letters):
        letters.send(letter_of("A"))  # its record has no key
        why = wait_until(lambda: letters.trouble, 30)
    assert why is not None
    assert f"{topic} is compacted" in why[1]
    assert "cleanup.policy to delete" in why[1]


def test_an_advertised_address_that_cannot_be_resolved_is_not_told_as_bootstrap_servers(
    begin: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(JvmBroker()) as broker:
        name = f"PLAINTEXT://kafka.invalid:{broker.port}"
        with broker._configuration.open("a") as file:
            file.write(f"advertised.listeners={name}\n")
        broker.start()
        begin_at = Kafka(broker.bootstrap, "advertised")
        line = told(caplog, "kafka.invalid", begin(begin_at, "events", unique("group")))
    assert "advertised.listeners" in line, line
    assert "kafka.bootstrap_servers" not in line


@pytest.mark.parametrize("start_from", ["earliest", "latest"])
def test_a_group_whose_offsets_are_gone_says_where_it_begins_and_why(
    kafka: Kafka, begin: Callable[..., Member], caplog: pytest.LogCaptureFixture, start_from: str
) -> None:
    caplog.set_level(logging.INFO, logger="consumer.adapters.kafka")
    topic, group = kafka.create_topic(unique("events"), 1), unique("group")
    kafka.produce(topic, [(None, b"{}", 0)])
    with closing(Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})) as client:
        client.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_consumer_groups([group])[group].result(20)
    line = told(
        caplog, "has no committed offset", begin(kafka, topic, group, start_from=start_from)
    )
    assert line, "offsets that are gone are begun anew without a word"
    assert f"{topic}[0] at {0 if start_from == 'earliest' else 1}" in line, line
    assert "offsets.retention.minutes" in line
    assert f'kafka.start_from = "{start_from}"' in line
