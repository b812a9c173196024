"""Ask a client for the offsets of many partitions at once: committed ones, ends, those of times."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from consumer.adapters.kafka.client import PartitionId


class LookUpError(Exception):
    """A look-up was not answered; its message says why."""


def committed_of(
    client: Consumer, keys: Sequence[PartitionId], seconds: float, problems: dict[PartitionId, str]
) -> dict[PartitionId, tuple[int, str]]:
    """Return offset and metadata of those that have a commit; raise LookUpError."""
    if not keys:
        return {}
    try:
        found = client.committed([TopicPartition(*key) for key in keys], timeout=seconds)
    except KafkaException as error:
        raise LookUpError(f"the committed offsets: {error.args[0].str()}") from None
    commits: dict[PartitionId, tuple[int, str]] = {}
    for tp in found:
        if tp.error is not None:
            problems[(tp.topic, tp.partition)] = f"the committed offset: {tp.error.str()}"
        elif tp.offset >= 0:
            # librdkafka sends the end of the text along.
            commits[(tp.topic, tp.partition)] = (tp.offset, (tp.metadata or "").rstrip("\0"))
    return commits


def offsets_of(
    client: Consumer,
    wanted: dict[PartitionId, int],
    seconds: float,
    problems: dict[PartitionId, str],
) -> dict[PartitionId, int]:
    """Return where partitions begin or end now, or have records not older than a time."""
    by_time = {key: at for key, at in wanted.items() if at >= 0}
    ask = {key: OFFSET_END if key in by_time else at for key, at in wanted.items()}
    # The end first: what is published until the second look-up is not older than the time.
    offsets = _times(client, ask, seconds, problems)
    found = _times(
        client, {key: at for key, at in by_time.items() if key not in problems}, seconds, problems
    )
    return offsets | {key: offset for key, offset in found.items() if offset >= 0}


def _times(
    client: Consumer,
    wanted: dict[PartitionId, int],
    seconds: float,
    problems: dict[PartitionId, str],
) -> dict[PartitionId, int]:
    if not wanted:
        return {}
    # The protocol's list-offsets request takes -2 (begin) and -1 (end) where a timestamp would
    # stand.
    queries = [TopicPartition(*key, at) for key, at in wanted.items()]
    try:
        found = client.offsets_for_times(queries, timeout=seconds)
    except KafkaException as error:
        problems.update(dict.fromkeys(wanted, error.args[0].str()))
        return {}
    offsets: dict[PartitionId, int] = {}
    for tp in found:
        key = (tp.topic, tp.partition)
        if tp.error is not None:
            problems[key] = tp.error.str()
        elif tp.offset < 0 and wanted[key] < 0:  # no answer, though no error either
            problems[key] = "no offset is told"
        else:
            offsets[key] = tp.offset
    return offsets
