"""Rules for troubles with Kafka: brokers, partitions, schemas, what is written."""

from __future__ import annotations

from consumer.loop.partition_pauses import PauseReason
from consumer.ops.status import Snapshot
from consumer.ops.troubles.evidence import (
    DEGRADED,
    STUCK,
    Found,
    Seen,
    counted,
    duration,
    name_of,
    places,
)

#: When a wait becomes a trouble, seconds.
LETTERS_LATE_SECONDS = 10.0
SCHEMA_SECONDS = 10.0
START_SECONDS = 30.0
KAFKA_SECONDS = 5.0
KAFKA_STUCK_SECONDS = 60.0
#: A lag of this share of the topic's retention is near it.
RETENTION_SHARE = 0.8


def kafka_away(_: Snapshot, seen: Seen) -> Found | None:
    lasting = [found for found in seen.kafka if found[0] >= KAFKA_SECONDS]
    if not lasting:
        return None
    seconds, text = max(lasting)
    severity = STUCK if seconds > KAFKA_STUCK_SECONDS else DEGRADED
    return Found(f"Kafka: {text}", "", seconds, severity=severity)


def out_of_range(snapshot: Snapshot, _: Seen) -> Found | None:
    stopped = [p for p in snapshot.partitions if p.stopped is not None]
    if not stopped:
        return None
    first = stopped[0]
    message = (
        f"{counted(len(stopped), 'partition is', 'partitions are')} not read on: the record that "
        f"is next is gone from the log ({name_of(first)} at {first.position}), by retention or as "
        "the topic was made anew"
    )
    return Found(message, places(map(name_of, stopped)))


def start_unknown(_: Snapshot, seen: Seen) -> Found | None:
    late = [(place, since) for place, since in seen.starts if since > START_SECONDS]
    if not late:
        return None
    seconds = max(since for _, since in late)
    message = (
        f"where to begin cannot be looked up for {counted(len(late), 'partition', 'partitions')}"
    )
    return Found(message, places(place for place, _ in late), seconds)


def map_full(snapshot: Snapshot, _: Seen) -> Found | None:
    return _paused_for(
        snapshot,
        PauseReason.MAP_FULL,
        "much is settled behind a record that is not: reading waits, as the commit has no room",
    )


def over_quota(snapshot: Snapshot, _: Seen) -> Found | None:
    return _paused_for(
        snapshot,
        PauseReason.OVER_QUOTA,
        "rows that cannot be sent yet fill much of the limits: reading waits, so that others have "
        "room",
    )


def _paused_for(snapshot: Snapshot, reason: PauseReason, message: str) -> Found | None:
    held = [name_of(p) for p in snapshot.partitions if reason.value in p.pauses]
    return Found(message, places(held)) if held else None


def schema_missing(_: Snapshot, seen: Seen) -> Found | None:
    late = [found for found in seen.schemas if found[1] > SCHEMA_SECONDS]
    if not late:
        return None
    number = max(late, key=lambda found: found[1])[2]
    seconds = max(since for _, since, _ in late)
    message = f"schema {number} cannot be fetched: records of it wait"
    return Found(message, places(place for place, _, _ in late), seconds)


def retention_near(_: Snapshot, seen: Seen) -> Found | None:
    near: list[tuple[float, str, float, float]] = []
    for name, age in seen.lag.items():
        kept = seen.retention.get(name.rpartition("[")[0])
        if age is not None and kept is not None and age > RETENTION_SHARE * kept:
            near.append((age - kept, name, age, kept))
    if not near:
        return None
    near.sort(reverse=True)
    place, lag, keeps = near[0][1:]
    message = (
        f"records will be deleted before they are read: the oldest of {place} is "
        f"{duration(lag)} old, and the topic keeps {duration(keeps)}"
    )
    return Found(message, places(one[1] for one in near))


def dead_letters(snapshot: Snapshot, seen: Seen) -> Found | None:
    rows = snapshot.rows
    return _not_written(
        "dead letters",
        seen.dead_letters,
        seen.dead_letter_topic,
        rows.dead_letters_pending,
        rows.dead_letters_oldest_seconds,
    )


def receipts(snapshot: Snapshot, seen: Seen) -> Found | None:
    rows = snapshot.rows
    return _not_written(
        "receipts",
        seen.receipts,
        seen.receipts_topic,
        rows.receipts_pending,
        rows.receipts_oldest_seconds,
    )


def _not_written(
    what: str, why: tuple[str, str] | None, topic: str, pending: int, seconds: float
) -> Found | None:
    if not pending or (why is None and seconds < LETTERS_LATE_SECONDS):
        return None
    error, advice = why or ("no broker has acknowledged them", "")
    waits = counted(pending, "row waits", "rows wait")
    message = f"{what} cannot be written to {topic} ({error}); {waits}, nothing is lost"
    return Found(message, topic, seconds, advice)
