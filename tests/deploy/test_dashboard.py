"""The dashboard for Grafana: it is the table's, its queries are PromQL over series that are there.

Grafana itself is not run: it is not in the registries that the tests install from.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.deploy import alerts, dashboard, promql
from tests.deploy.compose import ROOT
from tests.deploy.promql import exposed as series

FILE = ROOT / "deploy" / "grafana" / "dashboard.json"


def queries() -> list[str]:
    """Return every query of the committed file, variables replaced as Grafana does it."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in _panels(document) for target in panel["targets"]]
    found += [annotation["expr"] for annotation in document["annotations"]["list"]]
    return [one.replace("$job", "scm-consumer").replace("$__rate_interval", "5m") for one in found]


def _panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def test_the_committed_file_is_the_one_that_the_table_gives() -> None:
    assert FILE.read_text(encoding="utf-8") == dashboard.text(), "run make docs"


def test_every_query_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"q:{number}", "expr": expr} for number, expr in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))  # JSON is YAML
    assert len(rules) > 30
    alerts.promtool("check", "rules", "--lint=none", file)


def test_every_query_names_series_and_labels_that_are_there() -> None:
    _, known = promql.all_problems(alerts.rules(), series())
    assert {query: wrong for query in queries() if (wrong := promql.problems(query, known))} == {}


def test_every_query_is_narrowed_to_the_chosen_group() -> None:
    for query in queries():
        for selector in promql.selectors(query):
            assert selector.matchers.get("job") == "scm-consumer", query


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    for _, panels in dashboard.ROWS:
        for panel in panels:
            for query in panel.queries:
                for label in promql.legend_labels(query.legend):
                    kept = promql.groupings(query.expr)
                    recorded = {"topic", "partition"} if "scm_consumer:lag" in query.expr else set()
                    assert label in kept | recorded, panel.title


def test_no_panel_lies_over_another_and_each_says_what_it_shows() -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= dashboard.WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = sorted({y for _, y in taken})
    assert all(after == before + 1 for before, after in pairwise(rows)), "no empty line"
    assert all(panel["description"] for panel in _panels(document))
