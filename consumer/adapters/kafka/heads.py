"""Fetch the first record from an offset on, of many partitions at once, for its time only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka.client import PartitionId

#: One fetch of all of them is given up after so long; who is not answered is asked again later.
HEAD_SECONDS = 5.0
#: What the client may fetch ahead: a broker gives a whole batch at least, so no more than one.
SMALL: dict[str, Any] = {
    "queued.min.messages": 1,
    "message.max.bytes": 1000,
    "fetch.max.bytes": 1000,
    "max.partition.fetch.bytes": 1,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 10,  # else the next partition is only asked for a second later
    "enable.partition.eof": True,
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
}


class Head(msgspec.Struct, frozen=True, gc=False):
    """The first record of a log from an offset on."""

    asked: int
    offset: int  #: of the record; if there is none, where the log ended
    timestamp: int | None  #: milliseconds since the epoch; None: it has none
    none: bool  #: there is no record
    seen_at: float  #: when this was seen first, by the clock of the process

    def tells_of(self, offset: int) -> bool:
        """Return whether this is the first record from another offset on, too."""
        return self.asked <= offset <= self.offset


class Heads:
    """Fetches heads; ``consumer`` returns a client that reads nothing else, and joins no group."""

    def __init__(self, consumer: Callable[[], Consumer]) -> None:
        self._consumer = consumer

    def fetch(
        self, wanted: Mapping[PartitionId, int], seconds: float = HEAD_SECONDS
    ) -> dict[PartitionId, Head]:
        """Return the heads from these offsets on, as far as they are told in time."""
        if not wanted:
            return {}
        consumer = self._consumer()
        found: dict[PartitionId, Head] = {}
        refused: set[PartitionId] = set()
        until = time.monotonic() + seconds
        try:
            consumer.assign([TopicPartition(*key, offset) for key, offset in wanted.items()])
            while len(found) + len(refused) < len(wanted) and time.monotonic() < until:
                for message in consumer.consume(100, 0.2):
                    key = (message.topic() or "", _int(message.partition()))
                    if key in found or key not in wanted:
                        continue
                    error = message.error()
                    if error is None or error.code() == KafkaError._PARTITION_EOF:
                        found[key] = _head(wanted[key], message, none=error is not None)
                        consumer.pause([TopicPartition(*key)])
                    elif error.code() != KafkaError._TRANSPORT:
                        refused.add(key)
            consumer.unassign()
        except KafkaException:
            return found  # closed, or gone: what is not told is not known
        return found

    def close(self) -> None:
        """Let the client go."""
        self._consumer().close()


def _head(asked: int, message: Any, *, none: bool) -> Head:
    offset = _int(message.offset())
    kind, timestamp = (0, 0) if none else message.timestamp()
    # Kinds: none, of the record's creation, of its append to the log.
    known = timestamp if kind and timestamp > 0 else None
    return Head(asked, max(asked, offset), known, none, time.monotonic())


def _int(number: int | None) -> int:
    return -1 if number is None else number
