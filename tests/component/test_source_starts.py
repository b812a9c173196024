"""Starts that cannot be looked up: what the others do meanwhile, and when the look-up ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source
from consumer.adapters.kafka.starts import Extent
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import NOWHERE
from consumer.errors import UserError
from tests.support.process import wait_until

pytestmark = pytest.mark.promise("starts")

NO_LEADER = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
NO_COMMIT = -1001
#: As librdkafka says it when the leader's epochs show that the log was cut before a position.
CUT = KafkaError(
    KafkaError._AUTO_OFFSET_RESET,
    "Partition log truncation detected at offset 5 (leader epoch 1): "
    "broker end offset is 2 (offset leader epoch 1). "
    "Reset to INVALID.: Local: Partition log truncation detected (broker 1)",
)
GONE = KafkaError(
    KafkaError._AUTO_OFFSET_RESET, "fetch failed: Broker: Offset out of range (broker 1)"
)


class Broker:
    """A broker's responses; a key with trouble gets an error of its own."""

    def __init__(self) -> None:
        self.commits: dict[int, int] = {1: 5, 2: 5}
        self.commit_trouble: set[int] = set()
        self.offset_trouble: set[int] = {0}
        self.away = False
        self.looks = 0
        self.assigned: list[dict[int, int]] = []
        self.unassigned: list[list[int]] = []

    def committed(self, queries: list[TopicPartition], timeout: float) -> list[Any]:
        return [
            _told(
                tp, self.commits.get(tp.partition, NO_COMMIT), tp.partition in self.commit_trouble
            )
            for tp in queries
        ]

    def offsets_for_times(self, queries: list[TopicPartition], timeout: float) -> list[Any]:
        self.looks += threading.current_thread() is threading.main_thread()
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [_told(tp, 3, tp.partition in self.offset_trouble) for tp in queries]

    def incremental_assign(self, starts: list[TopicPartition]) -> None:
        self.assigned.append({tp.partition: tp.offset for tp in starts})

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.unassigned.append([tp.partition for tp in partitions])

    def list_topics(self, topic: str = "", timeout: float = 0.0) -> Any:
        return SimpleNamespace(topics={})

    def consume(self, count: int, timeout: float) -> list[Any]:
        return []

    def pause(self, partitions: list[TopicPartition]) -> None: ...
    def resume(self, partitions: list[TopicPartition]) -> None: ...
    def close(self) -> None: ...
    def consumer_group_metadata(self) -> bytes:
        return b""

    def memberid(self) -> str:
        return "member"


def _told(tp: TopicPartition, offset: int, trouble: bool) -> Any:
    error = NO_LEADER if trouble else None
    return SimpleNamespace(
        topic=tp.topic, partition=tp.partition, offset=offset, error=error, metadata=""
    )


class Listener(SimpleNamespace):
    stopping = leaves_at_once = False

    def __init__(self) -> None:
        super().__init__(assigned=[], begun=[], went=[])

    def on_assigned(self, partitions: list[Partition]) -> None:
        self.assigned.append([partition.number for partition in partitions])

    def on_begun(self, partitions: list[Partition]) -> None:
        self.begun += [
            (partition.number, partition.position, partition.committed) for partition in partitions
        ]

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        self.went.append([partition.number for partition in partitions])

    def on_waiting(self) -> None: ...
    def on_counted(self, counts: Any) -> None: ...


class Stand:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("consumer.adapters.kafka.seeking.LAST_PAUSE_SECONDS", 0.05)
        self.broker: Any = Broker()
        self.listener: Any = Listener()
        self.source = Source(
            self.listener, ReadFrom("127.0.0.1:1", "group", ["events"], "earliest", "stop", {})
        )
        self.client = self.source._consumer
        broker: Any = self.broker
        self.source._consumer = broker
        self.source._seeking._open = lambda: broker
        self.source._changes._ids = SimpleNamespace(answer=lambda: None, ask=lambda *_: None)  # type: ignore[assignment]

    def assign(self, *numbers: int) -> None:
        self.source._on_assign(
            self.client, [TopicPartition("events", number) for number in numbers]
        )

    def revoke(self, *numbers: int) -> None:
        self.source._on_revoke(
            self.client, [TopicPartition("events", number) for number in numbers]
        )

    def poll(self) -> bool:
        self.source._counted_in = None  # there is no broker to count the partitions
        self.source.poll(1)
        return True


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    made = Stand(monkeypatch)
    yield made
    made.source._seeking.close()
    made.client.close()


@pytest.mark.promise("I1", "I8")
@pytest.mark.parametrize("trouble", ["offset_trouble", "commit_trouble"])
def test_one_start_that_cannot_be_looked_up_holds_up_no_other_partition(
    stand: Stand, trouble: str
) -> None:
    stand.broker.offset_trouble = set()
    setattr(stand.broker, trouble, {0})
    stand.assign(0, 1, 2)
    assert stand.listener.assigned == [[1, 2]], "I8: one partition stops the others"
    assert stand.broker.assigned == [{1: 5, 2: 5}], "I1: it begins at a guessed offset"
    assert list(stand.source.awaiting) == [("events", 0)]
    stand.poll()
    assert not stand.listener.begun
    getattr(stand.broker, trouble).clear()
    wait_until(lambda: stand.poll() and bool(stand.listener.begun), 10)
    assert stand.listener.begun == [(0, 3, None)]
    assert stand.broker.assigned[1:] == [{0: 3}]
    assert not stand.source.awaiting


@pytest.mark.promise("I8")
def test_when_no_broker_answers_the_assignment_is_taken_all_the_same_and_begins_later(
    stand: Stand,
) -> None:
    stand.broker.commits = {}
    stand.broker.offset_trouble, stand.broker.away = set(), True
    stand.assign(0, 1)
    assert stand.listener.assigned == [[]], "the member counts as joined"
    assert stand.broker.looks == 1, (
        "I8: the callback asks again and again, and the group waits for it"
    )
    stand.broker.away = False
    wait_until(lambda: stand.poll() and len(stand.listener.begun) == 2, 10)
    assert sorted(stand.listener.begun) == [(0, 3, None), (1, 3, None)]


@pytest.mark.promise("fencing")
def test_a_partition_that_is_lost_is_looked_for_no_more_and_gives_up_only_what_is_read(
    stand: Stand,
) -> None:
    stand.assign(0, 1, 2)
    (search,) = stand.source._assignment.searches.values()
    stand.revoke(0, 1)
    assert search.ended
    assert stand.listener.went == [[1]]
    assert stand.broker.unassigned == [[1]], (
        "the client refuses to give up what it does not read, and the group waits"
    )
    stand.broker.offset_trouble = set()
    stand.source._seeking._found.put((search, "an answer that was on its way"))
    try:
        stand.poll()
    except KeyError:
        stand.listener.begun.append("what nobody waits for")
    assert not stand.listener.begun, "fencing: what is lost begins"


@pytest.mark.promise("I1")
def test_the_answer_to_a_search_of_an_earlier_assignment_is_none_to_a_later_one(
    stand: Stand,
) -> None:
    stand.assign(0, 1, 2)
    (before,) = stand.source._assignment.searches.values()
    stand.revoke(0)
    stand.assign(0)
    assert stand.source._assignment.searches[("events", 0)] is not before
    before.then = lambda _: stand.listener.begun.append("where another look-up said")
    stand.source._seeking._found.put((before, None))
    stand.poll()
    assert not stand.listener.begun, "I1: it begins where another look-up said"
    assert list(stand.source.awaiting) == [("events", 0)]


def test_a_late_start_that_the_client_refuses_ends_the_reading_with_an_error_for_users(
    stand: Stand,
) -> None:
    stand.assign(0, 1, 2)
    stand.broker.incremental_assign = _refuse
    stand.broker.offset_trouble = set()

    told: list[Exception] = []

    def polled() -> bool:
        try:
            stand.poll()
        except (UserError, KafkaException) as error:
            told.append(error)
        return bool(told)

    wait_until(polled, 10)
    assert isinstance(told[0], UserError), (
        "what the client refuses ends the process with a traceback"
    )
    assert "events[0]" in str(told[0])


def _refuse(_: Any) -> None:
    raise KafkaException(KafkaError(KafkaError._STATE))


@pytest.mark.promise("I1")
@pytest.mark.parametrize("rule", ["stop", "earliest", "latest"])
def test_a_position_before_which_the_log_was_cut_is_not_there_again_though_others_are_written_there(
    stand: Stand, rule: str
) -> None:
    """A copy that lags behind took over, and new records have got the offsets of those that are
    gone.
    """
    stand.source._beginning.on_out_of_range = rule
    stand.assign(1)
    (partition,) = stand.source._assignment.owned.values()
    stand.source._changes.judge(partition, Extent(0, 50, NOWHERE), CUT)
    if rule == "stop":
        assert stand.source.stopped == {partition: "out_of_range"}, "I1: records are passed over"
    else:
        assert stand.listener.begun == [(1, 0, None)], "I1: records are passed over"


def test_a_position_that_is_there_again_is_read_on(stand: Stand) -> None:
    stand.assign(1)
    (partition,) = stand.source._assignment.owned.values()
    stand.source._changes.judge(partition, Extent(0, 50, NOWHERE), GONE)
    assert (stand.source.stopped, stand.listener.begun, stand.broker.assigned[1:]) == (
        {},
        [],
        [{1: 5}],
    )


def test_with_the_client_the_looking_ends(stand: Stand) -> None:
    stand.assign(0, 1, 2)
    thread = stand.source._seeking._thread
    assert thread is not None
    stand.source.close(1.0)
    thread.join(10)
    assert not thread.is_alive(), "it looks on for ever against a client that was closed"
    assert thread not in threading.enumerate()
