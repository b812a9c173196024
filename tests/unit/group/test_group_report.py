"""A group from outside: what is told of a look, and how it is shown."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.group_look import GroupCommit, GroupLook, GroupMember, LogExtent
from consumer.adapters.kafka.heads import Head
from consumer.adapters.kafka.lag_watch import Seen
from consumer.config.settings import Settings
from consumer.group.report import GroupReport, report
from consumer.group.view import as_json, as_text, duration

WALL = 1_700_000_000.0
P0, P1, P2 = (("events", number) for number in range(3))
LINE7 = GroupMember("scm-consumer", "10.0.0.7", "line7", [P0, P1])


def seen(**more: Any) -> Seen:
    logs = more.get("logs", {P0: LogExtent(0, 100), P1: LogExtent(0, 50), P2: LogExtent(20, 30)})
    commits = {P0: GroupCommit(60, 15), P1: GroupCommit(50), P2: GroupCommit(5)}
    heads: dict[PartitionId, Head] = {
        P0: Head(60, 60, int((WALL - 7260) * 1000), False, 0.0),
        P2: Head(20, 20, int((WALL - 90_000) * 1000), False, 0.0),
    }
    look = GroupLook(
        1000.0,
        [P0, P1, P2],
        logs,
        more.get("commits", commits),
        more.get("state", "stable"),
        False,
        more.get("members", [LINE7]),
        {"events": math.inf},
    )
    return Seen(look, more.get("heads", heads))


def told(start_from: str = "earliest", **more: Any) -> GroupReport:
    settings = Settings.model_validate({"kafka": {"start_from": start_from}})
    return report(settings, seen(**more), 12.5, WALL)


def test_each_partition_is_told_with_its_lag_in_records_and_in_time() -> None:
    first, done, gone = told().partitions
    assert (first.committed, first.end, first.lag, first.settled_beyond) == (60, 100, 25, 15)
    assert first.lag_seconds == 7260
    assert (done.lag, done.lag_seconds, done.out_of_range) == (0, 0.0, False)
    assert (gone.lag, gone.lag_seconds, gone.out_of_range) == (10, 90_000.0, True)
    assert (first.member, gone.member) == ("scm-consumer@10.0.0.7", "")


def test_the_group_is_the_sum_and_its_oldest_and_members_are_told() -> None:
    found = told()
    assert (found.records, found.seconds, found.records_per_second) == (35, 90_000.0, 12.5)
    assert found.members[0].partitions == ["events[0]", "events[1]"]
    assert found.desired_members == 1


def test_what_is_not_told_is_not_known() -> None:
    found = told(logs={P0: LogExtent(0, 100), P1: LogExtent(0, 50)})
    assert (found.records, found.seconds) == (None, None)
    assert found.partitions[2].lag is None
    assert "how far it is behind is not known" in as_text(found)


@pytest.mark.parametrize(("start_from", "lag"), [("earliest", 50), ("latest", 0)])
def test_without_a_commit_it_is_as_far_behind_as_it_would_begin(start_from: str, lag: int) -> None:
    heads = {P1: Head(0, 0, None, False, 0.0)}
    assert told(start_from, commits={}, heads=heads).partitions[1].lag == lag


def test_as_text_it_tells_the_group_then_members_then_partitions() -> None:
    lines = as_text(told()).splitlines()
    assert lines[0] == ("scm-consumer: stable, 1 member; 35 records behind, the oldest 1 d 1 h old")
    assert lines[1].startswith("desired members: 1, to clear that within 5 min (taking 0.5 s")
    assert lines[3].split() == ["MEMBER", "HOST", "PARTITIONS"]
    assert "scm-consumer (line7)" in lines[4]
    assert "events[0], events[1]" in lines[4]
    assert lines[6].startswith("PARTITION")
    assert lines[7].split() == (
        ["events[0]", "60", "100", "25", "2", "h", "1", "min", "15", "scm-consumer@10.0.0.7"]
    )
    assert lines[9].split()[:3] == ["events[2]", "5", "(gone)"]
    assert lines[9].endswith("nobody")


def test_a_group_that_nobody_is_in_says_so() -> None:
    text = as_text(told(members=[], state="empty"))
    assert text.startswith("scm-consumer: empty, nobody in it now; ")
    assert "MEMBER  " not in text.splitlines()[3]


def test_as_json_what_is_infinite_is_null() -> None:
    document = json.loads(as_json(told()))
    assert document["retention_seconds"] == {"events": None}
    assert document["desired_members"] == 1
    assert [p["lag"] for p in document["partitions"]] == [25, 0, 10]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "not known"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (86_400 * 3 + 59, "3 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
