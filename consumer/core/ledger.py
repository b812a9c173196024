"""What became of every record that was read, in counts that must balance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from consumer.core.counting import MAX_NAMES, OTHER

if TYPE_CHECKING:
    from consumer.core.offsets import Partition


class Ledger(msgspec.Struct):
    """Counts of records; ``consumed`` = the sum of all the others, in every snapshot (I5)."""

    consumed: int = 0
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    released: int = 0
    unsettled: int = 0

    def add(self, other: Ledger) -> None:
        """Add others' counts."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @classmethod
    def total(cls, ledgers: Iterable[Ledger]) -> Ledger:
        """All of these counts together."""
        total = cls()
        for ledger in ledgers:
            total.add(ledger)
        return total

    def as_dict(self) -> dict[str, int]:
        """The counts by name, consumed first."""
        return msgspec.structs.asdict(self)

    @property
    def balanced(self) -> bool:
        """Whether every consumed record is in exactly one of the other counts."""
        return self.consumed == self.accepted + self.rejected + self.skipped + self.released + self.unsettled


class Ledgers:
    """The ledgers of every partition this process has had, by topic; topics beyond the first 50 are one, "other"."""

    def __init__(self) -> None:
        self._gone: dict[str, Ledger] = {}  # of partitions that were taken away

    def open(self, partition: Partition) -> None:
        """A partition came."""
        self._gone.setdefault(self._name(partition), Ledger())

    def close(self, partition: Partition) -> None:
        """A partition is gone: its ledger changes no more."""
        self._gone[self._name(partition)].add(partition.ledger)

    def by_topic(self, owned: Iterable[Partition]) -> dict[str, Ledger]:
        """The ledger of each topic, with the partitions that are owned now."""
        found = {topic: Ledger.total([gone]) for topic, gone in self._gone.items()}
        for partition in owned:
            found[self._name(partition)].add(partition.ledger)
        return found

    def _name(self, partition: Partition) -> str:
        topic = partition.topic
        return topic if topic in self._gone or len(self._gone) < MAX_NAMES else OTHER
