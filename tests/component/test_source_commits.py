"""The source's commits: which response belongs to which, and one that never gets any."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka import group_commits as module
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.core.offsets.commits import Commit, due_commits
from consumer.core.offsets.partition import Partition
from consumer.errors import UserError


class Listener(SimpleNamespace):
    stopping = leaves_at_once = False

    def __init__(self) -> None:
        super().__init__(ended=[])

    def on_committed(
        self, commits: list[Commit], error: str | None, *, too_large: bool = False
    ) -> None:
        self.ended.append(([commit.offset for commit in commits], error))


@pytest.fixture
def source() -> Iterator[Source]:
    """Return a source whose client sends commits nowhere."""
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


@pytest.mark.promise("I8")
def test_a_commit_that_is_never_answered_holds_back_no_other(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8: the client may forget one with its membership; its partitions would stand still."""
    monkeypatch.setattr(module, "COMMIT_LOST_SECONDS", 0.0)
    source.commit([commit(1)])
    assert not source.committing
    source.commit([commit(2)])
    answer(source, 2)
    assert ended(source) == [([2], None)], "the answer is told of the commit that it belongs to"
    answer(source, 1)
    assert len(ended(source)) == 1, "an answer that comes too late is none of another commit"


@pytest.mark.promise("I7")
def test_a_commit_that_is_taken_after_a_later_one_is_followed_by_another(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7: the client repeats one that a broken connection took along, behind later commits."""
    monkeypatch.setattr(module, "COMMIT_LOST_SECONDS", 0.0)
    partition = Partition("events", 0, 7, 0)
    source._assignment.owned[("events", 0)] = partition
    source.commit([Commit(partition, 5, "")])
    source.commit([Commit(partition, 7, "")])
    answer(source, 7)
    partition.committed = 7  # as the loop does
    assert due_commits([partition]) == []
    source.commit([Commit(partition, 8, "")])
    answer(source, 5)
    assert due_commits([partition]) == [Commit(partition, 7, "")], (
        "the group is left with what it was told before"
    )
    answer(source, 8)
    assert [offsets for offsets, _ in ended(source)] == [[7], [8]], (
        "one that comes too late hides no other"
    )


def test_a_last_commit_that_is_put_back_by_an_earlier_one_is_sent_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SENT_AGAIN_SECONDS", 0.1)
    client: Any = source._consumer
    sent: list[TopicPartition] = []
    client.commit = lambda *, offsets, asynchronous: sent.append(offsets[0])
    looks = iter([1, 0])  # which of them the group has; then the latest
    client.committed = lambda partitions, timeout: [sent[next(looks, -1)]]
    source.commit([commit(5)])
    source._commits._sent_at -= 1.0  # it is on its way for that long
    assert source.commit_and_wait([commit(7)])
    assert [tp.offset for tp in sent] == [5, 7, 7]


@pytest.mark.parametrize("under_way", [0, 1])
def test_a_last_commit_that_is_refused_is_not_sent_over_and_over(
    source: Source, under_way: int
) -> None:
    client: Any = source._consumer
    sent: list[int] = []
    client.commit = lambda *, offsets, asynchronous: sent.append(offsets[0].offset)
    client.committed = lambda partitions, timeout: [TopicPartition("events", 0, 3)]
    for _ in range(under_way):
        source.commit([commit(5)])
        source._commits._sent_at -= 2.0
    assert not source.commit_and_wait([commit(7)])
    assert sent.count(7) == 1 + under_way


@pytest.mark.promise("I7")
def test_a_last_commit_that_cannot_be_sent_is_not_confirmed_by_an_earlier_one(
    source: Source,
) -> None:
    """I7: what was settled since is not committed, and the stop must not say so."""
    client: Any = source._consumer
    source.commit([commit(5)])  # the group takes it; its response is not read yet

    def refuse(**_: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))

    client.commit = refuse
    client.committed = lambda partitions, timeout: [TopicPartition("events", 0, 5)]
    assert not source.commit_and_wait([commit(7)]), (
        "I7: an earlier commit confirms one that was not sent"
    )


@pytest.mark.promise("I7")
def test_two_commits_of_one_offset_with_different_maps_are_told_apart(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7: the later one's response is not the earlier's, else the later map counts as committed."""
    monkeypatch.setattr(module, "COMMIT_LOST_SECONDS", 0.0)
    listener: Any = source._listener
    ended: list[tuple[str, str | None]] = []
    listener.on_committed = lambda commits, error, *, too_large=False: ended.append(
        (commits[0].metadata, error)
    )
    partition = source._assignment.owned[("events", 0)] = Partition("events", 0, 0, 5)
    source.commit([Commit(partition, 5, "one")])
    source.commit([Commit(partition, 5, "two")])
    source._on_commit(None, [TopicPartition("events", 0, 5, "two")])
    assert ended == [("two", None)], "I7: an answer is taken for that to another commit"
    partition.metadata = "two"
    source._on_commit(None, [TopicPartition("events", 0, 5, "one")])
    assert partition.metadata == "one", (
        "I7: what the group took last is not what it is thought to have"
    )


@pytest.mark.promise("I7")
def test_a_commit_of_an_epoch_before_is_what_the_group_has_of_the_one_that_is_owned(
    source: Source,
) -> None:
    """I7: it was under way when the partition went and came back; the next one must follow it."""
    old, new = Partition("events", 0, 0, 0), Partition("events", 0, 7, 7)
    source.commit([Commit(old, 5, "")])
    source._assignment.owned[("events", 0)] = new
    answer(source, 5)
    assert due_commits([new]) == [Commit(new, 7, "")], (
        "the group is left behind what it was told before"
    )


@pytest.mark.promise("I3")
def test_a_fault_in_the_listener_leaves_a_revoked_partition_unowned_and_the_next_poll_raises_it(
    source: Source,
) -> None:
    listener: Any = source._listener
    client: Any = source._consumer
    client.consume = lambda count, timeout: []
    client.consumer_group_metadata = lambda: b""
    partition = source._assignment.owned[("events", 0)] = Partition("events", 0, 0, 0)

    def fails(partitions: list[Partition], *, lost: bool) -> None:
        raise KeyError("a fault")

    listener.on_revoked = fails
    source._gone([TopicPartition("events", 0)], lost=False)
    assert not partition.owned, "I3: it is gone, and is committed all the same"
    source._counted_in = None
    with pytest.raises(UserError, match=r"a fault in the program \(KeyError\)"):
        source.poll(1)
    assert source.poll(1) == [], "a stop serves callbacks after that"
