"""Lost calls that outlive an assignment: they may take effect in the next epoch of a partition."""

from __future__ import annotations

from collections.abc import Iterable

from consumer.core.model import Row
from consumer.core.offsets.partition import Partition


class LostCalls:
    """Until when a lost call may take effect, by partition, for those that are not owned now."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, int], float] = {}

    def restore(self, partition: Partition) -> None:
        """Let a new epoch of a partition know of the lost calls of those before it."""
        partition.lost_until = self._until.pop((partition.topic, partition.number), 0.0)

    def keep(self, partition: Partition, now: float) -> None:
        """Remember the lost calls of a partition that is revoked."""
        if partition.lost_until > now:
            self._until[partition.topic, partition.number] = partition.lost_until

    def keep_late(self, revoked: Iterable[Row], owned: Iterable[Partition]) -> None:
        """Remember the call of revoked rows, which may have been lost after their partition went.

        The epoch that their partition has now, or will have, is to know of it.
        """
        by_place = {(partition.topic, partition.number): partition for partition in owned}
        for gone in {row.record.partition for row in revoked}:
            place = (gone.topic, gone.number)
            if (now_owned := by_place.get(place)) is not None:
                now_owned.lost_until = max(now_owned.lost_until, gone.lost_until)
            else:
                self._until[place] = max(self._until.get(place, 0.0), gone.lost_until)
