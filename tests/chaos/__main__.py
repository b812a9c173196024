"""``python -m tests.chaos --seed N --minutes M``: exit 1 with the seed and findings if any."""

from __future__ import annotations

import argparse
import pickle
import random
import shutil
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.driver import Driver
from tests.chaos.evidence import Evidence
from tests.chaos.judge import judge
from tests.chaos.report import report
from tests.chaos.run import EVIDENCE, run
from tests.chaos.toxiproxy import ToxiproxyUnavailableError
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.surroundings import settle


def main() -> int:
    """Run, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="of faults; 0: the short round of CI"
    )
    parser.add_argument(
        "--judge", type=Path, metavar="FOLDER", help="judge the evidence of an earlier run again"
    )
    options = parser.parse_args()
    if options.judge:
        return tell(pickle.loads((options.judge / EVIDENCE).read_bytes()))
    click.echo(f"seed {options.seed}", err=True)

    def plan(driver: Driver) -> None:
        if options.minutes:
            driver.long(options.minutes * 60)
        else:
            driver.short()

    settle()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{options.seed}-"))
    try:
        evidence = run(options.seed, plan, 2, folder)
    except (BrokerUnavailable, ToxiproxyUnavailableError) as reason:
        click.echo(reason, err=True)
        return 1
    if tell(evidence):
        click.echo(f"evidence: {folder} (again: python -m tests.chaos --judge {folder})")
        return 1
    shutil.rmtree(folder)
    return 0


def tell(evidence: Evidence) -> int:
    """Judge, print the report, and say how to exit."""
    verdict = judge(evidence)
    click.echo(report(evidence, verdict))
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
