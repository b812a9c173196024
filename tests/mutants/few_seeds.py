"""Some seeds of the simulation as one test: for mutants only, ``tests/simulation`` runs
thousands.
"""

from __future__ import annotations

from tests.mutants.verdict import INVARIANT
from tests.simulation.run import run_seed

SEEDS = 60


def test_some_seeds_hold_all_invariants() -> None:
    for seed in range(SEEDS):
        failure = run_seed(seed).failure
        if failure and not INVARIANT.match(failure):
            raise RuntimeError(f"seed {seed}: {failure}")
        assert not failure, f"{failure.splitlines()[0]} (seed {seed} of the simulation)"
