"""A group of members that work on a backlog of updates, in each protocol that a group can have."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from consumer.sandbox import Sandbox
from tests.support.job import Job
from tests.support.kafka_witness import Kafka
from tests.support.oracle import assert_delivered, published
from tests.support.process import ConsumerProcess, wait_until

SESSION_SECONDS = 6.0
#: The brokers set it with the protocol of KIP-848; 45 s as they come.
PROPERTIES = {
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
}
PARTITIONS = 6
CODES = 60
#: Updates of a code follow each other, each in a request of its own: this many seconds at the least
#: for each.
LATENCY_SECONDS = 0.05

Sections = dict[str, dict[str, Any]]
CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
PROTOCOLS: dict[str, Sections] = {
    "cooperative": {"kafka.client": CLASSIC},
    "eager": {"kafka.client": {**CLASSIC, "partition.assignment.strategy": "range"}},
    "consumer": {"kafka": {"group_protocol": "consumer"}},
}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


class Group(Job):
    """Members of one group that work on a backlog of updates."""

    def __init__(self, kafka: Kafka, sandbox: Sandbox, folder: Path) -> None:
        super().__init__(kafka, sandbox, folder, PARTITIONS)
        self.stack = ExitStack()
        self.updates = 0

    def settings(self, **sections: dict[str, Any]) -> Sections:
        settings = super().settings(**sections)
        if settings["kafka"].get("group_protocol") == "consumer":
            settings["kafka.client"].pop("session.timeout.ms", None)
        return settings

    def backlog(self, rounds: int) -> None:
        """Publish so many updates of every code."""
        self.sandbox.faults.clear()
        self.sandbox.faults.add("latency", seconds=LATENCY_SECONDS)
        rng = random.Random(rounds)
        codes = [f"CODE{number:02d}" for number in range(CODES)]
        steps = range(self.updates, self.updates + rounds)
        self.produce(
            [
                {"extended_id": code, "step": str(n)}
                for n in steps
                for code in rng.sample(codes, CODES)
            ]
        )
        self.updates += rounds

    def member(
        self, name: str, protocol: str, *arguments: str, **sections: dict[str, Any]
    ) -> ConsumerProcess:
        """Yield a member, started; killed at the latest when the test ends."""
        merged = {key: {**values} for key, values in PROTOCOLS[protocol].items()}
        for key, values in sections.items():
            merged[key] = {**merged.get(key, {}), **values}
        process = ConsumerProcess(
            self.folder, self.settings(**merged), "run", *arguments, name=name
        )
        return self.stack.enter_context(process)

    def log(self) -> str:
        """Return what all members logged, for the message of a failure."""
        files = sorted(self.folder.glob("*.err"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in files)

    def wait_for_rows(self, more: int) -> None:
        """Wait until so many more rows were applied.

        On a slow machine members may join so late that too few are left: then more are published.
        """
        goal = self.sandbox.stats()["rows_applied"] + more
        lacking = goal + more - self.updates * CODES
        if lacking > 0:
            self.backlog(-(-lacking // CODES))
        wait_until(lambda: self.sandbox.stats()["rows_applied"] >= goal, 60, self.log)

    def wait_for_the_end(self, seconds: float = 150) -> None:
        """Wait until the group has committed everything."""
        ends = {number: end for number, end in self.kafka.end_offsets(self.topic).items() if end}

        def reached() -> bool:
            time.sleep(0.2)  # each look is a client of its own
            committed = self.kafka.committed(self.group, self.topic)
            return all(committed.get(number) == end for number, end in ends.items())

        def so_far() -> str:
            return f"{self.kafka.committed(self.group, self.topic)} of {ends}\n{self.log()}"

        wait_until(reached, seconds, so_far)

    def judge(self, *restarts: int) -> int:
        """Assert I1 and I9; return the number of repeats."""
        journal = self.sandbox.journal()
        return assert_delivered(published(self.kafka.read_all(self.topic)), journal, restarts)

    def stop(self, member: ConsumerProcess) -> None:
        """SIGTERM, and a clean end."""
        member.signal(signal.SIGTERM)
        assert member.wait(60) == 0, member.err[-5000:]
        assert "Traceback" not in member.err

    def status(self, member: ConsumerProcess) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(f"{member.ops()}/status", timeout=5).json()
        return answer


def assignments(member: ConsumerProcess) -> int:
    return member.err.count("assigned: ")


def wait_for_assignment(member: ConsumerProcess, count: int = 1, seconds: float = 40) -> None:
    wait_until(lambda: assignments(member) >= count, seconds, lambda: member.err[-5000:])


def merged(one: Sandbox, other: Sandbox) -> list[dict[str, Any]]:
    """Return the rows that two APIs applied, by the clock and numbered anew: as if of one."""
    rows = sorted(
        [*one.journal()["rows"], *other.journal()["rows"]], key=lambda row: float(row["at"])
    )
    for number, row in enumerate(rows):
        row["request"] = number
    return rows
