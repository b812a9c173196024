"""The rules for Prometheus: promtool's tests of each, their names, and what they link to."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from consumer.ops.troubles.causes import BY_NAME, NAMES
from consumer.ops.troubles.evidence import STUCK
from tests.deploy import alerts, promql
from tests.docs.blocks import ROOT, blocks

RULES = alerts.alerts()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")


def sections() -> list[str]:
    """Return the runbook's sections."""
    return re.findall(r"^### (.+)$", RUNBOOK, re.MULTILINE)


@pytest.mark.parametrize("path", alerts.FILES, ids=lambda path: path.name)
def test_promtool_accepts_the_rules(path: Path) -> None:
    alerts.promtool("check", "rules", path)


@pytest.mark.parametrize("path", alerts.TESTS, ids=lambda path: path.name)
def test_each_alert_fires_at_its_threshold_and_resolves_and_a_normal_day_is_silent(
    path: Path,
) -> None:
    alerts.promtool("test", "rules", path)


@pytest.mark.parametrize("name", RULES)
def test_promtools_tests_see_each_alert_absent_firing_and_over(name: str) -> None:
    """Hold that no alert is added without its test."""
    wanted = ["absent", "pending", "firing", "absent"]
    if RULES[name]["for"].startswith("0"):
        wanted.remove("pending")
    cases = (case for path in alerts.TESTS for case in alerts.document(path)["tests"])
    assert any(_follow(wanted, _states(case, name)) for case in cases)


def _states(case: dict[str, Any], name: str) -> list[str]:
    """Return what a test of promtool's expects of an alert, in the order of time."""
    checks = [one for one in case.get("promql_expr_test", []) if f'"{name}"' in one["expr"]]
    found = []
    for check in sorted(checks, key=lambda check: _minutes(check["eval_time"])):
        told = str(check["exp_samples"])
        found.append(next((state for state in ("firing", "pending") if state in told), "absent"))
    return found


def _follow(wanted: list[str], states: list[str]) -> bool:
    """Return whether the wanted states come in this order."""
    rest = iter(states)
    return all(state in rest for state in wanted)


def _minutes(text: str) -> int:
    number, unit = int(text[:-1]), text[-1]
    return number * {"m": 1, "h": 60}[unit]


def test_the_rules_name_what_is_exposed_and_nothing_else() -> None:
    found, _ = promql.all_problems(alerts.rules(), promql.exposed())
    assert found == {}


def test_what_an_alerts_text_looks_up_is_exposed_too() -> None:
    _, known = promql.all_problems(alerts.rules(), promql.exposed())
    looked_up = [
        query
        for rule in RULES.values()
        for query in re.findall(r'printf "([^"]+)"', rule["annotations"]["description"])
    ]
    assert len(looked_up) >= 3
    assert [promql.problems(query, known) for query in looked_up] == [[]] * len(looked_up)


def test_a_wrong_name_label_or_value_in_a_rule_is_found() -> None:
    rules = [
        {"record": "scm_consumer:trouble:max", "expr": "max by (cause) (scm_consumer_trouble)"}
    ]
    _, known = promql.all_problems(rules, promql.exposed())
    for wrong in (
        "scm_consumer_lag_second > 1",
        'scm_consumer_lag_seconds{cause="x"} > 1',
        'scm_consumer_trouble{cause=~"api_failing|api_is_failing"}',
        "max by (topics) (scm_consumer_lag_seconds)",
        "scm_consumer:lag_seconds:max > 1",
        'scm_consumer:trouble:max{cause="api_is_failing"} == 1',
        'scm_consumer_event_to_settled_seconds{le="300.0"}',
    ):
        assert promql.problems(wrong, known), wrong
    for right in (
        'max by (topic) (scm_consumer_lag_seconds{job="a"}) > 1',
        'rate(scm_consumer_event_to_settled_seconds_bucket{le="300.0"}[5m])',
        "scm_consumer_trouble{job='$job'} == 1",
        'scm_consumer:trouble:max{cause="api_failing"} == 1',
    ):
        assert promql.problems(right, known) == [], right


def test_a_bucket_that_a_rule_asks_for_is_there() -> None:
    from consumer.core.pipeline import AGES

    for path in alerts.FILES:
        for bound in re.findall(r'le="([^"]+)"', path.read_text(encoding="utf-8")):
            assert bound in map(str, AGES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_where_and_what_to_do(name: str) -> None:
    rule = RULES[name]
    assert re.fullmatch(r"ScmConsumer[A-Z]\w+", name)
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("page", "ticket")
    told = rule["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert "$labels.job" in told["description"], "which group"
    for label in ("topic", "partition", "cause", "field", "instance"):
        if re.search(rf"^[^\n]*by \([^)]*\b{label}\b", rule["expr"]):
            assert f".{label}" in told["summary"] + told["description"], label


@pytest.mark.parametrize("name", RULES)
def test_an_alerts_runbook_is_there(name: str) -> None:
    assert RULES[name]["annotations"]["runbook_url"].startswith(alerts.BASE)
    found = alerts.anchors(RULES[name])
    assert found
    assert set(found) <= set(sections())


def test_every_cause_has_its_section_and_no_section_is_without_a_cause_or_an_alert() -> None:
    causes = {name.replace("_", "-") for name in NAMES}
    linked = {anchor for rule in RULES.values() for anchor in alerts.anchors(rule)}
    assert set(sections()) == causes | linked
    assert len(sections()) == len(set(sections()))


def test_whatever_needs_a_person_is_told_by_an_alert() -> None:
    linked = {anchor for rule in RULES.values() for anchor in alerts.anchors(rule)}
    assert {
        cause.name.replace("_", "-") for cause in BY_NAME.values() if cause.severity == STUCK
    } <= linked


def test_every_section_of_the_runbook_has_its_four_parts() -> None:
    bodies = re.split(r"^### .+$", RUNBOOK, flags=re.MULTILINE)[1:]
    for heading, body in zip(sections(), bodies, strict=True):
        for part in ("**You see**", "**Look at**", "**do", "**Over**"):
            assert part.lower() in body.lower(), f"{heading}: {part}"


def test_the_pages_table_is_that_of_the_rules() -> None:
    rows = re.findall(
        r"^\| (ScmConsumer\w+) \| (\w+) \| .* \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE
    )
    told = {
        name: (severity, held, re.findall(r"#([\w-]+)\)", links))
        for name, severity, held, links in rows
    }
    assert told == {
        name: (rule["labels"]["severity"], rule["for"], alerts.anchors(rule))
        for name, rule in RULES.items()
    }


def test_the_address_of_the_runbook_is_changed_by_the_command_that_the_page_gives(
    tmp_path: Path,
) -> None:
    shutil.copytree(alerts.FOLDER, tmp_path / "deploy" / "prometheus")
    (block,) = (block for block in blocks("docs/alerts.md") if block.tag == "alerts")
    subprocess.run(["/bin/sh", "-ec", block.text], cwd=tmp_path, check=True)
    copies = [tmp_path / path.relative_to(ROOT) for path in alerts.FILES]
    for copy in copies:
        for rule in alerts.rules(copy):
            if "alert" in rule:
                url = rule["annotations"]["runbook_url"]
                assert url.startswith("https://wiki.example.org/scm/docs/runbook.md#")


def test_alertmanagers_example_names_alerts_that_are_there() -> None:
    (block,) = (b for b in blocks("docs/alerts.md") if b.language == "yaml" and "route:" in b.text)
    named = re.findall(r'alertname=~"ScmConsumer\(([^)]*)\)"', block.text)
    assert len(named) == 2
    assert {f"ScmConsumer{one}" for some in named for one in some.split("|")} <= RULES.keys()
