"""Positions of a partition, what may be committed, and the ledger of records."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.ledger import Ledger
from consumer.core.model import Record, Row
from consumer.core.offsets import Commit, Partition, due_commits, settle
from consumer.core.settled_map import SettledMap, decode


def _read(partition: Partition, *offsets: int, size: int = 10) -> list[Record]:
    records = [Record(partition, offset, b"raw", size, open=1) for offset in offsets]
    partition.read(records, offsets[-1] + 1)
    return records


def _settle(record: Record) -> None:
    """Settle its only row."""
    record.open = 1
    settle([Row(record, "extended_id", "K", {}, (), 0)], [])


def test_the_watermark_is_the_lowest_unsettled_position() -> None:
    partition = Partition("events", 0, 5, 5)
    first, second, third = _read(partition, 5, 6, 7)
    _settle(third)
    _settle(second)
    assert partition.watermark == 5
    _settle(first)
    assert partition.watermark == 8


def test_gaps_between_records_are_passed_over() -> None:
    partition = Partition("events", 0, 0, 0)
    first, second = _read(partition, 3, 9)
    assert partition.watermark == 3
    _settle(first)
    assert partition.watermark == 9
    _settle(second)
    assert partition.watermark == 10


def test_with_nothing_unsettled_the_watermark_is_where_reading_goes_on() -> None:
    """Control records and compaction leave offsets at the end that hold no record."""
    partition = Partition("events", 0, 0, 0)
    (record,) = _read(partition, 0)
    partition.position = 4  # the client passed a transaction marker
    assert partition.watermark == 0
    _settle(record)
    assert partition.watermark == 4


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


def test_what_was_settled_before_stays_in_the_map_though_it_is_not_read_yet() -> None:
    """I7: a partition that changes hands twice, before the first new owner has read all that the map named."""
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
        _settle(record)
    assert [(c.offset, c.metadata) for c in due_commits([partition])] == [(21, "")]


def test_what_is_not_read_yet_counts_for_the_room_of_the_map() -> None:
    runs = [(offset, offset + 1) for offset in range(1000, 40_000, 20)]
    partition = Partition("events", 0, 5, 5, SettledMap(runs), "before")
    assert not Partition("events", 0, 5, 5).outgrows(4000)
    assert partition.outgrows(4000)


def test_a_partition_that_was_taken_away_commits_nothing() -> None:
    partition = Partition("events", 0, 0, 0)
    (record,) = _read(partition, 0)
    _settle(record)
    partition.forget()
    assert not partition.owned
    assert due_commits([partition]) == []


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


def test_ledgers_add_up() -> None:
    partitions = [Partition("events", number, 0, 0) for number in range(3)]
    for partition in partitions:
        _settle(_read(partition, 0, 1)[0])
    total = Ledger.total(partition.ledger for partition in partitions)
    assert (total.consumed, total.accepted, total.unsettled) == (6, 3, 3)
    assert total.balanced


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


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_i3_a_commit_never_passes_an_unsettled_position(gaps: list[int], order: random.Random) -> None:
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
        assert partition.watermark == lowest, "I3: the watermark is not the lowest unsettled position"
        assert partition.ledger.balanced, "I5: the ledger does not balance"
