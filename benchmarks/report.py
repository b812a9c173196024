"""Figures of the runs: medians, ratios, the table for people and the object for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.measure import Cost
from benchmarks.standin import Ceiling, Stats

LIBRARIES = ("confluent-kafka", "msgspec", "orjson", "requests", "urllib3")


@dataclass(frozen=True)
class Run:
    """One program over the backlog once. ``concurrency``: the product's, or the floor's threads."""

    program: str
    latency_ms: int
    concurrency: int
    cost: Cost
    stats: Stats

    @property
    def figures(self) -> dict[str, float]:
        """Return what is compared: rates per second, CPU in microseconds, memory in MiB."""
        rows, cpu = self.stats.rows, self.cost.user_seconds + self.cost.system_seconds
        return {
            "rows_per_second": rows / self.stats.busy_seconds,
            "rows_per_second_with_start": rows / self.cost.wall_seconds,
            "cpu_us_per_row": cpu / rows * 1e6,
            "peak_mib": self.cost.peak_mib,
            "rows_per_request": rows / self.stats.requests,
            "most_in_flight": self.stats.most_in_flight,
            "standin_cpu_us_per_request": self.stats.cpu_seconds / self.stats.requests * 1e6,
        }


def medians(runs: Sequence[Run]) -> dict[tuple[str, int, int], dict[str, float]]:
    """Return the median of every figure over the rounds of each (program, latency, concurrency)."""
    grouped: dict[tuple[str, int, int], list[dict[str, float]]] = {}
    for run in runs:
        grouped.setdefault((run.program, run.latency_ms, run.concurrency), []).append(run.figures)
    return {
        case: {name: median(figures[name] for figures in rounds) for name in rounds[0]}
        for case, rounds in grouped.items()
    }


def ratios(runs: Sequence[Run]) -> list[str]:
    """Return ratios of medians: product over floor, and the product over itself at 0 ms.

    There is one of the first kind for each latency. Of floors with several numbers of threads the
    best counts, for each figure by itself.
    """
    found = medians(runs)
    products = {
        latency: figures for (program, latency, _), figures in found.items() if program == "product"
    }
    floors: dict[int, dict[str, float]] = {}
    for (program, latency, _), each in found.items():
        if program == "floor":
            best = floors.setdefault(latency, dict(each))
            best["rows_per_second"] = max(best["rows_per_second"], each["rows_per_second"])
            best["cpu_us_per_row"] = min(best["cpu_us_per_row"], each["cpu_us_per_row"])
    lines = []
    for latency in products.keys() & floors.keys():
        rate, cpu = (
            products[latency][name] / floors[latency][name]
            for name in ("rows_per_second", "cpu_us_per_row")
        )
        lines.append(
            f"product / floor at {latency} ms: {rate:.2f} x the rows/s, {cpu:.2f} x the CPU per row"
        )
    for latency in products.keys() - {0} if 0 in products else ():
        rate = products[latency]["rows_per_second"] / products[0]["rows_per_second"]
        lines.append(f"product at {latency} ms / at 0 ms: {rate:.2f} x the rows/s")
    return sorted(lines)


def line(run: Run, number: int) -> str:
    """Return one run as a line of progress."""
    figures = run.figures
    return (
        f"round {number}: {run.program} at {run.latency_ms} ms with {run.concurrency}: "
        f"{figures['rows_per_second']:,.0f} rows/s, {figures['cpu_us_per_row']:.1f} us of CPU a row"
    )


def table(runs: Sequence[Run], ceilings: Sequence[Ceiling]) -> str:
    """Return the medians for people."""
    columns: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("rows/s", "rows_per_second", lambda value: f"{value:,.0f}"),
        ("with start", "rows_per_second_with_start", lambda value: f"{value:,.0f}"),
        ("CPU us/row", "cpu_us_per_row", lambda value: f"{value:.2f}"),
        ("peak MiB", "peak_mib", lambda value: f"{value:.0f}"),
        ("rows/request", "rows_per_request", lambda value: f"{value:.2f}"),
        ("in flight", "most_in_flight", lambda value: f"{value:.0f}"),
    )
    lines = []
    if ceilings:
        lines.append(
            "stand-in's own ceiling   requests/s   CPU us/request   client's CPU us/request"
        )
        lines += [
            f"  {found.connections} connections{found.requests_per_second:>20,.0f}"
            f"{found.cpu_us_per_request:>17.1f}{found.client_cpu_us_per_request:>26.1f}"
            for found in ceilings
        ]
    if runs:
        lines.append(f"{'median of':<26}" + "".join(f"{title:>14}" for title, _, _ in columns))
    for (program, latency, concurrency), figures in medians(runs).items():
        cells = "".join(f"{show(figures[name]):>14}" for _, name, show in columns)
        lines.append(f"{f'{program}, {latency} ms, {concurrency}':<26}{cells}")
    return "\n".join(lines + ratios(runs))


def figures(runs: Sequence[Run], ceilings: Sequence[Ceiling]) -> dict[str, Any]:
    """Return everything for programs: each run with cost and stats, medians, ratios, ceilings."""
    return {
        "ceilings": [msgspec.to_builtins(found) for found in ceilings],
        "medians": [
            {"program": program, "latency_ms": latency, "concurrency": concurrency} | found
            for (program, latency, concurrency), found in medians(runs).items()
        ],
        "ratios": ratios(runs),
        "runs": [
            {"program": run.program, "latency_ms": run.latency_ms, "concurrency": run.concurrency}
            | {
                "figures": run.figures,
                "cost": asdict(run.cost),
                "stats": msgspec.to_builtins(run.stats),
            }
            for run in runs
        ],
    }


def machine() -> dict[str, Any]:
    """Return where the figures come from: processor, Python, libraries, how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [text for text in cpuinfo.read_text().splitlines() if "model name" in text]
        if cpuinfo.exists()
        else []
    )
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "load_average": os.getloadavg(),
    }
