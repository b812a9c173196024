"""Run the checks of Kafka in their order: each builds on those before it."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.config.settings import Settings
from consumer.preflight import group, retention, rights
from consumer.preflight.cluster import Cluster
from consumer.preflight.result import Check, CheckState, skipped
from consumer.preflight.topics import DEAD_LETTERS, EVENTS, TopicChecks


def checks(settings: Settings, cluster: Cluster, *, create: bool) -> Iterator[Check]:
    """Yield the checks of broker, topics, rights, the group's position and retention.

    ``create``: make missing topics.
    """
    broker = cluster.connect()
    yield broker
    if broker.state == CheckState.FAILED:
        yield from skipped(
            (EVENTS, DEAD_LETTERS, rights.NAME, group.NAME, retention.NAME), "the broker"
        )
        return
    kafka = settings.kafka
    topics = TopicChecks(
        cluster, kafka.topics, settings.dead_letter.topic, settings.receipts.topic, create=create
    )
    yield from topics.check_events()
    yield topics.check_dead_letters()
    yield from topics.check_receipts()
    described = group.describe(cluster, kafka.group_id)
    yield from rights.check(cluster, topics, kafka.group_id, described)
    if topics.events:
        yield group.check(cluster, kafka, topics.events, described)
        yield from retention.check(cluster, topics.events, topics.dead_letters, kafka.start_from)
    else:
        yield from skipped((group.NAME, retention.NAME), "the topics")
