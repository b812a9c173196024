"""Evidence of troubles, and how a rule tells what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from consumer.ops.status import OldestStatus, PartitionStatus, Snapshot

DEGRADED, STUCK = "degraded", "stuck"
#: Places that a trouble names.
MAX_PLACES = 3


class Seen(msgspec.Struct, frozen=True):
    """Evidence of troubles that is not in a snapshot; durations in seconds, None: unknown."""

    #: what keeps this process from Kafka: since when, and in words
    kafka: Sequence[tuple[float, str]] = ()
    #: that are awaited: partition, since when, id
    schemas: Sequence[tuple[str, float, int | str]] = ()
    starts: Sequence[tuple[str, float]] = ()  #: that are looked up: partition, since when
    dead_letters: tuple[str, str] | None = None  #: why one cannot be written, and what to do
    receipts: tuple[str, str] | None = None
    dead_letter_topic: str = ""
    receipts_topic: str = ""
    #: fields that the latest responses did not list, and rows that they did not confirm
    fields: Mapping[str, int] = {}
    unconfirmed: int = 0
    idle: float = 0.0  #: since when nothing was settled, though something is behind
    lag: Mapping[str, float | None] = {}  #: by partition: the age of its oldest unsettled record
    retention: Mapping[str, float | None] = {}  #: by topic; infinite: it keeps everything
    growing: bool | None = None  #: more comes than is settled


class Found(msgspec.Struct, frozen=True):
    """A trouble as a rule finds it; ``advice`` and ``severity`` where they differ by case."""

    message: str
    where: str = ""
    seconds: float = 0.0
    advice: str = ""
    severity: str = ""


Rule = Callable[[Snapshot, Seen], Found | None]


def places(names: Iterable[str]) -> str:
    """Return the first places, and how many more there are."""
    listed = list(names)
    more = len(listed) - MAX_PLACES
    text = ", ".join(listed[:MAX_PLACES])
    return f"{text} and {more} more" if more > 0 else text


def duration(seconds: float) -> str:
    """Return a duration for a person."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def name_of(partition: PartitionStatus) -> str:
    """Return a partition's name, as it is written everywhere."""
    return f"{partition.topic}[{partition.partition}]"


def oldest_records(snapshot: Snapshot) -> list[tuple[PartitionStatus, OldestStatus]]:
    """Return the partitions with an old unsettled record, the oldest first."""
    found = [(p, p.oldest) for p in snapshot.partitions if p.oldest is not None]
    return sorted(found, key=lambda pair: -pair[1].unsettled_seconds)


def place_of(partition: PartitionStatus, oldest: OldestStatus) -> str:
    return f"{name_of(partition)}@{oldest.offset}"


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
