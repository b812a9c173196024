"""The client's assignment: which owned partitions it reads, and which of them are paused.

A member of a cooperative group, and a reader of its own, may change what is read piece by piece. In
an eager group (strategies range and roundrobin) all is assigned at once, or nothing can be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, TopicPartition

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.seeking import LookUp
from consumer.core.offsets.partition import Partition


class Assignment:
    """The partitions of one reader; ``client`` gives the client as it is now."""

    def __init__(self, client: Callable[[], Consumer], *, eager: bool) -> None:
        self._client = client
        self.eager = eager
        self.in_callback = False  #: of an assignment: what is read is given as a whole
        self.owned: dict[PartitionId, Partition] = {}
        self.reads: set[PartitionId] = set()  #: what the client is told to read, paused or not
        #: The latest look-up of each partition that awaits one; it is not read until then.
        self.searches: dict[PartitionId, LookUp] = {}
        self.stopped: dict[Partition, str] = {}  #: not read until a person has decided, and why
        self.paused: set[Partition] = set()  #: each paused by the owner loop
        self.all_paused = False  #: back-pressure

    def apply_pauses(self, keys: Iterable[PartitionId]) -> None:
        """Have the client read these partitions, or not.

        A pause outlives a revocation of the partition inside librdkafka, so the wanted state is
        said either way.
        """
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for key in keys:
            if key in self.reads:
                (pause if self._is_paused(key) else resume).append(TopicPartition(*key))
        if pause:
            self._client().pause(pause)
        if resume:
            self._client().resume(resume)

    def read_too(self, starts: dict[PartitionId, int]) -> None:
        """Have the client read these partitions, too, from these offsets."""
        self.reads |= starts.keys()
        if not self.eager:
            self._client().incremental_assign(_at(starts))
        elif self.in_callback:
            self._client().assign(_at(starts))
        else:
            self._read_all_anew(starts)
        self.apply_pauses(starts)  # only after the assignment: before it, a pause is ignored

    def read_anew(self, key: PartitionId, start: int) -> None:
        """Have the client go on at this offset.

        Not a seek: librdkafka refuses one while the partition is in error.
        """
        if self.eager:
            self._read_all_anew({key: start})
            return
        self._client().incremental_unassign([TopicPartition(*key)])
        self._client().incremental_assign(_at({key: start}))
        self.apply_pauses([key])

    def drop(self, partition: Partition) -> None:
        """Forget a partition that is gone."""
        key = (partition.topic, partition.number)
        partition.owned = False
        del self.owned[key]
        self.reads.discard(key)
        self.forget_pauses(partition)

    def forget_pauses(self, partition: Partition) -> None:
        """Forget why this epoch of a partition was not read on."""
        self.stopped.pop(partition, None)
        self.paused.discard(partition)

    def _is_paused(self, key: PartitionId) -> bool:
        partition = self.owned[key]
        return (
            self.all_paused
            or partition in self.stopped
            or partition in self.paused
            or key in self.searches
        )

    def _read_all_anew(self, changed: dict[PartitionId, int]) -> None:
        # The others go on where the client stands: what it has handed out is not all taken in yet.
        others = [TopicPartition(*key) for key in self.reads if key not in changed]
        places = {
            (tp.topic, tp.partition): tp.offset for tp in self._client().position(others)
        } | changed
        for key in self.reads:
            if places[key] < 0:  # nothing was handed out yet
                places[key] = self.owned[key].position
        self._client().assign(_at(places))
        self.apply_pauses(self.reads)


def _at(places: dict[PartitionId, int]) -> list[TopicPartition]:
    return [TopicPartition(*key, offset) for key, offset in places.items()]
