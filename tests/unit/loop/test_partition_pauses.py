"""Which partitions rest: why, for how long, what is told of it, and what does not keep them so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.core.model import Record
from consumer.core.offsets.commits import room_of
from consumer.core.offsets.partition import Partition, settle
from consumer.core.offsets.settled_map import NOTHING, SettledMap, encode
from consumer.loop.intake import PendingRecords
from consumer.loop.partition_pauses import PartitionPauses
from tests.unit.builders import row_of

#: What a member with few partitions has committed, and more than one of so many has room for.
OWNED = 200
RUNS = [(offset + 20, offset + 30) for offset in range(1, 40_000, 30)]


def _resting() -> PartitionPauses:
    intake: Any = SimpleNamespace(waiting={})
    source: Any = SimpleNamespace(hold=lambda *_, **__: None)
    return PartitionPauses(intake, source)


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
            resting.on_read(partition, room)
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
        resting.on_read(partition, room)
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
    resting.on_read(partition, 300)
    assert partition in resting
    resting.resume_where_possible(300)
    assert partition not in resting, "I8: nothing is unsettled, and the partition rests for ever"


# -- the reasons beside each other ---------------------------------------------------------------


class _Source:
    """What the source was told last of each partition."""

    def __init__(self) -> None:
        self.held: dict[Partition, bool] = {}

    def hold(self, partition: Partition, *, held: bool) -> None:
        self.held[partition] = held


def _pauses() -> tuple[PartitionPauses, _Source, dict[Partition, PendingRecords]]:
    source, waiting = _Source(), dict[Partition, PendingRecords]()
    intake: Any = SimpleNamespace(waiting=waiting)
    return PartitionPauses(intake, cast(Any, source)), source, waiting


def _waits_for(schema_id: int | None) -> PendingRecords:
    pending = PendingRecords()
    pending.schema_id = schema_id
    return pending


def _full(number: int = 0) -> Partition:
    """A partition whose settled map has no room, of which all is settled."""
    return Partition("events", number, 5, 5, SettledMap(RUNS))


def test_the_end_of_one_reason_to_rest_ends_no_other() -> None:
    pauses, source, waiting = _pauses()
    partition = _full()
    waiting[partition] = _waits_for(7)
    pauses.on_read(partition, 300)
    pauses.set_over_quota({partition})
    assert source.held == {partition: True}
    pauses.set_over_quota(set())
    assert source.held == {partition: True}, "its map has no room, and a schema is awaited"
    pauses.resume_where_possible(300)
    assert source.held == {partition: True}, "a schema is awaited"
    del waiting[partition]
    pauses.apply(partition)
    assert source.held == {partition: False}
    pauses.on_read(partition, 300)
    assert source.held == {partition: True}, "its map has no room"


def test_a_partition_that_waits_for_a_schema_rests_and_one_that_waits_for_room_does_not() -> None:
    """Without room nothing is read anyway, and resting drops what was fetched ahead."""
    pauses, source, waiting = _pauses()
    schema, room = Partition("events", 0, 0, 0), Partition("events", 1, 0, 0)
    waiting |= {schema: _waits_for(7), room: _waits_for(None)}
    pauses.on_read(schema, 10_000)
    pauses.on_read(room, 10_000)
    assert source.held == {schema: True}
    assert room not in pauses


def test_only_partitions_that_begin_or_cease_to_crowd_are_told_to_the_source() -> None:
    """Each pause costs what was fetched ahead."""
    pauses, source, _ = _pauses()
    stays, goes, comes = (Partition("events", number, 0, 0) for number in range(3))
    pauses.set_over_quota({stays, goes})
    source.held.clear()
    pauses.set_over_quota({stays, comes})
    assert source.held == {goes: False, comes: True}


def test_each_reason_is_told_once_for_each_assignment(caplog: pytest.LogCaptureFixture) -> None:
    pauses, _, _ = _pauses()
    partition = _full()
    for assignment in (1, 2):
        for _ in range(3):
            pauses.on_read(partition, 300)
            pauses.resume_where_possible(300)
            pauses.set_over_quota({partition})
            pauses.set_over_quota(set())
        assert len(caplog.records) == 2 * assignment
        pauses.forget([partition])


def test_a_partition_that_is_gone_rests_for_nothing_when_it_comes_back() -> None:
    pauses, _, _ = _pauses()
    gone, kept = _full(0), _full(1)
    for partition in (gone, kept):
        pauses.on_read(partition, 300)
    pauses.set_over_quota({gone, kept})
    pauses.forget([gone])
    assert gone not in pauses
    assert pauses.map_full == pauses.over_quota == {kept}
