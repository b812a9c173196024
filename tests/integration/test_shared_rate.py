"""The rate is the group's: members share it by their partitions, and never exceed it together."""

from __future__ import annotations

import signal
from bisect import bisect_left
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from consumer.sandbox import Sandbox
from tests.support.job import Job, line_events
from tests.support.process import ConsumerProcess, wait_until

pytestmark = pytest.mark.promise("budget")

RATE = 10
PARTITIONS = 8


def status(consumer: ConsumerProcess) -> dict[str, Any]:
    """Return what it tells of itself now."""
    told: dict[str, Any] = requests.get(f"{consumer.ops()}/status", timeout=5).json()
    return told


def wait_for_calls(sandbox: Sandbox, more: int) -> int:
    """Wait until so many more calls have arrived; return how many had before."""
    before: int = sandbox.stats()["arrived"]
    wait_until(lambda: sandbox.stats()["arrived"] >= before + more, 60)
    return before


def arrivals(sandbox: Sandbox) -> list[float]:
    """Return when each call of any kind arrived, in order."""
    return sorted(entry["at"] for entry in sandbox.journal()["requests"])


def peak(times: list[float], seconds: float) -> int:
    """Return the most arrivals in so many seconds."""
    return max(bisect_left(times, at + seconds) - number for number, at in enumerate(times))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_that_come_and_go_stay_under_the_rate_together_and_use_it(
    job: Job, protocol: str
) -> None:
    job.produce(line_events(60_000, seed=3, repeats=0, unknown=0))
    sections: dict[str, Any] = {
        "api": {"requests_per_second": RATE},
        "kafka": {"group_protocol": protocol},
    }
    job.sandbox.faults.add("latency", seconds=0.15)
    with ExitStack() as stack:

        def member(name: str) -> ConsumerProcess:
            return stack.enter_context(
                ConsumerProcess(job.folder, job.settings(**sections), "run", name=name)
            )

        members = [member("first")]
        wait_for_calls(job.sandbox, RATE)
        for count in (2, 3):
            members.append(member(str(count)))

            def shares() -> list[dict[str, Any]]:
                told = [status(member) for member in members]
                whole = {(p["topic"], p["partition"]) for one in told for p in one["partitions"]}
                balanced = len(whole) == PARTITIONS and all(one["partitions"] for one in told)
                exact = sum(len(one["partitions"]) for one in told) == PARTITIONS
                return told if balanced and exact else []

            told = wait_until(shares, 60, lambda: members[-1].err)
            for share in told:
                assert share["api"]["budget"] == pytest.approx(
                    RATE * len(share["partitions"]) / PARTITIONS, abs=0.01
                )
            before = wait_for_calls(job.sandbox, 3 * RATE)
            balanced = arrivals(job.sandbox)[before : before + 3 * RATE]
            used = (len(balanced) - 1) / (balanced[-1] - balanced[0])
            assert used >= 0.8 * RATE
        members[1].signal(signal.SIGTERM)
        assert members[1].wait(30) == 0, members[1].err
        wait_for_calls(job.sandbox, RATE)
    # A request that this machine holds up arrives beside the next ones. Ten seconds have room for
    # half a second of that; that no second has more is shown in unit/core/admission/test_pace.
    assert peak(arrivals(job.sandbox), 10) <= 10 * RATE
