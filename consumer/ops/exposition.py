"""Expose the metrics of a snapshot in the format that Prometheus asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from consumer.core.counters import MAX_NAMES, OTHER, Histogram
from consumer.ops.metric import PREFIX, Declared
from consumer.ops.metrics import METRICS
from consumer.ops.status import Snapshot


def bounded(
    values: Mapping[tuple[str, ...], float], fold: Callable[[list[float]], float] = sum
) -> dict[tuple[str, ...], float]:
    """Return the first ``MAX_NAMES`` labels' values, and all others as "other", folded into one."""
    found: dict[tuple[str, ...], list[float]] = {}
    for labels, value in values.items():
        other = tuple(OTHER for _ in labels)
        key = labels if labels in found or len(found) < MAX_NAMES else other
        found.setdefault(key, []).append(value)
    return {key: fold(several) for key, several in found.items()}


def family(metric: Declared, snapshot: Snapshot) -> Metric:
    """Return a metric with its samples as of a snapshot."""
    name = PREFIX + metric.name
    value = metric.read(snapshot)
    if isinstance(value, Histogram):
        histogram = HistogramMetricFamily(name, metric.help)
        histogram.add_metric([], list(_cumulated(value)), value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    found = kind(name, metric.help, labels=metric.labels)
    if isinstance(value, Mapping):
        samples: dict[tuple[str, ...], float] = dict.fromkeys(
            ((known,) for known in metric.known), 0
        )
        samples |= {
            (key,) if isinstance(key, str) else key: number for key, number in value.items()
        }
    else:
        samples = {(): value}
    for labels, number in bounded(samples, metric.fold).items():
        found.add_metric(labels, number)
    return found


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
    """Return all metrics in a format of the scraper's ``Accept`` header, and the content type.

    With them go the process's own (memory, CPU, open files), where the platform has them.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
