"""Members come, go, die and stand still on a real Kafka, in every way in which a group can share its partitions.

Few codes with many updates each: so every partition always has rows in flight, and every hand-over is one in the
middle of a code's updates.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka import Consumer, TopicPartition

from consumer.core.offsets import Commit, Partition
from consumer.kafka.reader import ReadFrom
from consumer.kafka.source import COMMIT_WAIT_SECONDS, Source
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

    def wait_for_the_end(self, seconds: float = 150) -> None:
        """Until the group has committed everything."""
        ends = {number: end for number, end in self.kafka.end_offsets(self.topic).items() if end}

        def reached() -> bool:
            time.sleep(0.2)  # each look is a client of its own
            committed = self.kafka.committed(self.group, self.topic)
            return all(committed.get(number) == end for number, end in ends.items())

        def so_far() -> str:
            return f"{self.kafka.committed(self.group, self.topic)} of {ends}\n{self.log()}"

        wait_until(reached, seconds, so_far)

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
    if not broker.runs:
        broker.start()


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


def merged(one: Sandbox, other: Sandbox) -> list[dict[str, Any]]:
    """The rows that two APIs applied, by the clock and numbered anew: as if they were one."""
    rows = sorted([*one.journal()["rows"], *other.journal()["rows"]], key=lambda row: float(row["at"]))
    for number, row in enumerate(rows):
        row["request"] = number
    return rows


@every_protocol
def test_a_killed_member_costs_only_what_was_not_committed(group: Group, protocol: str) -> None:
    """It has an API of its own, so it is known what was its last."""
    with Sandbox() as other:
        other.faults.add("latency", seconds=LATENCY_SECONDS)
        group.backlog(100)
        first = group.member("first", protocol)
        second = group.member("second", protocol, api={"base_url": other.url})
        wait_for_assignment(second)
        wait_until(lambda: other.stats()["rows_applied"] >= 300, 60, group.log)
        second.signal(signal.SIGKILL)
        second.wait(10)
        group.wait_for_the_end()
        group.stop(first)
        rows, last_at = merged(group.sandbox, other), max(row["at"] for row in other.journal()["rows"])
    killed = sum(row["at"] <= last_at for row in rows) - 1
    repeats = assert_delivered(published(group.kafka.read_all(group.topic)), {"rows": rows}, [killed])
    # All that it did of its codes at the most; usually what was in flight, or answered within the commit interval.
    assert repeats <= len(other.journal()["rows"])


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
        rows = merged(group.sandbox, other)
        last_at = max(row["at"] for row in group.sandbox.journal()["rows"] if row["at"] <= goes_on_at)
    done_before = {(row["key_value"], row["fields"]["step"]) for row in rows if row["at"] <= goes_on_at}
    after = [(row["key_value"], row["fields"]["step"]) for row in rows if row["at"] > goes_on_at]
    assert [row for row in after if row in done_before] == [], "a row of a partition that another member owned"
    taken_over = sum(row["at"] <= last_at for row in rows) - 1
    assert_delivered(published(group.kafka.read_all(group.topic)), {"rows": rows}, [taken_over])
    assert "stood still" in stands_still.err
    assert "lost: " in stands_still.err


# -- what is paused, and comes back ------------------------------------------------------------------------------


@every_protocol
def test_what_is_paused_when_it_goes_is_read_on_when_it_comes_back(group: Group, protocol: str) -> None:
    """The client remembers a pause beyond a revocation: the partition would stay frozen."""
    sections: Sections = {
        "limits": {"max_unsettled_rows": 100, "stop_seconds": 5},
        "retry": {"base_seconds": 0.1, "cap_seconds": 0.5},
    }
    group.backlog(20)
    group.sandbox.faults.add("status", code=503)
    first = group.member("first", protocol, **sections)
    wait_for_assignment(first)
    wait_until(lambda: all(p["paused"] for p in group.status(first)["partitions"]), 30, group.log)
    second = group.member("second", protocol, **sections)
    wait_for_assignment(second)
    wait_until(lambda: len(group.status(first)["partitions"]) == PARTITIONS / 2, 30, group.log)
    group.sandbox.faults.clear()
    group.wait_for_the_end()
    wait_until(lambda: not any(p["paused"] for p in group.status(first)["partitions"]), 30, group.log)
    group.stop(second)
    wait_until(lambda: len(group.status(first)["partitions"]) == PARTITIONS, 30, group.log)
    group.backlog(2)
    group.wait_for_the_end(60)
    group.stop(first)
    assert group.judge() == 0


# -- static members ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["cooperative", "consumer"])
def test_a_static_member_that_was_killed_comes_back_by_itself(group: Group, protocol: str) -> None:
    group.backlog(60)
    first = group.member("first", protocol, kafka={"instance_id": "line-7"})
    group.wait_for_rows(300)
    first.signal(signal.SIGKILL)
    first.wait(10)
    second = group.member("second", protocol, kafka={"instance_id": "line-7"})
    second.wait_for_line("joining", 30)  # what the killed one had on the wire has arrived
    killed = group.sandbox.stats()["arrived"]
    group.wait_for_the_end()
    group.stop(second)
    group.judge(killed)
    if protocol == "consumer":
        assert second.err.count("kafka.instance_id = line-7 is still in the group") == 1


def test_of_two_static_members_with_one_id_the_earlier_ends_when_it_is_replaced(group: Group) -> None:
    """Until it hears of that, with its next commit, both work on the same: order is not promised then."""
    group.backlog(60)
    first = group.member("first", "cooperative", kafka={"instance_id": "line-7"})
    group.wait_for_rows(300)
    second = group.member("second", "cooperative", kafka={"instance_id": "line-7"})
    assert first.wait(60) == 1
    (line,) = [line for line in first.err.splitlines() if line.startswith("error: ")]
    assert "fenced by other consumer with same group.instance.id" in line
    assert "kafka.instance_id = line-7" in line
    assert "Traceback" not in first.err
    group.wait_for_the_end()
    group.stop(second)
    rows = group.sandbox.journal()["rows"]
    assert len({(row["key_value"], row["fields"]["step"]) for row in rows}) == 60 * CODES, "I1"


def test_with_the_consumer_protocol_the_one_that_comes_later_waits_for_its_id(group: Group) -> None:
    """The brokers refuse it until the other has left or its session has ended; nobody is fenced."""
    group.backlog(60)
    first = group.member("first", "consumer", kafka={"instance_id": "line-7"})
    group.wait_for_rows(300)
    first.signal(signal.SIGSTOP)
    second = group.member("second", "consumer", kafka={"instance_id": "line-7"})
    second.wait_for_line("still in the group", 30)
    replaced = group.sandbox.stats()["arrived"]
    wait_for_assignment(second)
    first.signal(signal.SIGCONT)
    first.wait_for_line("lost: ", 30)
    first.wait_for_line("still in the group", 30)
    group.stop(second)
    wait_for_assignment(first, 2)
    group.wait_for_the_end()
    group.stop(first)
    group.judge(replaced)


# -- brokers that are away ---------------------------------------------------------------------------------------


def nothing_to_send(*members: ConsumerProcess) -> bool:
    """Whether everything that was read is settled; who waits for the broker inside a callback does not answer."""
    answers = [requests.get(f"{member.ops()}/status", timeout=5) for member in members]
    return all(answer.status_code == 503 or answer.json()["rows"]["unsettled"] == 0 for answer in answers)


@every_protocol
def test_a_broker_that_goes_in_the_middle_of_a_revocation_loses_nothing(
    group: Group, broker: JvmBroker, protocol: str
) -> None:
    group.backlog(20)
    group.sandbox.faults.clear()
    slow = group.sandbox.faults.add("latency", seconds=5)
    first = group.member("first", protocol)
    wait_until(lambda: group.sandbox.stats()["in_progress"] > 0, 30, group.log)
    group.sandbox.faults.remove(slow)
    second = group.member("second", protocol)
    second.wait_for_line("joining", 30)
    wait_until(lambda: group.sandbox.stats()["in_progress"] == 0 or assignments(second) > 0, 30, group.log)
    broker.kill()
    wait_until(lambda: nothing_to_send(first, second), 60, group.log)
    killed = group.sandbox.stats()["arrived"]
    broker.start()
    group.wait_for_the_end()
    group.stop(first)
    group.stop(second)
    group.judge(killed)


@every_protocol
def test_a_broker_that_is_away_for_longer_than_the_session_is_waited_for(
    group: Group, broker: JvmBroker, protocol: str
) -> None:
    group.backlog(60)
    first = group.member("first", protocol)
    second = group.member("second", protocol)
    wait_for_assignment(second)
    group.wait_for_rows(300)
    broker.kill()
    until = time.monotonic() + 1.5 * SESSION_SECONDS
    wait_until(lambda: time.monotonic() > until and nothing_to_send(first, second), 60, group.log)
    killed = group.sandbox.stats()["arrived"]
    broker.start()
    group.wait_for_the_end()
    group.stop(first)
    group.stop(second)
    group.judge(killed)


# -- the client in this process ----------------------------------------------------------------------------------


class Told:
    """What a source tells, kept."""

    stopping = leaves_at_once = False

    def __init__(self) -> None:
        self.owned: list[Partition] = []
        self.revoked: list[bool] = []
        self.ends: list[str | None] = []

    def on_assigned(self, partitions: list[Partition]) -> None:
        self.owned += partitions

    def on_counted(self, counts: Mapping[str, int]) -> None: ...
    def on_joined(self) -> None: ...
    def on_waiting(self) -> None: ...

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        self.owned = [partition for partition in self.owned if partition not in partitions]
        self.revoked.append(lost)

    def on_committed(self, commits: list[Commit], error: str | None, *, too_large: bool = False) -> None:
        self.ends.append(error)


def source_of(group: Group, told: Told, properties: dict[str, str], on_out_of_range: str = "stop") -> Source:
    """A member in this process."""
    reading = ReadFrom(group.kafka.bootstrap, group.group, [group.topic], "earliest", on_out_of_range, properties)
    source = Source(told, reading)
    group.stack.callback(source.close, 10.0)
    source.subscribe()
    wait_until(lambda: (source.poll(1), len(told.owned) == PARTITIONS)[1], 30)
    return source


EAGER = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500", "partition.assignment.strategy": "range"}


def test_a_revocation_of_what_was_lost_meanwhile_is_told_as_a_loss(group: Group) -> None:
    """The client queues a revocation; when it leaves the group before that is served, it does not say so."""
    told = Told()
    source = source_of(group, told, {**EAGER, "max.poll.interval.ms": "7000"})
    other = Source(Told(), ReadFrom(group.kafka.bootstrap, group.group, [group.topic], "earliest", "stop", EAGER))
    group.stack.callback(other.close, 10.0)
    other.subscribe()
    begun = time.monotonic()
    # Some heartbeats: one of them tells of the rebalance, and that queues the revocation.
    wait_until(lambda: (other.poll(1), time.monotonic() - begun > 3)[1], 30)
    wait_until(lambda: (other.poll(1), source._consumer.memberid() is None)[1], 30)
    wait_until(lambda: (source.poll(1), told.revoked)[1], 30)
    assert told.revoked == [True]


def test_a_commit_that_is_refused_is_not_waited_for(group: Group) -> None:
    told = Told()
    source = source_of(group, told, {})
    took = time.monotonic()
    assert not source.commit_and_wait([Commit(told.owned[0], 0, "x" * 5000)])
    assert time.monotonic() - took < COMMIT_WAIT_SECONDS / 2
    assert source.commit_and_wait([Commit(told.owned[0], 0, "x")])


def test_in_an_eager_group_too_reading_goes_on_behind_a_gap_that_retention_made(group: Group) -> None:
    for partition in (0, 1):
        group.produce([{"extended_id": f"P{partition}-{n}", "step": str(n)} for n in range(20)], partition=partition)
    group.kafka.delete_records(group.topic, {0: 15})
    consumer = Consumer({"bootstrap.servers": group.kafka.bootstrap, "group.id": group.group})
    consumer.commit(offsets=[TopicPartition(group.topic, 0, 3)], asynchronous=False)
    consumer.close()
    told = Told()
    source = source_of(group, told, EAGER, "earliest")
    seen: dict[int, list[int]] = {0: [], 1: []}

    def read() -> bool:
        for partition, messages in source.poll(3):
            seen[partition.number] += [offset for message in messages if (offset := message.offset()) is not None]
            partition.position = seen[partition.number][-1] + 1
        return [len(offsets) for offsets in seen.values()] == [5, 20]

    wait_until(read, 30)
    assert seen == {0: list(range(15, 20)), 1: list(range(20))}
