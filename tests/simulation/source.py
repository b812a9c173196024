"""The simulated source: what ``consumer.kafka.source`` does, as far as the owner loop can tell."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from consumer.core.offsets import Commit, Partition
from consumer.core.settled_map import NOTHING, MapError, SettledMap, decode
from consumer.errors import UserError
from consumer.kafka.reader import Listener
from tests.simulation.broker import TOPIC, Broker, Message
from tests.simulation.group import Group
from tests.simulation.process import Process
from tests.simulation.scheduler import Event
from tests.simulation.witness import Witness

#: As the real one's, seconds: the longest wait for a commit inside a callback, one look-up's share of it, and how long
#: librdkafka waits for an answer before it fails a commit.
COMMIT_WAIT = 5.0
COMMITTED_WAIT = 0.5
ANSWER_WAIT = 10.0
LOOK_UP_PAUSE = (0.05, 2.0)


@dataclass
class Link:
    """How the way to the broker is; all of it decided by a seed. Times in seconds, shares from 0 to 1."""

    latency: tuple[float, float] = (0.001, 0.02)
    commit_latency: tuple[float, float] = (0.001, 0.02)
    commits_fail: float = 0.0  #: commits that the broker refuses with a passing error
    commits_vanish: float = 0.0  #: commits that never arrive
    answers_vanish: float = 0.0  #: commits that are taken, and whose answer is lost
    resume: float = 0.2  #: before a partition is read (on) after it was assigned or resumed


@dataclass(eq=False)
class _Sent:
    """A commit on its way."""

    commits: list[Commit]
    member: str
    generation: int
    arrived: bool = False


@dataclass
class _Fetch:
    """Where the client reads a partition."""

    position: int
    ready_at: float
    known_end: int  #: what was fetched, or could be, when the broker was last there
    eof: int = -1  #: the end that was told last


class SimSource:
    """One member's client. It is all in the owner's hands but what a background thread of librdkafka does."""

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
    ) -> None:
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
        self.awaiting: dict[tuple[str, int], float] = {}  #: partitions whose start is not known yet: here none
        self._held: set[Partition] = set()
        self._owned: dict[int, Partition] = {}
        self._fetches: dict[int, _Fetch] = {}
        self._ops: deque[tuple[str, Any]] = deque()  # what the next poll serves
        self._committing: deque[_Sent] = deque()
        self.member = ""  #: id in the group; empty: none
        self._generation = 0
        self._wants = False  # to be a member
        self._cut = False
        self._cut_timer: Event | None = None
        self._unheard: list[tuple[str, str, list[int], int]] = []  # said while the line was cut
        self._line_free_at = 0.0
        self._polled_at = 0.0
        self._first = 0
        self._fatal: UserError | None = None
        self._closed = False
        process.on_stop.append(lambda: group.silent(self.member, self._since_heartbeat()))
        process.on_thaw.append(self._thawed)

    # -- what the owner loop calls -------------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Join the group."""
        self._process.step("subscribe")
        self._wants = True
        self._polled_at = self._scheduler.now
        self._join_soon()
        self._watch_polls()

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Serve the callbacks; then what has arrived, at most ``count`` records, by partition and in order."""
        self._process.step("poll")
        self._witness.polled(self._process)
        if self._fatal is not None:
            raise self._fatal
        self._polled_at = self._scheduler.now
        self._serve()
        return self._take(count)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._read_later(self._owned)

    def hold(self, partition: Partition, *, held: bool) -> None:
        (self._held.add if held else self._held.discard)(partition)
        self._witness.held(self._process, held=held)
        if not held and self._owned.get(partition.number) is partition:
            self._read_later([partition.number])

    @property
    def committing(self) -> bool:
        return bool(self._committing)

    def commit(self, commits: list[Commit]) -> None:
        """Send a commit; how it ended is told inside a poll."""
        self._process.step("commit")
        self._witness.committing(self._process, [(c.partition, c.offset, c.metadata) for c in commits])
        self._send(commits)
        self._process.step("committed")

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        """Commit, and ask until the group has it, five seconds at most; whether it has."""
        if not commits:
            return True
        self._process.step("last commit")
        self._witness.committing(self._process, [(c.partition, c.offset, c.metadata) for c in commits])
        sent = self._send(commits)
        self._process.step("last committed")
        until = self._scheduler.now + COMMIT_WAIT
        while self._scheduler.now < until and not self._listener.leaves_at_once:
            self._process.sleep(self._latency())
            if not self._reachable or not sent.arrived:
                self._process.sleep(COMMITTED_WAIT if not self._reachable else 0.05)
                continue
            has = self._broker.committed
            if all(has.get(c.partition.number) == (c.offset, c.metadata) for c in commits):
                self._process.step("has committed")
                return True
        return False

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

    # -- reading -------------------------------------------------------------------------------------------------

    def _take(self, count: int) -> list[tuple[Partition, list[Message]]]:
        batches: list[tuple[Partition, list[Message]]] = []
        now = self._scheduler.now
        numbers = list(self._fetches)
        self._first += 1  # a fair client begins with another partition each time
        for place in range(len(numbers)):
            number = numbers[(place + self._first) % len(numbers)]
            partition, fetch = self._owned[number], self._fetches[number]
            if self._rests(partition) or now < fetch.ready_at:
                continue
            log = self._broker.logs[number]
            if self._reachable:
                fetch.known_end = log.end
            messages: list[Message] = []
            if count > 0 and fetch.position < fetch.known_end:
                messages = list(log.read(fetch.position, count))
                while messages and messages[-1].offset() >= fetch.known_end:
                    messages.pop()
            if messages:
                count -= len(messages)
                fetch.position = messages[-1].offset() + 1
                batches.append((partition, messages))
                self._witness.read(self._process, partition, [message.offset() for message in messages])
            if self._at_end(fetch, log, told_with_records=bool(messages)):
                fetch.eof = fetch.position = fetch.known_end
                partition.position = max(partition.position, fetch.known_end)
                self._witness.reached(self._process, partition, fetch.known_end)
        return batches

    def _at_end(self, fetch: _Fetch, log: Any, *, told_with_records: bool) -> bool:
        """Whether the client tells of the partition's end now: at times together with its last records, or later."""
        if fetch.eof >= fetch.known_end or not self._reachable:
            return False
        if log.read(fetch.position, 1):
            return False
        return not told_with_records or self._draw.random() < 0.5

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

    # -- the assignment ------------------------------------------------------------------------------------------

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
                # Also when it is no member any more: what waited is told, and the rest of the loss behind it.
                self._on_revoke(*more)
            elif more[0] == self.member:
                self._on_assign(more[1])

    def _on_assign(self, numbers: list[int]) -> None:
        if not numbers:
            self._listener.on_assigned([])
            return
        found = self._look_up(numbers)
        if found is None:
            return  # the process is about to end
        partitions = [self._partition(number, found[number]) for number in numbers]
        now = self._scheduler.now
        for partition in partitions:
            self._owned[partition.number] = partition
            fetch = _Fetch(partition.position, now + self.link.resume, self._broker.logs[partition.number].end)
            self._fetches[partition.number] = fetch
            number = partition.number
            self._witness.assigned(self._process, partition, number, partition.position, found[number])
        self._process.thread(self.link.resume, self._process.wake)
        self._listener.on_assigned(partitions)
        self._process.step("assigned")

    def _look_up(self, numbers: list[int]) -> dict[int, tuple[int, str] | None] | None:
        """What is committed, as it was when the broker answered; None: the process stops first."""
        pause, longest = LOOK_UP_PAUSE
        while not self._listener.stopping:
            self._process.step("look-up")
            self._listener.on_waiting()
            self._process.sleep(self._latency())
            if self._reachable:
                found = {number: self._broker.committed.get(number) for number in numbers}
                self._process.sleep(self._latency())
                return found
            self._process.sleep(pause)
            pause = min(2 * pause, longest)
        return None

    def _partition(self, number: int, committed: tuple[int, str] | None) -> Partition:
        if committed is None:
            log = self._broker.logs[number]
            return Partition(TOPIC, number, log.begin if self._start_from == "earliest" else log.end, None)
        offset, metadata = committed
        skips: SettledMap = NOTHING
        with suppress(MapError):
            skips = decode(metadata, number, offset)
        return Partition(TOPIC, number, offset, offset, skips, metadata)

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
        self._process.step("revoke")
        self._witness.leaving(self._process, partitions, lost=lost)
        self._listener.on_revoked(partitions, lost=lost)
        self._process.step("revoked")
        for partition in partitions:
            del self._owned[partition.number]
            del self._fetches[partition.number]
            self.stopped.pop(partition, None)
            self._held.discard(partition)
        self._witness.gone(self._process, partitions)

    # -- membership: what librdkafka's thread does ---------------------------------------------------------------

    def _join_soon(self) -> None:
        self._process.thread(self._draw.uniform(0.01, 0.2), self._join)

    def _join(self) -> None:
        if not self._wants or self.member:
            return
        if self._reachable:
            self.member = self._group.join(self, self._instance)
        else:
            self._process.thread(0.5, self._join)

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

    def _thawed(self) -> None:
        self._process.thread(self._draw.uniform(0.0, 0.05), self._beat)  # it is overdue

    def _beat(self) -> None:
        """A heartbeat after a silence; its answer says whether this is a member still."""
        if not self.member:
            return
        if not self._reachable:
            self._process.thread(self._group.heartbeat, self._beat)
        elif not self._group.heard(self.member):
            member = self.member
            self._process.thread(self._latency(), lambda: self._lost(member))

    def cut(self) -> None:
        """The broker cannot be reached from here."""
        if self._cut or not self._process.alive:
            return
        self._cut = True
        since = self._since_heartbeat()
        self._group.silent(self.member, since)
        # librdkafka gives its partitions up by itself, a session time-out after the last answer to a heartbeat.
        wait = self._group.session - since + self._latency()
        self._cut_timer = self._scheduler.after(wait, lambda: self._process.thread(0.0, self._silence))

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

    @property
    def _reachable(self) -> bool:
        return not self._cut and not self._broker.away

    def _latency(self) -> float:
        return self._draw.uniform(*self.link.latency)

    def _watch_polls(self) -> None:
        """An owner that does not poll for ``max_poll`` seconds is taken out of the group by its own client."""
        if self._closed:
            return
        quiet = self._scheduler.now - self._polled_at
        if quiet >= self._max_poll and self.member:
            self._group.leave(self.member)
            self._lost(self.member)
        self._process.thread(max(0.1, self._max_poll - quiet), self._watch_polls)

    # -- committing ----------------------------------------------------------------------------------------------

    def _send(self, commits: list[Commit]) -> _Sent:
        """Commits go one behind the other over one connection."""
        sent = _Sent(commits, self.member, self._generation)
        self._committing.append(sent)
        at = max(self._line_free_at, self._scheduler.now + self._draw.uniform(*self.link.commit_latency))
        self._line_free_at = at
        fate = self._draw.random()
        self._scheduler.at(at, lambda: self._arrive(sent, fate))
        return sent

    def _arrive(self, sent: _Sent, fate: float) -> None:
        link = self.link
        if not self._reachable or fate < link.commits_vanish:
            self._process.thread(ANSWER_WAIT, lambda: self._queue("answer", (sent, ["timed out"] * len(sent.commits))))
            return
        fate -= link.commits_vanish
        sent.arrived = True
        why = self._group.refuses(sent.member, sent.generation)
        if why is None and fate < link.commits_fail:
            why = "COORDINATOR_LOAD_IN_PROGRESS"
        fate -= link.commits_fail
        errors: list[str | None] = []
        for commit in sent.commits:
            number = commit.partition.number
            error = why or self._broker.commit(number, commit.offset, commit.metadata)
            errors.append(error)
        worst = next(filter(None, errors), None)
        for commit, error in zip(sent.commits, errors, strict=True):
            self._witness.committed(self._process, commit.partition, commit.offset, commit.metadata, error, worst)
        if worst is not None:  # librdkafka does not tell which partition it was: all of the commit count as failed
            errors = [worst] * len(errors)
        if 0.0 <= fate < link.answers_vanish:
            errors, wait = ["timed out"] * len(errors), ANSWER_WAIT
        else:
            wait = self._latency()
        self._process.thread(wait, lambda: self._commit_answered(sent, errors))

    def _commit_answered(self, sent: _Sent, errors: list[str | None]) -> None:
        self._queue("answer", (sent, errors))
        if "UNKNOWN_MEMBER_ID" in errors:
            self._lost(sent.member)
        if "FENCED_INSTANCE_ID" in errors:
            self._fatal = UserError("Kafka: FENCED_INSTANCE_ID: this member cannot go on")

    def _on_commit(self, answered: _Sent, errors: list[str | None]) -> None:
        keys = {commit.partition.number for commit in answered.commits}
        while self._committing:
            sent = self._committing.popleft()
            if {commit.partition.number for commit in sent.commits} == keys:
                break
        else:
            return
        failed: dict[str | None, list[Commit]] = {}
        for commit, error in zip(sent.commits, errors, strict=True):
            failed.setdefault(error, []).append(commit)
        for why, commits in failed.items():
            self._listener.on_committed(commits, why, too_large=why == "OFFSET_METADATA_TOO_LARGE")
