"""Members come, go, die and stand still on a real Kafka, in every way in which a group can share its partitions.

Few codes with many updates each: so every partition always has rows in flight, and every hand-over is one in the
middle of a code's updates.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests

from consumer.sandbox import Sandbox
from tests.support.job import Job
from tests.support.kafka_broker import BrokerUnavailable, JvmBroker
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
#: Updates of a code follow each other, each in a request of its own: this many seconds at the least for each.
LATENCY_SECONDS = 0.05

Sections = dict[str, dict[str, Any]]
CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
PROTOCOLS: dict[str, Sections] = {
    "cooperative": {"kafka.client": CLASSIC},
    "eager": {"kafka.client": {**CLASSIC, "partition.assignment.strategy": "range"}},
    "consumer": {"kafka": {"group_protocol": "consumer"}},
}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def broker() -> Iterator[JvmBroker]:
    """A broker whose sessions are short in both protocols."""
    with closing(JvmBroker(PROPERTIES)) as running:
        try:
            running.start()
        except BrokerUnavailable as reason:
            pytest.fail(f"these tests need short sessions: {reason}", pytrace=False)
        yield running


class Group(Job):
    """Members of one group that work on a backlog of updates."""

    def __init__(self, kafka: Kafka, sandbox: Sandbox, folder: Path, partitions: int = PARTITIONS) -> None:
        super().__init__(kafka, sandbox, folder, partitions)
        self.stack = ExitStack()
        self.updates = 0

    def settings(self, **sections: dict[str, Any]) -> Sections:
        settings = super().settings(**sections)
        if settings["kafka"].get("group_protocol") == "consumer":
            settings["kafka.client"].pop("session.timeout.ms")
        return settings

    def backlog(self, rounds: int) -> None:
        """So many updates of every code."""
        self.sandbox.faults.clear()
        self.sandbox.faults.add("latency", seconds=LATENCY_SECONDS)
        rng = random.Random(rounds)
        codes = [f"CODE{number:02d}" for number in range(CODES)]
        steps = range(self.updates, self.updates + rounds)
        self.produce([{"extended_id": code, "step": str(n)} for n in steps for code in rng.sample(codes, CODES)])
        self.updates += rounds

    def member(self, name: str, protocol: str, *arguments: str, **sections: dict[str, Any]) -> ConsumerProcess:
        """A member, started; killed at the latest when the test ends."""
        merged = {key: {**values} for key, values in PROTOCOLS[protocol].items()}
        for key, values in sections.items():
            merged[key] = {**merged.get(key, {}), **values}
        process = ConsumerProcess(self.folder, self.settings(**merged), "run", *arguments, name=name)
        return self.stack.enter_context(process)

    def log(self) -> str:
        """What all members logged, for the message of a failure."""
        files = sorted(self.folder.glob("*.err"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in files)

    def wait_for_rows(self, more: int) -> None:
        """Until so many more rows were applied."""
        goal = self.sandbox.stats()["rows_applied"] + more
        wait_until(lambda: self.sandbox.stats()["rows_applied"] >= goal, 60, self.log)

    def wait_for_the_end(self, seconds: float = 90) -> None:
        """Until the group has committed everything."""
        ends = {number: end for number, end in self.kafka.end_offsets(self.topic).items() if end}

        def reached() -> bool:
            time.sleep(0.2)  # each look is a client of its own
            committed = self.kafka.committed(self.group, self.topic)
            return all(committed.get(number) == end for number, end in ends.items())

        wait_until(reached, seconds, self.log)

    def judge(self, *restarts: int) -> int:
        """I1 and I9; the number of repeats."""
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


@pytest.fixture
def group(broker: JvmBroker, sandbox: Sandbox, tmp_path: Path) -> Iterator[Group]:
    group = Group(Kafka(broker.bootstrap, "a broker with short sessions"), sandbox, tmp_path)
    with group.stack:
        yield group


# -- members that come and go ------------------------------------------------------------------------------------


def _static(name: str, *, static: bool) -> dict[str, Any]:
    return {"instance_id": name} if static else {}


@pytest.mark.parametrize(
    ("protocol", "static"),
    [("cooperative", False), ("cooperative", True), ("eager", False), ("consumer", False), ("consumer", True)],
)
def test_members_that_come_and_go_in_order_cost_no_repeat_and_no_inversion(
    group: Group, protocol: str, static: bool
) -> None:
    group.backlog(150)
    first = group.member("first", protocol, kafka=_static("first", static=static))
    group.wait_for_rows(500)
    second = group.member("second", protocol, kafka=_static("second", static=static))
    wait_for_assignment(second)
    group.wait_for_rows(500)
    third = group.member("third", protocol, kafka=_static("third", static=static))
    wait_for_assignment(third)
    group.wait_for_rows(500)
    group.stop(first)
    group.wait_for_rows(500)
    first = group.member("first", protocol, kafka=_static("first", static=static))
    group.wait_for_rows(500)
    group.stop(second)
    group.wait_for_the_end()
    group.backlog(5)  # nothing stays paused, held or frozen
    group.wait_for_the_end(30)
    for member in (first, third):
        group.stop(member)
        assert "not confirmed" not in member.err
    assert group.judge() == 0, "who leaves in order leaves nothing to repeat"


@every_protocol
def test_a_killed_member_costs_only_what_was_not_committed(group: Group, protocol: str) -> None:
    group.backlog(200)
    first = group.member("first", protocol)
    second = group.member("second", protocol)
    wait_for_assignment(second)
    group.wait_for_rows(1000)
    second.signal(signal.SIGKILL)
    second.wait(10)
    killed = group.sandbox.stats()["arrived"]
    group.wait_for_the_end()
    group.stop(first)
    repeats = group.judge(killed)
    # Half of the codes; what was in flight, and what was answered within the commit interval.
    assert repeats <= CODES / 2 * (1 + 0.5 / LATENCY_SECONDS + 1)


# -- a member that stands still ----------------------------------------------------------------------------------


@every_protocol
def test_a_member_that_stood_still_sends_nothing_of_what_others_own_by_now(group: Group, protocol: str) -> None:
    """Each member has an API of its own, so it is known who sent what; by the clock they are one."""
    with Sandbox() as other:
        # So that rows are always ready to be sent.
        few: Sections = {"windows": {"max_rows": 4, "linger_seconds": 0.0}, "api": {"concurrency": 4}}
        group.backlog(60)
        other.faults.add("latency", seconds=LATENCY_SECONDS)
        stands_still = group.member("stands-still", protocol, **few)
        few["api"]["base_url"] = other.url
        takes_over = group.member("takes-over", protocol, **few)
        wait_for_assignment(takes_over)
        group.wait_for_rows(200)
        before = assignments(stands_still)
        stands_still.signal(signal.SIGSTOP)
        wait_until(lambda: len(group.status(takes_over)["partitions"]) == PARTITIONS, 60, group.log)
        done = other.stats()["rows_applied"]
        # Until it is ahead of all that the other has in hand.
        wait_until(lambda: other.stats()["rows_applied"] >= done + 500, 60, group.log)
        goes_on_at = time.time()
        stands_still.signal(signal.SIGCONT)
        wait_for_assignment(stands_still, before + 1, 60)
        group.wait_for_the_end()
        group.stop(stands_still)
        group.stop(takes_over)
        rows = sorted([*group.sandbox.journal()["rows"], *other.journal()["rows"]], key=lambda row: float(row["at"]))
        last_at = max(row["at"] for row in group.sandbox.journal()["rows"] if row["at"] <= goes_on_at)
    done_before = {(row["key_value"], row["fields"]["step"]) for row in rows if row["at"] <= goes_on_at}
    after = [(row["key_value"], row["fields"]["step"]) for row in rows if row["at"] > goes_on_at]
    assert [row for row in after if row in done_before] == [], "a row of a partition that another member owned"
    for number, row in enumerate(rows):
        row["request"] = number
    taken_over = sum(row["at"] <= last_at for row in rows)
    assert_delivered(published(group.kafka.read_all(group.topic)), {"rows": rows}, [taken_over])
    assert "stood still" in stands_still.err
    assert "lost: " in stands_still.err
