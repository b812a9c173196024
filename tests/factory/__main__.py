"""``python -m tests.factory``: the factory's day in every format and mode, on a real Kafka."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.factory.run import FORMATS, MODES, run_day
from tests.support.kafka_sources import open_kafka


def say(text: str) -> None:
    """Print a line of the report, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Return the exit code: 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.factory", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument(
        "--format", choices=FORMATS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--mode", choices=MODES, action="append", help="only this one; may be repeated"
    )
    options = parser.parse_args()
    failed = False
    with open_kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        say(f"{options.items:,} items; {kafka.source}")
        say(
            "| format | mode | records | rows | rows applied | requests | tasks | seconds | "
            "differences |"
        )
        say("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for form in options.format or FORMATS:
            for mode in options.mode or MODES:
                told = run_day(kafka, Path(folder) / f"{form}-{mode}", options.items, form, mode)
                figures = (told.records, told.rows, told.applied, told.requests, told.tasks)
                cells = [form, mode, *(f"{figure:,}" for figure in figures), f"{told.seconds:.1f}"]
                say(f"| {' | '.join(cells)} | {len(told.findings)} |")
                for finding in told.findings[:20]:
                    say(f"  {finding}")
                failed = failed or bool(told.findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
