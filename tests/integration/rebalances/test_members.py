"""Members come, go in order, and are killed."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from consumer.sandbox import Sandbox
from tests.integration.rebalances.group import (
    LATENCY_SECONDS,
    Group,
    every_protocol,
    merged,
    wait_for_assignment,
)
from tests.support.oracle import assert_delivered, published
from tests.support.process import wait_until

pytestmark = pytest.mark.promise("I1", "I9", "fencing")


def _static(name: str, *, static: bool) -> dict[str, Any]:
    return {"instance_id": name} if static else {}


@pytest.mark.parametrize(
    ("protocol", "static"),
    [
        ("cooperative", False),
        ("cooperative", True),
        ("eager", False),
        ("consumer", False),
        ("consumer", True),
    ],
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
        rows, last_at = (
            merged(group.sandbox, other),
            max(row["at"] for row in other.journal()["rows"]),
        )
    killed = sum(row["at"] <= last_at for row in rows) - 1
    repeats = assert_delivered(
        published(group.kafka.read_all(group.topic)), {"rows": rows}, [killed]
    )
    # All that it did of its codes at the most; usually what was in flight, or answered within the
    # commit interval.
    assert repeats <= len(other.journal()["rows"])
