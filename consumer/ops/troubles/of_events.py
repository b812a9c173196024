"""Rules for troubles with the events, and for a backlog that grows or stands still."""

from __future__ import annotations

from consumer.ops.status import Snapshot
from consumer.ops.troubles.evidence import (
    MAX_PLACES,
    Found,
    Seen,
    counted,
    duration,
    name_of,
    oldest_records,
    place_of,
    places,
)

#: When a wait becomes a trouble, seconds.
NO_PROGRESS_SECONDS = 300.0


def fields(_: Snapshot, seen: Seen) -> Found | None:
    if not seen.fields:
        return None
    names = places(f'"{name}"' for name in sorted(seen.fields, key=lambda n: -seen.fields[n]))
    return Found(f"the API does not confirm the fields {names}: it may discard them")


def unconfirmed(_: Snapshot, seen: Seen) -> Found | None:
    if not seen.unconfirmed:
        return None
    rows = counted(seen.unconfirmed, "accepted row was", "accepted rows were")
    return Found(f"{rows} not confirmed by any response")


def rejected(snapshot: Snapshot, _: Seen) -> Found | None:
    recent = snapshot.rejections
    total = sum(recent.by_reason.values())
    if not total:
        return None
    counts = sorted(recent.by_reason.items(), key=lambda pair: -pair[1])
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts[:MAX_PLACES])
    mostly = f"; mostly: {recent.messages[0].message}" if recent.messages else ""
    rows = counted(total, "row was", "rows were")
    message = f"{rows} rejected in the last {duration(recent.since_seconds)}: {reasons}{mostly}"
    return Found(message, recent.latest[0].where if recent.latest else "")


def lag_growing(_: Snapshot, seen: Seen) -> Found | None:
    if not seen.growing:
        return None
    return Found("more records come than are settled: the lag grows")


def no_progress(snapshot: Snapshot, seen: Seen) -> Found | None:
    if seen.idle < NO_PROGRESS_SECONDS:
        return None
    waiting = oldest_records(snapshot)
    detail = f": {place_of(*waiting[0])}: {waiting[0][1].message}" if waiting else ""
    behind = [name_of(p) for p in snapshot.partitions if p.lag or p.unsettled]
    message = f"nothing was settled for {duration(seen.idle)}, though records wait{detail}"
    return Found(message, places(behind), seen.idle)
