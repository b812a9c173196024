"""A partition whose leader is down, beside others: on two real brokers."""

from __future__ import annotations

import time
import uuid
from contextlib import closing

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from tests.contract.member import Member
from tests.contract.real_kafka import QUICK
from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.process import wait_until


@pytest.mark.promise("I8", "starts")
def test_one_partition_without_a_leader_does_not_stop_the_others_and_begins_when_it_has_one() -> (
    None
):
    """I8: no partition has a commit, so each beginning must be asked of its leader."""
    cluster = str(uuid.uuid4())
    one_port, two_port, controller = free_port(), free_port(), f"127.0.0.1:{free_port()}"
    shared = {"controller.quorum.voters": f"1@{controller}"}
    first = shared | {"listeners": f"PLAINTEXT://127.0.0.1:{one_port},CONTROLLER://{controller}"}
    second = shared | {
        "node.id": "2",
        "process.roles": "broker",
        "listeners": f"PLAINTEXT://127.0.0.1:{two_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    with (
        closing(JvmBroker(first, cluster=cluster)) as one,
        closing(JvmBroker(second, cluster=cluster)) as two,
    ):
        one.port, two.port = one_port, two_port
        one.start()
        two.start()
        admin = AdminClient({"bootstrap.servers": one.bootstrap, "log_level": 0})
        wait_until(lambda: len(admin.list_topics(timeout=5).brokers) == 2, 30)
        topics = [
            NewTopic("events", 3, replica_assignment=[[1], [2], [1]]),
            NewTopic(
                "__consumer_offsets",
                4,
                replica_assignment=[[1]] * 4,
                config={"cleanup.policy": "compact"},
            ),
        ]
        for created in admin.create_topics(topics).values():
            created.result(10)
        producer = Producer({"bootstrap.servers": one.bootstrap, "log_level": 0})
        for number in range(3):
            producer.produce("events", b"%d" % number, partition=number)
        assert producer.flush(20) == 0
        two.kill()
        member = Member()
        source = Source(
            member, ReadFrom(one.bootstrap, "group", ["events"], "earliest", "stop", dict(QUICK))
        )
        member.source = source
        source.subscribe()
        try:
            longest = 0.0

            def read(*numbers: int) -> bool:
                nonlocal longest
                began = time.monotonic()
                member.step()
                longest = max(longest, time.monotonic() - began)
                return member.values.keys() == set(numbers)

            wait_until(lambda: read(0, 2), 40)
            assert list(source.awaiting) == [("events", 1)]
            assert longest < 12, "I8: the callback of the assignment waits for what nobody answers"
            two.start()
            wait_until(lambda: read(0, 1, 2), 60)
            assert member.owned[1].started_at == 0
            assert not source.awaiting
        finally:
            member.polling = True
            source.close(10)
