"""Partitions that are not read on for the time being, each with its reasons; the others go on.

No reason ends another. Two kinds of pause stand elsewhere, as the source alone acts on them:
back-pressure, which is of all partitions at once (``RecordSource.paused``), and an offset that is
gone, which only a person can end (``RecordSource.stopped``).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from enum import Enum

from consumer.core.offsets.partition import Partition
from consumer.loop import fields
from consumer.loop.ports import RecordSource

log = logging.getLogger(__name__)


class PauseReason(Enum):
    """Why a partition is paused."""

    MAP_FULL = "its settled map has no room for more"
    OVER_QUOTA = "its rows that cannot go would leave the others no room"
    SCHEMA_AWAITED = "its next record waits for a schema"


class PartitionPauses:
    """The partitions that are paused, and why."""

    def __init__(self, source: RecordSource) -> None:
        self._source = source
        self._reasons: dict[Partition, set[PauseReason]] = {}
        # What was logged of an owned partition: each reason once for each assignment.
        self._logged: set[tuple[Partition, PauseReason]] = set()
        # Rows unsettled of those whose map is full, at the last review.
        self._unsettled: dict[Partition, int] = {}

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._reasons

    def reasons(self, partition: Partition) -> list[PauseReason]:
        """Return why a partition is paused, in the order of the reasons; none: it is not."""
        reasons = self._reasons.get(partition, ())
        return [reason for reason in PauseReason if reason in reasons]

    def paused_for(self, reason: PauseReason) -> set[Partition]:
        """Return the partitions that are paused for this reason, if for others, too."""
        return {partition for partition, reasons in self._reasons.items() if reason in reasons}

    def pause(self, partition: Partition, reason: PauseReason) -> None:
        """Pause a partition for this reason, too."""
        self._set(partition, reason, paused=True)
        self._apply(partition)

    def resume(self, partition: Partition, reason: PauseReason) -> None:
        """End this reason; the partition is read on if it was the last."""
        self._set(partition, reason, paused=False)
        self._apply(partition)

    def on_read(self, partition: Partition, room: int, *, schema_awaited: bool) -> None:
        """Take in that something of this partition was read (I7).

        ``room``: the characters of metadata that each partition may take.
        """
        self._set(partition, PauseReason.SCHEMA_AWAITED, paused=schema_awaited)
        if PauseReason.MAP_FULL not in self._reasons.get(partition, ()) and partition.outgrows(
            room
        ):
            self._set(partition, PauseReason.MAP_FULL, paused=True)
            if self._is_news(partition, PauseReason.MAP_FULL):
                log.warning(
                    "%s: much is settled behind offset %s, which is not; reading waits",
                    partition,
                    partition.committable_offset,
                    extra=fields.of(partition, offset=partition.committable_offset),
                )
        if partition in self:
            self._apply(partition)

    def on_rows_made(self, partition: Partition, *, schema_awaited: bool) -> None:
        """Take in that rows were made of records that had waited for a schema, or for room."""
        self._set(partition, PauseReason.SCHEMA_AWAITED, paused=schema_awaited)
        self._apply(partition)

    def resume_where_possible(self, room: int) -> None:
        """Read on where the settled map has room again (I8).

        What an earlier owner settled of positions that are not read yet may by itself take more
        than half of the room, and only reading on makes that less. So it is read on, too, where all
        is settled; and where nothing has settled since the last review, as a row may be stuck, if
        what was read here has room.
        """
        full = self.paused_for(PauseReason.MAP_FULL)
        before, self._unsettled = self._unsettled, {p: p.ledger.unsettled for p in full}
        for partition in full:
            idle = self._unsettled[partition] == before.get(partition)
            on = partition.committable_offset == partition.position or not partition.outgrows(
                room // 2
            )
            if on or (idle and partition.fits_alone(room // 2)):
                self.resume(partition, PauseReason.MAP_FULL)

    def set_over_quota(self, over_quota: set[Partition]) -> None:
        """Pause these partitions, and no others, as being over their quota (I8)."""
        before = self.paused_for(PauseReason.OVER_QUOTA)
        news = [p for p in over_quota if self._is_news(p, PauseReason.OVER_QUOTA)]
        if news:
            log.warning(
                "%s: rows that cannot be sent yet fill much of the limits; "
                "reading waits, so that others have room",
                ", ".join(sorted(map(str, news))),
                extra=fields.of_all(news),
            )
        for partition in over_quota - before:
            self.pause(partition, PauseReason.OVER_QUOTA)
        for partition in before - over_quota:
            self.resume(partition, PauseReason.OVER_QUOTA)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Forget these partitions, which are gone."""
        for partition in partitions:
            self._reasons.pop(partition, None)
        self._logged = {(p, reason) for p, reason in self._logged if p not in partitions}

    def _set(self, partition: Partition, reason: PauseReason, *, paused: bool) -> None:
        reasons = self._reasons.get(partition, set())
        reasons = reasons | {reason} if paused else reasons - {reason}
        if reasons:
            self._reasons[partition] = reasons
        else:
            self._reasons.pop(partition, None)

    def _is_news(self, partition: Partition, reason: PauseReason) -> bool:
        news = (partition, reason) not in self._logged
        self._logged.add((partition, reason))
        return news

    def _apply(self, partition: Partition) -> None:
        self._source.set_paused(partition, paused=partition in self)
