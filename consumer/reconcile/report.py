"""Write what was found: a CSV of all, events that mend it, and metrics of a job."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from consumer.errors import UserError
from consumer.reconcile.comparison import STALE, Difference, Kind
from consumer.reconcile.findings import Findings

#: What the events of a repair name as their source.
REPAIR_SOURCE = "scm-consumer reconcile"

PREFIX = "scm_consumer_reconcile_"
#: The metrics of a job: without the prefix, with their help.
METRICS = {
    "codes": "Codes of the last reconcile, by what was found.",
    "timestamp_seconds": "When the last reconcile ended.",
    "duration_seconds": "How long the last reconcile took.",
}

_COLUMNS = (
    "data_key",
    "key_value",
    "kind",
    "field",
    "expected",
    "held",
    "cause",
    "event",
    "event_time",
    "event_id",
)


def event_place(found: Difference, partitions: Sequence[tuple[str, int]]) -> str:
    """Return where the event is that says what a field should hold."""
    topic, number = partitions[found.change.partition]
    return f"{topic}[{number}]@{found.change.offset}"


def event_time(found: Difference) -> str:
    """Return the event's time in Kafka, RFC 3339 in UTC; empty: it has none."""
    milliseconds = found.change.moment[0]
    if milliseconds <= 0:
        return ""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_object(found: Difference) -> dict[str, str]:
    """Return a difference as ``--json`` tells it."""
    return {
        "data_key": found.data_key,
        "key_value": found.key_value,
        "kind": found.kind.value,
        "field": found.field,
        "expected": found.expected,
        "held": found.held,
        "cause": found.cause,
    }


def write_csv(path: Path, findings: Findings, partitions: Sequence[tuple[str, int]]) -> int:
    """Write all differences; return how many."""
    count = 0
    with _new(path) as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for found in findings.differences():
            told = as_object(found)
            place = event_place(found, partitions)
            writer.writerow([*told.values(), place, event_time(found), found.change.event_id])
            count += 1
    return count


def write_repair(path: Path, findings: Findings, partitions: Sequence[tuple[str, int]]) -> int:
    """Write events that mend what is stale, one a code, for ``publish``; return how many.

    What the API does not know, discards, or holds by somebody else's hand is not touched.
    """
    count = 0
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with _new(path) as file:
        for fields in findings.by_code(Kind.DIFFERENT, STALE):
            first = fields[0]
            event = {
                "event_id": f"reconcile-{event_place(first, partitions)}-{first.key_value}",
                "occurred_at": now,
                "source": REPAIR_SOURCE,
                "data_key": first.data_key,
                "key_value": first.key_value,
                "scm_data": {found.field: found.expected for found in fields},
            }
            file.write(orjson.dumps(event).decode() + "\n")
            count += 1
    return count


def write_metrics(
    path: Path, group: str, counts: Mapping[str, int], *, seconds: float, now: float
) -> None:
    """Write metrics for node_exporter's textfile collector: whole, or not at all.

    ``group``: the consumer group whose events were looked at; one node may have jobs of several.
    """
    registry = CollectorRegistry()

    def gauge(name: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, METRICS[name], ["group", *labels], registry=registry)

    codes = gauge("codes", "kind")
    for kind, count in counts.items():
        codes.labels(group, kind).set(count)
    gauge("timestamp_seconds").labels(group).set(round(now, 3))
    gauge("duration_seconds").labels(group).set(round(seconds, 3))
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _new(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
