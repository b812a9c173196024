"""The same site in the simulation: simulated broker, group and source, in simulated time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping

from consumer.loop.ports import RecordSource as SourcePort
from tests.contract.member import PATIENCE_SECONDS, Member
from tests.simulation.broker import Broker, ListLog
from tests.simulation.consumer_group import ConsumerGroup
from tests.simulation.group import Group
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.source import SimSource

TURN_SECONDS = 0.003


class SimulatedSite:
    """One group over simulated partitions.

    Every member is a process that turns until the test is over.
    """

    def __init__(self, partitions: int, seed: int) -> None:
        self.partitions = partitions
        self._rng = random.Random(seed)
        self._scheduler = Scheduler()
        self._logs = [ListLog(number) for number in range(partitions)]
        self._broker = Broker(self._logs)
        self._group = Group(self._scheduler, partitions, self._rng, session=6.0, heartbeat=0.1)
        self._lives: dict[Member, Process] = {}
        self._jobs: dict[Member, deque[Callable[[], object]]] = {}

    def close(self) -> None:
        """End all members."""
        for process in self._lives.values():
            process.kill()

    def publish(self, number: int, *values: bytes) -> None:
        for value in values:
            self._logs[number].append(None, value, 0)

    def leave_gap(self, number: int) -> None:
        self._logs[number].pass_over(2)  # the record of an aborted transaction, and its marker

    def end(self, number: int) -> int:
        return self._logs[number].end

    def commit_before(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        for number, (offset, metadata) in offsets.items():
            assert self._broker.commit(number, offset, metadata) is None

    def committed(self) -> dict[int, tuple[int, str]]:
        return dict(self._broker.committed)

    def trim(self, number: int, begin: int) -> None:
        self._logs[number].trim(begin)

    def delete_topic(self) -> None:
        for number in range(self.partitions):
            self._broker.delete(number, forgets=True)

    def make_anew(self) -> None:
        for number in range(self.partitions):
            self._logs[number] = self._broker.make_anew(number)

    def member(
        self,
        *,
        start_from: str = "earliest",
        instance: str = "",
        max_poll: float = 300.0,
        protocol: str = "classic",
    ) -> Member:
        if protocol == "consumer" and not isinstance(self._group, ConsumerGroup):
            self._group = ConsumerGroup(
                self._scheduler, self.partitions, self._rng, session=45.0, heartbeat=0.5
            )
        member = Member()
        jobs = self._jobs[member] = deque()

        def live() -> None:
            member.source.subscribe()
            while True:
                while jobs:
                    jobs.popleft()()
                member.step()
                process.rest(TURN_SECONDS)

        process = Process(self._scheduler, f"member {len(self._lives)}", live)
        member.source = SimSource(
            process,
            member,
            self._broker,
            self._group,
            self._rng,
            start_from=start_from,
            instance=instance,
            max_poll=max_poll,
        )
        self._lives[member] = process
        process.start()
        return member

    def do(self, member: Member, act: Callable[[SourcePort], object]) -> None:
        done: list[object] = []
        self._jobs[member].append(lambda: done.append(act(member.source)))
        self._lives[member].wake()
        self.turn_until(lambda: bool(done), "the member's owner does it")

    def members(self) -> list[int]:
        return sorted(
            len(member.owned - member.revoking) for member in self._group.members.values()
        )

    def throw_out(self, member: Member) -> None:
        assert isinstance(member.source, SimSource)
        self._group.expire(member.source.member)

    def pass_inside(self, seconds: float) -> None:
        member = next(member for member in self._lives if member.polling)
        self._lives[member].sleep(seconds)

    def turn_until(self, condition: Callable[[], bool], what: str) -> None:
        until = self._scheduler.now + PATIENCE_SECONDS
        assert self._scheduler.run(condition, until), f"not within {PATIENCE_SECONDS:g} s: {what}"

    def turn_for(self, seconds: float) -> None:
        self._scheduler.run(lambda: False, self._scheduler.now + seconds)
