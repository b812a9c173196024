"""Brokers that are away, in the middle of a rebalance or for longer than the session."""

from __future__ import annotations

import time

import pytest
import requests

from tests.integration.rebalances.group import (
    SESSION_SECONDS,
    Group,
    assignments,
    every_protocol,
    wait_for_assignment,
)
from tests.support.kafka_broker import JvmBroker
from tests.support.process import ConsumerProcess, wait_until

pytestmark = pytest.mark.promise("I1", "I9")


def nothing_to_send(*members: ConsumerProcess) -> bool:
    """Return whether everything that was read is settled.

    Who waits for the broker inside a callback does not answer.
    """
    answers = [requests.get(f"{member.ops()}/status", timeout=5) for member in members]
    return all(
        answer.status_code == 503 or answer.json()["rows"]["unsettled"] == 0 for answer in answers
    )


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
    wait_until(
        lambda: group.sandbox.stats()["in_progress"] == 0 or assignments(second) > 0, 30, group.log
    )
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
