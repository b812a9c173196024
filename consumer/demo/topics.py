"""Topics read from outside the group: what lies in them, and how far the group has come."""

from __future__ import annotations

import time
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

from consumer.demo.evidence import TopicRecord
from consumer.errors import UserError

CALL_SECONDS = 10.0
READ_SECONDS = 30.0
BATCH = 500


class TopicReader:
    """A client that reads and never commits.

    ``group_id``: the group whose progress is looked at.
    """

    def __init__(self, bootstrap_servers: str, group_id: str) -> None:
        self._client = Consumer(_config(bootstrap_servers, group_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset after the last record, by partition."""
        return {
            number: self._client.get_watermark_offsets(
                TopicPartition(topic, number), timeout=CALL_SECONDS, cached=False
            )[1]
            for number in self._client.list_topics(topic, timeout=CALL_SECONDS)
            .topics[topic]
            .partitions
        }

    def committed(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Return the offset that the group has committed, by partition; 0: none yet."""
        asked = [TopicPartition(topic, number) for number in partitions]
        if not asked:
            return {}
        return {
            tp.partition: max(0, tp.offset)
            for tp in self._client.committed(asked, timeout=CALL_SECONDS)
        }

    def read(self, topic: str) -> list[TopicRecord]:
        """Return every record, in the order of partition and offset; raise UserError if they cannot
        be read.
        """
        ends = {number: end for number, end in self.ends(topic).items() if end}
        self._client.assign([TopicPartition(topic, number, 0) for number in ends])
        records: list[TopicRecord] = []
        deadline = time.monotonic() + READ_SECONDS
        while len(records) < sum(ends.values()):
            if time.monotonic() > deadline:
                raise UserError(
                    f"{topic}: only {len(records)} of {sum(ends.values())} records could be read "
                    "back"
                )
            for message in self._client.consume(BATCH, timeout=0.1):
                error = message.error()
                if error:
                    raise UserError(f"{topic} could not be read back: {error.str()}")
                records.append(_record(message))
        self._client.unassign()
        return sorted(records, key=lambda record: (record.partition, record.offset))


class Tail:
    """The new records of a topic, from its beginning on; reads and never commits."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._client = Consumer(_config(bootstrap_servers, "not-a-group"))
        self._client.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def new(self) -> list[TopicRecord]:
        """Return the records that have arrived since the last call, without waiting for any."""
        return [
            _record(message)
            for message in self._client.consume(BATCH, timeout=0)
            if not message.error()
        ]


def _config(bootstrap_servers: str, group_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap_servers,
        "group.id": group_id,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "log_level": 0,
    }


def _record(message: Any) -> TopicRecord:
    headers = tuple(message.headers() or ())
    return TopicRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        headers,
    )
