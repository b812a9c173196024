"""Members with a kafka.instance_id: they come back, or another takes their place."""

from __future__ import annotations

import signal

import pytest

from tests.integration.rebalances.group import CODES, Group, wait_for_assignment

pytestmark = pytest.mark.promise("I1", "I9", "fencing")


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


def test_of_two_static_members_with_one_id_the_earlier_ends_when_it_is_replaced(
    group: Group,
) -> None:
    """Until it hears of that, with its next commit, both work on the same: no order is promised."""
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
