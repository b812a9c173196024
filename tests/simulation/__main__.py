"""``python -m tests.simulation``: many seeds with their coverage, or one seed with its trace."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.run import (
    REQUIRED,
    REQUIRED_SHARE,
    Outcome,
    coverage,
    run_seed,
    run_seeds,
    told,
)
from tests.simulation.trace import Trace


def main() -> int:
    """Return 0 when all invariants held and enough was covered, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="one seed only, with its trace")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes; 0: one for each processor"
    )
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed)
    return _many(range(options.first, options.first + options.seeds), options.workers)


def _replay(seed: int) -> int:
    trace = Trace()
    outcome = run_seed(seed, trace)
    print("\n".join(trace.lines))
    print(f"\nseed {seed}: {outcome.failure or 'all invariants hold'}")
    return 1 if outcome.failure else 0


def _many(seeds: range, workers: int) -> int:
    began = time.monotonic()
    outcomes: list[Outcome] = []
    failed: list[Outcome] = []
    for outcome in run_seeds(seeds, workers):
        outcomes.append(outcome)
        if outcome.failure:
            failed.append(outcome)
            print(
                f"seed {outcome.seed}: {outcome.failure.strip().splitlines()[-1]}", file=sys.stderr
            )
    shares = coverage(outcomes)
    print("share of the seeds with")
    for name, share in shares.items():
        print(f"  {100 * share:5.1f} %  {name}{' (required)' if name in REQUIRED else ''}")
    events, hours = sum(o.events for o in outcomes), sum(o.seconds for o in outcomes) / 3600
    print(
        f"{len(outcomes)} seeds, {events:,} events, {hours:,.1f} simulated hours, "
        f"{time.monotonic() - began:.0f} s; "
        f"{len(failed)} failed"
    )
    if failed:
        first = min(failed, key=lambda outcome: outcome.seed)
        trace = Trace()
        print(told(run_seed(first.seed, trace), trace))
    missing = [name for name in REQUIRED if shares[name] < REQUIRED_SHARE]
    if missing:
        print(f"in too few seeds: {', '.join(missing)}", file=sys.stderr)
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
