"""Thousands of seeds hold all invariants; a seed is the same run each time; a bug is found and
shown.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumer.core import pipeline
from consumer.core.acknowledgements import Acknowledgements
from consumer.core.offsets import commits
from consumer.core.offsets import partition as offsets
from consumer.core.ordering import claims
from tests.simulation.run import REQUIRED, REQUIRED_SHARE, coverage, run_seed, run_seeds, told
from tests.simulation.trace import Trace

ROOT = Path(__file__).parents[2]
SEEDS = 500
#: A tenth of thousands (`make simulate`) may be less of so few: two standard deviations.
FEWEST = REQUIRED_SHARE - 2 * (REQUIRED_SHARE * (1 - REQUIRED_SHARE) / SEEDS) ** 0.5


@pytest.mark.promise(
    "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "fencing", "lost-answer", "budget"
)
def test_every_seed_holds_all_invariants_and_enough_is_covered() -> None:
    outcomes = list(run_seeds(range(SEEDS)))
    failed = sorted(
        (outcome for outcome in outcomes if outcome.failure), key=lambda outcome: outcome.seed
    )
    if failed:
        trace = Trace()
        pytest.fail(
            f"{len(failed)} of {SEEDS} seeds fail\n{told(run_seed(failed[0].seed, trace), trace)}"
        )
    shares = coverage(outcomes)
    few = {name: shares[name] for name in REQUIRED if shares[name] < FEWEST}
    assert not few, f"in too few of the seeds: {few}"


@pytest.mark.parametrize("seed", [3, 121, 12])
def test_a_seed_is_the_same_run_each_time_in_any_process(seed: int) -> None:
    trace = Trace()
    run_seed(seed, trace)
    assert len(trace.lines) > 100
    again = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
    for hashes in ("1", "2"):
        run = subprocess.run(
            again,
            cwd=ROOT,
            env={"PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert run.stdout.splitlines()[: len(trace.lines)] == trace.lines, run.stderr


def _first_failure(seeds: range) -> str:
    """Return what the oracle says of the first seed that fails, and its replay says the same."""
    for seed in seeds:
        outcome = run_seed(seed)
        if outcome.failure:
            trace = Trace()
            again = run_seed(seed, trace)
            assert again.failure == outcome.failure, "the replay is another run"
            text = told(again, trace)
            assert f"SEED={seed}" in text
            assert len(text.splitlines()) > 10
            return outcome.failure
    return ""


def _committable_offset_plus_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = offsets.Partition.committable_offset.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(
        offsets.Partition,
        "committable_offset",
        property(lambda self: min(real(self) + 1, max(real(self), self.position))),
    )


def _claims_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    real = claims.Claims.acquire

    def acquire(self: claims.Claims, rows: list[Any]) -> tuple[list[Any], list[Any]]:
        ready, expedited = real(self, rows)
        waiting = [row for row in rows if row.blocked]
        return ready + waiting, expedited

    monkeypatch.setattr(claims.Claims, "acquire", acquire)


def _double_count(monkeypatch: pytest.MonkeyPatch) -> None:
    real = offsets.settle

    def settle(rows: list[Any], timestamps: list[int]) -> int:
        for row in rows[:1]:
            row.record.partition.ledger.accepted += row.record.offset == 150
        return real(rows, timestamps)

    monkeypatch.setattr(pipeline, "settle", settle)


def _letter_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Acknowledgements.add_dead_letter

    def add_dead_letter(self: Acknowledgements, row: Any, rejection: Any) -> None:
        real(self, row, rejection)
        if row.record.offset % 7 == 0:
            self._dead_letters.pop()

    monkeypatch.setattr(Acknowledgements, "add_dead_letter", add_dead_letter)


def _no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "encode", lambda *_: "")


def _receipt_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pipeline.Pipeline._carry_out

    def carry_out(self: pipeline.Pipeline, result: Any, now: float) -> None:
        self._writes_receipts = False
        real(self, result, now)

    monkeypatch.setattr(pipeline.Pipeline, "_carry_out", carry_out)


@pytest.mark.promise("I1", "I2", "I3", "I4", "I5", "I7", "I8")
@pytest.mark.parametrize(
    ("break_it", "invariant"),
    [
        (_committable_offset_plus_one, "I3:"),
        (_claims_forgotten, ("I2:", "I4:", "I5:")),
        (_double_count, "I5:"),
        (_letter_dropped, "I8:"),
        (_no_map, "I7:"),
        (_receipt_not_awaited, ("I1:", "I3:", "I5:")),
    ],
)
def test_a_broken_program_is_found_by_its_invariant_and_its_seed_replays(
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    invariant: str | tuple[str, ...],
) -> None:
    break_it(monkeypatch)
    assert _first_failure(range(20)).startswith(invariant)
