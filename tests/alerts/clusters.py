"""Kafka that a case may break: brokers of its own, in the place of the shared one."""

from __future__ import annotations

import uuid

from confluent_kafka.admin import AdminClient, NewTopic

from tests.alerts.site import Site
from tests.support.job import Job
from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.kafka_witness import Kafka
from tests.support.process import wait_until


def broker_that_can_be_frozen(site: Site) -> JvmBroker:
    """Return a broker for this site alone, with its topics."""
    broker = JvmBroker()
    site.stack.callback(broker.close)
    broker.start()
    site.kafka = Kafka(broker.bootstrap, "own")
    site.job = Job(site.kafka, site.sandbox, site.job.folder, 2)
    return broker


def two_brokers(site: Site) -> JvmBroker:
    """Give the site two brokers; return the one that leads the second partition only."""
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
    one, two = JvmBroker(first, cluster=cluster), JvmBroker(second, cluster=cluster)
    for broker, port in ((one, one_port), (two, two_port)):
        site.stack.callback(broker.close)
        broker.port = port
        broker.start()
    admin = AdminClient({"bootstrap.servers": one.bootstrap, "log_level": 0})
    wait_until(lambda: len(admin.list_topics(timeout=5).brokers) == 2, 60)
    events = "events.leaderless"
    offsets = {"cleanup.policy": "compact"}
    topics = [
        NewTopic(events, 2, replica_assignment=[[1], [2]]),
        NewTopic("letters.leaderless", 1, replica_assignment=[[1]]),
        NewTopic("__consumer_offsets", 4, replica_assignment=[[1]] * 4, config=offsets),
    ]
    for created in admin.create_topics(topics).values():
        created.result(20)
    site.kafka = Kafka(one.bootstrap, "own")
    site.job.kafka = site.kafka
    site.job.topic = site.job.group = events
    site.job.letters = "letters.leaderless"
    return two
