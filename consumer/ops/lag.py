"""The lag of one partition, by the rules of docs/lag.md. Pure.

Ages come from the records' own Kafka timestamps, so from the wall clock; what was seen when is by
the owner's clock.
"""

from __future__ import annotations

import msgspec

from consumer.adapters.kafka.group_look import LogExtent
from consumer.adapters.kafka.heads import Head
from consumer.core.offsets.partition import Partition

#: A time that was known holds so long for the record behind it.
LAST_SECONDS = 10.0


class Known(msgspec.Struct, frozen=True):
    """The known ends of a partition's log, besides what was read."""

    extent: LogExtent | None = None  #: None: not told lately
    head: Head | None = None  #: the first record from an offset on
    fetched_end: int | None = None  #: as of the last fetch of the reading client
    watched: bool = False  #: somebody looks at it: what he does not tell lately is not known
    stopped: bool = False  #: only a person can have it read on


class Now(msgspec.Struct, frozen=True):
    """The moment, by both clocks."""

    owner: float  #: seconds
    wall: float  #: seconds since the epoch


class PartitionLag(msgspec.Struct, frozen=True):
    """The lag of a partition."""

    begin: int | None
    end: int | None
    records: int | None  #: from the committed offset on
    seconds: float | None
    #: when the oldest record is from, seconds since the epoch; None: not known, or there is none
    oldest: float | None


class Last(msgspec.Struct, frozen=True):
    """The oldest record's time as it was known last."""

    at: float  #: when it was, by the owner's clock
    oldest: float


def partition_lag(
    partition: Partition, known: Known, now: Now, last: Last | None = None
) -> PartitionLag:
    """Return the lag of an owned partition; ``last``: as it was known before."""
    offset = partition.committable_offset
    in_memory = bool(partition.records)
    extent = known.extent
    begin = None if extent is None else extent.begin
    end = _end(partition, known)
    if in_memory:
        record = partition.records[0]
        oldest = _time_of(record.timestamp, record.read_at, now)
        found: tuple[float | None, float | None] = (max(0.0, now.wall - oldest), oldest)
    elif extent is None:
        found = (0.0 if end is not None and offset >= end else None, None)
    else:
        found = _unread(offset, extent, known, now, last)
    since = partition.started_at if partition.committed is None else partition.committed
    if extent is not None and known.stopped and not extent.begin <= since <= extent.end:
        since = extent.begin  # of what the log holds nothing is settled
    elif begin is not None:
        since = max(since, begin)
    head = known.head
    if not in_memory and head is not None and head.tells_of(offset):
        since = max(since, head.offset)
    records = None if end is None else max(0, end - since)
    seconds, oldest_at = found
    return PartitionLag(begin, end, records, seconds, oldest_at)


def start_of(offset: int, extent: LogExtent, *, stopped: bool) -> int:
    """Return where a partition is to be read on: what is outside of its log is not.

    A position behind the end, in a partition that is read, only means that the end is an old one.
    """
    outside = offset < extent.begin or (stopped and offset > extent.end)
    return extent.begin if outside else offset


def unbegun_lag(
    committed: int | None, extent: LogExtent | None, head: Head | None, now: Now
) -> tuple[int | None, float | None]:
    """Return records and seconds of a partition that has not begun; None: not known.

    It is taken to begin at its commit, or at its log's begin.
    """
    if extent is None:
        return None, None
    offset = extent.begin if committed is None else committed
    offset = start_of(offset, extent, stopped=True)
    if offset >= extent.end:
        return 0, 0.0
    if head is None or not head.tells_of(offset):
        return extent.end - offset, None
    seconds, _ = _of_head(head, now)
    return max(0, extent.end - head.offset), seconds


def _end(partition: Partition, known: Known) -> int | None:
    if known.extent is None:
        end = None if known.watched else known.fetched_end
        # It came with the fetches, so it may be older than the position.
        return None if end is None else max(end, partition.position)
    if known.stopped:
        return known.extent.end
    return max(known.extent.end, known.fetched_end or 0, partition.position)


def _unread(
    offset: int, extent: LogExtent, known: Known, now: Now, last: Last | None
) -> tuple[float | None, float | None]:
    """Return the age of the first record that is not read, and when it is from."""
    start = start_of(offset, extent, stopped=known.stopped)
    if start >= extent.end:
        return 0.0, None
    head = known.head
    if head is not None and head.tells_of(start) and (not head.none or head.offset >= extent.end):
        return _of_head(head, now)
    if last is not None and now.owner - last.at <= LAST_SECONDS:
        return max(0.0, now.wall - last.oldest), None
    return None, None


def _of_head(head: Head, now: Now) -> tuple[float | None, float | None]:
    if head.none:
        return 0.0, None
    oldest = _time_of(head.timestamp or -1, head.seen_at, now)
    return max(0.0, now.wall - oldest), oldest


def _time_of(timestamp: int, seen_at: float, now: Now) -> float:
    """Return when a record is from, seconds since the epoch.

    One without a timestamp is at least as old as the time since it was seen.
    """
    return timestamp / 1000 if timestamp > 0 else now.wall - (now.owner - seen_at)
