"""Check that this user may read the events, write dead letters and receipts, and use the group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation, ConsumerGroupDescription

from consumer.preflight.cluster import Cluster
from consumer.preflight.result import Check, failed, ok, unknown
from consumer.preflight.topics import TopicChecks, allow

NAME = "rights"


def check(
    cluster: Cluster,
    topics: TopicChecks,
    group_id: str,
    group: ConsumerGroupDescription | KafkaError,
) -> list[Check]:
    """Return a check for each right that is missing, or one if there is none."""
    problems: list[Check] = []
    known = True
    allowed: list[str] = []
    written = [topic for topic in (topics.dead_letters, topics.receipts) if topic is not None]
    for word, operation, found in (
        ("read", AclOperation.READ, list(topics.events.values())),
        ("write", AclOperation.WRITE, written),
    ):
        for topic in found:
            rights = topic.authorized_operations
            known = known and rights is not None
            if rights is not None and operation not in rights:
                advice = allow(cluster, word.title(), f"--topic {topic.name}")
                problems.append(failed(NAME, f"this user may not {word} {topic.name}", advice))
        if found:
            allowed.append(f"{word} {_first([topic.name for topic in found])}")
    may = _may_use(group)
    known = known and may is not None
    if may is False:
        advice = allow(cluster, "Read", f"--group {group_id}")
        problems.append(failed(NAME, f"this user may not use the group {group_id}", advice))
    if problems:
        return problems
    if not known:
        return [unknown(NAME, "this broker does not tell which rights the user has")]
    return [ok(NAME, f"{', '.join([*allowed, f'use the group {group_id}'])}: allowed")]


def _may_use(group: Any) -> bool | None:
    if isinstance(group, KafkaError):
        return False if group.code() == KafkaError.GROUP_AUTHORIZATION_FAILED else None
    rights = group.authorized_operations
    return None if rights is None else AclOperation.READ in rights


def _first(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
