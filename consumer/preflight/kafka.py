"""The checks of Kafka, in their order: each builds on those before it."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.config.settings import Settings
from consumer.preflight import group, retention, rights
from consumer.preflight.cluster import Cluster
from consumer.preflight.result import Check, State, skipped
from consumer.preflight.topics import EVENTS, LETTERS, Topics


def checks(settings: Settings, cluster: Cluster, *, create: bool) -> Iterator[Check]:
    """Broker, topics, rights, the group's position, retention; ``create``: make missing topics."""
    broker = cluster.connect()
    yield broker
    if broker.state == State.FAILED:
        yield from skipped((EVENTS, LETTERS, rights.NAME, group.NAME, retention.NAME), "the broker")
        return
    kafka = settings.kafka
    topics = Topics(
        cluster, kafka.topics, settings.dead_letter.topic, settings.receipts.topic, create=create
    )
    yield from topics.check_events()
    yield topics.check_letters()
    yield from topics.check_receipts()
    described = group.describe(cluster, kafka.group_id)
    yield from rights.check(cluster, topics, kafka.group_id, described)
    if topics.events:
        yield group.check(cluster, kafka, topics.events, described)
        yield from retention.check(cluster, topics.events, topics.letters, kafka.start_from)
    else:
        yield from skipped((group.NAME, retention.NAME), "the topics")
