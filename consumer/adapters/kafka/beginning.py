"""Begin to read partitions: at once where their start is known, else when it was looked up.

A partition whose start is not known yet is owned and not read (*awaiting its start*), while others
go on; the look-up goes on elsewhere (``seeking``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer

from consumer.adapters.kafka.assignment import Assignment
from consumer.adapters.kafka.client import PartitionId, ThrottledLog
from consumer.adapters.kafka.gone_offsets import made_anew
from consumer.adapters.kafka.offsets import LookUpError
from consumer.adapters.kafka.seeking import LookUp, Seeking
from consumer.adapters.kafka.starts import Extent, Start, Starts
from consumer.core.offsets.partition import Partition
from consumer.loop import fields

log = logging.getLogger(__name__)

#: How long one look-up of offsets may take.
LOOK_UP_SECONDS = 5.0


class Beginning:
    """Begins partitions for one reader.

    ``begun`` is told of partitions that begin later than they were assigned; ``begins`` says where,
    for people.
    """

    def __init__(
        self,
        assignment: Assignment,
        starts: Starts,
        seeking: Seeking,
        throttled: ThrottledLog,
        *,
        on_out_of_range: str,
        begins: str,
        begun: Callable[[list[Partition]], None],
    ) -> None:
        self._assignment = assignment
        self._starts = starts
        self._seeking = seeking
        self._throttled = throttled
        self.on_out_of_range = on_out_of_range
        self._begins = begins
        self._begun = begun

    def begin(self, client: Consumer, keys: list[PartitionId]) -> list[Partition]:
        """Read these partitions, too; return those whose start is known at once."""
        starts, problems = self._starts.find(client, keys, LOOK_UP_SECONDS)
        for key, problem in problems.items():
            self._throttled.log_once(
                ("start", key), "{}[{}]: awaits its start ({})".format(*key, problem)
            )
            self._seek_start(key)
        return self._take_on(starts)

    def seek(
        self, key: PartitionId, look: Callable[[Consumer], Any], then: Callable[[Any], None]
    ) -> None:
        """Look something up elsewhere; until it is found, nothing of the partition is read."""
        search = self._assignment.searches[key] = LookUp(key, look, then)
        self._assignment.apply_pauses([key])
        self._seeking.seek(search)

    def seek_extent(self, partition: Partition, then: Callable[[Extent], None]) -> None:
        """Look up what the log of a partition holds now."""
        key, origin = (partition.topic, partition.number), partition.origin
        self.seek(
            key, lambda client: self._starts.extent(client, key, origin, LOOK_UP_SECONDS), then
        )

    def stop(self, partition: Partition, why: str) -> None:
        """Read this partition no more, until a person has decided."""
        self._assignment.stopped[partition] = "out_of_range"
        self._assignment.apply_pauses([(partition.topic, partition.number)])
        log.error(
            "%s is stopped: %s",
            partition,
            why,
            extra=fields.of(partition, offset=partition.position),
        )

    def _seek_start(self, key: PartitionId) -> None:
        def look(client: Consumer) -> Start:
            starts, problems = self._starts.find(client, [key], LOOK_UP_SECONDS)
            if problems:
                raise LookUpError(problems[key])
            return starts[key]

        def begin(start: Start) -> None:
            self._begun(self._take_on({key: start}))

        self.seek(key, look, begin)

    def _take_on(self, starts: dict[PartitionId, Start]) -> list[Partition]:
        """Own these, and have the client read them; return them, but for those begun later."""
        anew = {
            key for key, start in starts.items() if start.anew and self.on_out_of_range != "stop"
        }  # begun at their beginning, which is looked up first
        partitions = {
            key: _partition(key, start) for key, start in starts.items() if key not in anew
        }
        self._assignment.owned |= partitions
        self._assignment.read_too(
            {
                key: partition.position
                for key, partition in partitions.items()
                if not starts[key].anew
            }
        )
        for key, partition in partitions.items():
            start = starts[key]
            if start.anew:
                self.stop(partition, made_anew(start.named, start.origin, partition.position))
        self._log_uncommitted([p for p in partitions.values() if p.committed is None])
        for key in anew:
            self._seek_beginning(key, starts[key])
        return list(partitions.values())

    def _seek_beginning(self, key: PartitionId, start: Start) -> None:
        def begin(extent: Extent) -> None:
            log.error(
                "%s[%s]: %s; beginning at %s",
                *key,
                made_anew(start.named, extent.origin, start.offset),
                extent.begin,
                extra=fields.at(*key, offset=extent.begin),
            )
            fresh = Start(
                extent.begin, None, start.already_settled, "", extent.origin, extent.origin
            )
            self._begun(self._take_on({key: fresh}))

        self.seek(
            key,
            lambda client: self._starts.extent(client, key, start.origin, LOOK_UP_SECONDS),
            begin,
        )

    def _log_uncommitted(self, partitions: list[Partition]) -> None:
        """Log what begins without a commit: it is news to whoever thinks that the group has one."""
        if partitions:
            log.info(
                "%s: %s",
                ", ".join(f"{partition} at {partition.position}" for partition in partitions),
                self._begins,
                extra=fields.of_all(partitions),
            )


def _partition(key: PartitionId, start: Start) -> Partition:
    """Return a new epoch of a partition, with what its last commit says is settled already."""
    if start.complaint:
        log.warning(
            "%s[%s]: the metadata of its committed offset %s is no settled map to go by (%s); "
            "records behind that offset may be sent again",
            *key,
            start.offset,
            start.complaint,
            extra=fields.at(*key, offset=start.offset),
        )
    if start.already_settled:
        log.info(
            "%s[%s]: %s records beyond offset %s are settled already",
            *key,
            start.already_settled.count,
            start.offset,
            extra=fields.at(*key, offset=start.offset, records=start.already_settled.count),
        )
    committed = None if start.metadata is None else start.offset
    # Stopped, it goes on naming the log that it was of: so that the next start, too, sees that it
    # is another one.
    origin = start.named if start.anew else start.origin
    return Partition(
        *key, start.offset, committed, start.already_settled, start.metadata or "", origin
    )
