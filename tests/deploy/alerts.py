"""The rules in deploy/prometheus as the tests read them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
FILES = tuple(FOLDER / name for name in ("rules.yml", "slo.yml", "reconcile.yml"))
TESTS = tuple(sorted(FOLDER.glob("*_test.yml")))
#: Where the runbook is said to be; who deploys replaces it.
BASE = "https://example.com/scm-consumer/"

Rule = dict[str, Any]


def document(path: Path) -> Any:
    """Return a YAML file as Prometheus reads it."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def rules(*files: Path) -> list[Rule]:
    """Return the rules of these files, by default of all, in their order."""
    return [
        rule
        for path in files or FILES
        for group in document(path)["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, Rule]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def causes(alert: Rule) -> list[str]:
    """Return the values of ``cause`` that an alert of this rule can have."""
    found = re.search(r'scm_consumer:trouble:max\{\s*cause=~"([^"]+)"', alert["expr"])
    named = None if alert["expr"].startswith("max by (job)") else found
    return named[1].split("|") if named else []


def anchors(alert: Rule) -> list[str]:
    """Return the sections of the runbook that an alert of this rule may link to."""
    page, _, anchor = alert["annotations"]["runbook_url"].removeprefix(BASE).partition("#")
    assert page == "docs/runbook.md", page
    if anchor == '{{ $labels.cause | reReplaceAll "_" "-" }}':
        return [cause.replace("_", "-") for cause in causes(alert)]
    return [anchor]


def promtool(*arguments: object) -> None:
    """Run Prometheus' tool; fail with what it says."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
