"""The source's commits: which one an answer belongs to, and one that is never answered."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from consumer.core.offsets import Commit, Partition, due_commits
from consumer.kafka import source as module
from consumer.kafka.reader import ReadFrom
from consumer.kafka.source import Source


class Listener(SimpleNamespace):
    stopping = leaves_at_once = False

    def __init__(self) -> None:
        super().__init__(ended=[])

    def on_committed(self, commits: list[Commit], error: str | None, *, too_large: bool = False) -> None:
        self.ended.append(([commit.offset for commit in commits], error))


@pytest.fixture
def source() -> Iterator[Source]:
    """One whose client sends commits nowhere."""
    listener: Any = Listener()
    made = Source(listener, ReadFrom("127.0.0.1:1", "group", ["events"], "earliest", "stop", {}))
    client = made._consumer
    fake: Any = SimpleNamespace(commit=lambda **_: None)
    made._consumer = fake
    yield made
    client.close()


def commit(offset: int) -> Commit:
    return Commit(Partition("events", 0, 0, None), offset, "")


def answer(source: Source, offset: int) -> None:
    source._on_commit(None, [TopicPartition("events", 0, offset)])


def ended(source: Source) -> list[tuple[list[int], str | None]]:
    listener: Any = source._listener
    found: list[tuple[list[int], str | None]] = listener.ended
    return found


def test_a_commit_is_in_flight_until_it_is_answered(source: Source) -> None:
    source.commit([commit(1)])
    assert source.committing
    answer(source, 1)
    assert not source.committing
    assert ended(source) == [([1], None)]


def test_a_commit_that_is_never_answered_holds_back_no_other(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """I8: the client may forget one with its membership; a member that never commits again would stand still."""
    monkeypatch.setattr(module, "COMMIT_LOST_SECONDS", 0.0)
    source.commit([commit(1)])
    assert not source.committing
    source.commit([commit(2)])
    answer(source, 2)
    assert ended(source) == [([2], None)], "the answer is told of the commit that it belongs to"
    answer(source, 1)
    assert len(ended(source)) == 1, "an answer that comes too late is none of another commit"


def test_a_commit_that_is_taken_after_a_later_one_is_followed_by_another(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7: the client sends one that a broken connection had taken along once more, behind what was said since."""
    monkeypatch.setattr(module, "COMMIT_LOST_SECONDS", 0.0)
    partition = Partition("events", 0, 7, 0)
    source._owned[("events", 0)] = partition
    source.commit([Commit(partition, 5, "")])
    source.commit([Commit(partition, 7, "")])
    answer(source, 7)
    partition.committed = 7  # as the loop does
    assert due_commits([partition]) == []
    source.commit([Commit(partition, 8, "")])
    answer(source, 5)
    assert due_commits([partition]) == [Commit(partition, 7, "")], "the group is left with what it was told before"
    answer(source, 8)
    assert [offsets for offsets, _ in ended(source)] == [[7], [8]], "one that comes too late hides no other"


def test_a_last_commit_that_is_put_back_by_an_earlier_one_is_sent_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SENT_AGAIN_SECONDS", 0.1)
    client: Any = source._consumer
    sent: list[int] = []
    client.commit = lambda *, offsets, asynchronous: sent.append(offsets[0].offset)
    looks = iter([7, 5])
    client.committed = lambda partitions, timeout: [TopicPartition("events", 0, next(looks, sent[-1]))]
    source.commit([commit(5)])
    source._committing_since -= 1.0  # it is on its way for that long
    assert source.commit_and_wait([commit(7)])
    assert sent == [5, 7, 7]


@pytest.mark.parametrize("under_way", [0, 1])
def test_a_last_commit_that_is_refused_is_not_sent_over_and_over(source: Source, under_way: int) -> None:
    client: Any = source._consumer
    sent: list[int] = []
    client.commit = lambda *, offsets, asynchronous: sent.append(offsets[0].offset)
    client.committed = lambda partitions, timeout: [TopicPartition("events", 0, 3)]
    for _ in range(under_way):
        source.commit([commit(5)])
        source._committing_since -= 2.0
    assert not source.commit_and_wait([commit(7)])
    assert sent.count(7) == 1 + under_way
