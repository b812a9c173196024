"""Trouble that keeps a member from its work and does not end.

It is told again, known as unknown, and given up as it says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from consumer.adapters.kafka import client, ends
from consumer.adapters.kafka import source as source_module
from consumer.adapters.kafka.ends import Ends
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.errors import UserError
from tests.contract.member import Member
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_secure import USER, SecureBroker, secure_broker
from tests.support.kafka_witness import Kafka, unique

PATIENCE_SECONDS = 40.0
TOPIC = "events"


@pytest.fixture(scope="module")
def no_coordinator() -> Iterator[Kafka]:
    """A broker that cannot make the topic of the groups' offsets."""
    with closing(JvmBroker({"offsets.topic.replication.factor": "3"})) as broker:
        kafka = Kafka(broker.start().bootstrap, "no coordinator")
        kafka.create_topic(TOPIC, 2)
        kafka.produce(TOPIC, [(None, b"{}", 0)])
        yield kafka


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "OUTSIDE_SECONDS", 1.0)
    monkeypatch.setattr(client, "LOG_AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(ends, "PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(ends, "AWAY_SECONDS", 2.0)
    monkeypatch.setattr(ends, "CALL_SECONDS", 0.5)


def until(condition: Callable[[], bool], step: Callable[[], object] = lambda: None) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        step()
        time.sleep(0.01)
    return True


@pytest.fixture
def begin() -> Iterator[Callable[[ReadFrom], Member]]:
    """Begins members, which leave at the end."""
    begun: list[Member] = []

    def begin(reading: ReadFrom) -> Member:
        member = Member()
        member.source = Source(member, reading)
        member.source.subscribe()
        begun.append(member)
        return member

    yield begin
    for member in begun:
        member.source.close(5.0)


def ends_failure(reading: ReadFrom) -> tuple[Ends, list[UserError]]:
    failures: list[UserError] = []
    watch = Ends(reading, reached=lambda: None, failed=failures.append)
    watch.start()
    return watch, failures


# -- no coordinator ------------------------------------------------------------------------------


def test_a_member_whose_group_has_no_coordinator_says_so_again_and_again(
    no_coordinator: Kafka, begin: Callable[[ReadFrom], Member], caplog: pytest.LogCaptureFixture
) -> None:
    member = begin(
        ReadFrom(no_coordinator.bootstrap, unique("group"), [TOPIC], "earliest", "stop", {})
    )

    def lines() -> list[str]:
        return [line for line in caplog.messages if "has had no part in the group" in line]

    assert until(lambda: len(lines()) >= 2, member.step), "what lasts is not told again"
    assert "__consumer_offsets" in lines()[0]
    assert "scm-consumer check" in lines()[0]
    (since, why) = member.source.lasting[0]
    assert since < time.monotonic() - 1.0
    assert "has had no part in the group" in why


def test_with_an_end_it_is_given_up(
    no_coordinator: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    reading = ReadFrom(no_coordinator.bootstrap, unique("group"), [TOPIC], "earliest", "stop", {})
    watch, failures = ends_failure(reading)
    with closing(watch):
        assert until(lambda: bool(failures)), (
            "a group without a coordinator is waited for without end"
        )
    assert f"the committed offsets of the group {reading.group_id} cannot be read" in str(
        failures[0]
    )
    assert "coordinator" in str(failures[0])
    assert any("giving up if that lasts for 2 s" in line for line in caplog.messages)


# -- rights that are withdrawn -------------------------------------------------------------------


class Rights:
    """The rights of USER on a topic and a group of its own."""

    def __init__(self, secure: SecureBroker) -> None:
        self._admin = AdminClient({"bootstrap.servers": secure.broker.bootstrap})
        self.topic, self.group = unique("events"), unique("group")
        self._admin.create_topics([NewTopic(self.topic, 2, 1)])[self.topic].result(20)
        self.kafka = Kafka(secure.broker.bootstrap, "secure")
        properties = secure.client(topic_metadata_refresh_interval_ms="1000")
        self.reading = ReadFrom(
            secure.bootstrap, self.group, [self.topic], "earliest", "stop", properties
        )

    def rule(self, kind: ResourceType, operation: AclOperation) -> AclBinding:
        name = self.topic if kind == ResourceType.TOPIC else self.group
        pattern = ResourcePatternType.LITERAL
        return AclBinding(
            kind, name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW
        )

    def allow(self, kind: ResourceType, operation: AclOperation = AclOperation.READ) -> None:
        rule = self.rule(kind, operation)
        self._admin.create_acls([rule])[rule].result(20)

    def withdraw(self, kind: ResourceType, operation: AclOperation = AclOperation.READ) -> None:
        rule = self.rule(kind, operation)
        found = AclBindingFilter(
            rule.restype,
            rule.name,
            rule.resource_pattern_type,
            rule.principal,
            "*",
            operation,
            rule.permission_type,
        )
        self._admin.delete_acls([found])[found].result(20)


@pytest.fixture
def rights(secure: SecureBroker) -> Rights:
    made = Rights(secure)
    made.allow(ResourceType.TOPIC)
    made.allow(ResourceType.GROUP)
    made.kafka.produce(made.topic, [(None, b"{}", 0), (None, b"{}", 1)])
    return made


@pytest.mark.parametrize(
    "describe", [False, True], ids=["nothing is allowed", "it may still be described"]
)
def test_a_topic_that_may_not_be_read_any_more_is_told_again_and_unknown_until_it_may(
    rights: Rights,
    begin: Callable[[ReadFrom], Member],
    caplog: pytest.LogCaptureFixture,
    describe: bool,
) -> None:
    if describe:
        rights.allow(ResourceType.TOPIC, AclOperation.DESCRIBE)
    member = begin(rights.reading)
    assert until(lambda: len(member.batches) == 2, member.step)
    assert not member.source.unknown
    assert not member.source.lasting

    rights.withdraw(ResourceType.TOPIC)
    rights.kafka.produce(rights.topic, [(None, b"{}", 0), (None, b"{}", 1)])
    both = {(rights.topic, 0), (rights.topic, 1)}
    assert until(lambda: set(member.source.unknown) == both, member.step), (
        "what was known is told as if it still held"
    )

    def lines() -> list[str]:
        words = ("cannot be read", "has had no part in the group")
        found = [line for line in caplog.messages if any(word in line for word in words)]
        return [line for line in found if "give this user the right to read the topic" in line]

    assert until(lambda: len(lines()) >= 2, member.step), "what lasts is not told again"
    assert member.source.lasting

    rights.allow(ResourceType.TOPIC)
    rights.kafka.produce(rights.topic, [(None, b"{}", 0), (None, b"{}", 1)])
    assert until(lambda: not member.source.unknown and not member.source.lasting, member.step)
    assert not member.failed


@pytest.mark.parametrize("kind", [ResourceType.GROUP, ResourceType.TOPIC])
def test_with_an_end_a_right_that_is_withdrawn_is_given_up(
    rights: Rights, kind: ResourceType
) -> None:
    reading = replace(rights.reading)
    watch, failures = ends_failure(reading)  # nobody commits: it waits
    with closing(watch):
        assert not until_soon(failures), failures
        rights.withdraw(kind)
        assert until(lambda: bool(failures)), "a right that is not there is waited for without end"
    assert "give this user the right" in str(failures[0])


def until_soon(failures: list[UserError]) -> bool:
    """Tell if it fails within twice its patience, though nothing is wrong."""
    deadline = time.monotonic() + 2 * ends.PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if failures:
            return True
        time.sleep(0.05)
    return False
