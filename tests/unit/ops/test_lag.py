"""The lag of a partition, by the rules of docs/lag.md."""

from __future__ import annotations

import pytest

from consumer.adapters.kafka.group_look import LogExtent
from consumer.adapters.kafka.heads import Head
from consumer.core.model import Record
from consumer.core.offsets.partition import Partition
from consumer.ops.lag import Known, Last, Now, PartitionLag, partition_lag, unbegun_lag

WALL = 1_700_000_000.0
NOW = Now(1000.0, WALL)


def millis(ago: float) -> int:
    return int((WALL - ago) * 1000)


def owned(position: int = 10, committed: int | None = 10) -> Partition:
    partition = Partition("events", 0, position, committed)
    partition.position = position
    return partition


def reading(partition: Partition, *timestamps: int, read_at: float = 990.0) -> list[Record]:
    """Have records in memory, from the position on."""
    records = [
        Record(partition, partition.position + n, None, 1, timestamp, read_at, open=1)
        for n, timestamp in enumerate(timestamps)
    ]
    partition.read(records, partition.position + len(records))
    return records


def told(
    partition: Partition,
    extent: LogExtent | None = None,
    head: Head | None = None,
    *,
    fetched_end: int | None = None,
    stopped: bool = False,
    last: Last | None = None,
) -> PartitionLag:
    known = Known(extent, head, fetched_end, watched=True, stopped=stopped)
    return partition_lag(partition, known, NOW, last)


def head(asked: int, offset: int, timestamp: int | None, *, none: bool = False) -> Head:
    return Head(asked, offset, timestamp, none, 970.0)


# -- in time -------------------------------------------------------------------------------------


def test_it_is_the_age_of_the_oldest_record_that_is_not_settled_by_its_own_time() -> None:
    partition = owned()
    first, _ = reading(partition, millis(7200), millis(60))
    assert told(partition, LogExtent(0, 12)).seconds == pytest.approx(7200)
    first.settled = True
    assert told(partition, LogExtent(0, 12)).seconds == pytest.approx(60)


def test_a_record_in_memory_tells_it_though_kafka_tells_nothing() -> None:
    partition = owned()
    reading(partition, millis(50))
    lag = told(partition)
    assert lag.seconds == pytest.approx(50)
    assert (lag.begin, lag.end, lag.records) == (None, None, None)


def test_a_record_without_a_time_is_as_old_as_the_time_since_it_was_read() -> None:
    partition = owned()
    reading(partition, -1, read_at=988.0)
    assert told(partition, LogExtent(0, 11)).seconds == pytest.approx(12)


def test_a_record_ahead_of_the_clock_is_not_late() -> None:
    partition = owned()
    reading(partition, millis(-3600))
    assert told(partition, LogExtent(0, 11)).seconds == 0


def test_with_nothing_behind_it_is_zero() -> None:
    assert told(owned(10), LogExtent(0, 10)).seconds == 0
    assert told(owned(12), LogExtent(0, 10)).seconds == 0, "the end that was told is an old one"


def test_what_is_not_read_is_as_old_as_its_record_that_was_fetched() -> None:
    lag = told(owned(10), LogExtent(0, 500), head(10, 10, millis(900)))
    assert lag.seconds == pytest.approx(900)


def test_one_that_was_fetched_counts_for_every_offset_that_leads_to_it() -> None:
    assert told(owned(12), LogExtent(0, 500), head(10, 15, millis(900))).seconds == pytest.approx(
        900
    )
    assert told(owned(16), LogExtent(0, 500), head(10, 15, millis(900))).seconds is None


def test_one_that_was_fetched_without_a_time_is_as_old_as_the_time_since_it_was_seen() -> None:
    assert told(owned(10), LogExtent(0, 500), head(10, 10, None)).seconds == pytest.approx(30)


def test_what_nobody_has_fetched_is_not_known_but_for_a_moment_as_old_as_the_one_before() -> None:
    assert told(owned(10), LogExtent(0, 500)).seconds is None
    last = Last(992.0, WALL - 77)
    assert told(owned(10), LogExtent(0, 500), last=last).seconds == pytest.approx(77)
    assert told(owned(10), LogExtent(0, 500), last=Last(985.0, WALL - 77)).seconds is None


def test_what_kafka_does_not_tell_lately_is_not_known() -> None:
    lag = told(owned(10), None, head(10, 10, millis(900)), fetched_end=10)
    assert (lag.seconds, lag.records, lag.end) == (None, None, None)


# -- in records ----------------------------------------------------------------------------------


def test_it_counts_from_the_committed_offset_to_the_newest_end_that_is_known() -> None:
    assert told(owned(10, 4), LogExtent(0, 30)).records == 26
    assert told(owned(10, 4), LogExtent(0, 30), fetched_end=45).records == 41
    assert told(owned(50, 4), LogExtent(0, 30)).records == 46


def test_without_a_commit_it_counts_from_where_reading_began() -> None:
    assert told(owned(10, None), LogExtent(0, 30)).records == 20


def test_what_retention_deleted_is_not_behind() -> None:
    lag = told(owned(10, 10), LogExtent(20, 30))
    assert (lag.begin, lag.records) == (20, 10)


def test_a_stopped_partition_is_as_far_behind_as_its_log_holds() -> None:
    lag = told(owned(10, 10), LogExtent(20, 30), head(20, 20, millis(3600)), stopped=True)
    assert lag.records == 10
    assert lag.seconds == pytest.approx(3600)


def test_of_a_topic_that_was_made_anew_all_is_behind() -> None:
    """Its offsets begin again: the position of the one before is behind its end."""
    lag = told(owned(500, 500), LogExtent(0, 20), head(0, 0, millis(60)), stopped=True)
    assert (lag.end, lag.records) == (20, 20)
    assert lag.seconds == pytest.approx(60)


def test_offsets_without_a_record_at_the_end_are_no_lag() -> None:
    lag = told(owned(10, 10), LogExtent(0, 14), head(10, 14, None, none=True))
    assert (lag.records, lag.seconds) == (0, 0)


def test_what_came_behind_such_offsets_is_behind_again() -> None:
    lag = told(owned(10, 10), LogExtent(0, 20), head(10, 14, None, none=True))
    assert (lag.records, lag.seconds) == (6, None)


def test_it_counts_from_the_first_offset_that_holds_a_record() -> None:
    assert told(owned(10, 10), LogExtent(0, 30), head(10, 25, millis(5))).records == 5


def test_offsets_without_a_record_count_while_something_before_them_is_unsettled() -> None:
    partition = owned()
    reading(partition, millis(5))
    assert told(partition, LogExtent(0, 30), head(10, 25, millis(5))).records == 20


# -- before it begins ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("committed", "extent", "found", "lag"),
    [
        (None, None, None, (None, None)),
        (None, LogExtent(3, 10), None, (7, None)),
        (5, LogExtent(3, 10), head(5, 5, millis(60)), (5, 60.0)),
        (5, LogExtent(3, 10), head(5, 10, None, none=True), (0, 0.0)),
        (10, LogExtent(3, 10), None, (0, 0.0)),
        (1, LogExtent(3, 10), head(3, 3, millis(9)), (7, 9.0)),
        (99, LogExtent(3, 10), head(3, 3, millis(9)), (7, 9.0)),
    ],
)
def test_a_partition_that_awaits_its_start_counts_from_its_commit(
    committed: int | None,
    extent: LogExtent | None,
    found: Head | None,
    lag: tuple[int | None, float | None],
) -> None:
    assert unbegun_lag(committed, extent, found, NOW) == lag
