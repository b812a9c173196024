"""Reading partitions as a member of a group, and committing what is settled.

The start offset of a partition comes from one ``committed()`` answer inside the assignment callback and is given
explicitly.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.core.offsets import Partition
from consumer.errors import ConfigError
from consumer.kafka.client import Key
from consumer.kafka.patterns import for_the_broker
from consumer.kafka.reader import Listener, Reader, Reading

#: How long a commit that is waited for (revocation, stop) may take; librdkafka itself knows no bound.
COMMIT_WAIT_SECONDS = 5.0


class Source(Reader):
    """One member of the group."""

    def __init__(
        self,
        listener: Listener,
        reading: Reading,
        *,
        group_protocol: str = "classic",
        instance_id: str = "",
    ) -> None:
        self._group_protocol = group_protocol
        self._not_joined: object = None  # the group's metadata before it has answered; None: nothing to compare with
        self._committing: deque[dict[Key, tuple[Partition, int]]] = deque()  # in the order they were sent
        more: dict[str, Any] = {"group.protocol": group_protocol, "on_commit": self._on_commit}
        if group_protocol == "classic":
            more["partition.assignment.strategy"] = "cooperative-sticky"
        if instance_id:
            more["group.instance.id"] = instance_id
        super().__init__(listener, reading, **more)

    def subscribe(self) -> None:
        """Join the group; raises ConfigError for a pattern that the client cannot read."""
        topics = for_the_broker(self._topics) if self._group_protocol == "consumer" else self._topics
        try:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise ConfigError([f"kafka.topics = {self._topics}: {error.args[0].str()}"]) from None
        if self._group_protocol == "consumer":
            self._not_joined = self._consumer.consumer_group_metadata()

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """What has arrived, as every reader."""
        if self._not_joined is not None and self._consumer.consumer_group_metadata() != self._not_joined:
            # With this protocol, no callback tells of an empty assignment; but the member's epoch changes.
            self._not_joined = None
            self._listener.on_joined()
        return super().poll(count)

    # -- assignment ----------------------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, assigned: list[TopicPartition]) -> None:
        if assigned:
            self._assign([(tp.topic, tp.partition) for tp in assigned])
        else:
            self._listener.on_assigned([])

    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        self._gone(revoked, lost=False)

    def _on_lost(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        self._gone(revoked, lost=True)

    # -- committing ----------------------------------------------------------------------------------------------
    #
    # All calls of the client are made by the owner's thread: the library holds calls of other threads back while the
    # owner is in a callback, and would then commit what is no longer owned.

    @property
    def committing(self) -> bool:
        """Whether a commit is in flight; there is one at a time, but for those of a revocation."""
        return bool(self._committing)

    def commit(self, offsets: list[tuple[Partition, int]]) -> None:
        """Send a commit; ``on_committed`` tells how it ended."""
        self._committing.append({(p.topic, p.number): (p, offset) for p, offset in offsets})
        try:
            self._consumer.commit(offsets=[TopicPartition(p.topic, p.number, o) for p, o in offsets], asynchronous=True)
        except KafkaException as error:
            self._committing.pop()
            self._listener.on_committed(offsets, error.args[0].str())

    def _on_commit(self, error: KafkaError | None, answered: list[TopicPartition]) -> None:
        keys = {(tp.topic, tp.partition) for tp in answered}
        while self._committing:
            sent = self._committing.popleft()
            if sent.keys() == keys:
                break
        else:
            return
        failed = {(tp.topic, tp.partition): tp.error for tp in answered if tp.error is not None}
        good = [pair for key, pair in sent.items() if error is None and key not in failed]
        bad = [pair for key, pair in sent.items() if error is not None or key in failed]
        if good:
            self._listener.on_committed(good, None)
        if bad:
            why = error or next(iter(failed.values()))
            self._listener.on_committed(bad, why.str())

    def commit_and_wait(self, offsets: list[tuple[Partition, int]]) -> bool:
        """Commit and wait until the group has it, at most five seconds, as on revocation; whether it has."""
        if not offsets:
            return True
        self.commit(offsets)
        wanted = {(p.topic, p.number): offset for p, offset in offsets}
        until = time.monotonic() + COMMIT_WAIT_SECONDS
        while time.monotonic() < until and not self._listener.leaves_at_once:
            # In steps, so that a second signal is seen between them. The answer comes after the commit's own, on
            # the same connection; the commit's callback is not served while this one runs.
            try:
                found = self._consumer.committed([TopicPartition(*key) for key in wanted], timeout=0.5)
            except KafkaException:
                continue
            if all(tp.error is None and tp.offset >= wanted[(tp.topic, tp.partition)] for tp in found):
                return True
        return False
