"""Partitions that rest because their settled map has no room.

For how long, and what does not keep them so.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.core.model import Record
from consumer.core.offsets.commits import room_of
from consumer.core.offsets.partition import Partition, settle
from consumer.core.offsets.settled_map import NOTHING, SettledMap, encode
from consumer.loop.partition_pauses import PartitionPauses, PauseReason
from tests.unit.builders import row_of

#: What a member with few partitions has committed, and more than one of so many has room for.
OWNED = 200
RUNS = [(offset + 20, offset + 30) for offset in range(1, 40_000, 30)]


def _resting() -> PartitionPauses:
    source: Any = SimpleNamespace(set_paused=lambda *_, **__: None)
    return PartitionPauses(source)


def _read(partition: Partition, count: int) -> None:
    """The next records, settled at once but for the first of the partition."""
    start = partition.position
    offsets = range(start, start + count)
    records = [
        Record(partition, offset, None, 1, open=int(offset not in partition.already_settled))
        for offset in offsets
    ]
    partition.read(records, start + count)
    for record in records:
        if not record.open:
            partition.skip(record)
        elif record.offset:
            settle([row_of(record, "A")], [])


@pytest.mark.promise("I8")
def test_a_map_larger_than_its_room_rests_no_partition_for_as_long_as_a_row_is_stuck(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """I8: a share of the room is smaller with more partitions.

    What waits is one row, and resting makes no room.
    """
    room = room_of(OWNED)
    assert len(encode(0, 0, RUNS, 1_000_000)) > room, "else the test is about nothing"
    partition, resting = Partition("events", 0, 0, 0, SettledMap(RUNS)), _resting()
    looks = 0
    while partition.position < 41_000:
        if partition not in resting:
            _read(partition, 500)
            resting.on_read(partition, room, schema_awaited=False)
        resting.resume_where_possible(room)
        looks += 1
        assert looks < 1000, "I8: the partition rests for as long as one row is stuck"
    assert len(caplog.records) <= 1, "told once"


@pytest.mark.promise("I7")
def test_a_partition_that_has_filled_its_map_by_itself_rests_until_more_of_it_is_settled() -> None:
    room = room_of(OWNED)
    partition, resting = Partition("events", 0, 0, 0, NOTHING), _resting()
    stuck: list[Record] = []
    while partition not in resting:
        start = partition.position
        records = [
            Record(partition, offset, None, 1, open=1) for offset in range(start, start + 100)
        ]
        partition.read(records, start + 100)
        stuck += records[::2]
        for record in records[1::2]:
            settle([row_of(record, "A")], [])
        resting.on_read(partition, room, schema_awaited=False)
    for _ in range(5):
        resting.resume_where_possible(room)
        assert partition in resting, "I7: reading goes on though the map has no room left"
    for record in stuck:
        settle([row_of(record, "A")], [])
    resting.resume_where_possible(room)
    assert partition not in resting


@pytest.mark.promise("I8")
def test_a_partition_of_which_all_is_settled_is_read_on_however_little_room_there_is() -> None:
    """I8: nothing else would make any."""
    partition, resting = Partition("events", 0, 5, 5, SettledMap(RUNS)), _resting()
    resting.on_read(partition, 300, schema_awaited=False)
    assert partition in resting
    resting.resume_where_possible(300)
    assert partition not in resting, "I8: nothing is unsettled, and the partition rests for ever"


# -- the reasons beside each other ---------------------------------------------------------------


class _Source:
    """Keep what the source was told last of each partition."""

    def __init__(self) -> None:
        self.paused: dict[Partition, bool] = {}

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        self.paused[partition] = paused


def _pauses() -> tuple[PartitionPauses, _Source]:
    source = _Source()
    return PartitionPauses(cast(Any, source)), source


def _full(number: int = 0) -> Partition:
    """Return a partition whose settled map has no room, of which all is settled."""
    return Partition("events", number, 5, 5, SettledMap(RUNS))


def test_the_end_of_one_reason_ends_no_other() -> None:
    pauses, source = _pauses()
    partition = _full()
    pauses.on_read(partition, 300, schema_awaited=True)
    pauses.set_over_quota({partition})
    assert source.paused == {partition: True}
    pauses.set_over_quota(set())
    assert source.paused == {partition: True}, "its map has no room, and a schema is awaited"
    pauses.resume_where_possible(300)
    assert source.paused == {partition: True}, "a schema is awaited"
    pauses.on_rows_made(partition, schema_awaited=False)
    assert source.paused == {partition: False}
    pauses.on_read(partition, 300, schema_awaited=False)
    assert source.paused == {partition: True}, "its map has no room"


def test_only_partitions_that_begin_or_cease_to_be_over_quota_are_told_to_the_source() -> None:
    """Each pause costs what was fetched ahead."""
    pauses, source = _pauses()
    stays, goes, comes = (Partition("events", number, 0, 0) for number in range(3))
    pauses.set_over_quota({stays, goes})
    source.paused.clear()
    pauses.set_over_quota({stays, comes})
    assert source.paused == {goes: False, comes: True}


def test_each_reason_is_logged_once_for_each_assignment(caplog: pytest.LogCaptureFixture) -> None:
    pauses, _ = _pauses()
    partition = _full()
    for assignment in (1, 2):
        for _ in range(3):
            pauses.on_read(partition, 300, schema_awaited=False)
            pauses.resume_where_possible(300)
            pauses.set_over_quota({partition})
            pauses.set_over_quota(set())
        assert len(caplog.records) == 2 * assignment
        pauses.forget([partition])


def test_a_partition_that_is_gone_is_paused_for_nothing_when_it_comes_back() -> None:
    pauses, _ = _pauses()
    gone, kept = _full(0), _full(1)
    for partition in (gone, kept):
        pauses.on_read(partition, 300, schema_awaited=False)
    pauses.set_over_quota({gone, kept})
    pauses.forget([gone])
    assert gone not in pauses
    for reason in (PauseReason.MAP_FULL, PauseReason.OVER_QUOTA):
        assert pauses.paused_for(reason) == {kept}
