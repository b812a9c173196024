"""A member that stands still, and partitions that are paused when they go."""

from __future__ import annotations

import signal
import time

import pytest

from consumer.sandbox import Sandbox
from tests.integration.rebalances.group import (
    LATENCY_SECONDS,
    PARTITIONS,
    Group,
    Sections,
    assignments,
    every_protocol,
    merged,
    wait_for_assignment,
)
from tests.support.oracle import assert_delivered, published
from tests.support.process import wait_until

pytestmark = pytest.mark.promise("fencing")


@every_protocol
def test_a_member_that_stood_still_sends_nothing_of_what_others_own_by_now(
    group: Group, protocol: str
) -> None:
    """Each member has an API of its own, so it is known who sent what; by the clock
    they are one.
    """
    with Sandbox() as other:
        # So that rows are always ready to be sent.
        few: Sections = {
            "windows": {"max_rows": 4, "linger_seconds": 0.0},
            "api": {"concurrency": 4},
        }
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
        last_at = max(
            row["at"] for row in group.sandbox.journal()["rows"] if row["at"] <= goes_on_at
        )
    done_before = {
        (row["key_value"], row["fields"]["step"]) for row in rows if row["at"] <= goes_on_at
    }
    after = [(row["key_value"], row["fields"]["step"]) for row in rows if row["at"] > goes_on_at]
    assert [row for row in after if row in done_before] == [], (
        "a row of a partition that another member owned"
    )
    taken_over = sum(row["at"] <= last_at for row in rows) - 1
    assert_delivered(published(group.kafka.read_all(group.topic)), {"rows": rows}, [taken_over])
    assert "stood still" in stands_still.err
    assert "lost: " in stands_still.err


@every_protocol
def test_what_is_paused_when_it_goes_is_read_on_when_it_comes_back(
    group: Group, protocol: str
) -> None:
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
    wait_until(
        lambda: not any(p["paused"] for p in group.status(first)["partitions"]), 30, group.log
    )
    group.stop(second)
    wait_until(lambda: len(group.status(first)["partitions"]) == PARTITIONS, 30, group.log)
    group.backlog(2)
    group.wait_for_the_end(60)
    group.stop(first)
    assert group.judge() == 0
