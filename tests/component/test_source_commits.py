"""The source's commits: which one an answer belongs to, and one that is never answered."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from consumer.core.offsets import Commit, Partition
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
    assert len(ended(source)) == 1, "an answer that comes too late tells of nothing"
