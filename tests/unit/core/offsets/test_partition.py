"""Positions of a partition, what may be committed, and the ledger of records."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.model import Record, Row
from consumer.core.offsets.commits import Commit, due_commits
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.partition import MAX_READ, MAX_SETTLED_KEPT, Partition, settle
from consumer.core.offsets.settled_map import Origin, SettledMap, decode, encode, origin_of


def _read(partition: Partition, *offsets: int, size: int = 10) -> list[Record]:
    records = [Record(partition, offset, b"raw", size, open=1) for offset in offsets]
    partition.read(records, offsets[-1] + 1)
    return records


def _settle(record: Record) -> None:
    """Settle its only row."""
    record.open = 1
    settle([Row(record, "extended_id", "K", {}, (), 0)], [])


@pytest.mark.promise("I3")
def test_the_watermark_is_the_lowest_unsettled_position() -> None:
    partition = Partition("events", 0, 5, 5)
    first, second, third = _read(partition, 5, 6, 7)
    _settle(third)
    _settle(second)
    assert partition.committable_offset == 5
    _settle(first)
    assert partition.committable_offset == 8


def test_gaps_between_records_are_passed_over() -> None:
    partition = Partition("events", 0, 0, 0)
    first, second = _read(partition, 3, 9)
    assert partition.committable_offset == 3
    _settle(first)
    assert partition.committable_offset == 9
    _settle(second)
    assert partition.committable_offset == 10


def test_with_nothing_unsettled_the_watermark_is_where_reading_goes_on() -> None:
    """Control records and compaction leave offsets at the end that hold no record."""
    partition = Partition("events", 0, 0, 0)
    (record,) = _read(partition, 0)
    partition.position = 4  # the client passed a transaction marker
    assert partition.committable_offset == 0
    _settle(record)
    assert partition.committable_offset == 4


def test_reading_never_moves_the_position_back() -> None:
    partition = Partition("events", 0, 0, 0)
    partition.position = 9
    partition.read([], 3)
    assert partition.position == 9


def test_due_commits_holds_what_moved_beyond_the_committed_offset() -> None:
    moved, still = Partition("events", 0, 5, 5), Partition("events", 1, 5, 5)
    (record,) = _read(moved, 5)
    _read(still, 5)
    _settle(record)
    assert due_commits([moved, still]) == [Commit(moved, 6, "")]
    moved.committed = 6
    assert due_commits([moved, still]) == []


def test_a_partition_without_a_committed_offset_commits_where_it_began() -> None:
    partition = Partition("events", 0, 42, None)
    _read(partition, 42)
    assert due_commits([partition]) == [Commit(partition, 42, "")]


@pytest.mark.promise("I7")
def test_what_was_settled_before_stays_in_the_map_though_it_is_not_read_yet() -> None:
    """I7: a partition that changes hands twice, before the first new owner has read all that the
    map named.
    """
    partition = Partition("events", 0, 5, 5, SettledMap([(7, 9), (12, 20)]), "before")
    assert decode(due_commits([partition])[0].metadata, 0, 5).beyond(0) == [(7, 9), (12, 20)]
    records = _read(partition, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    for record in records[2:]:
        _settle(record)
    assert decode(due_commits([partition])[0].metadata, 0, 5).beyond(0) == [(7, 20)]
    for record in records[:2]:
        _settle(record)
    (commit,) = due_commits([partition])
    assert commit.offset == 14
    assert decode(commit.metadata, 0, 14).beyond(0) == [(14, 20)]
    _settle(_read(partition, 14, 15, 16, 17, 18, 19, 20)[-1])
    for record in list(partition.records):
        if not record.settled:
            _settle(record)
    assert [(c.offset, c.metadata) for c in due_commits([partition])] == [(21, "")]


def test_what_is_not_read_yet_counts_for_the_room_of_the_map() -> None:
    runs = [(offset, offset + 1) for offset in range(1000, 40_000, 20)]
    partition = Partition("events", 0, 5, 5, SettledMap(runs), "before")
    assert not Partition("events", 0, 5, 5).outgrows(4000)
    assert partition.outgrows(4000)


@pytest.mark.promise("I3")
def test_a_partition_that_was_taken_away_commits_nothing() -> None:
    partition = Partition("events", 0, 0, 0)
    (record,) = _read(partition, 0)
    _settle(record)
    partition.forget()
    assert not partition.owned
    assert due_commits([partition]) == [], "I3: a partition that is not owned is committed"


@pytest.mark.promise("I7")
def test_what_a_map_names_and_is_not_read_yet_stays_in_the_next_commit() -> None:
    """A member that dies right after it took over must not have made its successor forget."""
    metadata = encode(0, 5, [(6, 9), (12, 20)], 4000)
    partition = Partition("events", 0, 5, 5, decode(metadata, 0, 5), metadata)
    assert due_commits([partition]) == [], "I7: the settled map is forgotten before it was used"
    (first,) = _read(partition, 5)
    assert due_commits([partition]) == [], "I7: the settled map is forgotten before it was used"
    _settle(first)
    (commit,) = due_commits([partition])
    assert commit.offset == 6
    assert decode(commit.metadata, 0, 6).beyond(0) == [(6, 9), (12, 20)]
    second = Record(partition, 6, None, 0)
    partition.read([second], 9)
    partition.skip(second)
    (third,) = _read(partition, 9)
    assert third.offset == partition.committable_offset == 9
    (commit,) = due_commits([partition])
    assert decode(commit.metadata, 0, 9).beyond(0) == [(12, 20)]


def test_a_run_that_is_read_in_part_stays_one_run() -> None:
    partition = Partition("events", 0, 5, 5, decode(encode(0, 5, [(6, 20)], 4000), 0, 5))
    _read(partition, 5)
    partition.position = 10
    assert partition.settled_runs() == [(6, 20)]


@pytest.mark.promise("I7")
def test_reading_stops_before_the_map_could_outgrow_its_room() -> None:
    """Whatever then settles of what was read, the map of it fits (I7)."""
    for seed in range(20):
        draw = random.Random(seed)
        partition = Partition("events", 0, 0, 0)
        room = draw.choice((500, 1000, 4000))
        while not partition.outgrows(room) and partition.position < 60_000:
            records = _read(
                partition,
                *range(partition.position, partition.position + draw.choice((1, 50, MAX_READ))),
            )
            for record in records[partition.committable_offset == records[0].offset :]:
                if draw.random() < 0.98:
                    _settle(record)
        assert partition.position < 60_000, "I7: reading goes on though the map has no room left"
        for record in list(partition.records)[1:]:
            if not record.settled and draw.random() < 0.5:
                _settle(record)
        runs = partition.settled_runs()
        assert decode(encode(0, 0, runs, room), 0, 0).beyond(0) == runs, (
            "I7: the map outgrew its room"
        )


@pytest.mark.promise("I5")
def test_the_ledger_tells_accepted_rejected_skipped_and_released_apart() -> None:
    partition = Partition("events", 0, 0, 0)
    good, bad, empty, unsettled = _read(partition, 0, 1, 2, 3)
    _settle(good)
    bad.rejected = True
    _settle(bad)
    partition.skip(empty)
    assert partition.ledger.balanced
    assert partition.forget() == unsettled.size
    assert partition.ledger.as_dict() == {
        "consumed": 4,
        "accepted": 1,
        "rejected": 1,
        "skipped": 1,
        "released": 1,
        "unsettled": 0,
    }
    assert partition.ledger.balanced


@pytest.mark.promise("I5")
def test_ledgers_add_up() -> None:
    partitions = [Partition("events", number, 0, 0) for number in range(3)]
    for partition in partitions:
        _settle(_read(partition, 0, 1)[0])
    total = Ledger.total(partition.ledger for partition in partitions)
    assert (total.consumed, total.accepted, total.unsettled) == (6, 3, 3)
    assert total.balanced


@pytest.mark.promise("I5")
def test_a_ledger_that_lost_a_record_does_not_balance() -> None:
    ledger = Ledger()
    ledger.consumed = 1
    assert not ledger.balanced


def test_settled_records_let_go_of_the_message() -> None:
    """The raw message is kept for the dead letter only: it belongs to the memory bound."""
    partition = Partition("events", 0, 0, 0)
    (record,) = _read(partition, 0)
    _settle(record)
    assert record.raw is None


@pytest.mark.promise("I3", "I5")
@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_i3_a_commit_never_passes_an_unsettled_position(
    gaps: list[int], order: random.Random
) -> None:
    partition = Partition("events", 0, 0, 0)
    offset, offsets = 0, []
    for gap in gaps:
        offsets.append(offset)
        offset += gap
    records = _read(partition, *offsets)
    unsettled = list(records)
    shuffled = list(records)
    order.shuffle(shuffled)
    for record in shuffled:
        _settle(record)
        unsettled.remove(record)
        lowest = min((r.offset for r in unsettled), default=partition.position)
        assert partition.committable_offset == lowest, (
            "I3: the watermark is not the lowest unsettled position"
        )
        assert partition.ledger.balanced, "I5: the ledger does not balance"


@pytest.mark.promise("I1")
def test_every_commit_names_the_log_that_it_is_of() -> None:
    origin = Origin("an-id", "a-cluster")
    partition = Partition("events", 0, 5, None, origin=origin)
    (commit,) = due_commits([partition])
    assert origin_of(commit.metadata) == origin, (
        "I1: a new topic of that name would begin at the old one's offset"
    )
    partition.committed, partition.metadata = commit.offset, commit.metadata
    assert due_commits([partition]) == []


@pytest.mark.promise("I6")
@pytest.mark.parametrize("rows", [0, 1])
def test_behind_a_record_that_is_stuck_what_is_settled_or_skipped_is_not_kept(rows: int) -> None:
    """I6: nobody counts it."""
    partition = Partition("events", 0, 0, 0)
    stuck = Record(partition, 0, b"raw", 1, open=1)
    partition.read([stuck], 1)
    for start in range(1, 50_001, 500):
        records = [
            Record(partition, offset, None, 1, open=rows) for offset in range(start, start + 500)
        ]
        partition.read(records, start + 500)
        for record in records:
            partition.skip(record)
    assert len(partition.records) <= 3 * MAX_SETTLED_KEPT, "I6: records that are done are kept"
    assert partition.committable_offset == 0
    assert partition.settled_runs() == [(1, 50_001)]
