"""Kafka as tests use it: make topics, produce, and read back with an independent client.

Producing goes through confluent-kafka, fast and idempotent. Everything read back goes through
kafka-python, so that a mistake in how the product uses its own client cannot hide itself.
"""

from __future__ import annotations

import secrets
import socket
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Producer
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

with warnings.catch_warnings():
    # Importing it reads its protocol's definitions with functions that Python 3.11 and 3.12 warn
    # of.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
    from kafka.admin import KafkaAdminClient, MemberToRemove
    from kafka.errors import NoError
    from kafka.net.inet import KafkaNetSocket

__all__ = ["Kafka", "KafkaProducer", "ToSend", "Witnessed", "unique"]

Headers = list[tuple[str, bytes]]

_connect = KafkaNetSocket.sock_connect
_opened: weakref.WeakKeyDictionary[Any, list[socket.socket]] = weakref.WeakKeyDictionary()


async def _connect_or_close(
    self: KafkaNetSocket, net: Any, sock: socket.socket, *rest: Any, **more: Any
) -> Any:
    """Close the socket if connecting is refused, or else with its client.

    Kafka-python 3.0 forgets one if connecting is refused, or if a ``close`` comes between the
    connection and what is done with it.
    """
    if net not in _opened:
        sockets: list[socket.socket] = []
        _opened[net] = sockets
        weakref.finalize(net, _close_all, sockets)
    _opened[net].append(sock)
    try:
        return await _connect(self, net, sock, *rest, **more)
    except BaseException:
        sock.close()
        raise


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


KafkaNetSocket.sock_connect = _connect_or_close

READ_SECONDS = 120.0
ANSWER_SECONDS = 30.0


class ToSend(NamedTuple):
    """A record to produce; without a partition, by the hash of its key as in Java."""

    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers | None = None


class Witnessed(NamedTuple):
    """A record as kafka-python read it; ``timestamp`` in milliseconds since the epoch."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


def unique(name: str) -> str:
    """Return ``name`` with a random ending, for a topic or group that only one test uses."""
    return f"{name}.{secrets.token_hex(4)}"


class Kafka:
    """A running Kafka at ``bootstrap`` (host:port), as tests use it.

    ``source`` says what it is, for the report; ``notice`` what a reader of the results must know
    about it.
    """

    #: Kafka's version for kafka-python; None: it asks the broker.
    api_version: tuple[int, ...] | None = None

    def __init__(self, bootstrap: str, source: str, notice: str = "") -> None:
        self.bootstrap = bootstrap
        self.source = source
        self.notice = notice
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> str:
        """Create a topic with one replica, wait until each partition has a leader, and return its
        name.
        """
        self._request_topic(name, partitions, config or {})
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._has_leaders(name, partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"topic {name} has no leader for each of {partitions} partitions"
                )
            time.sleep(0.01)
        return name

    def configure_topic(self, name: str, config: Mapping[str, str]) -> None:
        """Set properties of a topic."""
        wanted = ConfigResource(
            ConfigResource.Type.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(*pair, incremental_operation=AlterConfigOpType.SET)
                for pair in config.items()
            ],
        )
        for answer in self._admin.incremental_alter_configs([wanted]).values():
            answer.result(ANSWER_SECONDS)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Remove each partition's records below an offset, as retention would."""
        wanted = [
            ConfluentPartition(topic, partition, offset) for partition, offset in before.items()
        ]
        for answer in self._admin.delete_records(wanted).values():
            answer.result(ANSWER_SECONDS)

    def produce(self, topic: str, records: Iterable[ToSend | tuple[Any, ...]]) -> None:
        """Produce (key, value, partition or None, headers or None) in order, until all are
        acknowledged.
        """
        _produce(self._producer(), topic, records)

    def produce_transaction(
        self, topic: str, records: Iterable[ToSend | tuple[Any, ...]], *, abort: bool = False
    ) -> None:
        """Produce in one transaction, then commit or ``abort`` it.

        Either way each partition gets a control record that no consumer sees. After an abort no
        record is seen by a consumer that reads committed ones only: a gap at the partition's end.
        """
        producer = self._producer({"transactional.id": unique("tests")})
        producer.init_transactions(ANSWER_SECONDS)
        producer.begin_transaction()
        # flushes: an abort would purge what is still queued and leave no gap
        _produce(producer, topic, records)
        (producer.abort_transaction if abort else producer.commit_transaction)(ANSWER_SECONDS)

    def read_all(self, topic: str, *, committed_only: bool = True) -> list[Witnessed]:
        """Return every record of the topic up to its present end, in order within each
        partition.
        """
        with closing(self._consumer(committed_only=committed_only)) as consumer:
            partitions = _partitions(consumer, topic)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Witnessed] = []
            deadline = time.monotonic() + READ_SECONDS
            # By position, not by the last record: aborted transactions and compaction leave gaps at
            # the end.
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic} was not read to its end in {READ_SECONDS:.0f} s")
                for partition, records in consumer.poll(timeout_ms=100, max_records=10_000).items():
                    found += [
                        _witnessed(record) for record in records if record.offset < ends[partition]
                    ]
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the offset after the last record of each partition, control records included."""
        with closing(self._consumer(committed_only=False)) as consumer:
            ends = consumer.end_offsets(_partitions(consumer, topic))
            return {partition.partition: end for partition, end in ends.items()}

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's committed offset of each partition that has one."""
        return {
            partition: commit.offset for partition, commit in self.commits(group, topic).items()
        }

    def commits(self, group: str, topic: str) -> dict[int, OffsetAndMetadata]:
        """Return the group's commits, ``offset`` and ``metadata``, of each partition that has one.

        The metadata is shown as the broker keeps it: what confluent-kafka commits ends in a NUL.
        """
        with closing(self._consumer(committed_only=False, group=group)) as consumer:
            found = {
                p.partition: consumer.committed(p, metadata=True)
                for p in _partitions(consumer, topic)
            }
        return {partition: commit for partition, commit in found.items() if commit is not None}

    def members(self, group: str) -> list[int]:
        """Return how many partitions each member of a group has, as the coordinator has said."""
        (found,) = self._admin.describe_consumer_groups([group]).values()
        members = found.result(ANSWER_SECONDS).members
        return [
            len(member.assignment.topic_partitions) if member.assignment else 0
            for member in members
        ]

    def remove_member(self, group: str, member: str) -> None:
        """Put a member out of its group, as when its session has expired."""
        with closing(
            KafkaAdminClient(bootstrap_servers=self.bootstrap, api_version=self.api_version)
        ) as admin:
            for answer in admin.remove_group_members(
                group, [MemberToRemove(member_id=member)]
            ).values():
                assert answer is NoError, f"{member} stays in {group}: {answer}"

    def _request_topic(self, name: str, partitions: int, config: Mapping[str, str]) -> None:
        new = NewTopic(name, partitions, replication_factor=1, config=dict(config))
        self._admin.create_topics([new])[name].result(ANSWER_SECONDS)

    def _producer(self, properties: Mapping[str, str] | None = None) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "log_level": 0,
            }
            | dict(properties or {})
        )

    def _consumer(self, *, committed_only: bool, group: str | None = None) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            api_version=self.api_version,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if committed_only else "read_uncommitted",
        )

    def _has_leaders(self, topic: str, partitions: int) -> bool:
        # All topics: asking for one may create it, or let the client remember that it is not there.
        found = self._admin.list_topics(timeout=ANSWER_SECONDS).topics.get(topic)
        return (
            found is not None
            and len(found.partitions) == partitions
            and all(partition.leader >= 0 for partition in found.partitions.values())
        )


def _produce(producer: Any, topic: str, records: Iterable[ToSend | tuple[Any, ...]]) -> None:
    """Produce all and wait for every acknowledgement."""
    failures: list[KafkaError] = []

    def acknowledged(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    for record in records:
        key, value, partition, headers = ToSend(*record)
        where = {} if partition is None else {"partition": partition}
        while True:
            try:
                producer.produce(
                    topic, value, key, on_delivery=acknowledged, headers=headers, **where
                )
                break
            except BufferError:  # the local queue is full: make room
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(ANSWER_SECONDS)
    if left or failures:
        raise AssertionError(
            f"{left} records unacknowledged, {len(failures)} failed: {failures[:1]}"
        )


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    found = consumer.partitions_for_topic(topic)
    if not found:
        raise LookupError(f"there is no topic {topic}")
    return [TopicPartition(topic, partition) for partition in sorted(found)]


def _witnessed(record: Any) -> Witnessed:
    return Witnessed(
        record.partition,
        record.offset,
        record.key,
        record.value,
        list(record.headers),
        record.timestamp,
    )
