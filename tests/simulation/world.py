"""One run: the members of a group in simulated surroundings, through all of their scenario."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from consumer.core.offsets import commits
from consumer.core.offsets import partition as offsets
from consumer.loop import reading
from tests.simulation.api import Api
from tests.simulation.befalling import Befalling
from tests.simulation.broker import Broker, ListLog
from tests.simulation.cluster import Cluster
from tests.simulation.consumer_group import ConsumerGroup
from tests.simulation.ending import Ending
from tests.simulation.group import Group
from tests.simulation.group_watch import GroupWatch
from tests.simulation.life import EPOCH, Life
from tests.simulation.oracle import Limits, Oracle
from tests.simulation.plan import Scenario
from tests.simulation.process import Process
from tests.simulation.published import Publisher
from tests.simulation.receipts import ReceiptsTopic
from tests.simulation.scheduler import BEGIN, Scheduler
from tests.simulation.trace import Trace


@contextmanager
def scaled(plan: Scenario) -> Iterator[None]:
    """Set the program's measures for settled maps as the scenario wants them.

    Else no map would ever be near its room.
    """
    before = offsets.MAX_METADATA, offsets.MIN_METADATA, offsets.MAX_READ, reading.BATCH
    least = min(offsets.MIN_METADATA, plan.map_room // 2)
    _measure(plan.map_room, least, plan.batch, plan.batch)
    try:
        yield
    finally:
        _measure(*before)


def _measure(most: int, least: int, read: int, batch: int) -> None:
    """Set the most and the least characters of a map, and how much is read at once."""
    for module in (offsets, commits):
        module.MAX_METADATA, module.MIN_METADATA = most, least  # type: ignore[attr-defined]
    offsets.MAX_READ, reading.BATCH = read, batch


def times_end(plan: Scenario) -> float:
    """Return when the last thing that lasts is over, seconds from the start."""
    return max((h.at + h.more for h in plan.happenings if h.what == "refuse"), default=0.0)


class World:
    """The surroundings, the members, and what happens to them."""

    def __init__(self, plan: Scenario, trace: Trace | None = None) -> None:
        self.plan = plan
        self.trace = trace
        self.scheduler = scheduler = Scheduler()
        if trace is not None:
            trace.clock = lambda: self.seconds
        self.seen: Counter[str] = Counter()
        self.rng = random.Random(f"world {plan.seed}")
        self.logs = [
            ListLog(number, begin=self.rng.choice((0, 0, 100)), stride=plan.stride)
            for number in range(plan.partitions)
        ]
        self.broker = Broker(self.logs, max_metadata=plan.max_metadata)
        kind = ConsumerGroup if plan.protocol == "consumer" else Group
        self.group = kind(
            scheduler,
            plan.partitions,
            random.Random(f"group {plan.seed}"),
            session=plan.session,
            heartbeat=plan.heartbeat,
            eager=plan.eager,
        )
        self.publisher = Publisher(
            self.logs,
            random.Random(f"publisher {plan.seed}"),
            plan.mix,
            lambda record: self.oracle.published(record),
        )
        rules = plan.rules
        limits = Limits(
            rules.max_unsettled_rows,
            rules.max_unsettled_bytes,
            rules.max_processing,
            plan.map_room,
            plan.batch,
            rules.task_deadline,
            plan.revoke_seconds,
            plan.timeout + 5.0,
            rules.receipts,
            rules.retry.give_up,
        )
        self.oracle = Oracle(
            scheduler,
            self.publisher.records,
            limits,
            self.seen,
            self._owns,
            trace,
            self.publisher.kinds,
            plan.faults.first_line,
        )
        self.watch = GroupWatch(
            scheduler, self.seen, self.oracle, session=plan.session, rate=rules.rate
        )
        self.api = Api(
            scheduler,
            random.Random(f"api {plan.seed}"),
            self.publisher.kinds,
            plan.faults,
            self.oracle,
            seen=lambda what: self.seen.update((what,)),
        )
        self.api.me_status = plan.me_status
        self.receipts = ReceiptsTopic()
        self.link, self.pace, self.writing = plan.link, plan.pace, plan.writing
        self.troubled = True  #: things go wrong
        self.restarts = True  #: a process that ends is followed by another
        self.cluster = Cluster(self)
        self.befalling = Befalling(self)
        self.ending = Ending(self)
        for what, holds in (
            ("the consumer protocol", plan.protocol == "consumer"),
            ("static members", plan.static),
            ("a long commit interval", plan.commit_interval > plan.session / 3),
        ):
            self.seen[what] += holds
        self.lives: list[Life] = []
        self.members: list[Life | None] = [None] * plan.members

    @property
    def seconds(self) -> float:
        """Return the time since the start."""
        return self.scheduler.now - BEGIN

    def tell(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        if self.trace is not None:
            self.trace.tell(who, what)

    def _owns(self, process: Process, number: int) -> bool:
        """Return whether the group has a partition with a process."""
        owner = self.group.owner(number)
        return any(
            life.process is process and life.source.member == owner
            for life in self.lives
            if not life.ended
        )

    # -- a run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Do all of it; raise Violation when the oracle finds something."""
        try:
            with scaled(self.plan):
                self._run()
        finally:
            for life in self.lives:
                if not life.ended:
                    life.process.kill()

    def _run(self) -> None:
        plan, scheduler = self.plan, self.scheduler
        count = plan.records
        if plan.start_from == "latest":
            for log in self.logs:
                log.pass_over(self.rng.randint(0, 50))
        times = sorted(self.rng.uniform(0.0, plan.publish_for) for _ in range(count))
        settled = 5.0 if plan.start_from == "latest" else 0.0
        for at in times:
            scheduler.at(BEGIN + settled + at, self._publish)
        for happening in plan.happenings:
            scheduler.at(BEGIN + happening.at, partial(self.befalling.happen, happening))
        for place in range(plan.members):
            scheduler.at(
                BEGIN + self.rng.choice((0.0, self.rng.uniform(0.0, 10.0))),
                partial(self._start, place),
            )
        if plan.on_out_of_range == "stop":
            self.cluster.operate()
        scheduler.run(
            lambda: False,
            BEGIN + max(plan.trouble_for, settled + plan.publish_for, times_end(plan)),
        )
        self.ending.finish()

    def _publish(self) -> None:
        number = self.rng.randrange(len(self.logs))
        if self.unwritable(number):
            self.scheduler.after(0.5, self._publish)
            return
        self.publisher.publish(number, EPOCH + self.scheduler.now)
        if self.rng.random() < 0.02:
            self.logs[number].pass_over(self.rng.randint(1, 3))
        self.arrived(number)

    def living(self) -> list[Life]:
        """Return the processes that are not dead, also those that stand still."""
        return [life for life in self.members if life is not None and life.process.alive]

    def begin(self, place: int) -> None:
        """Start a process, if there is none in its place."""
        self._start(place)

    def bury(self, life: Life) -> None:
        """Kill a process."""
        self.tell(life.process.name, "is killed")
        life.process.kill()

    def count(self, what: str) -> None:
        """Count that something was seen."""
        self.seen[what] += 1

    def unwritable(self, number: int) -> bool:
        """Return whether nothing is written to a partition now.

        It is not there, or no client has seen yet that it was cut. Behind a cut, what is written
        before a client looks takes the place of what was there, and nobody can tell.
        """
        return number in self.broker.deleted or self.logs[number].unseen

    def arrived(self, number: int) -> None:
        """Let those who wait for a partition read what was written to it."""
        for life in self.members:
            if life is not None and life.process.running:
                life.source.arrived(number)

    # -- members ---------------------------------------------------------------------------------

    def _start(self, place: int) -> None:
        if self.restarts and self.members[place] is None:
            number = len(self.lives)
            letter = chr(ord("A") + place)
            name = f"{letter}{sum(life.process.name[0] == letter for life in self.lives) + 1}"
            life = Life(self, name, number, instance=f"i{place}" if self.plan.static else "")
            self.lives.append(life)
            self.members[place] = life
            self.tell(name, "starts")
            life.process.start()

    def ended(self, life: Life, code: object) -> None:
        """Take in that a process ended by itself."""
        self.tell(life.process.name, f"ended: {code}")
        self.oracle.ended(life.process)
        self.watch.forget(life.process)
        self._restart(life)

    def _restart(self, life: Life) -> None:
        place = self.members.index(life)
        self.members[place] = None
        if place < self.plan.members and self.restarts:
            self.scheduler.after(self.rng.uniform(0.1, 12.0), lambda: self._start(place))

    def buried(self, life: Life) -> None:
        """Take in that a process was killed."""
        if life.pipeline.uploads.tasks:
            self.count("killed with tasks at work")
        life.ended = True
        self.oracle.ended(life.process)
        self.watch.forget(life.process)
        self._restart(life)
