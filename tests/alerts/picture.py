"""A picture of the dashboard's panels over a real run: ``python -m tests.alerts.picture FILE.png``.

It is not Grafana, which is in none of the registries that the tests install from. The queries are
the dashboard's, the values a real consumer's by a real Prometheus; the curves are drawn here, and
Chromium photographs them.
"""

from __future__ import annotations

import html
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.alerts.prometheus import Prometheus
from tests.alerts.site import Site
from tests.deploy.dashboard import ROWS, WIDTH, Panel, Query, legend_of
from tests.support.kafka_sources import open_kafka
from tests.support.surroundings import settle

#: Rate interval of the queries: the scrapes are a second apart.
INTERVAL = "10s"
COLUMN, HEIGHT, CHART = 60, {"stat": 84, "timeseries": 190}, 120
COLOURS = ("#3366aa", "#cc7722", "#228855", "#aa3366", "#7755aa", "#888833", "#228899", "#995544")

Points = list[tuple[float, float]]


class Curve(NamedTuple):
    """A series of a panel, as it was over the run."""

    name: str
    points: Points


def play(site: Site) -> None:
    """Have something to show: a quiet start, bad rows, the API away, and the backlog worked off."""
    site.settings["api"] = {"requests_per_second": 10}
    site.item = lambda number: {
        "extended_id": f"{'UNKNOWN' if number % 50 == 0 else 'CODE'}{number}",
        "line": "1",
    }
    site.begin("a", "b")
    site.feed(200)
    site.wait_applied(10_000)
    fault = site.sandbox.faults.add("status", code=503, path="any")
    site.wait_late(40)
    site.sandbox.faults.remove(fault)
    site.wait_applied(16_000)  # what is late, and what comes meanwhile
    site.stop("b")
    site.wait_applied(6_000)


def main() -> None:
    """Run, ask, draw."""
    settle()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="picture-")))
        kafka = stack.enter_context(open_kafka())
        prometheus = Prometheus(folder / "prometheus")
        stack.callback(prometheus.close)
        prometheus.start()
        site = stack.enter_context(Site("picture", kafka, prometheus, folder / "site", 4))
        began = time.time()
        play(site)
        page = drawn(prometheus, site.name, began, time.time())
    photograph(page, Path(sys.argv[1]))


def drawn(prometheus: Prometheus, job: str, began: float, ended: float) -> str:
    """Return the page: the dashboard's rows and panels."""
    parts = []
    for title, panels in ROWS:
        parts.append(f"<h2>{html.escape(title)}</h2><div class=row>")
        for panel in panels:
            curves = list(_curves(prometheus, panel, job, began, ended))
            inside = _stat(curves, panel) if panel.kind == "stat" else _chart(curves, panel)
            width = panel.width * COLUMN - 10
            style = f"width:{width}px;height:{HEIGHT[panel.kind]}px"
            parts.append(
                f"<section style='{style}'><h3>{html.escape(panel.title)}</h3>{inside}</section>"
            )
        parts.append("</div>")
    return _PAGE.replace("WIDTH", str(WIDTH * COLUMN)).replace("BODY", "\n".join(parts))


def photograph(page: str, target: Path) -> None:
    """Have Chromium make a picture of a page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        height = 90 + sum(
            30
            + sum(HEIGHT[panels[0].kind] + 10 for _ in range(0, sum(p.width for p in panels), 24))
            for _, panels in ROWS
        )
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
        size = f"--window-size={WIDTH * COLUMN + 40},{height}"
        command = ["chromium", *options, size, f"--screenshot={target.absolute()}", str(file)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)


def _curves(
    prometheus: Prometheus, panel: Panel, job: str, began: float, ended: float
) -> Iterator[Curve]:
    for query in panel.queries:
        expr = query.expr.replace("$job", job).replace("$__rate_interval", INTERVAL)
        for series in prometheus.query_range(expr, began, ended, 1.0):
            points = [(float(at), float(value)) for at, value in series["values"]]
            yield Curve(_name(query, series["metric"]), points)


def _name(query: Query, labels: dict[str, str]) -> str:
    return legend_of(query.legend, labels) if query.legend else "value"


def _stat(curves: list[Curve], panel: Panel) -> str:
    latest = max((curve.points[-1][0] for curve in curves if curve.points), default=0.0)
    now = [(c.name, c.points[-1][1]) for c in curves if c.points and c.points[-1][0] >= latest - 2]
    if panel.empty:
        told = ", ".join(name for name, _ in now) or panel.empty
    else:
        told = " / ".join(_number(value, panel.unit) for _, value in now) or "no data"
    bad = panel.limit is not None and any(value >= panel.limit for _, value in now)
    return f"<p class='{'bad' if bad else 'good'}'>{html.escape(told)}</p>"


def _chart(curves: list[Curve], panel: Panel) -> str:
    finite = [[(at, v) for at, v in curve.points if math.isfinite(v)] for curve in curves]
    values = [v for points in finite for _, v in points]
    if not values:
        return "<p class=none>nothing to show</p>"
    times = [at for points in finite for at, _ in points]
    low, high = min(times), max(times)
    top = max(values) * 1.1 or 1.0
    wide = panel.width * COLUMN - 80
    lines = []
    for number, points in enumerate(finite):
        # A gap of more than two scrapes is a gap.
        path, before = [], -math.inf
        for at, value in points:
            x = (at - low) / max(1.0, high - low) * wide
            y = CHART - value / top * CHART
            path.append(f"{'M' if at - before > 3 else 'L'}{x:.1f} {y:.1f}")
            before = at
        colour = COLOURS[number % len(COLOURS)]
        lines.append(f"<path d='{' '.join(path)}' fill=none stroke='{colour}' stroke-width=1.5 />")
    legend = "".join(
        f"<i style='color:{COLOURS[number % len(COLOURS)]}'>{html.escape(curve.name)}</i>"
        for number, curve in enumerate(curves)
        if any(v for _, v in curve.points) or len(curves) == 1
    )
    axis = f"<text x='{wide + 4}' y=10>{_number(max(values), panel.unit)}</text>"
    return (
        f"<svg width='{wide + 60}' height='{CHART + 4}'><rect width='{wide}' height='{CHART}' />"
        f"{''.join(lines)}{axis}<text x='{wide + 4}' y='{CHART}'>0</text></svg>"
        f"<div class=legend>{legend}</div>"
    )


def _number(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "never" if value > 0 else "not known"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "percentunit":
        return f"{value:.0%}"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} s" if unit == "s" else text


_PAGE = """<!doctype html><meta charset=utf-8><style>
body{font:13px sans-serif;margin:16px;width:WIDTHpx;color:#222}
h1{font-size:17px;margin:0}h2{font-size:14px;margin:10px 0 4px}h3{font-size:12px;margin:0 0 4px}
.row{display:flex;flex-wrap:wrap;gap:10px}section{box-sizing:border-box;border:1px solid #ccc;
padding:6px;overflow:hidden}p{margin:4px 0;font-size:22px}.bad{color:#b3261e}.good{color:#1b6e3c}
.none{font-size:12px;color:#888}rect{fill:#f6f6f6}text{font-size:10px;fill:#666}
.legend i{font-style:normal;font-size:11px;margin-right:10px}
</style><h1>scm-consumer: the panels of deploy/grafana/dashboard.json over a real run</h1>
<div>Drawn from the dashboard's queries by tests/alerts/picture.py; this is not Grafana.</div>
BODY"""


if __name__ == "__main__":
    main()
