"""Read topics up to their present end, and a group's commits of them, as a member of no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
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
BATCH = 1000


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
            FETCH_SIZES | dict(properties),
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
        starts = [TopicPartition(*key, OFFSET_BEGINNING) for key in keys]
        if since is not None:
            asked = [TopicPartition(*key, int(since * 1000)) for key in keys]
            # A partition without a record since then is answered with its end.
            starts = self._retry_until_answered(
                lambda: self._consumer.offsets_for_times(asked, timeout=CALL_SECONDS)
            )
        self._consumer.assign(starts)
        # For a topic that is not there: none, and an end at once.
        left = {(tp.topic, tp.partition) for tp in starts}
        until = time.monotonic() + PATIENCE_SECONDS
        while left:
            for message in self._consumer.consume(BATCH, 0.2):
                error = message.error()
                if error is None:
                    until = time.monotonic() + PATIENCE_SECONDS
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard((message.topic() or "", message.partition() or 0))
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
