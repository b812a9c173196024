"""Which partitions are not read on for the time being, and why; the others go on.

There are three reasons, and none ends another: the settled map of a partition has no room for more,
its next record waits for a schema, or its rows that cannot go would leave the others no room.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from consumer.core.offsets.partition import Partition
from consumer.loop.intake import Intake
from consumer.loop.ports import RecordSource

log = logging.getLogger(__name__)


class PartitionPauses:
    """The partitions that rest.

    ``room``: the characters of metadata that each partition may take.
    """

    def __init__(self, intake: Intake, source: RecordSource) -> None:
        self._intake = intake
        self._source = source
        self.map_full: set[Partition] = set()  #: partitions whose settled map has no room for more
        self.over_quota: set[Partition] = (
            set()
        )  #: partitions whose rows that cannot go would leave the others no room
        self._told: set[Partition] = set()  # those that this was said of: once for each assignment
        self._told_full: set[Partition] = set()  # the same, of those whose map has no room
        self._unsettled: dict[
            Partition, int
        ] = {}  # of those whose map has no room, at the last look

    def __contains__(self, partition: Partition) -> bool:
        # What is only short of room for its rows does not rest: nothing is read then.
        stash = self._intake.waiting.get(partition)
        waits = stash is not None and stash.schema_id is not None
        return waits or partition in self.map_full or partition in self.over_quota

    def on_read(self, partition: Partition, room: int) -> None:
        """Something of this partition was taken in: it may have to rest from now on (I7)."""
        if partition not in self.map_full and partition.outgrows(room):
            self.map_full.add(partition)
            if partition not in self._told_full:
                self._told_full.add(partition)
                log.warning(
                    "%s: much is settled behind offset %s, which is not; reading waits",
                    partition,
                    partition.committable_offset,
                )
        if partition in self:
            self.apply(partition)

    def resume_where_possible(self, room: int) -> None:
        """Read on where the settled map has room again (I8).

        What an earlier owner settled of positions that are not read yet may by itself take more
        than half of the room, and only reading on makes that less. So it is read on, too, where all
        is settled; and where nothing has settled since the last look, as a row may be stuck, if
        what was read here has room.
        """
        before, self._unsettled = self._unsettled, {p: p.ledger.unsettled for p in self.map_full}
        for partition in list(self.map_full):
            idle = self._unsettled[partition] == before.get(partition)
            on = partition.committable_offset == partition.position or not partition.outgrows(
                room // 2
            )
            if on or (idle and partition.fits_alone(room // 2)):
                self.map_full.discard(partition)
                self.apply(partition)

    def set_over_quota(self, crowding: set[Partition]) -> None:
        """These partitions, and no others, would leave the others no room (I8)."""
        before, self.over_quota = self.over_quota, crowding
        fresh = sorted(map(str, crowding - self._told))
        self._told |= crowding
        if fresh:
            log.warning(
                "%s: rows that cannot be sent yet fill much of the limits; reading waits, so that others have room",
                ", ".join(fresh),
            )
        for partition in crowding ^ before:
            self.apply(partition)

    def apply(self, partition: Partition) -> None:
        """Have the source read on, or not, as it is now."""
        self._source.hold(partition, held=partition in self)

    def forget(self, partitions: Collection[Partition]) -> None:
        """These partitions are gone."""
        self.map_full.difference_update(partitions)
        self.over_quota.difference_update(partitions)
        self._told.difference_update(partitions)
        self._told_full.difference_update(partitions)
