"""The work of a whole group, as its commits and its partitions' logs tell it. Pure."""

from __future__ import annotations

import math

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.group_look import GroupLook
from consumer.ops.scaling import Need

#: What came so long ago counts half in what comes a second.
HALF_LIFE_SECONDS = 60.0


def behind_of(
    look: GroupLook, key: PartitionId, *, start_from: str, on_out_of_range: str
) -> int | None:
    """Return how many records of a partition are to be settled; None: not known.

    What retention deleted is not; nor is what the settled map names, nor what only a person can
    have read on. Without a commit it is all, or with "latest" nothing.
    """
    extent = look.logs.get(key)
    if extent is None:
        return None
    commit = look.commits.get(key)
    if commit is None:
        return extent.end - extent.begin if start_from == "earliest" else 0
    if not extent.begin <= commit.offset <= extent.end:
        return extent.end - extent.begin if on_out_of_range == "earliest" else 0
    return max(0, extent.end - commit.offset - commit.settled_beyond)


class GroupNeed:
    """Sums looks up: what is behind, and what comes."""

    def __init__(self, start_from: str, on_out_of_range: str) -> None:
        self._start_from = start_from
        self._on_out_of_range = on_out_of_range
        self._before: GroupLook | None = None
        self._per_second: float | None = None

    def take(self, look: GroupLook) -> Need:
        """Take in a look; return what there is to do."""
        self._take_what_came(look)
        self._before = look
        behind = (
            behind_of(look, key, start_from=self._start_from, on_out_of_range=self._on_out_of_range)
            for key in look.partitions
        )
        return Need(sum(b or 0 for b in behind), self._per_second or 0.0, len(look.partitions))

    def _take_what_came(self, look: GroupLook) -> None:
        before = self._before
        if before is None or look.at <= before.at:
            return
        seconds = look.at - before.at
        came = sum(
            max(0, extent.end - before.logs[key].end)
            for key, extent in look.logs.items()
            if key in before.logs
        )
        fades = math.pow(0.5, seconds / HALF_LIFE_SECONDS) if self._per_second is not None else 0.0
        self._per_second = (self._per_second or 0.0) * fades + came / seconds * (1.0 - fades)
