"""The work of a group is what its members can settle, and nothing else."""

from __future__ import annotations

import pytest

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.group_look import GroupCommit, GroupLook, LogExtent
from consumer.ops.group_need import GroupNeed, behind_of

KEY = ("events", 0)


def look(
    at: float = 0.0, commit: GroupCommit | None = None, **extents: tuple[int, int]
) -> GroupLook:
    """Return a look at partitions ``p0=(begin, end)``."""
    logs: dict[PartitionId, LogExtent] = {
        ("events", int(name[1:])): LogExtent(*extent) for name, extent in extents.items()
    }
    commits = {} if commit is None else {KEY: commit}
    return GroupLook(at, sorted(logs), logs, commits, "stable", False, [], {})


@pytest.mark.parametrize(
    ("commit", "start_from", "gone", "behind"),
    [
        (GroupCommit(40), "earliest", "stop", 60),
        (GroupCommit(40, settled_beyond=25), "earliest", "stop", 35),
        (GroupCommit(100), "earliest", "stop", 0),
        (None, "earliest", "stop", 90),
        (None, "latest", "stop", 0),
        (GroupCommit(3), "earliest", "stop", 0),
        (GroupCommit(3), "earliest", "earliest", 90),
        (GroupCommit(3), "earliest", "latest", 0),
        (GroupCommit(500), "earliest", "stop", 0),
    ],
)
def test_what_members_can_settle(
    commit: GroupCommit | None, start_from: str, gone: str, behind: int
) -> None:
    found = look(commit=commit, p0=(10, 100))
    assert behind_of(found, KEY, start_from=start_from, on_out_of_range=gone) == behind


def test_a_partition_that_is_not_told_counts_for_nothing() -> None:
    assert behind_of(look(), KEY, start_from="earliest", on_out_of_range="stop") is None


def test_what_comes_a_second_is_told_by_two_looks_and_fades() -> None:
    need = GroupNeed("earliest", "stop")
    assert need.take(look(0.0, p0=(0, 100), p1=(0, 0))).per_second == 0
    assert need.take(look(10.0, p0=(0, 200), p1=(0, 50))).per_second == pytest.approx(15)
    later = need.take(look(70.0, p0=(0, 200), p1=(0, 50))).per_second
    assert later == pytest.approx(7.5), "half after a minute"


def test_a_partition_that_is_new_has_not_come_in_a_moment() -> None:
    need = GroupNeed("earliest", "stop")
    need.take(look(0.0, p0=(0, 100)))
    assert need.take(look(10.0, p0=(0, 100), p1=(0, 10**9))).per_second == 0


def test_the_same_look_twice_changes_nothing() -> None:
    need = GroupNeed("earliest", "stop")
    need.take(look(0.0, p0=(0, 100)))
    first = need.take(look(10.0, p0=(0, 200)))
    assert need.take(look(10.0, p0=(0, 200))) == first
