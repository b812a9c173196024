"""Partitions that a broker does not give, or that nobody is known to have: what lasts at Kafka."""

from __future__ import annotations

import time

from consumer.adapters.kafka.client import PartitionId, ThrottledLog


class Refusals:
    """The partitions that the brokers do not let this process read, each with the reason."""

    def __init__(self, log: ThrottledLog) -> None:
        self._log = log
        self._refused: dict[PartitionId, tuple[float, str]] = {}  # since when, and why
        self.lost: set[PartitionId] = set()  #: those that went, and that nobody is known to have

    def on_refused(self, key: PartitionId, why: str) -> None:
        """Take in a refusal: the client says so once; it is so until something comes of it."""
        self._refused.setdefault(key, (time.monotonic(), why))

    def on_read(self, key: PartitionId) -> None:
        """Take in that something came of the partition."""
        self._refused.pop(key, None)

    def on_gone(self, key: PartitionId, *, lost: bool) -> None:
        """Take in that the partition is not this member's any more."""
        self._refused.pop(key, None)
        if lost:
            self.lost.add(key)

    @property
    def unknown(self) -> set[PartitionId]:
        """Return the partitions of which it is not known how far behind they are.

        They are refused, or lost and not known to be another's. What was known of them holds no
        more.
        """
        return self._refused.keys() | self.lost

    @property
    def lasting(self) -> list[tuple[float, str]]:
        """Return the refusals: since when, by time.monotonic, and in words."""
        return [
            (since, "{}[{}] cannot be read: {}".format(*key, why))
            for key, (since, why) in self._refused.items()
        ]

    def log_again(self) -> None:
        """Log the refusals that have not ended, at a calm pace."""
        for (topic, number), (_, why) in self._refused.items():
            self._log.log_once(
                ("refused", topic), f"Kafka: {topic}[{number}] cannot be read: {why}; trying on"
            )
