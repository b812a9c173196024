"""``python -m tests.alerts [NAME ...]``: play the cases, print the table of docs/alerts.md.

Exit 1 if one fails. With names, only those cases.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click

from tests.alerts.cases import CASES, Case
from tests.alerts.prometheus import BY, Prometheus
from tests.alerts.run import Outcome, play
from tests.support.kafka_sources import open_kafka
from tests.support.surroundings import settle


def main() -> int:
    """Play, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.alerts", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--side-by-side", type=int, default=3, metavar="N")
    options = parser.parse_args()
    if strange := set(options.names) - {case.name for case in CASES}:
        parser.error(f"no such case: {', '.join(sorted(strange))}")
    cases = [case for case in CASES if not options.names or case.name in options.names]
    settle()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alerts-")))
        kafka = stack.enter_context(open_kafka())
        prometheus = Prometheus(folder / "prometheus")
        stack.callback(prometheus.close)
        prometheus.start()

        def one(case: Case) -> Outcome:
            outcome = play(case, kafka, prometheus, folder)
            click.echo(f"{case.name}: {outcome.problem or 'as it must'}", err=True)
            return outcome

        with ThreadPoolExecutor(options.side_by_side) as pool:
            outcomes = list(pool.map(one, cases))
    click.echo(table(outcomes))
    return int(any(outcome.problem for outcome in outcomes))


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a table; seconds are those of the divided durations."""
    lines = [
        f"Durations divided by {BY}; seconds since the fault was on, or off.",
        "",
        "| fault | alert | pending | firing | over | troubles told | beside it |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in outcomes:
        for name in outcome.case.alerts or ("none",):
            times = [
                f"{found[name]:.0f} s" if name in found else "-"
                for found in (outcome.pending, outcome.firing, outcome.resolved)
            ]
            cells = [
                outcome.case.fault,
                name,
                *times,
                ", ".join(outcome.troubles),
                ", ".join(sorted(outcome.beside)),
            ]
            lines.append(f"| {' | '.join(cells)} |" + (" FAILED" if outcome.problem else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
