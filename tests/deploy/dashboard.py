"""The dashboard for Grafana, from one table.

``python -m tests.deploy.dashboard > deploy/grafana/dashboard.json``; `make docs` does it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]

#: What each query is narrowed to: the group that the reader has chosen.
JOB = 'job="$job"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  #: columns of Grafana's grid


class Query(NamedTuple):
    """A series, and its name in the legend."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel. ``unit`` is Grafana's name of it; ``limit`` colours from there on."""

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    limit: float | None = None
    stacked: bool = False
    empty: str = ""  #: what a panel shows that has nothing to show


def q(expr: str, legend: str = "") -> Query:
    """Return a query in which ``@`` stands for the matcher of the group."""
    return Query(expr.replace("@", JOB), legend)


def quantiles(metric: str) -> tuple[Query, ...]:
    """Return the median and the slow ends of a histogram."""
    return tuple(
        q(
            f"histogram_quantile({share}, sum by (le) "
            f"(rate(scm_consumer_{metric}_bucket{{@}}[$__rate_interval])))",
            f"{share:.0%}",
        )
        for share in (0.5, 0.95, 0.99)
    )


def rate(metric: str, by: str = "", matchers: str = "") -> Query:
    """Return the rate of a counter, by a label."""
    grouping = f" by ({by})" if by else ""
    selector = f"@,{matchers}" if matchers else "@"
    return q(
        f"sum{grouping} (rate(scm_consumer_{metric}_total{{{selector}}}[$__rate_interval]))",
        f"{{{{{by}}}}}" if by else metric.replace("_", " "),
    )


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            Panel(
                "Troubles",
                "What is wrong now, by cause. What to do: that section of docs/runbook.md.",
                (q("max by (cause) (scm_consumer_trouble{@}) == 1", "{{cause}}"),),
                kind="stat",
                width=6,
                limit=1,
                empty="none",
            ),
            Panel(
                "Time lag",
                "Age of the oldest event that is not settled.",
                (q("max(scm_consumer:lag_seconds:max{@})"),),
                unit="s",
                kind="stat",
                width=3,
                limit=900,
            ),
            Panel(
                "Backlog",
                "Records from the committed offsets to the ends, as far as they are known.",
                (q("sum(scm_consumer:lag_records:max{@} >= 0)"),),
                kind="stat",
                width=3,
            ),
            Panel(
                "Gone in",
                "Until what is behind now is settled. Infinite: it grows.",
                (q("max(scm_consumer_backlog_eta_seconds{@})"),),
                unit="s",
                kind="stat",
                width=3,
            ),
            Panel(
                "Rows a second",
                "Accepted or dead-lettered, over five minutes.",
                (q("sum(scm_consumer:rows_settled:rate5m{@})"),),
                kind="stat",
                width=3,
            ),
            Panel(
                "Members",
                "That answer; and how many the lag and the request budget justify.",
                (
                    q("count(scm_consumer_build_info{@})", "there"),
                    q("max(scm_consumer_desired_members{@})", "wanted"),
                ),
                kind="stat",
                width=3,
            ),
            Panel(
                "Partitions stopped",
                "Not read until a person decides.",
                (q("sum(scm_consumer_partitions_stopped{@})"),),
                kind="stat",
                width=3,
                limit=1,
            ),
        ),
    ),
    (
        "Lag",
        (
            Panel(
                "Time lag, the ten worst partitions",
                "By the record's own timestamp. A gap: not known.",
                (
                    q(
                        "topk(10, scm_consumer:lag_seconds:max{@})",
                        "{{topic}}[{{partition}}]",
                    ),
                ),
                unit="s",
                limit=900,
            ),
            Panel(
                "Records behind, the ten worst partitions",
                "From the committed offset to the end, read or not.",
                (
                    q(
                        "topk(10, scm_consumer:lag_records:max{@})",
                        "{{topic}}[{{partition}}]",
                    ),
                ),
            ),
            Panel(
                "From published to settled",
                "Events that were settled in this time.",
                quantiles("event_to_settled_seconds"),
                unit="s",
            ),
        ),
    ),
    (
        "Rows",
        (
            Panel(
                "Accepted, by data key",
                "Rows a second.",
                (rate("rows_accepted", "data_key"),),
                stacked=True,
            ),
            Panel(
                "Rejected, by reason",
                "Rows a second whose dead letter is written.",
                (rate("rows_rejected", "reason"),),
                stacked=True,
            ),
            Panel(
                "Not confirmed",
                "Accepted rows that no answer lists, and fields that answers do not list.",
                (rate("rows_unconfirmed"), rate("fields_not_confirmed", "field")),
            ),
            Panel(
                "Waiting, by cause",
                "Rows that are parked, and rows in requests.",
                (
                    q("sum by (cause) (scm_consumer_rows_parked{@})", "{{cause}}"),
                    q("sum(scm_consumer_rows_in_flight{@})", "in flight"),
                ),
                stacked=True,
            ),
            Panel(
                "Sent again, by cause",
                "Rows a second.",
                (rate("rows_resent", "cause"),),
                stacked=True,
            ),
            Panel(
                "Oldest dead letter and receipt",
                "That wait to be written. Near 0 while their topics work.",
                (
                    q("max(scm_consumer_dead_letters_oldest_seconds{@})", "dead letter"),
                    q("max(scm_consumer_receipts_oldest_seconds{@})", "receipt"),
                ),
                unit="s",
                limit=180,
            ),
        ),
    ),
    (
        "The API",
        (
            Panel(
                "Requests, by outcome",
                "A second; beside them the budget.",
                (
                    rate("requests", "outcome"),
                    q("sum(scm_consumer_request_budget_per_second{@})", "budget"),
                ),
                unit="reqps",
            ),
            Panel(
                "Time of a request",
                "Whatever its outcome.",
                quantiles("request_seconds"),
                unit="s",
            ),
            Panel(
                "Rows of a window",
                "On average; 100 at most. Small windows waste the request budget.",
                (
                    q(
                        "sum(rate(scm_consumer_window_rows_sum{@}[$__rate_interval])) / "
                        "sum(rate(scm_consumer_window_rows_count{@}[$__rate_interval]))",
                        "rows",
                    ),
                ),
            ),
            Panel(
                "Blocked, and the circuit",
                "1 while uploading is paused, by cause, or one request at a time probes the API.",
                (
                    q("max by (cause) (scm_consumer_api_blocked{@})", "{{cause}}"),
                    q("max(scm_consumer_circuit_open{@})", "circuit open"),
                ),
            ),
            Panel(
                "Throttled",
                "Share of the time for which the API asks for no requests.",
                (
                    q(
                        "max by (instance) "
                        "(rate(scm_consumer_throttled_seconds_total{@}[$__rate_interval]))",
                        "{{instance}}",
                    ),
                ),
                unit="percentunit",
            ),
            Panel(
                "Requests that failed",
                "5xx, time-outs, no connection: their share over ten minutes.",
                (q("scm_consumer:requests_failed:ratio10m{@}", "failed"),),
                unit="percentunit",
                limit=0.5,
            ),
        ),
    ),
    (
        "The group",
        (
            Panel(
                "Partitions, by member",
                "A step is a rebalance.",
                (q("max by (instance) (scm_consumer_assigned_partitions{@})", "{{instance}}"),),
                stacked=True,
            ),
            Panel(
                "Not read now",
                "Partitions that are paused: no room, a schema is awaited, or the process stops.",
                (q("max by (instance) (scm_consumer_paused_partitions{@})", "{{instance}}"),),
            ),
            Panel(
                "Commits, and what is settled beyond them",
                "Failed commits a second; characters of the largest settled map, of 4,000.",
                (
                    rate("commits", "result", 'result="failed"'),
                    q("max(scm_consumer_commit_metadata_characters{@})", "settled map"),
                ),
            ),
            Panel(
                "Memory",
                "Resident, by member.",
                (q("max by (instance) (process_resident_memory_bytes{@})", "{{instance}}"),),
                unit="bytes",
            ),
            Panel(
                "Processors",
                "That a member keeps busy.",
                (
                    q(
                        "max by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))",
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "How fast late events burn their budget",
                "1 is as fast as the objective allows (deploy/prometheus/slo.yml).",
                (
                    q("scm_consumer:budget_burn:rate1h{@}", "an hour"),
                    q("scm_consumer:budget_burn:rate6h{@}", "six hours"),
                    q("scm_consumer:budget_burn:rate3d{@}", "three days"),
                ),
                limit=1,
            ),
        ),
    ),
)


def legend_of(legend: str, labels: Mapping[str, str]) -> str:
    """Return a legend with its labels' values, as Grafana writes it."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def dashboard() -> Json:
    """Return the dashboard as Grafana imports it."""
    return {
        "title": "scm-consumer",
        "uid": "scm-consumer",
        "schemaVersion": 39,
        "tags": ["scm-consumer", "kafka"],
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "templating": {"list": _variables()},
        "annotations": {"list": [_alerts()]},
        "panels": _panels(),
    }


def _variables() -> list[Json]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "job",
            "type": "query",
            "label": "Group",
            "datasource": SOURCE,
            "query": {"query": "label_values(scm_consumer_build_info, job)", "refId": "job"},
            "refresh": 2,
            "sort": 1,
        },
    ]


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f'ALERTS{{alertname=~"ScmConsumer.*",alertstate="firing",{JOB}}}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}} {{cause}} {{topic}}",
    }


def _panels() -> list[Json]:
    found: list[Json] = []
    top = 0
    for title, panels in ROWS:
        found.append(_row(len(found) + 1, title, top))
        top += 1
        left = 0
        for panel in panels:
            height = 4 if panel.kind == "stat" else 8
            if left + panel.width > WIDTH:
                left, top = 0, top + height
            found.append(_panel(len(found) + 1, panel, left, top, height))
            left += panel.width
        top += height
    return found


def _row(number: int, title: str, top: int) -> Json:
    place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}


def _panel(number: int, panel: Panel, left: int, top: int, height: int) -> Json:
    stat = panel.kind == "stat"
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: Json = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.empty:
        defaults["noValue"] = panel.empty
    if not stat:
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "off" if panel.limit is None else "dashed"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"h": height, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _stat_options(panel) if stat else {"legend": {"placement": "bottom"}},
        "targets": [_target(place, query, stat) for place, query in enumerate(panel.queries)],
    }


def _stat_options(panel: Panel) -> Json:
    named = panel.queries[0].legend != ""
    return {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "textMode": "value_and_name" if named else "value",
    }


def _target(place: int, query: Query, instant: bool) -> Json:
    return {
        "refId": chr(ord("A") + place),
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": instant,
        "range": not instant,
    }


def text() -> str:
    """Return the file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
