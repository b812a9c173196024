"""The simulated source.

What ``consumer.adapters.kafka.source`` does, as far as the owner loop can tell.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import (
    NOTHING,
    MapError,
    Origin,
    SettledMap,
    content,
    decode,
    numbered,
    origin_of,
)
from consumer.errors import UserError
from consumer.loop.ports import Listener
from tests.simulation.broker import Broker, Message
from tests.simulation.group import Group
from tests.simulation.group_watch import GroupWatch
from tests.simulation.process import Process
from tests.simulation.scheduler import Event
from tests.simulation.witness import Witness

log = logging.getLogger("consumer.adapters.kafka.source")

#: As the real one's, seconds: the longest wait for a commit inside a callback, one look-up's share
#: of it, and how long librdkafka waits for an answer before it fails a commit.
COMMIT_WAIT = 5.0
COMMITTED_WAIT = 0.5
ANSWER_WAIT = 10.0
LOOK_UP_PAUSE = (0.05, 2.0)
#: A commit that was on its way when the connection broke is sent once more within this time after
#: it is back, and one that waited for the connection, within this.
SENT_AGAIN = 1.0
SENT_WHEN_BACK = 0.05
#: As the real one's: a commit without an answer for so long holds back no other; between two tries
#: to join with an id that is not released; how often it is looked at whether partitions must be
#: counted anew, and the pause when that failed.
COMMIT_LOST = 10.0
JOIN_AGAIN = 1.0
LOOK_AGAIN = 0.02
COUNT = 1.0
COUNT_PAUSE = 10.0
NO_LINE = -1
#: What was in a socket while the process stood still is taken in within this time after it goes on.
BUFFERED = 0.3


@dataclass
class Link:
    """How the way to the broker is.

    All of it decided by a seed. Times in seconds, shares from 0 to 1.
    """

    latency: tuple[float, float] = (0.001, 0.02)
    commit_latency: tuple[float, float] = (0.001, 0.02)
    commits_fail: float = 0.0  #: commits that the broker refuses with a passing error
    commits_vanish: float = 0.0  #: commits that never arrive
    answers_vanish: float = 0.0  #: commits that are taken, and whose answer is lost
    commits_forgotten: float = (
        0.0  #: commits that never arrive, and of which the client never tells
    )
    resume: float = 0.2  #: before a partition is read (on) after it was assigned or resumed
    no_count_until: float = 0.0  #: the partitions cannot be counted until then
    no_start_until: dict[int, float] = field(
        default_factory=dict
    )  #: where it begins and ends is not told until then
    no_commit_until: dict[int, float] = field(default_factory=dict)  #: nor what is committed of it


@dataclass(eq=False)
class _Sent:
    """A commit on its way."""

    commits: list[Commit]
    member: str
    generation: int
    at: float
    fate: float  #: what becomes of it on its way, from 0 to 1
    line: int  #: the connection that it went over last; NO_LINE: none yet
    topics: dict[
        int, int
    ]  #: by partition: the id of the topic that it is about, as its metadata would name it
    arrived: bool = False
    again: bool = False  #: it was on a connection that broke

    @property
    def says(self) -> dict[int, tuple[int, str]]:
        """What its answer names, by partition, as far as the program looks at it."""
        return {c.partition.number: (c.offset, c.metadata) for c in self.commits}


@dataclass
class _Fetch:
    """Where the client reads a partition."""

    position: int
    ready_at: float
    known_end: int  #: what was fetched, or could be, when the broker was last there
    topic_id: int  #: the topic's when it was assigned
    eof: int = -1  #: the end that was told last


class SimSource:
    """One member's client. It is all in the owner's hands but what a background thread of
    librdkafka does.
    """

    def __init__(
        self,
        process: Process,
        listener: Listener,
        broker: Broker,
        group: Group,
        draw: random.Random,
        *,
        link: Link | None = None,
        start_from: str = "earliest",
        instance: str = "",
        max_poll: float = 300.0,
        witness: Witness | None = None,
        watch: GroupWatch | None = None,
        on_out_of_range: Callable[[], str] = lambda: "stop",
        fault_at: int = 0,
    ) -> None:
        self._watch = watch
        self._on_out_of_range = on_out_of_range
        # commits inside a revocation until one of them fails with a fault of the program
        self._fault_at = fault_at
        self._revoking = False
        self._process = process
        self._scheduler = process.scheduler
        self._listener = listener
        self._broker = broker
        self._group = group
        self._draw = draw
        self.link = link or Link()
        self._start_from = start_from
        self._instance = instance
        self._max_poll = max_poll
        self._witness = witness or Witness()
        self.paused = False
        self.stopped: dict[Partition, str] = {}
        self.awaiting: dict[
            tuple[str, int], float
        ] = {}  #: partitions whose start is not known yet: here none
        self.unknown: set[tuple[str, int]] = set()
        self.lasting: list[tuple[float, str]] = []
        self._held: set[Partition] = set()
        self._owned: dict[int, Partition] = {}
        self._fetches: dict[int, _Fetch] = {}
        self._starts_awaited: set[int] = set()
        self._ops: deque[tuple[str, Any]] = deque()  # what the next poll serves
        self._committing: deque[_Sent] = deque()
        self._committing_since = 0.0
        self._numbered = 0
        self._unanswered: list[_Sent] = []  # the client still waits for what becomes of these
        self._behind: list[_Sent] = []  # arrived, and wait behind the joining on their connection
        self._line = 0
        self._buffered: list[
            Callable[[], object]
        ] = []  # in the socket while the process stands still
        self._counted_in: object = None
        self._count_at = 0.0
        self.member = ""  #: id in the group; empty: none
        self._generation = 0
        self._wants = False  # to be a member
        self._cut = False
        self._cut_timer: Event | None = None
        self._unheard: list[tuple[str, str, list[int], int]] = []  # said while the line was cut
        self._line_free_at = 0.0
        self._answers_at = 0.0  # when the last answer comes: they come in the order of the requests
        self._polled_at = 0.0
        self._first = 0
        self._fatal: UserError | None = None
        self._raised = False
        self._closed = False
        process.on_stop.append(lambda: group.silent(self.member, self._since_heartbeat()))
        process.on_kill.append(self._behind.clear)  # its connection is closed
        process.on_thaw.append(self._thawed)

    # -- what the owner loop calls ---------------------------------------------------------------

    def subscribe(self) -> None:
        """Join the group."""
        self._process.step("subscribe")
        self._wants = True
        self._polled_at = self._scheduler.now
        self._join_soon()
        self._watch_polls()

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Serve the callbacks; then what has arrived, at most ``count`` records, by partition and
        in order.
        """
        self._process.step("poll")
        self._witness.polled(self._process)
        if self._fatal is not None and not self._raised:
            self._raised = True
            raise self._fatal
        self._polled_at = self._scheduler.now
        if self._watch is not None:
            asks = (
                self._reachable
                and bool(self.member and self._owned)
                and not (self.committing or self._ops)
            )
            self._watch.polled(self._process, can_ask=asks and not self._listener.stopping)
        self._serve()
        batches = self._take(count)
        if self._polled_at >= self._count_at:
            self._count()
        return batches

    def _count(self) -> None:
        """Count the group's partitions, if it has rebalanced since they were counted."""
        self._count_at = self._scheduler.now + COUNT
        if not self.member or not self._owned or self._counted_in == self._generation:
            return
        if not self._reachable or self._scheduler.now < self.link.no_count_until:
            self._count_at = self._scheduler.now + COUNT_PAUSE
            self._listener.on_counted({})
            return
        counts: dict[str, int] = {}
        for number, held in enumerate(self._broker.logs):
            counts[held.topic] = number + 1
        self._counted_in = self._generation
        self._listener.on_counted(counts)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._read_later(self._owned)

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        (self._held.add if paused else self._held.discard)(partition)
        self._witness.held(self._process, held=paused)
        if not paused and self._owned.get(partition.number) is partition:
            self._read_later([partition.number])

    @property
    def committing(self) -> bool:
        return bool(self._committing) and self._scheduler.now - self._committing_since < COMMIT_LOST

    def commit(self, commits: list[Commit]) -> None:
        """Send a commit; how it ended is told inside a poll."""
        self._process.step("commit")
        self._witness.committing(
            self._process, [(c.partition, c.offset, c.metadata) for c in commits]
        )
        self._send(commits)
        self._process.step("committed")

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        """Commit, and ask until the group has it, five seconds at most; whether it has."""
        if not commits:
            return True
        self._process.step("last commit")
        if self._revoking and self._fault_at:
            self._fault_at -= 1
            if not self._fault_at:
                if self._watch is not None:
                    self._watch.faulted(self._process)
                raise RuntimeError("a fault in the program, inside a revocation")
        now = self._scheduler.now
        # Each that is on its way for so long may be sent once more, and put the group back: then
        # this one is, too.
        again = len(self._committing) if now - self._committing_since > SENT_AGAIN else 0
        sure_at = now + SENT_AGAIN if again else now
        sent = self._send_last(commits)
        self._process.step("last committed")
        until = self._scheduler.now + COMMIT_WAIT
        while self._scheduler.now < until and not self._listener.leaves_at_once:
            self._process.sleep(self._latency())
            # What the group has is asked on the connection that commits go over.
            waits = self._group.joining(self.member) or self._behind
            if not self._reachable or waits or not sent.arrived:
                self._process.sleep(COMMITTED_WAIT if not self._reachable else 0.05)
                continue
            has = self._broker.committed
            if all(_has(has.get(c.partition.number), c) for c in commits):
                if self._scheduler.now >= sure_at:
                    self._process.step("has committed")
                    return True
                self._process.sleep(LOOK_AGAIN)
            elif again:
                again -= 1
                sent = self._send_last(commits)
            else:
                return False
        return False

    def _send_last(self, commits: list[Commit]) -> _Sent:
        self._witness.committing(
            self._process, [(c.partition, c.offset, c.metadata) for c in commits]
        )
        return self._send(commits)

    def end(self, partition: Partition) -> int | None:
        fetch = self._fetches.get(partition.number)
        return None if fetch is None else fetch.known_end

    def close(self, timeout: float) -> bool:
        """Leave the group."""
        self._process.step("close")
        self._wants = False
        self._closed = True
        self._gone(list(self._owned), lost=not self.member)
        self._process.sleep(self._latency())
        if not self._reachable:
            self._process.sleep(timeout)
        self._leave()
        return self._reachable

    # -- reading ---------------------------------------------------------------------------------

    def _take(self, count: int) -> list[tuple[Partition, list[Message]]]:
        batches: list[tuple[Partition, list[Message]]] = []
        now = self._scheduler.now
        numbers = list(self._fetches)
        self._first += 1  # a fair client begins with another partition each time
        for place in range(len(numbers)):
            number = numbers[(place + self._first) % len(numbers)]
            partition, fetch = self._owned[number], self._fetches[number]
            if self._rests(partition) or now < fetch.ready_at or number in self._broker.deleted:
                continue
            log = self._broker.logs[number]
            if self._reachable:
                fetch.known_end = log.end
                if fetch.topic_id != log.topic_id:
                    self._another_topic(partition)
                    continue
                if not log.begin <= fetch.position <= log.end:
                    self._out_of_range(partition)
                    continue
                log.unseen = False
            messages: list[Message] = []
            if count > 0 and fetch.position < fetch.known_end:
                messages = list(log.read(fetch.position, count))
                while messages and messages[-1].offset() >= fetch.known_end:
                    messages.pop()
            if messages:
                count -= len(messages)
                fetch.position = messages[-1].offset() + 1
                batches.append((partition, messages))
                self._witness.read(
                    self._process, partition, [message.offset() for message in messages]
                )
            if self._at_end(fetch, log, told_with_records=bool(messages)):
                fetch.eof = fetch.position = fetch.known_end
                partition.position = max(partition.position, fetch.known_end)
                self._witness.reached(self._process, partition, fetch.known_end)
        return batches

    def _at_end(self, fetch: _Fetch, log: Any, *, told_with_records: bool) -> bool:
        """Whether the client tells of the partition's end now.

        At times together with its last records, or later.
        """
        if fetch.eof >= fetch.known_end or not self._reachable:
            return False
        if log.read(fetch.position, 1):
            return False
        return not told_with_records or self._draw.random() < 0.5

    def position(self, number: int) -> int | None:
        """Where it reads a partition on; None: it does not."""
        fetch = self._fetches.get(number)
        return None if fetch is None else fetch.position

    @property
    def closed(self) -> bool:
        """Whether it has left the group, or has tried to."""
        return self._closed

    def arrived(self, number: int) -> None:
        """Something was written to a partition: a client that waits for it gets it."""
        if number in self._fetches:
            self._process.wake(self._draw.uniform(0.0, 0.005))

    def _rests(self, partition: Partition) -> bool:
        return self.paused or partition in self._held or partition in self.stopped

    def _read_later(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            fetch = self._fetches[number]
            fetch.ready_at = self._scheduler.now + self.link.resume
        self._process.thread(self.link.resume, self._process.wake)

    def _out_of_range(self, partition: Partition) -> None:
        """The broker has nothing at the position.

        Retention removed it, or what was read is no more.
        """
        rule, number = self._on_out_of_range(), partition.number
        held, fetch = self._broker.logs[number], self._fetches[number]
        if rule == "stop":
            self._stop_reading(partition, fetch.position)
            return
        held.unseen = False
        beyond = fetch.position > held.end  # then nothing that is there is known to have been read
        start = held.begin if rule == "earliest" or beyond else held.end
        self._tell_jump(number, fetch.position, start, rule)
        if beyond:
            self._begin_anew(partition, start)
        else:
            partition.position = fetch.position = start
            self._witness.reached(self._process, partition, start)
            self._read_later([number])

    def _stop_reading(self, partition: Partition, position: int) -> None:
        log.error("%s is stopped: offset %s is no longer there", partition, position)
        self._tell_jump(partition.number, position, position, "stop")
        self.stopped[partition] = "out_of_range"

    def _tell_jump(self, number: int, position: int, start: int, rule: str) -> None:
        if self._watch is not None:
            self._watch.jumped(self._process, number, position, start, rule)

    def _begin_anew(self, partition: Partition, start: int) -> None:
        """What was read cannot be committed any more.

        The partition is lost, and comes again at an offset.
        """
        number = partition.number
        awaited = set(self._starts_awaited)
        self._gone([number], lost=True)
        self._starts_awaited |= awaited - {number}
        fresh = Partition(partition.topic, number, start, None)
        self._own(fresh, None)
        self._begun([fresh])

    def _begun(self, partitions: list[Partition]) -> None:
        """What the group gave before begins now.

        The share of the requests has changed; it is no sign of the group.
        """
        self._listener.on_begun(partitions)
        self._counted_in, self._count_at = None, 0.0

    def _another_topic(self, partition: Partition) -> None:
        if self._on_out_of_range() == "stop":
            self._stop_reading(partition, partition.position)
        else:
            self._begin_anew(partition, self._broker.logs[partition.number].begin)

    # -- the assignment --------------------------------------------------------------------------

    def told(self, member: str, what: str, numbers: list[int], generation: int) -> None:
        """The coordinator says something; librdkafka's thread hears it, the next poll serves it."""
        if self._cut:
            self._unheard.append((member, what, numbers, generation))
        else:
            self._process.thread(0.0, lambda: self._hear(member, what, numbers, generation))

    def _hear(self, member: str, what: str, numbers: list[int], generation: int) -> None:
        if member == self.member:
            self._generation = generation
            self._queue(what, (member, numbers))

    def _queue(self, what: str, more: Any) -> None:
        self._ops.append((what, more))
        self._process.wake(self._draw.uniform(0.0, 0.005))

    def _serve(self) -> None:
        while self._ops:
            what, more = self._ops.popleft()
            if what == "answer":
                self._on_commit(*more)
            elif what == "lost":
                if self._owned:
                    self._gone(list(self._owned), lost=True)
                self._join_soon()
            elif what == "revoke":
                # Also when it is no member any more: what waited is told, and the rest of the loss
                # behind it.
                self._on_revoke(*more)
            elif more[0] == self.member and what == "epoch":
                self._listener.on_joined()
            elif more[0] == self.member and what == "start":
                self._ask_starts(more[1])
            elif more[0] == self.member:
                self._on_assign(more[1])

    def _on_assign(self, numbers: list[int], *, begun: bool = False) -> None:
        """The group gives partitions.

        ``begun``: it gave them before, and it was not known where they begin.
        """
        self._counted_in, self._count_at = None, 0.0
        if not numbers:
            self._listener.on_assigned([])
            return
        numbers = [
            number for number in numbers if number not in self._owned
        ]  # what is new to the client
        found = self._look_up(numbers)
        if found is None:
            return  # the process is about to end
        self._assigned(found, begun=begun)
        waiting = [number for number in numbers if number not in found]
        if waiting:
            if self._watch is not None:
                self._watch.held_up(self._process, waiting, numbers, 0.0)  # the others have begun
            self._starts_awaited.update(waiting)
            self._process.thread(
                LOOK_UP_PAUSE[1], lambda: self._queue("start", (self.member, waiting))
            )
        self._process.step("assigned")

    def _ask_starts(self, numbers: list[int]) -> None:
        """Ask again where partitions begin that are owned and are not read yet."""
        awaited = self._starts_awaited
        numbers = [n for n in numbers if n in awaited and self._group.owner(n) == self.member]
        self._starts_awaited.difference_update(numbers)
        if numbers:
            self._on_assign(numbers, begun=True)

    def _assigned(self, found: dict[int, tuple[int, str] | None], *, begun: bool) -> None:
        partitions = [self._partition(number, committed) for number, committed in found.items()]
        for partition in partitions:
            self._own(partition, found[partition.number])
        self._process.thread(self.link.resume, self._process.wake)
        if begun:
            self._begun(partitions)
            return
        if self._watch is not None:
            self._watch.asked(self._process)
        self._listener.on_assigned(partitions)

    def _own(self, partition: Partition, committed: tuple[int, str] | None) -> None:
        number = partition.number
        held = self._broker.logs[number]
        self._owned[number] = partition
        ready_at = self._scheduler.now + self.link.resume
        self._fetches[number] = _Fetch(partition.position, ready_at, held.end, held.topic_id)
        self._witness.assigned(self._process, partition, number, partition.position, committed)
        if self._watch is not None:
            self._watch.map_cut(
                partition, held.end if partition.already_settled else partition.position
            )

    def _look_up(self, numbers: list[int]) -> dict[int, tuple[int, str] | None] | None:
        """What is committed, as it was when the broker answered; None: the process stops first."""
        pause, longest = LOOK_UP_PAUSE
        while not self._listener.stopping:
            self._process.step("look-up")
            self._listener.on_waiting()
            self._process.sleep(self._latency())
            if self._reachable:
                unknown = [number for number in numbers if self._unknown(number)]
                if len(unknown) < len(numbers):
                    found = {n: self._broker.committed.get(n) for n in numbers if n not in unknown}
                    self._process.sleep(self._latency())
                    return found
                return {}
            self._process.sleep(pause)
            pause = min(2 * pause, longest)
        return None

    def _unknown(self, number: int) -> bool:
        """Whether the broker cannot say where a partition is to begin."""
        now, link = self._scheduler.now, self.link
        if number in self._broker.deleted or now < link.no_commit_until.get(number, 0.0):
            return True
        return number not in self._broker.committed and now < link.no_start_until.get(number, 0.0)

    def _partition(self, number: int, committed: tuple[int, str] | None) -> Partition:
        held = self._broker.logs[number]
        if committed is None:
            later = any(other != number for other in self._broker.committed)
            start = held.begin if self._start_from == "earliest" or later else held.end
            return Partition(held.topic, number, start, None)
        offset, metadata = committed
        if self._broker.committed_of.get(number, 0) != held.topic_id:
            return Partition(held.topic, number, held.begin, None)
        already_settled: SettledMap = NOTHING
        with suppress(MapError):
            already_settled = decode(metadata, number, offset)
        if already_settled.end > held.end:
            runs = [
                (start, min(end, held.end))
                for start, end in already_settled.beyond(offset)
                if start < held.end
            ]
            already_settled = SettledMap(runs)
        origin = Origin(epoch=origin_of(metadata).epoch)
        return Partition(held.topic, number, offset, offset, already_settled, metadata, origin)

    def _on_revoke(self, member: str, numbers: list[int]) -> None:
        self._gone(numbers, lost=member != self.member)  # thrown out since it was told
        self._give_up(member, numbers)

    def _give_up(self, member: str, numbers: list[int]) -> None:
        """Tell the coordinator; while it cannot be reached, again and again."""
        if self._reachable:
            self._group.gave_up(member, numbers)
        elif member == self.member:
            self._process.thread(0.5, lambda: self._give_up(member, numbers))

    def _gone(self, numbers: list[int], *, lost: bool) -> None:
        partitions = [self._owned[number] for number in numbers if number in self._owned]
        self._starts_awaited.difference_update(range(len(self._broker.logs)) if lost else numbers)
        self._process.step("revoke")
        self._witness.leaving(self._process, partitions, lost=lost)
        self._revoking = True
        try:
            self._listener.on_revoked(partitions, lost=lost)
        except Exception as error:
            log.info("a fault in a revocation: %s", error)
            for partition in partitions:
                partition.owned = False
            self._fatal = UserError("Kafka: a fault in the program; see the log above")
        self._revoking = False
        self._process.step("revoked")
        for partition in partitions:
            del self._owned[partition.number]
            del self._fetches[partition.number]
            self.stopped.pop(partition, None)
            self._held.discard(partition)
        self._witness.gone(self._process, partitions)

    # -- membership: what librdkafka's thread does -----------------------------------------------

    def _join_soon(self) -> None:
        self._process.thread(self._draw.uniform(0.01, 0.2), self._join)

    def _join(self) -> None:
        if not self._wants or self.member:
            return
        if not self._reachable:
            self._process.thread(0.5, self._join)
            return
        self.member = self._group.join(self, self._instance)
        if not self.member:  # its id is not released yet
            if self._watch is not None:
                self._watch.unreleased(self._process)
            self._process.thread(JOIN_AGAIN, self._join)

    def _leave(self) -> None:
        if self._reachable:
            self._group.leave(self.member)
        else:
            self._group.silent(self.member)
        self.member = ""

    def _lost(self, member: str) -> None:
        """It is this member no more, or cannot know that it is: the next poll tells the owner."""
        if member and member == self.member and not self._closed:
            self.member = ""
            self._queue("lost", None)

    def joined(self) -> None:
        """The joining is answered: what waited behind it on the connection arrives."""
        behind, self._behind[:] = list(self._behind), []
        for sent in behind:
            self._arrive(sent, sent.line)

    def _socket(self, do: Callable[[], object]) -> None:
        """Something arrives at this client.

        It stays in the socket while the process stands still.
        """
        if self._process.frozen:
            self._buffered.append(do)
        else:
            self._process.thread(0.0, do)

    def disconnected(self) -> None:
        """The connection to the coordinator breaks.

        What was on its way is sent once more when there is another.
        """
        self._line += 1
        self._behind.clear()
        for sent in self._unanswered:
            self._give_up_later(sent)

    def connected(self) -> None:
        """There is a connection again.

        What waits for it goes at once, what is sent once more goes a while later.
        """
        if not self._reachable:
            return
        at = again_at = self._scheduler.now
        for sent in self._unanswered:
            if sent.line == NO_LINE:
                at += self._draw.uniform(0.0, SENT_WHEN_BACK / len(self._unanswered))
                self._put(sent, at)
            elif sent.line != self._line:
                sent.again = True
                again_at = max(
                    again_at, self._scheduler.now + self._draw.uniform(SENT_WHEN_BACK, SENT_AGAIN)
                )
                self._put(sent, again_at)
        self._line_free_at = at

    def _put(self, sent: _Sent, at: float) -> None:
        """It goes over the connection that there is now, and arrives then."""
        line = sent.line = self._line
        self._scheduler.at(at, lambda: self._arrive(sent, line))

    def _give_up_later(self, sent: _Sent) -> None:
        """The client keeps a commit until there is a connection, for one session at most."""

        def give_up() -> None:
            if sent.line != self._line:
                self._commit_answered(sent, ["timed out"] * len(sent.commits))

        self._process.thread(self._group.session, give_up)

    def _thawed(self) -> None:
        buffered, self._buffered = self._buffered, []
        for do in buffered:
            wait = self._draw.uniform(0.0, BUFFERED)
            self._answers_at = max(self._answers_at, self._scheduler.now) + wait
            self._process.thread(self._answers_at - self._scheduler.now, do)
        self._process.thread(self._draw.uniform(0.0, 0.05), self._beat)  # it is overdue

    def _beat(self) -> None:
        """A heartbeat after a silence; its answer says whether this is a member still."""
        if not self.member:
            return
        if not self._reachable:
            self._process.thread(self._group.heartbeat, self._beat)
        elif self._group.fenced(self.member):
            self._process.thread(self._latency(), self._fence)
        elif not self._group.heard(self.member):
            member = self.member
            self._process.thread(self._latency(), lambda: self._lost(member))

    def replaced(self) -> None:
        """Another member has its instance id: the answer to its next heartbeat tells it."""
        if self._watch is not None:
            self._watch.replaced(self._process)
        self._process.thread(self._draw.uniform(0.0, self._group.heartbeat), self._beat)

    def _fence(self) -> None:
        self._fatal = UserError("Kafka: FENCED_INSTANCE_ID: this member cannot go on")
        self._process.wake()

    def cut(self) -> None:
        """The broker cannot be reached from here."""
        if self._cut or not self._process.alive:
            return
        self._cut = True
        self.disconnected()
        since = self._since_heartbeat()
        self._group.silent(self.member, since)
        # librdkafka gives its partitions up by itself, a session time-out after the last answer to
        # a heartbeat.
        wait = self._group.session - since + self._latency()
        self._cut_timer = self._scheduler.after(
            wait, lambda: self._process.thread(0.0, self._silence)
        )

    def _since_heartbeat(self) -> float:
        """How long ago the last heartbeat was."""
        return self._draw.uniform(0.0, self._group.heartbeat)

    def _silence(self) -> None:
        if self._cut:
            self._lost(self.member)

    def mend(self) -> None:
        """The broker can be reached again."""
        if not self._cut:
            return
        self._cut = False
        if self._cut_timer is not None:
            self._cut_timer.cancel()
        unheard, self._unheard = self._unheard, []
        for said in unheard:
            self.told(*said)
        if not self._process.frozen:
            self._thawed()
        self.connected()

    @property
    def _reachable(self) -> bool:
        return not self._cut and not self._broker.away

    def _latency(self) -> float:
        return self._draw.uniform(*self.link.latency)

    def _watch_polls(self) -> None:
        """An owner that does not poll for ``max_poll`` seconds is taken out of the group by its own
        client.
        """
        if self._closed:
            return
        quiet = self._scheduler.now - self._polled_at
        if quiet >= self._max_poll and self.member:
            self._group.leave(self.member)
            self._lost(self.member)
        self._process.thread(max(0.1, self._max_poll - quiet), self._watch_polls)

    # -- committing ------------------------------------------------------------------------------

    def _send(self, commits: list[Commit]) -> _Sent:
        """Commits go one behind the other over one connection."""
        now = self._scheduler.now
        if any(
            {c.partition.number: (c.offset, c.metadata) for c in commits} == sent.says
            for sent in self._committing
        ):
            self._numbered += 1
            commits = [
                msgspec.structs.replace(
                    c, metadata=numbered(c.metadata, c.partition.number, c.offset, self._numbered)
                )
                for c in commits
            ]
        topics = {c.partition.number: self._topic_of(c.partition.number) for c in commits}
        sent = _Sent(
            commits, self.member, self._generation, now, self._draw.random(), NO_LINE, topics
        )
        self._committing_since = now
        self._committing.append(sent)
        self._unanswered.append(sent)
        if self._watch is not None:
            self._watch.asked(self._process)
        if self._reachable:
            at = max(self._line_free_at, now + self._draw.uniform(*self.link.commit_latency))
            self._line_free_at = at
            self._put(sent, at)
        else:
            self._give_up_later(sent)
        return sent

    def _topic_of(self, number: int) -> int:
        """The topic's id when a partition was assigned.

        Of one that is not owned, the one that it has now.
        """
        fetch = self._fetches.get(number)
        return self._broker.logs[number].topic_id if fetch is None else fetch.topic_id

    def _arrive(self, sent: _Sent, line: int) -> None:
        if line != self._line:
            return  # the connection broke on its way
        link, fate = self.link, sent.fate
        if self._behind or self._group.joining(sent.member):
            self._behind.append(sent)
            if self._watch is not None:
                self._watch.waits_behind(self._process)
            return
        if fate < link.commits_vanish:
            self._process.thread(
                ANSWER_WAIT, lambda: self._commit_answered(sent, ["timed out"] * len(sent.commits))
            )
            return
        fate -= link.commits_vanish
        if fate < link.commits_forgotten:
            self._unanswered = [other for other in self._unanswered if other is not sent]
            if self._watch is not None:
                self._watch.forgotten(self._process)
            return
        self._taken_in(sent, fate - link.commits_forgotten, line)

    def _taken_in(self, sent: _Sent, fate: float, line: int) -> None:
        """The broker takes or refuses it, and answers."""
        link = self.link
        if sent.again and self._watch is not None:
            self._watch.sent_again(self._process)
        sent.arrived, sent.fate = True, 1.0
        why = self._group.refuses(sent.member, sent.generation)
        if why is None and fate < link.commits_fail:
            why = "COORDINATOR_LOAD_IN_PROGRESS"
        fate -= link.commits_fail
        errors: list[str | None] = []
        for commit in sent.commits:
            number = commit.partition.number
            error = why or self._broker.commit(number, commit.offset, commit.metadata)
            if error is None:
                self._broker.committed_of[number] = sent.topics[number]
            errors.append(error)
        worst = next(filter(None, errors), None)
        for commit, error in zip(sent.commits, errors, strict=True):
            self._witness.committed(
                self._process, commit.partition, commit.offset, commit.metadata, error, worst
            )
        if (
            worst is not None
        ):  # librdkafka does not tell which partition it was: all of the commit count as failed
            errors = [worst] * len(errors)
        if 0.0 <= fate < link.answers_vanish:
            self._process.thread(
                ANSWER_WAIT, lambda: self._commit_answered(sent, ["timed out"] * len(errors))
            )
            return
        at = self._answers_at = max(self._answers_at, self._scheduler.now + self._latency())
        self._scheduler.at(at, lambda: self._socket(lambda: self._answer_comes(sent, errors, line)))

    def _answer_comes(self, sent: _Sent, errors: list[str | None], line: int) -> None:
        if line == self._line or self._closed:  # else the connection broke before it came
            self._commit_answered(sent, errors)

    def _commit_answered(self, sent: _Sent, errors: list[str | None]) -> None:
        if sent not in self._unanswered:
            return
        self._unanswered = [other for other in self._unanswered if other is not sent]
        self._queue("answer", (sent, errors))
        if "UNKNOWN_MEMBER_ID" in errors:
            self._lost(sent.member)
        if "FENCED_INSTANCE_ID" in errors:
            self._fence()

    def _on_commit(self, answered: _Sent, errors: list[str | None]) -> None:
        if self._watch is not None and not any(errors):
            self._watch.confirmed(self._process, answered.at)
        told = [sent.says for sent in self._committing]
        place = told.index(answered.says) if answered.says in told else -1
        taken = [
            commit for commit, error in zip(answered.commits, errors, strict=True) if error is None
        ]
        if place < 0:
            self._group_has(taken, [])
        else:
            for _ in range(place):
                self._committing.popleft()  # this one has overtaken it
            sent = self._committing.popleft()
            self._group_has(taken, sent.commits)
            failed: dict[str | None, list[Commit]] = {}
            for commit, error in zip(sent.commits, errors, strict=True):
                failed.setdefault(error, []).append(commit)
            for why, commits in failed.items():
                self._listener.on_committed(
                    commits, why, too_large=why == "OFFSET_METADATA_TOO_LARGE"
                )
        self._compare(answered, errors)

    def _group_has(self, taken: list[Commit], sent: list[Commit]) -> None:
        """What the group has is what it took last, also where the owned partition did not say it."""
        for commit in taken:
            partition = self._owned.get(commit.partition.number)
            if partition is not None and not any(other.partition is partition for other in sent):
                partition.committed, partition.metadata = commit.offset, commit.metadata

    def _compare(self, answered: _Sent, errors: list[str | None]) -> None:
        """With nothing on its way, the program knows what the group has."""
        if self._watch is None or any(errors) or self._unanswered or not self._reachable:
            return
        if any(what == "answer" for what, _ in self._ops):
            return
        for commit in answered.commits:
            number = commit.partition.number
            partition = self._owned.get(number)
            if number in self._broker.deleted or number not in self._fetches:
                continue
            same = self._fetches[number].topic_id == self._broker.logs[number].topic_id
            if same and partition is commit.partition and self._group.owner(number) == self.member:
                has = self._broker.committed.get(number)
                self._watch.believes(
                    self._process, number, (partition.committed, partition.metadata), has
                )


def _has(committed: tuple[int, str] | None, wanted: Commit) -> bool:
    """Whether the group has this commit, whatever its number."""
    return committed is not None and (committed[0], content(committed[1])) == (
        wanted.offset,
        content(wanted.metadata),
    )
