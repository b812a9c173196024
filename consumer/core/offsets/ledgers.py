"""The ledgers of all partitions that a process has had, by topic."""

from __future__ import annotations

from collections.abc import Iterable

from consumer.core.counters import MAX_NAMES, OTHER
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.partition import Partition


class LedgersByTopic:
    """The ledgers of every partition this process has had, by topic.

    Topics beyond the first 50 are one, "other".
    """

    def __init__(self) -> None:
        self._gone: dict[str, Ledger] = {}  # of partitions that were revoked

    def open(self, partition: Partition) -> None:
        """Make ready for a partition that came."""
        self._gone.setdefault(self._name(partition), Ledger())

    def close(self, partition: Partition) -> None:
        """Keep the ledger of a partition that was revoked: it changes no more."""
        assert not partition.ledger.unsettled, "a ledger is closed with unsettled records"
        assert partition.ledger.balanced, "a ledger does not balance (I5)"
        self._gone[self._name(partition)].add(partition.ledger)

    def by_topic(self, owned: Iterable[Partition]) -> dict[str, Ledger]:
        """Return the ledger of each topic, with the partitions that are owned now."""
        found = {topic: Ledger.total([gone]) for topic, gone in self._gone.items()}
        for partition in owned:
            found[self._name(partition)].add(partition.ledger)
        return found

    def _name(self, partition: Partition) -> str:
        topic = partition.topic
        return topic if topic in self._gone or len(self._gone) < MAX_NAMES else OTHER
