"""The site on a real broker; kafka-python is the witness of what is committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.loop.ports import RecordSource as SourcePort
from tests.contract.member import PATIENCE_SECONDS, Member
from tests.support.kafka_witness import Kafka, unique

#: So that a rebalance does not take seconds: members hear of it with a heartbeat.
QUICK = {"heartbeat.interval.ms": "100", "session.timeout.ms": "6000", "fetch.wait.max.ms": "50"}
TURN_SECONDS = 0.003


class RealSite:
    """One topic and group on a broker; all members turn on the test's thread."""

    def __init__(self, kafka: Kafka, partitions: int) -> None:
        self._kafka = kafka
        self.partitions = partitions
        self.topic = kafka.create_topic(unique("contract"), partitions)
        self.group = unique("contract")
        self._members: list[Member] = []
        self._busy: Member | None = None  # the member in whose callback the test is

    def close(self) -> None:
        """Let all members leave."""
        for member in self._members:
            if member.failed is None and not member.stopping:
                member.while_revoking = lambda: None
                member.source.close(5.0)

    def publish(self, number: int, *values: bytes) -> None:
        self._kafka.produce(self.topic, [(None, value, number) for value in values])

    def leave_gap(self, number: int) -> None:
        self._kafka.produce_transaction(self.topic, [(None, b"aborted", number)], abort=True)

    def end(self, number: int) -> int:
        return self._kafka.end_offsets(self.topic)[number]

    def commit_before(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        config = {
            "bootstrap.servers": self._kafka.bootstrap,
            "group.id": self.group,
            "log_level": 0,
        }
        with closing(Consumer(config)) as consumer:
            wanted = [
                TopicPartition(self.topic, number, *commit) for number, commit in offsets.items()
            ]
            consumer.commit(offsets=wanted, asynchronous=False)

    def committed(self) -> dict[int, tuple[int, str]]:
        found = self._kafka.commits(self.group, self.topic)
        return {
            number: (commit.offset, commit.metadata.rstrip("\0"))
            for number, commit in found.items()
        }

    def trim(self, number: int, begin: int) -> None:
        self._kafka.delete_records(self.topic, {number: begin})

    def delete_topic(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._kafka.bootstrap})
        admin.delete_topics([self.topic])[self.topic].result()
        self.turn_until(
            lambda: self.topic not in admin.list_topics(timeout=5.0).topics, "the topic is gone"
        )

    def make_anew(self) -> None:
        self._kafka.create_topic(self.topic, self.partitions)

    def member(
        self,
        *,
        start_from: str = "earliest",
        instance: str = "",
        max_poll: float = 300.0,
        protocol: str = "classic",
    ) -> Member:
        member = Member()
        properties = QUICK | {"max.poll.interval.ms": str(int(max_poll * 1000))}
        if protocol == "consumer":  # the brokers say how long a session is
            properties = {k: v for k, v in properties.items() if k.startswith(("fetch", "max"))}
        reading = ReadFrom(
            self._kafka.bootstrap, self.group, [self.topic], start_from, "stop", properties
        )
        member.source = Source(member, reading, instance_id=instance, group_protocol=protocol)
        member.source.subscribe()
        self._members.append(member)
        return member

    def do(self, member: Member, act: Callable[[SourcePort], object]) -> None:
        act(member.source)

    def members(self) -> list[int]:
        return sorted(self._kafka.members(self.group))

    def throw_out(self, member: Member) -> None:
        assert isinstance(member.source, Source)
        self._kafka.remove_member(self.group, member.source._consumer.memberid())

    def pass_inside(self, seconds: float) -> None:
        self._turn(seconds, lambda: False)

    def turn_until(self, condition: Callable[[], bool], what: str) -> None:
        assert self._turn(PATIENCE_SECONDS, condition), f"not within {PATIENCE_SECONDS:g} s: {what}"

    def turn_for(self, seconds: float) -> None:
        self._turn(seconds, lambda: False)

    def _turn(self, seconds: float, condition: Callable[[], bool]) -> bool:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                return False
            for member in self._members:
                if not member.polling:  # else this is inside its callback
                    member.step()
            time.sleep(TURN_SECONDS)
        return True
