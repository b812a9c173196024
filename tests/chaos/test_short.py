"""The short round of chaos, for CI: a fixed seed, everything once at least, three kills, both
protocols.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.promise("I1", "I3", "I7", "I9", "fencing")

SEED = 20
#: The round takes two minutes; each wait in it has a deadline of its own that says what was waited
#: for.
SECONDS = 900


def test_a_short_round_of_chaos_loses_nothing_and_repeats_nothing_without_a_reason() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--minutes", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    told = f"{done.stdout}\n{done.stderr}"  # what was found, and where the evidence is
    assert done.returncode == 0, told
    counts = re.search(r"^done: (.*)$", done.stdout, re.MULTILINE)
    assert counts is not None, told
    actions = dict(action.rsplit(" ", 1) for action in counts[1].split(", "))
    assert int(actions["kill"]) >= 3, told
    assert {"suspend", "restart_broker", "cut_kafka", "cut_api", "stop"} <= actions.keys(), told
    for had in (
        r"\d with the classic protocol",
        r"\d with the consumer protocol",
        r"; [1-9]\d* of the lives static members",
        r"^records of several rows [1-9]\d*, tasks [1-9]",
    ):
        assert re.search(had, done.stdout, re.MULTILINE), told
