"""Read topics up to their present end, and a group's commits of them, as a member of no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource

from consumer.adapters.kafka.client import (
    FETCH_LEAST,
    FETCH_SIZES,
    PartitionId,
    ThrottledLog,
    client_config,
    create_client,
)
from consumer.adapters.kafka.ends import CALL_SECONDS, no_answer, partitions_of
from consumer.core.offsets.settled_map import NOTHING, MapError, SettledMap, decode
from consumer.errors import UserError

Answer = TypeVar("Answer")

#: The broker must be there, and give records on, within this time.
PATIENCE_SECONDS = 30.0
BATCH = 100
#: The client reads ahead of who takes the records: a batch or two, as headers count for nothing.
READ_AHEAD = {"queued.max.messages.kbytes": "1024"}


class Settled:
    """The settled records of a partition: all below an offset, and more by the settled map."""

    def __init__(self, committed: int | None, beyond: SettledMap = NOTHING) -> None:
        self.committed = committed  #: None: the group has no committed offset
        self._beyond = beyond

    def __contains__(self, offset: int) -> bool:
        return self.committed is not None and (offset < self.committed or offset in self._beyond)


class Scan:
    """Looks at topics without leaving a trace; raises UserError when the broker is not there."""

    def __init__(
        self, bootstrap_servers: str, group_id: str, properties: Mapping[str, str]
    ) -> None:
        """``group_id``: the group whose commits are asked for; it is never joined."""
        self._bootstrap = bootstrap_servers
        self._client = client_config(bootstrap_servers, properties, ThrottledLog().error)
        config = client_config(
            bootstrap_servers,
            FETCH_SIZES | READ_AHEAD | dict(properties),
            ThrottledLog().error,
            **{
                "message.max.bytes": FETCH_LEAST,
                "group.id": group_id,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
            },
        )
        self._consumer = create_client(Consumer, config)

    def partitions(self, topics: Sequence[str], *, missing_ok: bool = False) -> list[PartitionId]:
        """Return the partitions of those topics; raise UserError when one is not there.

        ``missing_ok``: unless that is no matter.
        """
        keys, problem = self._retry_until_answered(lambda: partitions_of(self._consumer, topics))
        if problem and not missing_ok:
            raise UserError(problem)
        return keys

    def settled(self, keys: Sequence[PartitionId]) -> dict[PartitionId, Settled]:
        """Return what the group has settled of each partition."""
        asked = [TopicPartition(*key) for key in keys]
        found = self._retry_until_answered(
            lambda: self._consumer.committed(asked, timeout=CALL_SECONDS)
        )
        return {(tp.topic, tp.partition): _settled(tp) for tp in found}

    def bounds(self, keys: Sequence[PartitionId]) -> dict[PartitionId, tuple[int, int]]:
        """Return of each partition the first offset that its log still holds, and its end."""
        return {
            key: self._retry_until_answered(
                lambda key=key: self._consumer.get_watermark_offsets(  # type: ignore[misc]
                    TopicPartition(*key), timeout=CALL_SECONDS, cached=False
                )
            )
            for key in keys
        }

    def offsets_since(self, keys: Sequence[PartitionId], since: float) -> dict[PartitionId, int]:
        """Return of each partition the first offset with a time (Unix seconds) not before that.

        A partition without such a record is left out.
        """
        asked = [TopicPartition(*key, max(0, int(since * 1000))) for key in keys]
        found = self._retry_until_answered(
            lambda: self._consumer.offsets_for_times(asked, timeout=CALL_SECONDS) if asked else []
        )
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def compacted(self, topics: Collection[str]) -> set[str]:
        """Return those topics that keep the latest record of a key only, as far as it is told."""
        asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        if not asked:
            return set()
        admin = create_client(AdminClient, self._client)
        answers = admin.describe_configs(asked, request_timeout=CALL_SECONDS)
        found = set()
        for resource, answer in answers.items():
            with suppress(KafkaException):  # this user may not see it, or the broker is away
                policy = answer.result()["cleanup.policy"].value or ""
                if "compact" in policy:
                    found.add(resource.name)
        return found

    def records(self, keys: Sequence[PartitionId], since: float | None) -> Iterator[Message]:
        """Yield their records from a time on, up to the end as it is now.

        ``since``: in Unix seconds; None: from the beginning.
        """
        bounds = self.bounds(keys)
        starts = {key: low for key, (low, _) in bounds.items()}
        if since is not None:
            starts = self.offsets_since(keys, since)
        return self.between(starts, {key: high for key, (_, high) in bounds.items()})

    def between(
        self, starts: Mapping[PartitionId, int], ends: Mapping[PartitionId, int]
    ) -> Iterator[Message]:
        """Yield the records of each partition of ``starts``, from there up to its end, not itself.

        In order within a partition. Raise UserError when an offset is not there, or not answered.
        """
        left = {key: ends[key] for key, start in starts.items() if start < ends[key]}
        self._consumer.assign([TopicPartition(*key, starts[key]) for key in left])
        # What is to come at most: who asks for more would wait for it in vain.
        expected = sum(end - starts[key] for key, end in left.items())
        until = time.monotonic() + PATIENCE_SECONDS
        while left:
            for message in self._consumer.consume(max(1, min(BATCH, expected)), 0.2):
                error = message.error()
                key = (message.topic() or "", message.partition() or 0)
                if error is None:
                    until = time.monotonic() + PATIENCE_SECONDS
                    expected -= 1
                    offset = message.offset() or 0
                    if key in left and offset < left[key]:
                        yield message
                    if key in left and offset + 1 >= left[key]:
                        self._done(key, left)
                elif error.code() == KafkaError._PARTITION_EOF:
                    # The end may be that of records which are not there: of a transaction.
                    self._done(key, left)
                elif error.code() in (
                    KafkaError._AUTO_OFFSET_RESET,
                    KafkaError.TOPIC_AUTHORIZATION_FAILED,
                ):
                    raise UserError(
                        f"{message.topic()}[{message.partition()}] cannot be read: {error.str()}"
                    )
            if time.monotonic() > until:
                raise UserError(
                    no_answer(self._bootstrap, KafkaException(KafkaError(KafkaError._TIMED_OUT)))
                )
        self._consumer.unassign()

    def _done(self, key: PartitionId, left: dict[PartitionId, int]) -> None:
        """Read a partition no more: it may be written to faster than it is read."""
        if left.pop(key, None) is not None:
            self._consumer.incremental_unassign([TopicPartition(*key)])

    def close(self) -> None:
        """Let the client go."""
        self._consumer.close()

    def _retry_until_answered(self, ask: Callable[[], Answer]) -> Answer:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return ask()
            except KafkaException as error:
                if time.monotonic() > until:
                    raise UserError(no_answer(self._bootstrap, error)) from None


def _settled(committed: TopicPartition) -> Settled:
    if committed.offset < 0:
        return Settled(None)
    metadata: str = (committed.metadata or "").rstrip("\0")
    try:
        return Settled(committed.offset, decode(metadata, committed.partition, committed.offset))
    except MapError:
        return Settled(committed.offset)  # as the consumer: what cannot be trusted is no map
