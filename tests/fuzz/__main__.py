"""``python -m tests.fuzz --inputs 1000000``: read so many inputs, and say what became of them."""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections import Counter
from typing import Any

from tests.fuzz.inputs import input_of
from tests.fuzz.judge import Judge

#: More memory than this is a finding.
MOST_BYTES = 2 * 1024**3
HANGS_AFTER_SECONDS = 60


def _part(numbers: range) -> tuple[Counter[str], tuple[float, int], int, list[str]]:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    judge = Judge()
    findings: list[str] = []
    for number in numbers:
        if number % 1000 == 0:
            faulthandler.dump_traceback_later(HANGS_AFTER_SECONDS, exit=True)
        raw = input_of(number)
        try:
            judge.read(number, raw)
        except Exception:
            findings.append(f"input {number}: {raw[:300]!r}\n{traceback.format_exc()}")
            judge = Judge()
            if len(findings) == 10:
                break
    faulthandler.cancel_dump_traceback_later()
    return judge.made, judge.slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, findings


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0, help="the number of the first input")
    options = parser.parse_args()
    began = time.monotonic()
    processes = os.cpu_count() or 1
    step = -(-options.inputs // processes)
    end = options.start + options.inputs
    parts = [range(start, min(start + step, end)) for start in range(options.start, end, step)]
    made: Counter[str] = Counter()
    findings: list[str] = []
    slowest: tuple[float, int] = (0.0, 0)
    most = 0
    with multiprocessing.Pool(processes) as pool:
        results: Any = pool.imap_unordered(_part, parts)
        for counts, slow, peak, found in results:
            made += counts
            slowest, most = max(slowest, slow), max(most, peak)
            findings += found
    for what, count in sorted(made.items()):
        sys.stdout.write(f"{what:40} {count:10,}\n")
    sys.stdout.write(
        f"{made.total():,} inputs in {time.monotonic() - began:.0f} s; "
        f"the slowest took {1000 * slowest[0]:.0f} ms "
        f"(input {slowest[1]}); at most {most // 1024} MiB of memory; {len(findings)} findings\n"
    )
    for finding in findings:
        sys.stdout.write(f"\n{finding}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
