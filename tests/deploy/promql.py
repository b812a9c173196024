"""Names in a PromQL expression, as far as the tests must know them: metrics, labels, values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from consumer.ops.metric import PREFIX
from consumer.ops.metrics import METRICS
from consumer.reconcile import report
from consumer.reconcile.comparison import Kind

#: Labels that Prometheus adds to what it scrapes, and to alerts.
ADDED = {"job", "instance"}
#: Series of Prometheus itself.
OTHERS = {"up": ADDED, "ALERTS": {*ADDED, "alertname", "alertstate", "severity"}}

_NAME = r"(?:scm_consumer[:_][\w:]+|process_\w+|\bup\b|\bALERTS\b)"
_SELECTOR = re.compile(rf"(?P<name>{_NAME})(?:\{{(?P<matchers>[^}}]*)\}})?")
_MATCHER = re.compile(r"(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*(?:\"(?P<value>[^\"]*)\"|'[^']*')")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


class Selector(NamedTuple):
    """A series that an expression asks for, and the values that its matchers name by label."""

    name: str
    matchers: dict[str, str]


class Known(NamedTuple):
    """A series that is there: its labels, and the values of labels that have a fixed list."""

    labels: set[str]
    values: Mapping[str, tuple[str, ...]]


def selectors(expression: str) -> Iterator[Selector]:
    """Yield each series that an expression asks for."""
    for found in _SELECTOR.finditer(expression):
        matchers = _MATCHER.finditer(found["matchers"] or "")
        yield Selector(found["name"], {m["label"]: m["value"] or "" for m in matchers})


def groupings(expression: str) -> set[str]:
    """Return the labels by which an expression aggregates or joins."""
    return {
        label.strip()
        for labels in _GROUPING.findall(expression)
        for label in labels.split(",")
        if label.strip()
    }


def exposed() -> dict[str, Known]:
    """Return the series of the consumer by name, as its table of metrics declares them."""
    found: dict[str, Known] = {}
    for metric in METRICS:
        values = {metric.labels[0]: metric.known} if metric.known else {}
        known = Known(ADDED | set(metric.labels), values)
        if metric.kind == "histogram":
            for part in ("_sum", "_count"):
                found[PREFIX + metric.name + part] = known
            found[f"{PREFIX}{metric.name}_bucket"] = Known(known.labels | {"le"}, values)
        else:
            found[PREFIX + metric.name] = known
    kinds = {"kind": tuple(kind.value for kind in Kind)}
    for name in report.METRICS:
        labels = ADDED | {"group"} | ({"kind"} if name == "codes" else set())
        found[report.PREFIX + name] = Known(labels, kinds if name == "codes" else {})
    return found


def problems(expression: str, series: Mapping[str, Known]) -> list[str]:
    """Return what is wrong with the names in an expression: unknown series, labels, values."""
    found = []
    labels: set[str] = set()
    for name, matchers in selectors(expression):
        known = series.get(name) or (Known(OTHERS[name], {}) if name in OTHERS else None)
        if known is None and name.startswith("process_"):
            known = Known(ADDED, {})
        if known is None:
            found.append(f"no such series: {name}")
            continue
        labels |= known.labels
        for label, value in matchers.items():
            if label not in known.labels:
                found.append(f"{name} has no label {label}")
            allowed = known.values.get(label)
            if allowed and "$" not in value:
                others = set(value.split("|")) - set(allowed)
                found += [f"{name} has no {label} {one!r}" for one in sorted(others)]
    strange = groupings(expression) - labels
    return found + [f"no series here has the label {one}" for one in sorted(strange)]


def recorded(expression: str, series: Mapping[str, Known]) -> Known:
    """Return what a recording rule makes: all its parts are aggregated by the same labels."""
    found = re.findall(r" by \(([^)]*)\)", expression)
    kept = {tuple(label.strip() for label in labels.split(",")) for labels in found}
    assert len(kept) <= 1, f"aggregated by several: {expression}"
    labels: set[str] = set(*kept)
    values = {
        label: allowed
        for name, _ in selectors(expression)
        for label, allowed in (series[name].values.items() if name in series else ())
        if label in labels
    }
    return Known(labels, values)


def all_problems(
    rules: Iterable[dict[str, str]], series: Mapping[str, Known]
) -> tuple[dict[str, list[str]], dict[str, Known]]:
    """Return the problems of rules by name, and all series with those that they record.

    Each rule may use what was recorded before it.
    """
    known = dict(series)
    found = {}
    for rule in rules:
        name = rule.get("record") or rule["alert"]
        if wrong := problems(rule["expr"], known):
            found[name] = wrong
        if "record" in rule:
            known[name] = recorded(rule["expr"], known)
    return found, known


def legend_labels(legend: str) -> set[str]:
    """Return the labels that a legend of Grafana names."""
    return set(re.findall(r"\{\{(\w+)\}\}", legend))
