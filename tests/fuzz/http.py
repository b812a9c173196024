"""``python -m tests.fuzz.http --conversations 100000``: hold so many, and say what came of them."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from tests.component.wire import make_certificate
from tests.fuzz.conversations import Judge

#: Conversations at once in each process: much of what they do is waiting for a deadline.
AT_ONCE = 6
MOST_FINDINGS = 10


def held(given: tuple[range, Path, float]) -> tuple[Counter[str], float, list[str]]:
    """Hold these conversations; return counts, how late the latest call ended, and findings."""
    numbers, folder, timeout = given
    made = make_certificate(folder, f"api{numbers.start}", "IP:127.0.0.1")
    left = iter(numbers)
    lock = threading.Lock()
    judges: list[Judge] = []
    findings: list[str] = []

    def hold() -> None:
        judge = Judge(made.pem, made.server(), timeout)
        judges.append(judge)
        while len(findings) < MOST_FINDINGS:
            with lock:
                number = next(left, None)
            if number is None:
                break
            try:
                judge.hold(number)
            except Exception:
                findings.append(f"conversation {number}\n{traceback.format_exc()}")
        judge.close()

    threads = [threading.Thread(target=hold) for _ in range(min(AT_ONCE, len(numbers)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts: Counter[str] = Counter()
    for judge in judges:
        counts += judge.made
    return counts, max(judge.longest for judge in judges), findings


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.http")
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0, help="the number of the first conversation")
    parser.add_argument("--timeout", type=float, default=0.5, help="seconds that a call may take")
    given = parser.parse_args()
    began = time.monotonic()
    processes = os.cpu_count() or 1
    step = -(-given.conversations // processes)
    end = given.start + given.conversations
    made: Counter[str] = Counter()
    findings: list[str] = []
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Pool(processes) as pool:
        ranges = [range(start, min(start + step, end)) for start in range(given.start, end, step)]
        parts: list[Any] = [(numbers, Path(folder), given.timeout) for numbers in ranges]
        for counts, late, found in pool.imap_unordered(held, parts):
            made += counts
            longest = max(longest, late)
            findings += found
    for what, count in sorted(made.items()):
        sys.stdout.write(f"{what:24} {count:10,}\n")
    sys.stdout.write(
        f"{given.conversations:,} conversations, "
        f"{made.total():,} calls in {time.monotonic() - began:.0f} s; "
        f"the latest ended {1000 * longest:.0f} ms after its deadline; {len(findings)} findings\n"
    )
    for finding in findings:
        sys.stdout.write(f"\n{finding}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
