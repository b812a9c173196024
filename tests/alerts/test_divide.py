"""Dividing the rules: every duration, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from consumer.core.pipeline import AGES
from tests.alerts.divide import divided
from tests.alerts.prometheus import BY
from tests.deploy import alerts


def test_every_duration_is_divided_and_nothing_else() -> None:
    text = """
        expr: |-
          max(lag) > 900  # seconds
            and rate(x_total[5m]) > 0.5 and y{le="300.0"} offset 1h >= 20
        for: 10m
        keep_firing_for: 0m
        labels: {severity: page, why: 5m of it}
    """
    assert (
        divided(text, 30)
        == """
        expr: |-
          max(lag) > 30  # seconds
            and rate(x_total[10s]) > 0.5 and y{le="10.0"} offset 120s >= 20
        for: 20s
        keep_firing_for: 0s
        labels: {severity: page, why: 5m of it}
    """
    )


def test_no_duration_of_the_rules_is_left_as_it_was(tmp_path: Path) -> None:
    for path in alerts.FILES:
        text = divided(path.read_text(encoding="utf-8"), BY)
        file = tmp_path / path.name
        file.write_text(text)
        alerts.promtool("check", "rules", file)
        assert not re.findall(r"(?:for: |\[|offset )\d+[mhd]\b", text)
        for rule in alerts.rules(file):
            bare = re.findall(r"_seconds(?!_total)\S*\s*> \d+\b(?!  # seconds)", rule["expr"])
            assert not bare, f"mark it as seconds: {rule['expr']}"
        for bound in re.findall(r'le="([^"]+)"', text):
            assert float(bound) in AGES
