"""The product of two checkouts in turn over one backlog: ``python -m benchmarks.compare OTHER``.

OTHER is a folder with another version of this project, such as ``git worktree add FOLDER COMMIT``
makes. Both run with this environment's interpreter and libraries, so that only the code differs. A
machine's pace changes while it measures. So each round has both, who begins alternates, and what
counts is the ratio within a round.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.report import Run
from benchmarks.run import (
    PROJECT,
    Bench,
    BenchmarkError,
    Program,
    own_variables,
    prepare,
    run_product,
)
from tests.support.kafka_jars import BrokerUnavailable

#: Figures that are compared, with how they are told.
FIGURES = {"cpu_us_per_row": "CPU us/row", "rows_per_second": "rows/s", "peak_mib": "peak MiB"}


def code_of(checkout: Path) -> Program:
    """Return the command that runs the code of a checkout, and its variables."""
    # Before the interpreter's own packages, in which this checkout is installed.
    return [sys.executable, "-m", "consumer.cli"], own_variables() | {
        "PYTHONPATH": str(checkout.resolve())
    }


def rounds(bench: Bench, other: Path, number: int, concurrency: int) -> list[tuple[Run, Run]]:
    """Yield (this checkout, the other) of each round."""
    found = []
    for turn in range(number):
        pair: dict[Path, Run] = {}
        for checkout in (PROJECT, other) if turn % 2 == 0 else (other, PROJECT):
            pair[checkout] = run_product(bench, 0, concurrency, code_of(checkout))
        found.append((pair[PROJECT], pair[other]))
        print(f"round {turn + 1}: {line(*found[-1])}", file=sys.stderr)
    return found


def line(this: Run, other: Run) -> str:
    """Return one round: each figure of both, and this one's over the other's."""
    pairs = (
        (name, this.figures[figure], other.figures[figure]) for figure, name in FIGURES.items()
    )
    return "; ".join(
        f"{name} {here:,.4g} / {there:,.4g} = {here / there:.3f}" for name, here, there in pairs
    )


def summary(pairs: list[tuple[Run, Run]]) -> list[str]:
    """Return the ratios of the rounds for each figure: median, least and most."""
    lines = []
    for figure, name in FIGURES.items():
        ratios = sorted(this.figures[figure] / other.figures[figure] for this, other in pairs)
        lines.append(
            f"{name}: {median(ratios):.3f} of the other's ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )
    return lines


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout's folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--repeats", type=float, default=0.0, help="share of events with an earlier key (0)"
    )
    parser.add_argument("--concurrency", type=int, default=8, help="requests in flight (8)")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    if not (options.other / "consumer" / "cli.py").exists():
        sys.exit(f"{options.other} is no checkout of this project")
    try:
        with ExitStack() as stack:
            pairs = rounds(
                prepare(stack, options), options.other, options.rounds, options.concurrency
            )
    except (BenchmarkError, BrokerUnavailable) as reason:
        sys.exit(str(reason))
    print("\n".join(summary(pairs)))


if __name__ == "__main__":
    main()
