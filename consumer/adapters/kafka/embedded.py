"""A Kafka inside this process: librdkafka's mock cluster, for a machine without a broker.

It speaks the real protocol on a port of the loopback address, so other clients and processes use it
as any broker: topics, consumer groups, commits with metadata. It keeps everything in memory (about
5 MB a partition, then the oldest is dropped), gives a topic 4 partitions at its first mention, and
ends with the process.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from confluent_kafka import Producer

CALL_SECONDS = 10.0


class EmbeddedKafka:
    """One broker; ``with EmbeddedKafka() as kafka: ...kafka.bootstrap_servers...``.

    The cluster lives as long as the client that owns it, which is kept here.
    """

    def __init__(self) -> None:
        # log_level: otherwise it tells at every start that it is no real broker.
        self._owner: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": 3})
        broker = next(iter(self._owner.list_topics(timeout=CALL_SECONDS).brokers.values()))
        self.bootstrap_servers = f"{broker.host}:{broker.port}"

    def create_topic(self, name: str) -> int:
        """Create a topic, if it is not there; return the number of its partitions."""
        if self._owner is None:
            raise RuntimeError("the embedded Kafka was closed")
        return len(self._owner.list_topics(name, timeout=CALL_SECONDS).topics[name].partitions)

    def close(self) -> None:
        """End the cluster; its clients see a broker that is gone."""
        self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
