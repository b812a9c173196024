"""The owner loop over fakes of its adapters, in simulated time: stop, back-pressure, revocation, commits.

The queue of results is the clock: waiting on it lets the time pass and brings what was scheduled for then.
"""

from __future__ import annotations

import heapq
import queue
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from consumer.core.model import Event
from consumer.core.offsets import Partition
from consumer.core.pipeline import Attempt, Letter, Pipeline, Rules
from consumer.core.reply import Reply
from consumer.core.retry import RetryPolicy
from consumer.core.rows import RowMaker
from consumer.errors import UserError
from consumer.intake import Intake
from consumer.runner import BATCH, BLOCKED_SECONDS, Result, Runner, State
from tests.core.builders import accepted, answered, error_of, naming, values

STOP_SECONDS = 30.0
REVOKE_SECONDS = 10.0
SESSION_SECONDS = 45.0
COMMIT_INTERVAL = 0.5


class Message:
    """A record as the client gives it."""

    def __init__(self, offset: int, value: bytes | None) -> None:
        self._offset = offset
        self._value = value

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return None


class Results(queue.SimpleQueue[Result]):
    """The queue of results over a simulated clock: a wait passes the time and does what is due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._count += 1
        heapq.heappush(self._due, (self.now + seconds, self._count, do))

    def get(self, block: bool = True, timeout: float | None = None) -> Result:
        assert timeout is not None, "the loop must not wait without a bound"
        assert timeout <= 0.05, "a turn waits 50 ms at most"
        end = self.now + timeout
        while self.empty() and self._due and self._due[0][0] <= end:
            self.now, _, do = heapq.heappop(self._due)
            do()
        if self.empty():
            self.now = max(self.now, end)
        return super().get_nowait()


class FakeSource:
    """Logs of partitions, read in turn; commits are acknowledged at once unless told otherwise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.paused = False
        self.stopped: dict[Partition, str] = {}
        self.committing = False
        self.logs: dict[Partition, list[Message]] = {}
        self.polls: list[tuple[float, int]] = []
        self.commits: list[dict[int, int]] = []
        self.waited: list[dict[int, int]] = []
        self.pauses: list[tuple[float, bool]] = []
        self.commit_answers: str | None = "at once"  #: at once, never, or an error's text
        self.closed = False
        self.inside: list[Callable[[], None]] = []  #: callbacks to serve inside the next poll
        self._polling = False

    def subscribe(self) -> None:
        self.world.runner.on_assigned(list(self.logs))

    def poll(self, count: int) -> list[tuple[Partition, list[Any]]]:
        assert not self._polling, "poll is entered again inside a callback"
        self._polling = True
        self.polls.append((self.world.results.now, count))
        callbacks, self.inside = self.inside, []
        for callback in callbacks:
            callback()
        batches: list[tuple[Partition, list[Any]]] = []
        for partition, log in self.logs.items():
            if self.paused or not partition.owned or count <= 0:
                continue
            batch, log[:] = log[:count], log[count:]
            count -= len(batch)
            if batch:
                batches.append((partition, batch))
        self._polling = False
        return batches

    def pause(self) -> None:
        self.paused = True
        self.pauses.append((self.world.results.now, True))

    def resume(self) -> None:
        self.paused = False
        self.pauses.append((self.world.results.now, False))

    def commit(self, offsets: list[tuple[Partition, int]]) -> None:
        assert offsets, "an empty commit"
        assert not self.committing, "two commits in flight"
        assert all(partition.owned for partition, _ in offsets), "a commit of what is not owned"
        self.commits.append({partition.number: offset for partition, offset in offsets})
        self.committing = True
        if self.commit_answers is not None:
            error = None if self.commit_answers == "at once" else self.commit_answers
            self.inside.append(lambda: self._committed(offsets, error))

    def _committed(self, offsets: list[tuple[Partition, int]], error: str | None) -> None:
        self.committing = False
        self.world.runner.on_committed(offsets, error)

    def commit_and_wait(self, offsets: list[tuple[Partition, int]]) -> bool:
        self.waited.append({partition.number: offset for partition, offset in offsets})
        self.world.runner.on_committed(offsets, None)
        return True

    def close(self, timeout: float) -> bool:
        self.closed = True
        return True


class World:
    """A runner over fakes; the API answers after ``latency`` by ``api``, or never where that gives None."""

    def __init__(self, *, until_end: bool = False, **rules: Any) -> None:
        self.results = Results()
        settings: dict[str, Any] = {"rate": 0.0, "linger": 0.0, "max_rows": 10, "concurrency": 2}
        self.pipeline = Pipeline(Rules(**(settings | rules)), random.Random(1).random)
        self.runner = Runner(
            self.pipeline,
            Intake(_decode, RowMaker("extended_id")),
            self.results,
            self.results.clock,
            commit_interval=COMMIT_INTERVAL,
            stop_seconds=STOP_SECONDS,
            revoke_seconds=REVOKE_SECONDS,
            session_seconds=SESSION_SECONDS,
            until_end=until_end,
        )
        self.source = FakeSource(self)
        self.latency = 0.1
        self.api: Callable[[Attempt], Reply | None] = accepted
        self.sent: list[Attempt] = []
        self.start_by: list[tuple[float, float]] = []
        self.unanswered: list[Attempt] = []
        self.asked: list[float] = []
        self.me: int = 200
        self.letters: list[Letter] = []
        self.acknowledges = True
        self.runner.attach(self.source, _Api(self), _Letters(self))

    def partition(self, number: int, *keys: str, committed: int | None = 0) -> Partition:
        """A partition with a record for each key."""
        partition = Partition("events", number, 0, committed)
        self.source.logs[partition] = [_message(offset, key) for offset, key in enumerate(keys)]
        return partition

    def start(self) -> None:
        """Subscribe, without running the loop."""
        self.source.subscribe()

    def turn_until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Turn the loop until something holds, at most so much simulated time."""
        end = self.results.now + seconds
        while not done():
            assert self.results.now < end, "it did not happen in time"
            self.runner.turn()

    def turn_for(self, seconds: float) -> None:
        """Turn the loop for so long."""
        end = self.results.now + seconds
        while self.results.now < end:
            self.runner.turn()

    def sent_values(self) -> list[str]:
        return [value for attempt in self.sent for value in values(attempt)]


@dataclass
class _Call:
    subject: Attempt | None


class _Api:
    def __init__(self, world: World) -> None:
        self.world = world

    def send(self, attempt: Attempt, start_by: float) -> None:
        world = self.world
        world.sent.append(attempt)
        world.start_by.append((world.results.now, start_by))
        reply = world.api(attempt)
        if reply is None:
            world.unanswered.append(attempt)
        else:
            world.results.at(world.latency, lambda: world.results.put((_Call(attempt), reply)))

    def ask(self) -> None:
        world = self.world
        world.asked.append(world.results.now)
        world.results.at(world.latency, lambda: world.results.put((_Call(None), answered(world.me, {}))))


class _Letters:
    def __init__(self, world: World) -> None:
        self.world = world

    def send(self, letter: Letter) -> None:
        world = self.world
        world.letters.append(letter)
        if world.acknowledges:
            world.results.at(0.01, lambda: world.results.put([letter.row]))


def _decode(raw: bytes) -> Event:
    return Event(fields=orjson.loads(raw))


def _message(offset: int, key: str) -> Message:
    return Message(offset, orjson.dumps({"extended_id": key, "note": str(offset)}))


def _keys(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


# -- the main path -----------------------------------------------------------------------------------------------


def test_what_is_read_is_sent_settled_and_committed() -> None:
    world = World()
    partition = world.partition(0, *_keys("A", 25))
    world.start()
    world.turn_until(lambda: partition.committed == 25)
    assert world.sent_values() == _keys("A", 25)
    assert world.runner.ledger().as_dict()["accepted"] == 25


def test_tombstones_are_skipped_and_bad_records_go_to_the_dead_letter_topic_with_the_message() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.source.logs[partition] += [Message(1, None), Message(2, b'{"extended_id": " ", "note": "x"}')]
    world.start()
    world.turn_until(lambda: partition.committed == 3)
    assert world.runner.ledger().as_dict() == {
        "consumed": 3,
        "accepted": 1,
        "rejected": 1,
        "skipped": 1,
        "released": 0,
        "unsettled": 0,
    }
    assert [letter.rejection.reason for letter in world.letters] == ["key_blank"]


def test_the_dead_letter_still_has_the_original_message_when_it_is_written() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.api = lambda _: naming(error_of("A"))
    raws: list[Any] = []
    send = _Letters.send

    class Spy(_Letters):
        def send(self, letter: Letter) -> None:
            raws.append(letter.row.record.raw.value())
            send(self, letter)

    world.runner.attach(world.source, _Api(world), Spy(world))
    world.start()
    world.turn_until(lambda: partition.committed == 1)
    assert raws == [orjson.dumps({"extended_id": "A", "note": "0"})]


def test_a_turn_takes_a_bounded_number_of_records() -> None:
    world = World()
    world.partition(0, *_keys("A", 3 * BATCH))
    world.start()
    world.turn_for(1.0)
    assert max(count for _, count in world.source.polls) <= BATCH


def test_no_attempt_may_start_later_than_the_session_time_out_after_the_last_poll() -> None:
    world = World(concurrency=1, rate=5.0)
    world.partition(0, *_keys("A", 200))
    world.start()
    world.turn_until(lambda: len(world.sent) == 20)
    for now, start_by in world.start_by:
        polled = max(at for at, _ in world.source.polls if at <= now)
        assert start_by <= polled + SESSION_SECONDS
        assert start_by > now


# -- commits -----------------------------------------------------------------------------------------------------


def test_commits_follow_each_other_at_the_interval_and_only_when_something_moved() -> None:
    world = World(rate=20.0)
    partition = world.partition(0, *_keys("A", 200))
    world.start()
    began = world.results.now
    world.turn_until(lambda: partition.committed == 200)
    took = world.results.now - began
    assert len(world.source.commits) <= took / COMMIT_INTERVAL + 1
    before = len(world.source.commits)
    world.turn_for(10)
    assert len(world.source.commits) == before


def test_a_partition_without_a_committed_offset_is_committed_as_it_stands() -> None:
    world = World()
    partition = world.partition(0, committed=None)
    partition.position = 7
    world.start()
    world.turn_until(lambda: partition.committed == 7)


def test_one_commit_is_in_flight_at_a_time() -> None:
    world = World()
    partition = world.partition(0, *_keys("A", 50))
    world.source.commit_answers = None
    world.start()
    world.turn_for(20)
    assert len(world.source.commits) == 1
    world.source.committing = False
    world.source.commit_answers = "at once"
    world.turn_until(lambda: partition.committed == 50)


def test_a_failed_commit_is_not_sent_again_but_a_new_one_is_built() -> None:
    world = World(rate=5.0)
    partition = world.partition(0, *_keys("A", 50))
    world.source.commit_answers = "broker away"
    world.start()
    world.turn_for(3)
    assert partition.committed == 0
    offsets = [commit[0] for commit in world.source.commits]
    assert offsets == sorted(offsets)
    assert len(set(offsets)) > 1
    world.source.commit_answers = "at once"
    world.turn_until(lambda: partition.committed == 50)


# -- back-pressure -----------------------------------------------------------------------------------------------


def test_without_room_nothing_is_read_but_a_record_a_second_and_then_the_partitions_are_paused() -> None:
    world = World(max_unsettled_rows=20)
    world.api = lambda _: None
    world.partition(0, *_keys("A", 100))
    world.start()
    world.turn_until(lambda: not world.pipeline.flow.reads())
    began = world.results.now
    world.turn_for(1.9)
    assert not world.source.paused
    assert sum(count for at, count in world.source.polls if at > began) <= 2
    world.turn_for(0.2)
    assert world.source.paused
    before = world.pipeline.unsettled
    world.turn_for(60)
    assert world.pipeline.unsettled == before <= 22
    last = [at for at, _ in world.source.polls][-20:]
    assert last[-1] - last[0] < 20, "paused, it is polled all the same: the group must know that this member lives"


def test_reading_goes_on_when_there_is_room_again() -> None:
    world = World(max_unsettled_rows=20)
    world.api = lambda _: None
    partition = world.partition(0, *_keys("A", 100))
    world.start()
    world.turn_until(lambda: world.source.paused)
    world.api = accepted
    for attempt in world.unanswered:
        world.results.put((_Call(attempt), accepted(attempt)))
    world.turn_until(lambda: partition.committed == 100)
    assert not world.source.paused


def test_a_short_stall_pauses_nothing() -> None:
    world = World(max_unsettled_rows=20)
    world.latency = 0.5
    partition = world.partition(0, *_keys("A", 200))
    world.start()
    world.turn_until(lambda: partition.committed == 200)
    assert not any(paused for _, paused in world.source.pauses)


# -- stop --------------------------------------------------------------------------------------------------------


def _run(world: World, signal_at: float | None = None, code: int = 0) -> int:
    if signal_at is not None:
        world.results.at(signal_at, lambda: world.runner.signal(code))
    return world.runner.run()


def test_a_stop_reads_and_sends_no_more_awaits_what_is_in_flight_commits_and_leaves() -> None:
    world = World(max_unsettled_rows=60)
    world.latency = 5.0
    partition = world.partition(0, *_keys("A", 1000))
    assert _run(world, signal_at=1.0) == 0
    assert len(world.sent_values()) == 20, "two windows in flight at the signal, and no more after it"
    assert partition.committed == 20
    assert world.source.closed
    assert world.runner.state is State.STOPPED
    ledger = world.runner.final_ledger
    assert ledger is not None
    assert ledger.balanced
    assert (ledger.accepted, ledger.unsettled) == (20, ledger.consumed - 20)
    assert all(count <= 1 for at, count in world.source.polls if at > 1001.1)


def test_a_stop_awaits_the_acknowledgement_of_dead_letters() -> None:
    world = World()
    world.acknowledges = False
    world.api = lambda _: naming(error_of("A"))
    partition = world.partition(0, "A")
    world.results.at(10.0, lambda: world.results.put([world.letters[0].row]))
    assert _run(world, signal_at=1.0) == 0
    assert partition.committed == 1
    assert world.results.now >= 1010


def test_a_rejection_that_comes_while_stopping_is_still_dead_lettered() -> None:
    world = World()
    world.latency = 5.0
    world.api = lambda _: naming(error_of("A"))
    partition = world.partition(0, "A")
    assert _run(world, signal_at=1.0) == 0
    assert partition.committed == 1


def test_a_failed_answer_while_stopping_is_not_sent_again() -> None:
    world = World()
    world.latency = 5.0
    world.api = lambda _: answered(503)
    partition = world.partition(0, "A", "B")
    assert _run(world, signal_at=1.0) == 0
    assert len(world.sent) == 1
    assert partition.committed == 0


def test_the_bound_of_the_stop_ends_it_with_exit_1_and_what_is_settled_is_committed() -> None:
    world = World(concurrency=2, max_rows=1)
    world.api = lambda attempt: accepted(attempt) if values(attempt) == ["A"] else None
    partition = world.partition(0, "A", "B")
    began = world.results.now
    assert _run(world, signal_at=1.0) == 1
    assert STOP_SECONDS <= world.results.now - began <= STOP_SECONDS + 2
    assert partition.committed == 1


def test_a_second_signal_ends_at_once_with_exit_1() -> None:
    world = World()
    world.api = lambda _: None
    world.partition(0, "A")
    world.results.at(2.0, lambda: world.runner.signal())
    assert _run(world, signal_at=1.0) == 1
    assert world.results.now <= 1002.2


def test_the_exit_code_of_the_signal_is_kept() -> None:
    world = World(until_end=True)
    world.partition(0, "A")
    assert _run(world, signal_at=1.0, code=143) == 143


def test_a_stop_with_nothing_in_flight_is_quick() -> None:
    world = World()
    world.partition(0)
    assert _run(world, signal_at=1.0) == 0
    assert world.results.now < 1001.2


def test_a_failure_from_outside_stops_in_order_and_is_raised() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.results.at(1.0, lambda: world.results.put(lambda: world.runner.fail(UserError("no broker"))))
    with pytest.raises(UserError, match="no broker"):
        world.runner.run()
    assert partition.committed == 1
    assert world.source.closed


def test_with_an_end_to_reach_a_stopped_partition_is_a_failure() -> None:
    world = World(until_end=True)
    partition = world.partition(0, "A")
    world.source.stopped[partition] = "out_of_range"
    with pytest.raises(UserError, match="out_of_range"):
        world.runner.run()


def test_with_an_end_to_reach_a_long_pause_of_the_api_is_a_failure_and_loses_nothing() -> None:
    world = World(until_end=True)
    world.api = lambda _: answered(401)
    world.me = 401
    partition = world.partition(0, "A")
    with pytest.raises(UserError, match="unauthorized"):
        world.runner.run()
    assert BLOCKED_SECONDS <= world.results.now - 1000 <= BLOCKED_SECONDS + 5
    assert partition.committed == 0
    assert world.letters == []
    assert len(world.asked) > 3


def test_without_an_end_to_reach_a_pause_is_waited_out() -> None:
    world = World()
    world.api = lambda _: answered(401)
    world.me = 401
    partition = world.partition(0, "A")
    world.start()
    world.turn_for(2 * BLOCKED_SECONDS)
    world.me = 200
    world.api = accepted
    world.turn_until(lambda: partition.committed == 1, 200)


# -- revocation --------------------------------------------------------------------------------------------------


def _revoke(world: World, *partitions: Partition, lost: bool = False) -> None:
    world.source.inside.append(lambda: world.runner.on_revoked(list(partitions), lost=lost))


def test_a_revocation_awaits_requests_in_flight_commits_and_sends_no_more_of_the_partition() -> None:
    world = World(max_unsettled_rows=60)
    world.latency = 3.0
    going = world.partition(0, *_keys("A", 50))
    world.start()
    world.turn_until(lambda: len(world.sent) == 2)
    began = world.results.now
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert world.results.now - began <= 3.2, "no longer than it takes"
    assert world.source.waited == [{0: 20}]
    world.turn_for(30)
    assert len(world.sent_values()) == 20
    assert going.ledger.as_dict()["released"] == going.ledger.consumed - 20
    assert world.runner.ledger().balanced


def test_the_wait_in_a_revocation_is_bounded_and_a_late_answer_settles_nothing() -> None:
    world = World()
    world.api = lambda _: None
    going = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    began = world.results.now
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert REVOKE_SECONDS <= world.results.now - began <= REVOKE_SECONDS + 0.2
    world.results.put((_Call(world.unanswered[0]), accepted(world.unanswered[0])))
    world.turn_for(5)
    assert going.ledger.as_dict()["accepted"] == 0
    assert going.ledger.as_dict()["released"] == 1
    assert all(commit.get(0, 0) == 0 for commit in world.source.commits + world.source.waited)


def test_partitions_that_stay_go_on_during_the_wait() -> None:
    world = World(concurrency=4, max_rows=1, max_unsettled_rows=100)
    world.api = lambda attempt: None if values(attempt) == ["G"] else accepted(attempt)
    going, kept = world.partition(0, "G"), world.partition(1, *_keys("K", 60))
    world.start()
    world.turn_until(lambda: "G" in world.sent_values())
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert sum(value.startswith("K") for value in world.sent_values()) >= 40
    assert kept.owned


def test_an_answer_during_the_wait_that_asks_for_a_retry_is_not_retried() -> None:
    world = World()
    world.latency = 1.0
    world.api = lambda _: answered(503)
    going = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    world.turn_for(120)
    assert len(world.sent) == 1


def test_a_dead_letter_during_the_wait_is_awaited_and_committed() -> None:
    world = World()
    world.latency = 1.0
    world.api = lambda _: naming(error_of("A"))
    going = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    _revoke(world, going)
    world.turn_until(lambda: not going.owned)
    assert world.source.waited == [{0: 1}]
    assert going.ledger.as_dict()["rejected"] == 1


def test_a_lost_partition_is_neither_awaited_nor_committed() -> None:
    world = World()
    world.api = lambda _: None
    going = world.partition(0, *_keys("A", 5))
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    began = world.results.now
    _revoke(world, going, lost=True)
    world.turn_until(lambda: not going.owned)
    assert world.results.now - began <= 0.1
    assert world.source.waited == []


def test_records_that_come_with_a_revocation_of_their_partition_are_not_taken() -> None:
    world = World()
    going = world.partition(0, *_keys("A", 5))
    world.start()
    batch = [(going, [_message(0, "A0")])]
    poll = world.source.poll

    def polled(count: int) -> list[tuple[Partition, list[Any]]]:
        poll(0)
        world.runner.on_revoked([going], lost=True)
        return batch

    world.source.poll = polled  # type: ignore[method-assign]
    world.runner.turn()
    world.source.poll = poll  # type: ignore[method-assign]
    world.turn_for(5)
    assert world.sent == []
    assert going.ledger.consumed == 0


def test_what_comes_back_is_read_again_from_the_committed_offset_and_counted_in_the_ledger_twice() -> None:
    world = World(max_rows=1, concurrency=1)
    world.latency = 1.0
    first = world.partition(0, *_keys("A", 4))
    world.start()
    world.turn_until(lambda: len(world.sent) == 2)
    _revoke(world, first)
    world.turn_until(lambda: not first.owned)
    assert first.committed == 2
    second = Partition("events", 0, 2, 2)
    world.source.logs[second] = [_message(2, "A2"), _message(3, "A3")]
    world.runner.on_assigned([second])
    world.turn_until(lambda: second.committed == 4)
    assert world.sent_values() == _keys("A", 4), "nothing is sent twice when every request was answered"
    ledger = world.runner.ledger()
    assert ledger.as_dict() == {
        "consumed": 6,
        "accepted": 4,
        "rejected": 0,
        "skipped": 0,
        "released": 2,
        "unsettled": 0,
    }


def test_a_stop_during_a_revocation_is_bounded_too() -> None:
    world = World()
    world.api = lambda _: None
    going = world.partition(0, "A")
    world.results.at(1.0, lambda: _revoke(world, going))
    world.results.at(2.0, lambda: world.runner.signal())
    world.results.at(3.0, lambda: world.runner.signal())
    began = world.results.now
    world.runner.run()
    assert world.results.now - began <= 4.0


# -- retries of the process --------------------------------------------------------------------------------------


def test_the_loop_wakes_for_a_retry_in_time() -> None:
    world = World(retry=RetryPolicy(base=2, cap=2))
    replies = iter([answered(503)])
    world.api = lambda attempt: next(replies, None) or accepted(attempt)
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: partition.committed == 1, 4.0)
    assert len(world.sent) == 2


def test_while_nothing_is_unsettled_a_turn_waits_the_longest() -> None:
    world = World()
    world.partition(0)
    world.start()
    world.turn_for(10)
    assert len(world.source.polls) <= 10 / 0.05 + 2
