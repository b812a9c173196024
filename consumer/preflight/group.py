"""Check the group: its members, and that what it has still to read is still there."""

from __future__ import annotations

from confluent_kafka import ConsumerGroupType, KafkaError, TopicPartition
from confluent_kafka.admin import ConsumerGroupDescription, OffsetSpec, TopicDescription

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.property_rules import COOPERATIVE
from consumer.config.settings import KafkaSettings
from consumer.preflight.cluster import Cluster, plural
from consumer.preflight.result import Check, failed, ok, skipped, warning

NAME = "group"

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the library's own lack
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


def describe(cluster: Cluster, group_id: str) -> ConsumerGroupDescription | KafkaError:
    """Return the group as the broker knows it; one never used is dead, or an error."""
    results = cluster.call(
        lambda **wait: cluster.admin.describe_consumer_groups(
            [group_id], include_authorized_operations=True, **wait
        )
    )
    found: ConsumerGroupDescription | KafkaError = results[group_id]
    return found


def check(
    cluster: Cluster,
    settings: KafkaSettings,
    topics: dict[str, TopicDescription],
    group: ConsumerGroupDescription | KafkaError,
) -> Check:
    """Check the group's members, and its committed offsets against what the topics still hold."""
    name = settings.group_id
    members = 0 if isinstance(group, KafkaError) else len(group.members)
    if not isinstance(group, KafkaError) and members and group.type == ConsumerGroupType.CLASSIC:
        assignor = group.partition_assignor
        # The broker refuses a member that shares partitions in another way than the others.
        own = settings.client.get("partition.assignment.strategy", COOPERATIVE).split(",")
        if settings.group_protocol == "classic" and assignor not in ("", *own):
            return failed(
                NAME,
                f"{name}: another program is in this group (its assignor is {assignor}); "
                "both cannot be",
                "give this consumer a kafka.group_id of its own, or stop the other program",
            )
    keys = [
        TopicPartition(topic, p.id) for topic, found in topics.items() for p in found.partitions
    ]
    committed = _committed(cluster, name, keys)
    if isinstance(committed, KafkaError):
        if committed.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return skipped([NAME], "the right to use the group")[0]
        text = f"{name}: its committed offsets cannot be read ({committed.str()})"
        return failed(
            NAME, text, "look whether every broker is up: one of them keeps the group's offsets"
        )
    led = [
        TopicPartition(topic, p.id)
        for topic, found in topics.items()
        for p in found.partitions
        if cluster.is_led(p)
    ]
    begins, ends = _offsets(cluster, led, EARLIEST), _offsets(cluster, led, LATEST)
    gone = [key for key, offset in committed.items() if offset < begins.get(key, offset)]
    beyond = [key for key, offset in committed.items() if offset > ends.get(key, offset)]
    if gone or beyond:
        return _out_of_range(settings, committed, begins, ends, gone, beyond)
    who = plural(members, "member") if members else "nobody in it now"
    if not committed:
        begin = {"earliest": "the oldest event there is", "latest": "the next event that comes"}[
            settings.start_from
        ]
        return ok(NAME, f"{name}: not used yet, begins with {begin}")
    left = sum(max(0, ends.get(key, offset) - offset) for key, offset in committed.items())
    return ok(NAME, f"{name}: {who}, {plural(left, 'offset')} behind the end")


def _out_of_range(
    settings: KafkaSettings,
    committed: dict[PartitionId, int],
    begins: dict[PartitionId, int],
    ends: dict[PartitionId, int],
    gone: list[PartitionId],
    beyond: list[PartitionId],
) -> Check:
    key = (gone or beyond)[0]
    where = f"{settings.group_id}: committed {committed[key]:,} of {key[0]} partition {key[1]}"
    also = f" (and {len(gone) + len(beyond) - 1} more)" if len(gone) + len(beyond) > 1 else ""
    if gone:
        lost = begins[key] - committed[key]
        text = (
            f"{where}{also}, which now begins at {begins[key]:,}: "
            f"{lost:,} offsets were deleted unread"
        )
    else:
        text = f"{where}{also}, which ends at {ends[key]:,}: was the topic deleted and made again?"
    if settings.on_out_of_range == "stop":
        return failed(
            NAME, text, 'set kafka.on_out_of_range = "earliest" to go on with what is there'
        )
    return warning(
        NAME, text, f'kafka.on_out_of_range = "{settings.on_out_of_range}" goes on from there'
    )


def _committed(
    cluster: Cluster, group_id: str, keys: list[TopicPartition]
) -> dict[PartitionId, int] | KafkaError:
    found = cluster.committed(group_id, keys) if keys else []
    if isinstance(found, KafkaError):
        return {} if found.code() == KafkaError.GROUP_ID_NOT_FOUND else found
    return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}


def _offsets(
    cluster: Cluster, keys: list[TopicPartition], spec: OffsetSpec
) -> dict[PartitionId, int]:
    if not keys:
        return {}
    results = cluster.call(
        lambda **wait: cluster.admin.list_offsets(dict.fromkeys(keys, spec), **wait)
    )
    return {
        (tp.topic, tp.partition): result.offset
        for tp, result in results.items()
        if not isinstance(result, KafkaError)
    }
