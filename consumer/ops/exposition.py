"""The metrics as Prometheus reads them.

The table with its values as of a snapshot, in the format it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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
from consumer.ops.metrics import METRICS, PREFIX, Declared
from consumer.ops.snapshot import Snapshot


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
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    told = kind(name, metric.help, labels=metric.labels)
    if isinstance(value, Mapping):
        samples: dict[tuple[str, ...], float] = dict.fromkeys(
            ((known,) for known in metric.known), 0
        )
        samples |= {
            (key,) if isinstance(key, str) else key: number for key, number in value.items()
        }
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
    """All metrics in the format that the scraper's ``Accept`` header asks for, and the content
    type.

    With them go the process's own (memory, CPU, open files), where the platform tells them.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
