"""When the log under a position is not the one that was read: an offset is gone, a topic is new.

A position is one of a log. The topic's id is looked at every few seconds, and at once when
something points to it: a topic that was made anew is another one, and is begun at its beginning, or
stopped, as ``kafka.on_out_of_range`` says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from consumer.adapters.kafka.assignment import Assignment
from consumer.adapters.kafka.beginning import LOOK_UP_SECONDS, Beginning
from consumer.adapters.kafka.gone_offsets import (
    AnotherLog,
    BeginAnew,
    GoOn,
    StopReading,
    decide,
    made_anew,
)
from consumer.adapters.kafka.starts import Extent, Starts
from consumer.adapters.kafka.topic_ids import TopicIds
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import UNKNOWN, Origin
from consumer.loop import fields
from consumer.loop.ports import Listener

log = logging.getLogger(__name__)

#: Time between two looks at the topics' ids, and between those that something points to.
IDS_EVERY_SECONDS = 10.0
IDS_AGAIN_SECONDS = 0.5


class LogChanges:
    """Finds out about changes, for one reader; ``begun`` is told of partitions that begin anew."""

    def __init__(
        self,
        assignment: Assignment,
        beginning: Beginning,
        starts: Starts,
        ids: TopicIds,
        listener: Listener,
        begun: Callable[[list[Partition]], None],
    ) -> None:
        self._assignment = assignment
        self._beginning = beginning
        self._starts = starts
        self._ids = ids
        self._listener = listener
        self._begun = begun
        self._ids_at = 0.0  # when the topics' ids are looked at next

    def suspect(self) -> None:
        """Look at the topics' ids at once."""
        self._ids_at = 0.0

    def suspect_soon(self) -> None:
        """Look at the topics' ids soon: an error may come again and again."""
        self._ids_at = min(self._ids_at, time.monotonic() + IDS_AGAIN_SECONDS)

    def on_out_of_range(self, partition: Partition, error: KafkaError) -> None:
        key = (partition.topic, partition.number)
        if partition not in self._assignment.stopped and key not in self._assignment.searches:
            self._beginning.seek_extent(
                partition, lambda extent: self.judge(partition, extent, error)
            )

    def judge(self, partition: Partition, extent: Extent, error: KafkaError) -> None:
        """Do what ``gone_offsets`` says of an offset that is not there."""
        policy = self._beginning.on_out_of_range
        match decide(partition.position, partition.origin, extent, error, policy):
            case AnotherLog():
                self._made_anew(partition, extent)
            case StopReading(why):
                self._beginning.stop(partition, why)
            case BeginAnew(why):
                self._begin_anew(partition, extent.begin, extent.origin, why)
            case GoOn(offset, skipped):
                if skipped:
                    log.error(
                        "%s: offset %s is no longer there; going on at %s",
                        partition,
                        partition.position,
                        offset,
                        extra=fields.of(partition, offset=offset, was=partition.position),
                    )
                    # What was read before the gap stays, and is committed as it settles.
                    partition.position = offset
                self._assignment.read_anew((partition.topic, partition.number), offset)

    def look_at_ids(self) -> None:
        """Compare the topics' ids with those that are read, now and then; never wait."""
        owned = self._assignment.owned
        if (answer := self._ids.answer()) is not None:
            for partition in list(owned.values()):
                if partition.topic in answer:
                    self._compare(partition, answer[partition.topic])
        now = time.monotonic()
        if now >= self._ids_at and owned:
            self._ids_at = now + IDS_EVERY_SECONDS
            self._ids.ask({topic for topic, _ in owned}, LOOK_UP_SECONDS)

    def _compare(self, partition: Partition, now: Origin) -> None:
        key, before = (partition.topic, partition.number), partition.origin
        if (
            now.topic_id == UNKNOWN
            or partition in self._assignment.stopped
            or key in self._assignment.searches
        ):
            return
        if before.topic_id in (UNKNOWN, now.topic_id):
            # Every commit from now on names it.
            partition.origin = now._replace(began=before.began, epoch=before.epoch)
            self._starts.seen[partition.topic] = now.topic_id
            return
        self._beginning.seek_extent(partition, lambda extent: self._made_anew(partition, extent))

    def _made_anew(self, partition: Partition, extent: Extent) -> None:
        """Begin the topic that took the place of the one that was read, or stop (I1, starts).

        No position in that one means anything in it.
        """
        before, now = partition.origin, extent.origin
        if now.topic_id in (UNKNOWN, before.topic_id):  # it was not, after all: read on
            self._assignment.apply_pauses([(partition.topic, partition.number)])
        elif self._beginning.on_out_of_range == "stop":
            self._beginning.stop(partition, made_anew(before, now, partition.position))
        else:
            why = "which is one of the topic that was deleted"
            self._begin_anew(partition, extent.begin, now, why)

    def _begin_anew(self, partition: Partition, begin: int, origin: Origin, why: str) -> None:
        """Begin a new epoch at the log's beginning.

        What was read before cannot be committed any more.
        """
        key = (partition.topic, partition.number)
        log.error(
            "%s: was at offset %s, %s; beginning at %s",
            partition,
            partition.position,
            why,
            begin,
            extra=fields.of(partition, offset=begin, was=partition.position),
        )
        self._starts.seen[partition.topic] = origin.topic_id
        self._listener.on_revoked([partition], lost=True)
        self._assignment.forget_pauses(partition)
        fresh = self._assignment.owned[key] = Partition(*key, begin, None, origin=origin)
        self._begun([fresh])
        self._assignment.read_anew(key, begin)
