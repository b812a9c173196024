"""The short round of chaos, for CI: a fixed seed, everything at least once, three kills."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.chaos.driver import Driver
from tests.chaos.judge import judge
from tests.chaos.report import report
from tests.chaos.run import run

SEED = 20


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_a_short_round_of_chaos_loses_nothing_and_repeats_nothing_without_a_reason() -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{SEED}-"))  # kept if it fails: members' logs and the evidence
    evidence = run(SEED, Driver.short, 2, folder)
    verdict = judge(evidence)
    told = report(evidence, verdict)
    assert not verdict.findings, f"{told}\nevidence: {folder}"
    assert evidence.actions["kill"] >= 3, told
    assert {"suspend", "restart_broker", "cut_kafka", "cut_api", "stop"} <= evidence.actions.keys(), told
    assert len(evidence.generations) >= 4, told
    assert verdict.repeats_of_end["stop"] == 0, told
    shutil.rmtree(folder)
