"""The watch of a group, turn by turn, over a Kafka that does as the test says."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import pytest

from consumer.adapters.kafka import lag_watch
from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.group_look import GroupCommit, GroupLook, LogExtent
from consumer.adapters.kafka.heads import Head
from consumer.adapters.kafka.lag_watch import STALE_SECONDS, LagWatch, first_unread
from consumer.adapters.kafka.offsets import LookUpError

KEY, OTHER = ("events", 0), ("events", 1)


class Kafka:
    """Answers looks and fetches; counts the fetches."""

    def __init__(self) -> None:
        self.logs = {KEY: LogExtent(0, 100), OTHER: LogExtent(0, 0)}
        self.commits: dict[PartitionId, GroupCommit] = {}
        self.away = False
        self.fetched: list[dict[PartitionId, int]] = []
        self.none = False

    def look(self, also: set[PartitionId]) -> GroupLook:
        if self.away:
            raise LookUpError("no broker answers")
        keys = sorted(self.logs)
        at = time.monotonic()
        return GroupLook(at, keys, dict(self.logs), self.commits, "stable", False, [], {})

    def fetch(self, wanted: Mapping[PartitionId, int]) -> dict[PartitionId, Head]:
        if wanted:
            self.fetched.append(dict(wanted))
        return {
            key: Head(asked, self.logs[key].end if self.none else asked + 2, 5, self.none, 0.0)
            for key, asked in wanted.items()
        }

    def close(self) -> None:
        pass


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def watch(kafka: Kafka) -> LagWatch:
    return LagWatch(kafka, kafka)


def test_only_what_is_wanted_and_there_is_fetched(kafka: Kafka, watch: LagWatch) -> None:
    watch.want({KEY: 10, OTHER: 0})
    watch.turn()
    assert kafka.fetched == [{KEY: 10}]


def test_a_record_that_is_known_is_not_fetched_again(kafka: Kafka, watch: LagWatch) -> None:
    for position in (10, 11, 12):
        watch.want({KEY: position})
        watch.turn()
    assert kafka.fetched == [{KEY: 10}]
    watch.want({KEY: 13})
    watch.turn()
    assert kafka.fetched[1:] == [{KEY: 13}]


def test_where_there_was_no_record_it_is_fetched_again_once_there_is_more(
    kafka: Kafka, watch: LagWatch
) -> None:
    kafka.none = True
    watch.want({KEY: 10})
    watch.turn()
    watch.turn()
    assert len(kafka.fetched) == 1
    kafka.logs[KEY] = LogExtent(0, 101)
    watch.turn()
    assert len(kafka.fetched) == 2


def test_one_that_retention_deleted_is_fetched_anew(kafka: Kafka, watch: LagWatch) -> None:
    watch.want({KEY: 10})
    watch.turn()
    kafka.logs[KEY] = LogExtent(50, 100)
    watch.turn()
    assert kafka.fetched == [{KEY: 10}, {KEY: 50}]


@pytest.mark.parametrize(
    ("wish", "committed", "offset"),
    [(10, None, 10), (100, None, None), (None, 40, 40), (None, None, 5), (3, None, 5), (900, 9, 5)],
)
def test_what_is_outside_of_the_log_is_not_to_be_read(
    wish: int | None, committed: int | None, offset: int | None
) -> None:
    commits = {} if committed is None else {KEY: GroupCommit(committed)}
    logs = {KEY: LogExtent(5, 100)}
    look = GroupLook(0.0, [KEY], logs, commits, "stable", False, [], {})
    assert first_unread(look, KEY, wish) == offset
    assert first_unread(look, OTHER, wish) is None


def test_what_was_seen_holds_for_half_a_minute(kafka: Kafka, watch: LagWatch) -> None:
    assert watch.seen(time.monotonic()) is None
    watch.turn()
    kafka.away = True
    watch.turn()
    seen = watch.seen(time.monotonic())
    assert seen is not None
    assert watch.seen(seen.look.at + STALE_SECONDS - 0.01) is seen
    assert watch.seen(seen.look.at + STALE_SECONDS) is None


def test_a_kafka_that_is_away_is_one_line_and_one_when_it_is_back(
    kafka: Kafka,
    watch: LagWatch,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO):
        kafka.away = True
        for _ in range(20):
            watch.turn()
            now[0] += 10.0
        kafka.away = False
        watch.turn()
        watch.turn()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("the lag is not known: Kafka does not tell it (no broker answers)")
    assert lines[1] == "Kafka answers again: the lag is known"


def test_a_short_gap_is_no_line(
    kafka: Kafka, watch: LagWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        kafka.away = True
        watch.turn()
        kafka.away = False
        watch.turn()
    assert not caplog.records


def test_a_fault_in_the_client_is_logged_and_the_watch_goes_on(
    kafka: Kafka, watch: LagWatch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> GroupLook:
        raise RuntimeError("a fault")

    with monkeypatch.context() as broken:
        broken.setattr(kafka, "look", fails)
        watch.turn()
    watch.turn()
    assert "a fault" in caplog.text
    assert watch.seen(time.monotonic()) is not None


def test_what_is_wanted_anew_is_looked_for_soon(
    kafka: Kafka, watch: LagWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_watch, "SOONER_SECONDS", 0.01)
    watch.start()
    try:
        watch.want({KEY: 10})
        until = time.monotonic() + 5  # half of the interval between two looks
        while not kafka.fetched:
            assert time.monotonic() < until
            time.sleep(0.005)  # the pause between two looks at the fake
    finally:
        watch.close()
