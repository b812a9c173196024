"""Build commits from the partitions that are owned and settled when they are sent."""

from __future__ import annotations

from collections.abc import Collection
from math import inf

import msgspec

from consumer.core.offsets.partition import MAX_METADATA, MIN_METADATA, Partition
from consumer.core.offsets.run_codec import Runs
from consumer.core.offsets.settled_map import encode

#: Characters of metadata of one commit, all partitions together: at about a megabyte it fails as a
#: whole.
MAX_METADATA_OF_COMMIT = 500_000


class Commit(msgspec.Struct, frozen=True, gc=False):
    """The commit of one partition."""

    partition: Partition
    offset: int
    metadata: str  #: the settled map; empty: nothing beyond the offset is settled
    #: right before it was sent: that the group took it says nothing of any later time
    built_at: float = -inf


def room_of(partitions: int) -> int:
    """Return the characters of metadata for each of so many partitions of one commit.

    0: too few for a map.
    """
    room = min(MAX_METADATA, MAX_METADATA_OF_COMMIT // max(1, partitions))
    return room if room >= MIN_METADATA else 0


def due_commits(
    partitions: Collection[Partition], now: float = -inf, *, anew: bool = False
) -> list[Commit]:
    """Return what is to be committed of the owned partitions and is not committed yet (I3).

    ``anew``: what is committed already, too. A partition without any committed offset is included
    as it stands: where it began ("latest", say) must survive a restart, or what is published
    meanwhile would be skipped.
    """
    room = room_of(len(partitions))
    due: list[Commit] = []
    for partition in partitions:
        if not partition.owned:
            continue
        offset = partition.committable_offset
        assert offset <= partition.position, "a commit beyond what was read"
        runs: Runs = []
        if partition.records or partition.already_settled.end > offset:
            runs = partition.settled_runs()
        metadata = encode(
            partition.number, offset, runs, min(room, partition.room), partition.origin
        )
        if anew or offset != partition.committed or metadata != partition.metadata:
            due.append(Commit(partition, offset, metadata, now))
    return due
