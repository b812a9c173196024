"""Where partitions begin on a real broker.

Topics that are made anew, and what comes after the group began.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from consumer.adapters.kafka import log_changes as module
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.core.offsets.commits import Commit, due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import Began, Origin, cluster_name, encode, origin_of
from tests.contract.member import PATIENCE_SECONDS, Member
from tests.contract.real_kafka import QUICK, TURN_SECONDS
from tests.support.kafka_witness import Kafka, unique

pytestmark = pytest.mark.promise("starts")


class Stand:
    """A group, and topics that a test makes, deletes and adds to.

    All members turn on the test's thread.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        self.group = unique("starts")
        self.topic = unique("starts")
        self.members: list[Member] = []

    def close(self) -> None:
        for member in self.members:
            if member.failed is None and not member.stopping:
                self.leave(member)

    def make(self, topic: str = "", partitions: int = 1) -> None:
        def made() -> bool:
            future = self.admin.create_topics([NewTopic(topic or self.topic, partitions, 1)])[
                topic or self.topic
            ]
            try:
                future.result(10)
            except Exception:  # the one before is still being deleted
                return False
            return True

        assert _within(PATIENCE_SECONDS, made, 0.1), "the topic cannot be made"

    def make_anew(self, partitions: int = 1) -> None:
        self.admin.delete_topics([self.topic])[self.topic].result(10)
        self.make(partitions=partitions)

    def add(self, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(self.topic, partitions)])[self.topic].result(10)

    def topic_id(self) -> str:
        return str(
            self.admin.describe_topics(TopicCollection([self.topic]))[self.topic]
            .result(10)
            .topic_id
        )

    def cluster(self) -> str:
        return cluster_name(self.admin.describe_cluster().result(10).cluster_id)

    def publish(self, prefix: str, count: int, number: int = 0, topic: str = "") -> None:
        records = [(None, f"{prefix}{place}".encode(), number) for place in range(count)]
        self.kafka.produce(topic or self.topic, records)

    def commit(self, offset: int, metadata: str = "", number: int = 0) -> None:
        config = {"bootstrap.servers": self.kafka.bootstrap, "group.id": self.group, "log_level": 0}
        with closing(Consumer(config)) as consumer:
            consumer.commit(
                offsets=[TopicPartition(self.topic, number, offset, metadata)], asynchronous=False
            )

    def member(
        self,
        *topics: str,
        start_from: str = "earliest",
        out_of_range: str = "stop",
        protocol: str = "classic",
    ) -> Member:
        member = Member()
        properties = dict(QUICK) if protocol == "classic" else {}
        properties["topic.metadata.refresh.interval.ms"] = "500"
        wanted = list(topics) or [self.topic]
        reading = ReadFrom(
            self.kafka.bootstrap, self.group, wanted, start_from, out_of_range, properties
        )
        member.source = Source(member, reading, group_protocol=protocol)
        member.source.subscribe()
        self.members.append(member)
        return member

    def leave(self, member: Member) -> None:
        member.while_revoking = lambda: None
        member.polling = True
        member.source.close(5.0)
        member.polling = False
        member.stopping = member.idle = True

    def turn_until(self, condition: Callable[[], bool], what: str) -> None:
        def turned() -> bool:
            for member in self.members:
                if not member.polling:
                    member.step()
            return condition()

        held = _within(PATIENCE_SECONDS, turned, TURN_SECONDS)
        assert held, what if what.startswith("I") else f"not within {PATIENCE_SECONDS:g} s: {what}"

    def turn_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.turn_until(lambda: time.monotonic() > until, "time passes")

    def commit_all(self, member: Member) -> None:
        """As the owner loop does."""
        due = due_commits(list(member.owned.values()))
        if due:
            before = len(member.answers)
            member.source.commit(due)
            self.turn_until(lambda: len(member.answers) > before, "the commit is answered")
            assert member.answers[-1].error is None
            for commit in due:
                commit.partition.committed, commit.partition.metadata = (
                    commit.offset,
                    commit.metadata,
                )


def _within(seconds: float, condition: Callable[[], bool], pause: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
    return True


@pytest.fixture
def stand(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """A group without members, and a name for a topic; the ids of topics are looked at often."""
    monkeypatch.setattr(module, "IDS_EVERY_SECONDS", 1.0)
    with closing(Stand(kafka)) as made:
        yield made


def _read(member: Member, prefix: str) -> list[str]:
    """Return what was given of partition 0 that begins so."""
    return [
        value.decode() for value in member.values.get(0, []) if value.decode().startswith(prefix)
    ]


def _all_of(prefix: str, count: int) -> set[str]:
    return {f"{prefix}{place}" for place in range(count)}


# -- a topic that is made anew -------------------------------------------------------------------


@pytest.mark.promise("I1", "I8")
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("count", [200, 20])
def test_a_topic_that_is_made_anew_while_it_is_read_is_begun_at_its_beginning(
    stand: Stand, count: int, protocol: str
) -> None:
    stand.make()
    stand.publish("old", 50)
    member = stand.member(out_of_range="earliest", protocol=protocol)
    stand.turn_until(lambda: len(_read(member, "old")) == 50, "the first topic is read")
    stand.turn_until(lambda: member.owned[0].origin.topic_id == stand.topic_id(), "its id is known")
    stand.commit_all(member)
    counted = member.counted
    member.source.pause()  # so that it is not seen by an offset that is not there yet
    stand.make_anew()
    stand.publish("new", count)
    member.source.resume()
    stand.turn_until(
        lambda: set(_read(member, "new")) == _all_of("new", count),
        "I1: records of the new topic are passed by",
    )
    stand.turn_until(
        lambda: member.counted > counted, "I8: its share of the requests is not worked out anew"
    )
    stand.turn_until(lambda: member.owned[0].position == count, "its end is reached")
    assert member.owned[0].started_at == 0
    assert member.owned[0].origin.topic_id == stand.topic_id(), (
        "commits name the topic that was deleted"
    )


@pytest.mark.promise("I1")
@pytest.mark.parametrize("count", [200, 20])
def test_or_it_is_stopped_and_told_so(
    stand: Stand, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    stand.make()
    stand.publish("old", 50)
    member = stand.member()
    stand.turn_until(lambda: len(_read(member, "old")) == 50, "the first topic is read")
    stand.turn_until(lambda: member.owned[0].origin.topic_id == stand.topic_id(), "its id is known")
    old = stand.topic_id()
    member.source.pause()  # so that it is not seen by an offset that is not there yet
    stand.make_anew()
    stand.publish("new", count)
    member.source.resume()
    stand.turn_until(
        lambda: bool(member.source.stopped), "I1: it goes on silently behind the first records"
    )
    assert "the topic was deleted and made anew" in caplog.text
    assert "retention" not in caplog.text
    stand.commit_all(member)
    stand.leave(member)
    (commit,) = stand.kafka.commits(stand.group, stand.topic).values()
    assert origin_of(commit.metadata.rstrip("\0")).topic_id == old, (
        "the next start cannot know that it is another one"
    )
    after = stand.member(out_of_range="earliest")
    stand.turn_until(
        lambda: set(_read(after, "new")) == _all_of("new", count),
        "I1: records of the new topic are passed by",
    )


@pytest.mark.promise("I1")
@pytest.mark.parametrize("policy", ["stop", "earliest", "latest"])
def test_a_commit_of_a_topic_that_was_deleted_is_void(stand: Stand, policy: str) -> None:
    stand.make()
    old = Origin(stand.topic_id(), stand.cluster())
    stand.make_anew()
    stand.publish("new", 30)
    stand.commit(5, encode(0, 5, [(8, 25)], 4000, old))
    member = stand.member(out_of_range=policy)
    if policy == "stop":
        stand.turn_until(
            lambda: bool(member.source.stopped), "I1: it goes on from an offset of the old topic"
        )
        stand.turn_for(1.0)
        assert not _read(member, "new")
        return
    stand.turn_until(
        lambda: set(_read(member, "new")) == _all_of("new", 30),
        "I1: records of the new topic are passed by",
    )
    (partition,) = member.came
    assert (partition.started_at, partition.committed, bool(partition.already_settled)) == (
        0,
        None,
        False,
    )


@pytest.mark.promise("I1")
def test_a_commit_that_was_brought_along_from_another_cluster_counts_without_its_map(
    stand: Stand,
) -> None:
    stand.make()
    stand.publish("new", 30)
    stand.commit(
        5,
        encode(0, 5, [(8, 25)], 4000, Origin("u2Tm1tdHQd6mLtcEX7/o5g", cluster_name("elsewhere"))),
    )
    member = stand.member()
    stand.turn_until(lambda: len(_read(member, "new")) == 25, "it is read from the commit on")
    (partition,) = member.came
    assert (partition.started_at, bool(partition.already_settled)) == (5, False), (
        "I1: a map of another log is trusted"
    )


@pytest.mark.promise("I1")
@pytest.mark.parametrize("known", [True, False])
def test_a_map_is_cut_where_the_log_ends(stand: Stand, known: bool) -> None:
    """Records written there from now on are not those that the map names."""
    stand.make()
    stand.publish("a", 10)
    origin = Origin(stand.topic_id(), stand.cluster()) if known else Origin()
    stand.commit(4, encode(0, 4, [(6, 8), (9, 50)], 4000, origin))
    member = stand.member()
    stand.turn_until(lambda: 0 in member.owned, "it is assigned")
    already_settled = member.owned[0].already_settled
    assert [offset for offset in range(60) if offset in already_settled] == [6, 7, 9], (
        "I1: new records would be skipped"
    )


# -- latest --------------------------------------------------------------------------------------


@pytest.mark.promise("I1")
def test_partitions_that_are_added_to_a_topic_begin_at_their_beginning(stand: Stand) -> None:
    stand.make(partitions=2)
    stand.publish("before", 5)
    member = stand.member(start_from="latest")
    stand.turn_until(lambda: len(member.owned) == 2, "all are assigned")
    assert member.owned[0].started_at == 5
    stand.commit_all(member)
    stand.add(3)
    stand.publish("first", 5, number=2)
    stand.turn_until(
        lambda: len(member.values.get(2, [])) == 5,
        "I1: what was published before it was assigned is passed by",
    )


@pytest.mark.promise("I1")
def test_added_while_nobody_reads_they_do_so_too_and_with_commits_of_an_earlier_version(
    stand: Stand,
) -> None:
    stand.make(partitions=1)
    stand.publish("before", 5)
    stand.commit(5)
    stand.add(2)
    stand.publish("first", 5, number=1)
    member = stand.member(start_from="latest")
    stand.turn_until(
        lambda: len(member.values.get(1, [])) == 5,
        "I1: what was published before it was assigned is passed by",
    )
    assert not _read(member, "before")


@pytest.mark.promise("I1")
def test_a_topic_that_newly_matches_a_pattern_begins_at_its_beginning(stand: Stand) -> None:
    stand.make()
    stand.publish("before", 5)
    member = stand.member(f"^{stand.topic}", start_from="latest")
    stand.turn_until(lambda: len(member.owned) == 1, "it is assigned")
    stand.commit_all(member)
    later = f"{stand.topic}-later"
    stand.make(later)
    stand.publish("first", 5, topic=later)
    stand.turn_until(
        lambda: len(_read(member, "first")) == 5,
        "I1: what was published before it was found is passed by",
    )
    assert not _read(member, "before")


@pytest.mark.promise("I1")
def test_a_partition_whose_first_owner_died_before_its_commit_begins_where_the_group_began(
    stand: Stand,
) -> None:
    stand.make(partitions=2)
    for number in (0, 1):
        stand.publish("before", 5, number)
    member = stand.member(start_from="latest")
    stand.turn_until(lambda: len(member.owned) == 2, "all are assigned")
    (first,) = due_commits([member.owned[0]])
    member.source.commit([first])
    stand.turn_until(lambda: bool(member.answers), "one of them is committed")
    stand.leave(member)
    stand.publish("since", 5, number=1)
    after = stand.member(start_from="latest")
    stand.turn_until(
        lambda: len(after.values.get(1, [])) == 5,
        "I1: what was published since the group began is passed by",
    )
    stand.turn_for(0.5)
    assert {value[:5] for values in after.values.values() for value in values} == {b"since"}


def test_a_member_that_joins_a_young_group_reads_nothing_from_before_it_began(stand: Stand) -> None:
    stand.make(partitions=2)
    for number in (0, 1):
        stand.publish("before", 5, number)
    one, two = stand.member(start_from="latest"), stand.member(start_from="latest")
    stand.turn_until(lambda: len(one.owned) == len(two.owned) == 1, "each has a partition")
    stand.commit_all(one)
    stand.commit_all(two)
    stand.turn_for(1.0)
    assert not one.values
    assert not two.values


def test_every_commit_names_when_the_group_began(stand: Stand) -> None:
    stand.make(partitions=2)
    member = stand.member(start_from="latest")
    stand.turn_until(lambda: len(member.owned) == 2, "all are assigned")
    stand.turn_until(lambda: member.owned[0].origin.topic_id == stand.topic_id(), "its id is known")
    (commit, _) = due_commits(list(member.owned.values()))
    origin = origin_of(commit.metadata)
    assert (origin.topic_id, origin.cluster) == (stand.topic_id(), stand.cluster())
    assert origin.began is not None
    assert origin.began.partitions == 2
    assert abs(origin.began.at / 1000 - time.time()) < 60
    assert isinstance(origin.began, Began)


@pytest.mark.promise("I1")
def test_a_group_that_began_with_earliest_and_an_empty_topic_lose_nothing_either(
    stand: Stand,
) -> None:
    stand.make()
    member = stand.member(start_from="latest")
    stand.turn_until(lambda: 0 in member.owned, "it is assigned")
    partition = member.owned[0]
    assert partition.started_at == 0
    member.source.commit([Commit(partition, 0, "")])
    stand.turn_until(lambda: bool(member.answers), "it is committed")
    stand.leave(member)
    stand.publish("since", 5)
    after = stand.member(start_from="latest")
    stand.turn_until(
        lambda: len(_read(after, "since")) == 5,
        "I1: what was published since the group began is passed by",
    )
    assert isinstance(after.came[0], Partition)
