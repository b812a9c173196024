"""The metrics: one table that declares them all, reads them from a snapshot, and is their documentation.

A value is computed when it is asked for; between two scrapes nothing but plain counts is kept.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum

import confluent_kafka
import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from consumer.core.counting import MAX_NAMES, OTHER
from consumer.core.gate import Pause
from consumer.core.outcomes import Reading
from consumer.ops.snapshot import Histogram, Snapshot

PREFIX = "scm_consumer_"

#: A value, a histogram, or values by the label's value (by a tuple of them, where there are several labels).
Value = float | Histogram | Mapping[str, float] | Mapping[tuple[str, ...], float]


class Kind(Enum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Declared(msgspec.Struct, frozen=True):
    """One metric. ``known``: values of its one label that are told from the start, as 0 if nothing was counted."""

    name: str  #: without the prefix
    kind: Kind
    help: str
    read: Callable[[Snapshot], Value]
    labels: tuple[str, ...] = ()
    unit: str = ""
    known: tuple[str, ...] = ()


COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

RESULTS = ("accepted", "rejected", "skipped", "released")
REASONS = (
    "undecodable",
    "invalid_event",
    "key_missing",
    "key_blank",
    "value_too_long",
    "forbidden_field",
    "invalid_value",
    "key_conflict",
    "no_fields",
    "rejected_by_api",
    "unknown_key",
    "api_error",
)
OUTCOMES = tuple(reading.value for reading in Reading)
#: Outcomes after which a window may go again, whole or in part.
RETRIED = tuple(reading.value for reading in Reading if reading is not Reading.ACCEPTED)
#: Other causes for which rows go again: their window was divided, or the answer did not confirm them.
DIVIDED = ("divided", "halved", "trial", "unconfirmed", "unknown_key")


def _settled(snapshot: Snapshot) -> dict[str, float]:
    counts = snapshot.ledger.as_dict()
    return {result: counts[result] for result in RESULTS}


def _lag(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    return {(p.topic, str(p.partition)): p.lag for p in snapshot.partitions if p.lag is not None}


def _stopped(snapshot: Snapshot) -> dict[str, float]:
    causes = [p.stopped for p in snapshot.partitions if p.stopped is not None]
    return {cause: causes.count(cause) for cause in causes}


def _build(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    librdkafka = str(confluent_kafka.libversion()[0])
    return {(snapshot.version, platform.python_version(), librdkafka): 1}


METRICS = (
    Declared("records_consumed_total", COUNTER, "Records read.", lambda s: s.consumed, ("topic",), "records"),
    Declared(
        "records_settled_total",
        COUNTER,
        "Records that are done: accepted (all rows), rejected (any row is dead-lettered), skipped by rule, or released "
        "(their partition was taken away first). With records_unsettled, the sum is what was consumed.",
        _settled,
        ("result",),
        "records",
        RESULTS,
    ),
    Declared(
        "records_unsettled",
        GAUGE,
        "Records that are read and not settled.",
        lambda s: s.ledger.unsettled,
        unit="records",
    ),
    Declared(
        "rows_accepted_total",
        COUNTER,
        "Rows that the API accepted.",
        lambda s: s.rows.accepted,
        ("data_key",),
        "rows",
    ),
    Declared(
        "rows_rejected_total",
        COUNTER,
        "Rows whose dead letter is acknowledged, by reason.",
        lambda s: s.rows.rejected,
        ("reason",),
        "rows",
        REASONS,
    ),
    Declared(
        "rows_unconfirmed_total",
        COUNTER,
        "Accepted rows whose key no answer listed.",
        lambda s: s.rows.unconfirmed,
        unit="rows",
    ),
    Declared(
        "fields_not_confirmed_total",
        COUNTER,
        "Fields of accepted rows that the answer did not list: the campaign may discard them.",
        lambda s: s.rows.fields_not_confirmed,
        ("field",),
        "fields",
    ),
    Declared("rows_in_flight", GAUGE, "Rows in requests now.", lambda s: s.rows.in_flight, unit="rows"),
    Declared(
        "rows_parked",
        GAUGE,
        "Rows that wait for a retry of their request (retry), for the API to know their key (unknown_key), for an "
        "earlier row of their code (earlier_row), until a lost call can no longer take effect (late_answer), or for "
        "their schema from the registry (schema; a record counts as a row).",
        lambda s: s.rows.parked,
        ("cause",),
        "rows",
        ("retry", "unknown_key", "earlier_row", "late_answer", "schema"),
    ),
    Declared(
        "rows_resent_total",
        COUNTER,
        "Rows to be sent again: by the outcome of their request, or because it was divided (divided, halved, trial), "
        "or the answer did not confirm them.",
        lambda s: s.rows.resent,
        ("cause",),
        "rows",
        (*RETRIED, *DIVIDED),
    ),
    Declared(
        "windows_closed_total",
        COUNTER,
        "Windows that were closed and sent, by why: full, due (lingered or awaited), bytes, drain (for a trial).",
        lambda s: s.windows.closed,
        ("reason",),
        "windows",
        ("full", "due", "bytes", "drain"),
    ),
    Declared("window_rows", HISTOGRAM, "Rows of a window when it was closed.", lambda s: s.windows.rows, unit="rows"),
    Declared(
        "requests_total",
        COUNTER,
        "Upload requests that ended, by what the answer meant.",
        lambda s: s.requests.outcomes,
        ("outcome",),
        "requests",
        OUTCOMES,
    ),
    Declared(
        "request_seconds",
        HISTOGRAM,
        "How long an upload request took, whatever its outcome.",
        lambda s: s.requests.seconds,
        unit="seconds",
    ),
    Declared(
        "event_to_settled_seconds",
        HISTOGRAM,
        "From a record's time in Kafka until it was accepted or dead-lettered.",
        lambda s: s.event_to_settled,
        unit="seconds",
    ),
    Declared(
        "oldest_unsettled_seconds",
        GAUGE,
        "Since the oldest unsettled record was read; 0: there is none.",
        lambda s: s.oldest_unsettled_seconds,
        unit="seconds",
    ),
    Declared(
        "lag_records",
        GAUGE,
        "From the committed offset to the partition's end as it was when it was last fetched from: while reading is "
        "paused, it does not grow. Not told before the first fetch.",
        _lag,
        ("topic", "partition"),
        "records",
    ),
    Declared(
        "retries_total",
        COUNTER,
        "Requests after which the window goes again, whole or what is left of it, by outcome.",
        lambda s: s.requests.retries,
        ("cause",),
        "requests",
        RETRIED,
    ),
    Declared(
        "api_blocked",
        GAUGE,
        "1 while uploading is paused, by cause.",
        lambda s: {s.api.blocked: 1} if s.api.blocked else {},
        ("cause",),
        "",
        tuple(pause.value for pause in Pause),
    ),
    Declared(
        "circuit_open",
        GAUGE,
        "1 while the API fails for several windows and one request at a time probes it.",
        lambda s: int(s.api.circuit),
    ),
    Declared(
        "throttled_seconds_total",
        COUNTER,
        "Time for which the API asked to be left alone.",
        lambda s: s.api.throttled_seconds,
        unit="seconds",
    ),
    Declared(
        "request_budget_per_second",
        GAUGE,
        "Requests a second that this process may make; 0: no limit.",
        lambda s: s.api.budget,
        unit="requests per second",
    ),
    Declared(
        "commits_total",
        COUNTER,
        "Commits that ended; one that failed for some partitions only counts as both.",
        lambda s: s.commits,
        ("result",),
        "commits",
        ("ok", "failed"),
    ),
    Declared(
        "assigned_partitions",
        GAUGE,
        "Partitions that this process owns.",
        lambda s: len(s.partitions),
        unit="partitions",
    ),
    Declared(
        "paused_partitions",
        GAUGE,
        "Partitions that are not read for now: there is no room, or a schema is awaited.",
        lambda s: sum(p.paused for p in s.partitions),
        unit="partitions",
    ),
    Declared(
        "rebalances_total",
        COUNTER,
        "Assignments received from the group.",
        lambda s: s.rebalances,
        unit="assignments",
    ),
    Declared(
        "partitions_stopped",
        GAUGE,
        "Partitions that are not read on until a person does something, by cause.",
        _stopped,
        ("cause",),
        "partitions",
        ("out_of_range",),
    ),
    Declared(
        "dead_letters_pending",
        GAUGE,
        "Rejected rows whose dead letter is not acknowledged yet.",
        lambda s: s.rows.dead_letters_pending,
        unit="rows",
    ),
    Declared("build_info", GAUGE, "Always 1; the versions.", _build, ("version", "python", "librdkafka")),
)


def bounded(values: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """The same with 50 labels at most; what is beyond the first ones is summed up under "other"."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in values.items():
        other = tuple(OTHER for _ in labels)
        key = labels if labels in found or len(found) < MAX_NAMES else other
        found[key] = found.get(key, 0) + value
    return found


def family(metric: Declared, snapshot: Snapshot) -> Metric:
    """A metric with its samples as of a snapshot."""
    name = PREFIX + metric.name
    value = metric.read(snapshot)
    if isinstance(value, Histogram):
        histogram = HistogramMetricFamily(name, metric.help)
        histogram.add_metric([], list(_cumulated(value)), value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    told = kind(name, metric.help, labels=metric.labels)
    if isinstance(value, Mapping):
        samples: dict[tuple[str, ...], float] = dict.fromkeys(((known,) for known in metric.known), 0)
        samples |= {(key,) if isinstance(key, str) else key: number for key, number in value.items()}
    else:
        samples = {(): value}
    for labels, number in bounded(samples).items():
        told.add_metric(labels, number)
    return told


def _cumulated(histogram: Histogram) -> Iterator[tuple[str, float]]:
    count = 0
    for bound, more in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        count += more
        yield bound, count


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        return [family(metric, self._snapshot) for metric in METRICS]


def exposition(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """All metrics in the format that the scraper's ``Accept`` header asks for, and the content type.

    With them go the process's own (memory, CPU, open files), where the platform tells them.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
