"""Looking at a group from outside, on a real Kafka: logs, commits, members, first records."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.group_look import GroupCommit, LogExtent
from consumer.adapters.kafka.lag_watch import LagWatch, Seen, watch_of
from consumer.adapters.kafka.offsets import LookUpError
from consumer.adapters.kafka.reader import ReadFrom
from consumer.core.offsets.settled_map import encode
from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import wait_until

SECONDS = 30.0


def watch(kafka: Kafka, group: str, *topics: str) -> LagWatch:
    return watch_of(ReadFrom(kafka.bootstrap, group, topics, "earliest", "stop", {}))


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.create_topic(unique("look"), 3)


@pytest.fixture
def watched(kafka: Kafka, topic: str) -> Iterator[LagWatch]:
    found = watch(kafka, topic, topic)
    yield found
    found.let_go()


def see(watched: LagWatch, **wanted: int | None) -> Seen:
    """Look, and fetch the first records from ``p0=offset`` on."""
    topic = watched.look().look.partitions[0][0]
    watched.want({(topic, int(name[1:])): offset for name, offset in wanted.items()})
    return watched.look()


def test_begins_and_ends_are_those_of_a_reader_of_committed_records(
    kafka: Kafka, topic: str, watched: LagWatch
) -> None:
    kafka.produce(topic, [(None, b"%d" % n, 0) for n in range(10)])
    kafka.delete_records(topic, {0: 4})
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("open"), "log_level": 0}
    )
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=1)
    producer.flush(SECONDS)
    look = watched.look().look
    assert look.partitions == [(topic, 0), (topic, 1), (topic, 2)]
    assert look.logs == {
        (topic, 0): LogExtent(4, 10),
        (topic, 1): LogExtent(0, 0),  # what an open transaction holds back is not behind
        (topic, 2): LogExtent(0, 0),
    }
    producer.commit_transaction(SECONDS)
    # The broker writes the marker after it has answered.
    wait_until(lambda: watched.look().look.logs[(topic, 1)] == LogExtent(0, 2), SECONDS)


def test_the_first_record_from_an_offset_on_is_told_with_its_time(
    kafka: Kafka, topic: str, watched: LagWatch
) -> None:
    at = int((time.time() - 7200) * 1000)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(5):
        producer.produce(topic, b"%d" % number, partition=0, timestamp=at + number)
    producer.flush(SECONDS)
    kafka.produce_transaction(topic, [(None, b"no", 1)] * 3, abort=True)
    kafka.produce(topic, [(None, b"yes", 1)])
    kafka.produce_transaction(topic, [(None, b"no", 2)] * 3, abort=True)
    heads = see(watched, p0=2, p1=0, p2=0).heads
    first = heads[(topic, 0)]
    assert (first.asked, first.offset, first.timestamp, first.none) == (2, 2, at + 2, False)
    behind_a_gap = heads[(topic, 1)]
    assert (behind_a_gap.asked, behind_a_gap.offset, behind_a_gap.none) == (0, 4, False)
    no_record = heads[(topic, 2)]
    assert (no_record.asked, no_record.offset, no_record.none) == (0, 4, True)


def test_the_commits_are_told_with_what_is_settled_beyond_them(
    kafka: Kafka, topic: str, watched: LagWatch
) -> None:
    kafka.produce(topic, [(None, b"%d" % n, n % 2) for n in range(40)])
    with closing(
        Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": topic, "log_level": 0})
    ) as client:
        offsets = [
            TopicPartition(topic, 0, 3, encode(0, 3, [(5, 8), (10, 11)], 4000)),
            TopicPartition(topic, 1, 7, "of another program"),
        ]
        client.commit(offsets=offsets, asynchronous=False)
    look = watched.look().look
    assert look.commits == {(topic, 0): GroupCommit(3, 4), (topic, 1): GroupCommit(7, 0)}
    assert (look.state, look.members) == ("empty", [])


def test_a_member_is_told_with_its_partitions(kafka: Kafka, topic: str, watched: LagWatch) -> None:
    config = {"bootstrap.servers": kafka.bootstrap, "group.id": topic, "client.id": "line7"}
    with closing(Consumer(config)) as client:
        client.subscribe([topic])

        def assigned() -> bool:
            client.consume(1, 0.1)
            return len(client.assignment()) == 3

        wait_until(assigned, SECONDS)
        look = watched.look().look
    (member,) = look.members
    assert (look.state, look.rebalancing, member.client_id) == ("stable", False, "line7")
    assert member.partitions == [(topic, 0), (topic, 1), (topic, 2)]


def test_topics_are_found_by_patterns_and_none_is_made_by_looking(kafka: Kafka) -> None:
    name = unique("pattern")
    kafka.create_topic(f"{name}.a", 2)
    kafka.create_topic(f"{name}.b", 1)
    with pytest.raises(LookUpError):
        watch(kafka, name, f"{name}.missing").look()
    both = watch(kafka, name, f"^{name}[.][ab]$")
    assert both.look().look.partitions == [(f"{name}.a", 0), (f"{name}.a", 1), (f"{name}.b", 0)]
    both.let_go()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    assert f"{name}.missing" not in admin.list_topics(timeout=SECONDS).topics


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"retention.ms": "86400000"}, 86_400.0),
        ({"retention.ms": "-1"}, math.inf),
        ({"cleanup.policy": "compact", "retention.ms": "86400000"}, math.inf),
        ({"cleanup.policy": "compact,delete", "retention.ms": "86400000"}, 86_400.0),
    ],
)
def test_the_retention_is_told(kafka: Kafka, config: dict[str, str], seconds: float) -> None:
    topic = kafka.create_topic(unique("kept"), 1, config)
    watched = watch(kafka, topic, topic)
    assert watched.look().look.retention == {topic: seconds}
    watched.let_go()


def test_a_kafka_that_is_not_there_is_an_error_within_seconds() -> None:
    nowhere = Kafka(f"127.0.0.1:{free_port()}", "nowhere")
    began = time.monotonic()
    with pytest.raises(LookUpError):
        watch(nowhere, "g", "t").look()
    assert time.monotonic() - began < 10


def test_a_coordinator_that_is_only_being_elected_does_not_end_the_process(
    own_broker: JvmBroker,
) -> None:
    """The first that a new broker is asked; an admin client that asks for commits may crash."""
    kafka = Kafka(own_broker.bootstrap, "own")
    topic = kafka.create_topic(unique("first"), 1)
    watched = watch(kafka, topic, topic)

    def looks() -> Seen | None:
        try:
            return watched.look()
        except LookUpError:
            return None

    seen = wait_until(looks, SECONDS)
    assert seen is not None
    assert seen.look.commits == {}
    watched.let_go()
