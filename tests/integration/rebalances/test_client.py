"""The client in this process, and what it tells of a rebalance."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, Message, TopicPartition

from consumer.adapters.kafka.group_commits import COMMIT_WAIT_SECONDS
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from tests.integration.rebalances.group import PARTITIONS, Group
from tests.support.process import wait_until


class Told:
    """The calls of a source, kept."""

    stopping = leaves_at_once = False

    def __init__(self) -> None:
        self.owned: list[Partition] = []
        self.revoked: list[bool] = []
        self.ends: list[str | None] = []
        self.batches: list[tuple[Partition, list[Message]]] = []  #: what came with the assignment

    def on_assigned(self, partitions: list[Partition]) -> None:
        self.owned += partitions

    def on_begun(self, partitions: list[Partition]) -> None:
        self.owned += partitions

    def on_counted(self, counts: Mapping[str, int]) -> None: ...
    def on_joined(self) -> None: ...
    def on_waiting(self) -> None: ...

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        self.owned = [partition for partition in self.owned if partition not in partitions]
        self.revoked.append(lost)

    def on_committed(
        self, commits: list[Commit], error: str | None, *, too_large: bool = False
    ) -> None:
        self.ends.append(error)


def source_of(
    group: Group, told: Told, properties: dict[str, str], on_out_of_range: str = "stop"
) -> Source:
    """Yield a member in this process."""
    reading = ReadFrom(
        group.kafka.bootstrap, group.group, [group.topic], "earliest", on_out_of_range, properties
    )
    source = Source(told, reading)
    group.stack.callback(source.close, 10.0)
    source.subscribe()

    def assigned() -> bool:
        # the poll that tells of the assignment may give a record, too
        told.batches += source.poll(1)
        return len(told.owned) == PARTITIONS

    wait_until(assigned, 30)
    return source


EAGER = {
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "500",
    "partition.assignment.strategy": "range",
}


def test_a_revocation_of_what_was_lost_meanwhile_is_told_as_a_loss(group: Group) -> None:
    """The client queues a revocation.

    When it leaves the group before that is served, it does not say so.
    """
    told = Told()
    source = source_of(group, told, {**EAGER, "max.poll.interval.ms": "7000"})
    other = Source(
        Told(),
        ReadFrom(group.kafka.bootstrap, group.group, [group.topic], "earliest", "stop", EAGER),
    )
    group.stack.callback(other.close, 10.0)
    other.subscribe()
    begun = time.monotonic()
    # Some heartbeats: one of them tells of the rebalance, and that queues the revocation.
    wait_until(lambda: (other.poll(1), time.monotonic() - begun > 3)[1], 30)
    wait_until(lambda: (other.poll(1), source._consumer.memberid() is None)[1], 30)
    wait_until(lambda: (source.poll(1), told.revoked)[1], 30)
    assert told.revoked == [True]


def test_a_commit_that_is_refused_is_not_waited_for(group: Group) -> None:
    told = Told()
    source = source_of(group, told, {})
    took = time.monotonic()
    assert not source.commit_and_wait([Commit(told.owned[0], 0, "x" * 5000)])
    assert time.monotonic() - took < COMMIT_WAIT_SECONDS / 2
    assert source.commit_and_wait([Commit(told.owned[0], 0, "x")])


def test_in_an_eager_group_too_reading_goes_on_behind_a_gap_that_retention_made(
    group: Group,
) -> None:
    for partition in (0, 1):
        group.produce(
            [{"extended_id": f"P{partition}-{n}", "step": str(n)} for n in range(20)],
            partition=partition,
        )
    group.kafka.delete_records(group.topic, {0: 15})
    consumer = Consumer({"bootstrap.servers": group.kafka.bootstrap, "group.id": group.group})
    consumer.commit(offsets=[TopicPartition(group.topic, 0, 3)], asynchronous=False)
    consumer.close()
    told = Told()
    source = source_of(group, told, EAGER, "earliest")
    seen: dict[int, list[int]] = {0: [], 1: []}

    def read() -> bool:
        early, told.batches = told.batches, []
        for partition, messages in early + source.poll(3):
            seen[partition.number] += [
                offset for message in messages if (offset := message.offset()) is not None
            ]
            partition.position = seen[partition.number][-1] + 1
        return [len(offsets) for offsets in seen.values()] == [5, 20]

    wait_until(read, 30)
    assert seen == {0: list(range(15, 20)), 1: list(range(20))}
