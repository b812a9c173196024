"""The table of metrics: what it declares is exposed, by Prometheus' own tool; and its page."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import msgspec
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from consumer.core.counters import MAX_NAMES
from consumer.ops.exposition import bounded, exposition, family
from consumer.ops.metric import PREFIX
from consumer.ops.metrics import METRICS
from consumer.ops.metrics_page import page
from consumer.ops.snapshot import take
from consumer.ops.status import Snapshot
from tests.support import needs
from tests.unit.runner_fakes import World, keys_of

ROOT = Path(__file__).parents[2]
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def promtool(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Return Prometheus' tool; Debian's package ``prometheus`` brings it."""
    try:
        return subprocess.run(
            ["promtool", *arguments], input=given, capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        needs.lacking("promtool")
        raise


def parsed(body: bytes) -> dict[str, Metric]:
    """Return the families of an OpenMetrics exposition by name."""
    families = open_metrics.text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    return {found.name: found for found in families}


@pytest.fixture
def snapshot() -> Snapshot:
    world = World()
    partition = world.partition(0, *keys_of("A", 25), "")
    world.source.ends[partition] = 30
    world.start()
    world.turn_until(lambda: not world.pipeline.unsettled and partition.ledger.accepted > 0)
    return take(world.runner, world.source, world.results.now, world.lag)


def test_every_metric_is_declared_once_and_its_name_fits_its_kind() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not metric.known or len(metric.labels) == 1, (
            f"{metric.name}: known values are of one label"
        )


def test_the_contract_is_covered() -> None:
    """Every metric that users are promised is there."""
    assert {metric.name: metric.labels for metric in METRICS} == {
        "records_consumed_total": ("topic",),
        "records_settled_total": ("result",),
        "records_unsettled": (),
        "rows_accepted_total": ("data_key",),
        "rows_rejected_total": ("reason",),
        "rows_unconfirmed_total": (),
        "fields_not_confirmed_total": ("field",),
        "codes_affected_total": ("data_key",),
        "tasks": (),
        "tasks_ended_total": ("outcome",),
        "receipts_pending": (),
        "rows_in_flight": (),
        "rows_parked": ("cause",),
        "rows_resent_total": ("cause",),
        "windows_closed_total": ("reason",),
        "window_rows": (),
        "requests_total": ("outcome",),
        "request_seconds": (),
        "event_to_settled_seconds": (),
        "oldest_unsettled_seconds": (),
        "lag_records": ("topic", "partition"),
        "lag_seconds": ("topic", "partition"),
        "backlog_eta_seconds": (),
        "desired_members": (),
        "retention_seconds": ("topic",),
        "retries_total": ("cause",),
        "api_blocked": ("cause",),
        "circuit_open": (),
        "throttled_seconds_total": (),
        "request_budget_per_second": (),
        "commits_total": ("result",),
        "commit_metadata_characters": (),
        "assigned_partitions": (),
        "paused_partitions": (),
        "rebalances_total": (),
        "partitions_stopped": ("cause",),
        "dead_letters_pending": (),
        "dead_letters_oldest_seconds": (),
        "receipts_oldest_seconds": (),
        "trouble": ("cause",),
        "start_time_seconds": (),
        "build_info": ("version", "python", "librdkafka"),
    }


def test_what_is_exposed_is_what_is_declared_and_promtool_finds_no_fault(
    snapshot: Snapshot,
) -> None:
    body, content_type = exposition(snapshot, "text/plain")
    assert content_type.startswith("text/plain")
    checked = promtool("check", "metrics", given=body)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    told = {
        found.name: found for found in text_format(body.decode()) if found.name.startswith(PREFIX)
    }
    assert told.keys() == {PREFIX + metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        found = told[PREFIX + metric.name.removesuffix("_total")]
        assert (found.type, found.documentation) == (metric.kind, metric.help)
        for sample in found.samples:
            assert sample.labels.keys() - {"le"} == set(metric.labels)


def test_a_scraper_that_asks_for_openmetrics_gets_it(snapshot: Snapshot) -> None:
    body, content_type = exposition(snapshot, OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    names = parsed(body)
    assert PREFIX + "records_consumed" in names
    assert "process_cpu_seconds" in names


def test_a_histogram_is_cumulative_and_its_last_bucket_is_its_count(snapshot: Snapshot) -> None:
    metric = next(metric for metric in METRICS if metric.name == "window_rows")
    samples = family(metric, snapshot).samples
    buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
    counts = {sample.name.removeprefix(PREFIX): sample.value for sample in samples}
    assert buckets == sorted(buckets)
    assert buckets[-1] == counts["window_rows_count"] == sum(snapshot.windows.rows.counts) > 0
    assert counts["window_rows_sum"] == 25


def test_known_values_are_told_before_anything_was_counted() -> None:
    world = World()
    empty = take(world.runner, world.source, world.results.now, world.lag)
    for metric in METRICS:
        samples = family(metric, empty).samples
        if metric.known:
            assert [(sample.labels[metric.labels[0]], sample.value) for sample in samples] == [
                (known, 0) for known in metric.known
            ]


def test_labels_are_bounded_and_nothing_gets_lost_in_other() -> None:
    values: dict[tuple[str, ...], float] = {
        ("topic", str(number)): 1.0 for number in range(MAX_NAMES + 7)
    }
    found = bounded(values)
    assert len(found) == MAX_NAMES + 1
    assert found["other", "other"] == 7
    assert sum(found.values()) == sum(values.values())


def test_many_partitions_are_told_as_many_as_labels_are_allowed(snapshot: Snapshot) -> None:
    (one,) = snapshot.partitions
    many = [msgspec.structs.replace(one, partition=number, lag=10) for number in range(200)]
    lag = next(metric for metric in METRICS if metric.name == "lag_records")
    samples = family(lag, msgspec.structs.replace(snapshot, partitions=many)).samples
    assert len(samples) == MAX_NAMES + 1
    assert sum(sample.value for sample in samples) == 2000


def test_what_is_not_known_any_more_is_told_as_unknown() -> None:
    world = World()
    refused = world.partition(0, "A")
    world.source.ends[refused] = 30
    world.source.unknown = {("events", 0), ("events", 7)}  # this one is not owned any more
    world.start()
    world.turn_until(lambda: refused.committed == 1)
    taken = take(world.runner, world.source, world.results.now, world.lag)
    assert [partition.lag for partition in taken.partitions] == [None], (
        "the page tells what holds no more"
    )
    body, _ = exposition(taken, "text/plain")
    checked = promtool("check", "metrics", given=body)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    (lag,) = (found for found in text_format(body.decode()) if found.name == PREFIX + "lag_records")
    lags = {sample.labels["partition"]: sample.value for sample in lag.samples}
    assert lags.keys() == {"0", "7"}, "what is not known any more is left out of the metrics"
    assert all(map(math.isnan, lags.values())), (
        "what is not known any more is told as if it still held"
    )


@pytest.mark.parametrize("evil", ['a"b', "a\\b", "a\nb", "a{b}", "ä€\u2028", "\x00"])
def test_a_label_from_an_event_cannot_break_the_format(snapshot: Snapshot, evil: str) -> None:
    rows = msgspec.structs.replace(snapshot.rows, fields_not_confirmed={evil: 3})
    body, _ = exposition(msgspec.structs.replace(snapshot, rows=rows), OPEN_METRICS)
    found = parsed(body)[PREFIX + "fields_not_confirmed"]
    assert [(sample.labels, sample.value) for sample in found.samples] == [({"field": evil}, 3)]


# -- the page ------------------------------------------------------------------------------------


def test_the_page_in_docs_is_the_one_the_table_gives() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page(), "run make docs"
