"""Which partitions are not read on for the time being, and why; the others go on.

There are two reasons, and neither ends the other: the settled map of a partition has no room for more, or its next
record waits for a schema.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from consumer.core.offsets import Partition
from consumer.intake import Intake
from consumer.ports import Source

log = logging.getLogger(__name__)


class Resting:
    """The partitions that rest. ``room``: the characters of metadata that each partition may take."""

    def __init__(self, intake: Intake, source: Source) -> None:
        self._intake = intake
        self._source = source
        self.full: set[Partition] = set()  #: partitions whose settled map has no room for more

    def __contains__(self, partition: Partition) -> bool:
        return partition in self.full or partition in self._intake.waiting

    def was_read(self, partition: Partition, room: int) -> None:
        """Something of this partition was taken in: it may have to rest from now on."""
        if partition not in self.full and partition.outgrows(room):
            self.full.add(partition)
            log.warning(
                "%s: much is settled behind offset %s, which is not; reading waits", partition, partition.watermark
            )
        if partition in self:
            self.tell(partition)

    def look(self, room: int) -> None:
        """Read on where the settled map has room again."""
        for partition in [p for p in self.full if not p.outgrows(room // 2)]:
            self.full.discard(partition)
            self.tell(partition)

    def tell(self, partition: Partition) -> None:
        """Have the source read on, or not, as it is now."""
        self._source.hold(partition, held=partition in self)

    def forget(self, partitions: Collection[Partition]) -> None:
        """These partitions are gone."""
        self.full.difference_update(partitions)
