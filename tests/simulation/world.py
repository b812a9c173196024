"""One run: the members of a group over simulated surroundings, through everything that their
scenario says.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from consumer.core.offsets import partition as offsets
from consumer.core.pipeline import Pipeline
from consumer.core.rows.by_task import TaskRowMaker
from consumer.core.rows.maker import RowMaker
from consumer.errors import UserError
from consumer.formats import decoder
from consumer.loop import reading
from consumer.loop.intake import Intake
from consumer.loop.ports import Listener
from consumer.loop.runner import Runner
from tests.simulation.adapters import Results, SimApi, SimLetters
from tests.simulation.api import TELLING_NOTHING, Api
from tests.simulation.broker import Broker, ListLog
from tests.simulation.cluster import Cluster
from tests.simulation.consumer_group import ConsumerGroup
from tests.simulation.documents import RULES, UNIT, PublishedRow
from tests.simulation.group import Group
from tests.simulation.group_watch import GroupWatch
from tests.simulation.happening import Happening
from tests.simulation.oracle import Limits, Oracle, Violation
from tests.simulation.process import Process
from tests.simulation.progress import independent
from tests.simulation.published import Publisher
from tests.simulation.receipts import ReceiptsTopic, SimReceipts
from tests.simulation.scenario import Scenario
from tests.simulation.scheduler import BEGIN, Scheduler
from tests.simulation.source import SimSource
from tests.simulation.trace import Trace
from tests.simulation.witness import Tag

#: The wall clock when the simulated one is at zero, seconds.
EPOCH = 1_700_000_000.0
#: How long it may take until somebody has looked after a partition that was stopped, and all run
#: again, seconds.
OPERATED = 90.0
#: With nothing going wrong any more, everything is settled and committed within this time (I8),
#: seconds.
PROGRESS_BOUND = 900.0
#: More than that for each row of one unit whose task fails: it is rejected once it has failed alone
#: for five minutes.
TASK_AT_FAULT = 330.0
#: So many windows that fail as tasks, with none that passes, are taken for the API's fault.
MANY_TASKS = 4
#: And what waits for no row at fault, whatever those do, and although nothing else arrives, within
#: this time, seconds; twice as long as its rows take one by one; so long for each row at fault; and
#: for each task that others wait for.
GOING_ON = 60.0
GOING_ON_AT_FAULT = 10.0
GOING_ON_TASK = 15.0
#: While rows fail in a way that may be the whole process's fault, it asks who it is so often, and
#: for each row.
PAUSES = 15
PAUSES_OF_A_ROW = 3
#: A pace that 429s have brought down to little comes back by a hundredth with each request that is
#: accepted, seconds.
PACE_COMES_BACK = 300.0
#: So long after the last update that goes by a task, when no task ends any more, good rows arrive,
#: and so many: a member that reads nothing takes one a second all the same, as a sign of life.
FILLING = 20.0
BESIDE = 300
#: An API that took small windows only takes large ones again for so long before it is looked at how
#: full they are.
AFTER_SMALL_WINDOWS = 60.0
#: What the threads of a process may take for a turn that waits for nothing, seconds.
TURN = (0.0001, 0.001)


#: What is undone when nobody has looked.
NOT_LOOKED = {-1: (-1, -1)}


@contextmanager
def scaled(plan: Scenario) -> Iterator[None]:
    """The program's measures for settled maps as the scenario wants them.

    Else no map would ever be near its room.
    """
    before = offsets.MAX_METADATA, offsets.MIN_METADATA, offsets.MAX_READ, reading.BATCH
    offsets.MAX_METADATA, offsets.MAX_READ, reading.BATCH = plan.map_room, plan.batch, plan.batch
    offsets.MIN_METADATA = min(offsets.MIN_METADATA, plan.map_room // 2)
    try:
        yield
    finally:
        offsets.MAX_METADATA, offsets.MIN_METADATA, offsets.MAX_READ, reading.BATCH = before


class Life:
    """One process of a member, from its start to its end."""

    def __init__(self, world: World, name: str, number: int, *, instance: str = "") -> None:
        plan = world.plan
        self.world = world
        self.instance = instance
        self.until_end = plan.until_end and world.troubled
        self.draw = random.Random(f"{plan.seed} {name}")
        strikes = plan.strikes.get(number, []) if world.troubled else []
        self.process = Process(
            world.scheduler,
            name,
            self._run,
            strikes=list(strikes),
            struck=lambda what: self._struck(what),
        )
        self.process.on_kill.append(lambda: world.buried(self))
        self.ended = False
        self.results = Results(self.process, self._pause, world.oracle)
        self.pipeline = Pipeline(plan.rules, self.draw.random)
        units: dict[str, Any] = {"logistic_units": (UNIT,)}
        maker = (
            TaskRowMaker("extended_id", every=False, **units)
            if plan.tasks
            else RowMaker("extended_id", **units)
        )
        self.runner = Runner(
            self.pipeline,
            Intake(decoder("auto", None, RULES), maker),
            self.results,
            world.scheduler.clock,
            source=lambda listener: self._source(listener, number),
            api=SimApi(
                self.process,
                world.api,
                self.results,
                self.draw,
                world.pace,
                world.oracle,
                world.watch,
            ),
            dead_letters=SimLetters(
                self.process, world.broker, self.results, self.draw, world.writing, world.oracle
            ),
            receipts=SimReceipts(
                self.process,
                world.broker,
                world.receipts,
                self.results,
                self.draw,
                world.writing,
                world.oracle,
            ),
            commit_interval=plan.commit_interval,
            stop_seconds=plan.timeout + 5.0,
            revoke_seconds=plan.revoke_seconds,
            session_seconds=plan.session,
            until_end=self.until_end,
            wall_clock=lambda: EPOCH + world.scheduler.now,
        )
        stop = self.runner.lifecycle.request_stop

        def stopping(end: int | UserError) -> None:
            world.oracle.stopping(self.process)
            stop(end)

        self.runner.lifecycle.request_stop = stopping  # type: ignore[method-assign]
        world.oracle.began(self.process, lambda: self.runner.ledger().as_dict())
        self._frozen_at = 0.0
        self.process.on_stop.append(lambda: setattr(self, "_frozen_at", world.scheduler.now))
        self.process.on_thaw.append(
            lambda: world.watch.stood_still(self.process, world.scheduler.now - self._frozen_at)
        )
        if self.until_end:
            world.watch.has_end(self.process)
            goal = {log.number: log.end for log in world.logs if log.end > log.begin}
            self.process.thread(0.3, lambda: self._look_for_the_end(goal))

    def _source(self, listener: Listener, number: int) -> SimSource:
        world, plan = self.world, self.world.plan
        self.source = SimSource(
            self.process,
            listener,
            world.broker,
            world.group,
            self.draw,
            link=world.link,
            start_from=plan.start_from,
            instance=self.instance,
            max_poll=plan.max_poll,
            witness=world.oracle,
            watch=world.watch,
            on_out_of_range=lambda: plan.on_out_of_range,
            fault_at=plan.fault_at.get(number, 0) if world.troubled else 0,
        )
        return self.source

    def _look_for_the_end(self, goal: dict[int, int]) -> None:
        """As ``consumer.adapters.kafka.ends``.

        Stop when the group has committed what there was at the start.
        """
        broker = self.world.broker
        if not broker.away and all(
            broker.committed.get(n, (-1, ""))[0] >= end for n, end in goal.items()
        ):
            self.results.put(lambda: self.runner.stop(0))
        else:
            self.process.thread(0.3, lambda: self._look_for_the_end(goal))

    def _run(self) -> None:
        try:
            code: Any = self.runner.run()
        except UserError as error:
            code = error
        if not self.source.closed and not self.runner.leaves_at_once:
            raise Violation(
                f"I8: {self.process.name} has ended ({code}) and has not left the group"
            )
        if self.until_end and code == 0 and not self.runner.lifecycle.signals:
            self.world.watch.reached_end(self.process)
        self.ended = True
        self.process.end()
        self.world.ended(self, code)

    def _struck(self, what: str) -> None:
        self.world.tell(self.process.name, what)
        self.world.seen[
            "crash between effects" if "killed" in what else "frozen between effects"
        ] += 1

    # -- a turn's wait ---------------------------------------------------------------------------

    def _pause(self, timeout: float) -> None:
        """The owner waits for results.

        As long as nothing else can matter to it, its turns are not taken one by one.
        """
        process, now = self.process, self.world.scheduler.now
        if not timeout:
            process.sleep(self.draw.uniform(*TURN))
            return
        stretch = self.world.plan.stretch
        if not stretch:
            process.rest(timeout)
            return
        until = now + stretch
        wakes_at = self.pipeline.wakes_at(now)
        if wakes_at is not None:
            until = min(until, max(wakes_at, now + timeout))
        runner = self.runner
        if not self.source.committing:
            until = min(until, max(runner.committing._next_at, now + timeout))
        process.rest(until - now)


def plan_session(plan: Scenario) -> float:
    """How long the group may take until all partitions have owners that upload, more than with
    short sessions.
    """
    return max(0.0, plan.session - 10.0) + plan.commit_interval


def times_end(plan: Scenario) -> float:
    """When the last thing that lasts is over, seconds from the start."""
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
        self.draw = random.Random(f"world {plan.seed}")
        self.logs = [
            ListLog(number, begin=self.draw.choice((0, 0, 100)), stride=plan.stride)
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
        self.went_on = 0.0  #: seconds until all was settled that waits for no row at fault
        self.troubled = True  #: things go wrong
        self.restarts = True  #: a process that ends is followed by another
        self._beats = True
        self.cluster = Cluster(self)
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
        """Since the start."""
        return self.scheduler.now - BEGIN

    def tell(self, who: str, what: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace.tell(who, what)

    def _owns(self, process: Process, number: int) -> bool:
        """Whether the group has a partition with a process."""
        owner = self.group.owner(number)
        return any(
            life.process is process and life.source.member == owner
            for life in self.lives
            if not life.ended
        )

    # -- a run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """All of it; raises Violation when the oracle finds something."""
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
                log.pass_over(self.draw.randint(0, 50))
        times = sorted(self.draw.uniform(0.0, plan.publish_for) for _ in range(count))
        settled = 5.0 if plan.start_from == "latest" else 0.0
        for at in times:
            scheduler.at(BEGIN + settled + at, self._publish)
        for happening in plan.happenings:
            scheduler.at(BEGIN + happening.at, partial(self._happen, happening))
        for place in range(plan.members):
            scheduler.at(
                BEGIN + self.draw.choice((0.0, self.draw.uniform(0.0, 10.0))),
                partial(self._start, place),
            )
        if plan.on_out_of_range == "stop":
            self.cluster.operate()
        scheduler.run(
            lambda: False,
            BEGIN + max(plan.trouble_for, settled + plan.publish_for, times_end(plan)),
        )
        self._finish()

    def _publish(self) -> None:
        number = self.draw.randrange(len(self.logs))
        if self._rests(number):
            self.scheduler.after(0.5, self._publish)
            return
        self.publisher.publish(number, EPOCH + self.scheduler.now)
        if self.draw.random() < 0.02:
            self.logs[number].pass_over(self.draw.randint(1, 3))
        self._arrived(number)

    def _rests(self, number: int) -> bool:
        """Whether nothing is written to a partition.

        It is not there, or no client has seen yet that it was cut.

        Behind a cut, what is written before a client looks takes the place of what was there, and
        nobody can tell.
        """
        return number in self.broker.deleted or self.logs[number].unseen

    def living(self) -> list[Life]:
        """The processes that are not dead, also those that stand still."""
        return [life for life in self.members if life is not None and life.process.alive]

    def begin(self, place: int) -> None:
        """Start a process, if there is none in its place."""
        self._start(place)

    def bury(self, life: Life) -> None:
        """Kill a process."""
        self._kill(life)

    def _arrived(self, number: int) -> None:
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
        """A process ended by itself."""
        self.tell(life.process.name, f"ended: {code}")
        self.oracle.ended(life.process)
        self.watch.forget(life.process)
        self._restart(life)

    def _restart(self, life: Life) -> None:
        place = self.members.index(life)
        self.members[place] = None
        if place < self.plan.members and self.restarts:
            self.scheduler.after(self.draw.uniform(0.1, 12.0), lambda: self._start(place))

    def _kill(self, life: Life) -> None:
        self.tell(life.process.name, "is killed")
        life.process.kill()

    def buried(self, life: Life) -> None:
        """A process was killed."""
        if life.pipeline.uploads.tasks:
            self._count("killed with tasks at work")
        life.ended = True
        self.oracle.ended(life.process)
        self.watch.forget(life.process)
        self._restart(life)

    # -- what happens ----------------------------------------------------------------------------

    def _happen(self, what: Happening) -> None:
        life = self.members[what.member]
        acts: dict[str, Callable[[], object]] = {
            "another": lambda: self._another(what.more),
            "shuffle": self._shuffle,
            "broker away": lambda: self._broker_away(what.more),
            "letters away": lambda: self._letters_away(what.more),
            "api": lambda: self._api_mode(*what.more),
            "receipts away": lambda: self._receipts_away(what.more),
            "most rows": lambda: self._api_state("most_rows", *what.more),
            "tasks broken": lambda: self._api_state("tasks_broken", *what.more),
        }
        if what.what in acts:
            self.tell("", f"{what.what} {what.more if what.more else ''}")
            acts[what.what]()
            return
        if (
            self.cluster.acts(what.what, what.more, what.member)
            or life is None
            or not life.process.alive
        ):
            return
        self._count(what.what)
        if what.what == "kill":
            self._kill(life)
        elif what.what == "stop":
            self._stop(life)
            if self.draw.random() < 0.2:
                self.scheduler.after(self.draw.uniform(0.0, 3.0), lambda: self._stop(life))
        elif what.what == "freeze":
            self.tell(life.process.name, f"is frozen for {what.more:.1f} s")
            if what.more > self.plan.session:
                self._count("frozen past the session")
            life.process.freeze(what.more)
        elif what.what == "cut":
            self.tell(life.process.name, f"cannot reach the broker for {what.more:.1f} s")
            life.source.cut()
            self.scheduler.after(what.more, life.source.mend)

    def _count(self, what: str) -> None:
        self.seen[what] += 1

    def _shuffle(self) -> None:
        if self.group.shuffle():
            self._count("shuffle")

    def _another(self, seconds: float) -> None:
        """One more member, for a while."""
        self._count("another")
        place = len(self.members)
        self.members.append(None)
        self._start(place)
        life = self.members[place]
        if life is not None:  # else nobody is to run
            self.scheduler.after(seconds, lambda: self._stop(life))

    def _stop(self, life: Life) -> None:
        if life.process.alive:
            self.tell(life.process.name, "is asked to stop")
            self.oracle.asked_to_stop(life.process)
            life.runner.signal()

    def _broker_away(self, seconds: float) -> None:
        if self.broker.away:
            return
        self._count("broker away")
        self.broker.away = True
        self.group.go_away()
        for life in self.living():
            life.source.disconnected()
        self.scheduler.after(seconds, self._broker_back)

    def _broker_back(self) -> None:
        if self.broker.away:
            self.tell("", "the broker is back")
            self.broker.away = False
            self.group.come_back()
            for life in self.living():
                life.source.connected()

    def _letters_away(self, seconds: float) -> None:
        self._count("letters away")
        self.broker.letters_writable = False
        self.scheduler.after(seconds, self._letters_back)

    def _letters_back(self) -> None:
        self.broker.letters_writable = True

    def _api_mode(self, mode: str, seconds: float) -> None:
        self._count(f"api {mode}")
        self.api.mode = mode
        self.scheduler.after(seconds, lambda: setattr(self.api, "mode", "healthy"))

    def _api_state(self, name: str, value: object, seconds: float) -> None:
        self._count(name)
        well = {"most_rows": None, "tasks_broken": False}[name]
        setattr(self.api, name, value)
        self.scheduler.after(seconds, lambda: setattr(self.api, name, well))

    def _receipts_away(self, seconds: float) -> None:
        self._count("receipts away")
        self.receipts.writable = False
        self.scheduler.after(seconds, lambda: setattr(self.receipts, "writable", True))

    # -- the end ---------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Nothing goes wrong any more: everything is settled, committed and judged."""
        self.tell("", "from now on nothing goes wrong")
        self.troubled = False
        self._broker_back()
        self._letters_back()
        self.cluster.end()
        self.receipts.writable = True
        self.api.mode = "healthy"
        self.api.most_rows, self.api.tasks_broken = None, False
        self.api.faults.shares = {}
        self.api.faults.task_ends = {}
        self.api.faults.task_seconds = min(self.api.faults.task_seconds, 8.0)
        self.api.faults.latency = (0.02, 0.3)
        link, pace, writing = self.link, self.pace, self.writing
        link.commits_fail = link.commits_vanish = link.answers_vanish = link.commits_forgotten = 0.0
        link.commit_latency = (0.001, 0.02)
        pace.unsent = pace.twice = writing.acks_lost = writing.twice = 0.0
        pace.start = (0.0, 0.001)
        writing.latency = (0.002, 0.05)
        for life in list(self.members):
            if life is not None:
                life.process.spare()
                life.source.mend()
        self.scheduler.run(lambda: not self.cluster.busy, self.scheduler.now + 120.0)
        asked = self.api.asked
        self._let_go_on()
        if self.plan.ending.quiet:
            asked = (
                self.api.asked
            )  # with nothing else to try, a refused row pauses uploading until others come
            self._beat(0)
        bound = PROGRESS_BOUND + TASK_AT_FAULT * self._tasks_at_fault()
        until = self.scheduler.now + bound
        goal = [log.end for log in self.logs]
        if not self.scheduler.run(lambda: not self._undone(goal), until):
            raise Violation(
                f"I8: not settled {bound:g} s after the last trouble: {self._left(goal)}"
            )
        self._beats = False
        if self.plan.ending.burst:
            self._fill_windows()
            until = self.scheduler.now + PROGRESS_BOUND
        goal = [log.end for log in self.logs]
        if not self.scheduler.run(lambda: not self._undone(goal), until):
            raise Violation(
                f"I8: not settled {PROGRESS_BOUND:g} s after the last trouble: {self._left(goal)}"
            )
        self._check_pauses(self.api.asked - asked)
        self.restarts = False
        for life in self.members:
            if life is not None:
                life.runner.signal()
        if not self.scheduler.run(lambda: not any(self.members), self.scheduler.now + 60.0):
            raise Violation("I8: a member does not stop")
        self.oracle.judge(self.broker.committed, [log.end for log in self.logs])

    def _let_go_on(self) -> None:
        """Whatever waits for no row at fault, and for no task that is stuck, is settled in bounded
        time (I8).
        """
        ending, api = self.plan.ending, self.api
        if ending.stuck:
            api.tasks_stuck = True
            self._fill_tasks()
        if not ending.quiet:
            self._beat(0)
        self._count("quiet end" if ending.quiet else "busy end")
        self._wait_for_the_independent()
        if ending.poison:
            self._count("a last window with a row at fault")
            self._fill_last_window()
            self._wait_for_the_independent()
        api.unstick()

    def _wait_for_the_independent(self) -> None:
        records = self.publisher.records
        at_fault = {
            row.tag
            for record in records.values()
            for row in record.rows
            if not row.invalid and self._at_fault(row)
        }
        open_ = [tag for tag in independent(records, at_fault) if not self.oracle.is_done(tag)]
        bound, began = (
            self._bound(open_, sum(tag in self.publisher.kinds for tag in at_fault)),
            self.scheduler.now,
        )

        def done() -> bool:
            while open_ and self.oracle.is_done(open_[-1]):
                open_.pop()
            return not open_

        if not self.scheduler.run(done, began + bound):
            left = [tag for tag in open_ if not self.oracle.is_done(tag)]
            raise Violation(
                f"I8: not settled {bound:.0f} s after the last trouble, though it waits for no row at fault: "
                f"{left[0]} and {len(left) - 1} others"
            )
        self.went_on = max(self.went_on, (self.scheduler.now - began) / bound)

    def _fill_last_window(self) -> None:
        """Good rows arrive, with one among them that tells nothing, and nothing else after them."""
        now, most = EPOCH + self.scheduler.now, self.plan.rules.max_rows
        odd = self.draw.randrange(most)
        for place in range(most):
            if place == odd:
                self.publisher.kinds[0, self.logs[0].end, 0] = self.plan.ending.poison
            self.publisher.beat(0, f"last{place}", now)
        self._arrived(0)

    def _fill_windows(self) -> None:
        """Many good rows arrive at once: the API takes large windows again, and gets them."""
        burst, scheduler = self.plan.ending.burst, self.scheduler
        self._count("burst")
        scheduler.run(lambda: False, scheduler.now + AFTER_SMALL_WINDOWS)
        first = len(self.oracle.sizes)
        for place in range(burst):
            self.publisher.beat(0, f"burst{place}", EPOCH + scheduler.now)
        self._arrived(0)
        end = self.logs[0].end
        scheduler.run(lambda: not self._undone([end]), scheduler.now + PROGRESS_BOUND)
        sizes = self.oracle.sizes[first:]
        most = self.plan.rules.max_rows
        if max(sizes[2 * len(sizes) // 3 :], default=most) < most / 2:
            raise Violation(
                f"I8: windows stay small, {sizes[-1]} of {most} rows at the end of {burst} in {len(sizes)} requests, "
                f"{AFTER_SMALL_WINDOWS:g} s and more after the API took small ones only"
            )

    def _check_pauses(self, asked: int) -> None:
        """The API is well: a row that is refused pauses uploading a few times, not again and again."""
        kinds = self.publisher.kinds
        rows = (
            row
            for record in self.publisher.records.values()
            for row in record.rows
            if row.tag in kinds
        )
        refused = sum(map(self._at_fault, rows))
        # Beside pauses, suspect rows that are left alone make the program ask, once a second until
        # they are given up.
        signs = 3 * self.plan.rules.retry.give_up * (refused > 0)
        bound = PAUSES + PAUSES_OF_A_ROW * refused + signs
        self.seen["asked most"] = asked
        if self.plan.me_status is None and asked > bound:
            raise Violation(
                f"I8: GET /me is asked {asked} times after the last trouble, with {refused} rows at fault"
            )

    def _fill_tasks(self) -> None:
        """More windows go by tasks than may be at work and in stock, and behind them good rows that
        do not.
        """
        plan, most = self.plan, self.plan.rules.max_rows
        for place in range(most * (5 * plan.rules.concurrency + 12)):
            note = f"task {place // most}"
            self.publisher.unit(
                place % plan.partitions, f"u-stuck-{place}", note, EPOCH + self.scheduler.now
            )
        self._all_arrived()
        self.scheduler.run(lambda: False, self.scheduler.now + FILLING)
        for place in range(BESIDE):
            self.publisher.beat(
                place % plan.partitions, f"beside{place}", EPOCH + self.scheduler.now
            )
        self._all_arrived()

    def _all_arrived(self) -> None:
        for number in range(self.plan.partitions):
            self._arrived(number)

    def _bound(self, open_: list[Tag], at_fault: int) -> float:
        """How long rows may take that wait for no row at fault, seconds."""
        rules = self.plan.rules
        questions = 2.0 if self.plan.tasks else 1.0  #: about tasks, they and uploads take turns
        each = max(0.3 / rules.concurrency, questions / rules.rate if rules.rate else 0.0)
        # A member's share of the rate is its partitions', whether or not the others have anything
        # to send.
        most = max(Counter(tag[0] for tag in open_).values(), default=0) * len(self.logs)
        units = Counter(key for tag in open_ for key in self.oracle.units_of(tag))
        chain = max(units.values(), default=0) if self.plan.tasks else 0
        # Dead members' sessions, a person who looks after what was stopped, and the next look for a
        # commit come first.
        group = 2 * plan_session(self.plan) + (OPERATED if self.plan.log_trouble else 0.0)
        taken = 2 * max(each * len(open_), most / rules.rate if rules.rate else 0.0)
        if rules.rate and self.plan.ending.stuck:
            group += GOING_ON  # all the time, full tasks are asked about at the same rate
        if rules.rate and "throttle" in self.plan.troubles:
            group += PACE_COMES_BACK
        return group + GOING_ON + taken + GOING_ON_AT_FAULT * at_fault + GOING_ON_TASK * chain

    def _at_fault(self, row: PublishedRow) -> bool:
        """Whether a row, and what waits for it, may take long by what the API has against it, or by
        its task.
        """
        plan, kind = self.plan, self.publisher.kinds.get(row.tag)
        if plan.ending.stuck and (row.key[0] == UNIT or self.oracle.may_go_by_task(row.tag)):
            return True
        if kind is None:
            return False
        if plan.tasks and row.key[0] == UNIT:
            return True  # a task that fails tells nothing: it may be the API's fault
        slow = (
            *TELLING_NOTHING,
            "forbidden",
            *(("unknown",) if plan.rules.retry.unknown_key_grace else ()),
        )
        return kind in slow or plan.rules.pause_after_rejections == 10

    def _tasks_at_fault(self) -> int:
        """The most rows of one unit that go by tasks, and fail.

        Each is tried for a while before the next.
        """
        records = self.publisher.records.values() if self.plan.tasks else ()
        rows = (row for record in records for row in record.rows if row.key[0] == UNIT)
        return max(
            Counter(row.key for row in rows if row.tag in self.publisher.kinds).values(), default=0
        )

    def _beat(self, count: int) -> None:
        """While something is left to settle, others come.

        Only then can a row's own fault be told from the API's.
        """
        if self._beats:
            number = count % len(self.logs)
            if not self._rests(number):
                self.publisher.beat(number, f"beat{count}", EPOCH + self.scheduler.now)
                if count % 8 == 0 and self._tasks_tell_nothing and not self.api.tasks_stuck:
                    self.publisher.unit(
                        number, f"u-beat{count}", f"beat{count}", EPOCH + self.scheduler.now
                    )
                self._arrived(number)
            self.scheduler.after(0.5 if self.plan.mix.kinds else 2.0, lambda: self._beat(count + 1))

    @property
    def _tasks_tell_nothing(self) -> bool:
        """Whether so many rows fail as tasks that, without others, nothing tells them from broken
        workers.
        """
        records = self.publisher.records.values() if self.plan.tasks else ()
        rows = (row for record in records for row in record.rows if row.key[0] == UNIT)
        return (
            sum(
                row.tag in self.publisher.kinds and not self.oracle.is_done(row.tag) for row in rows
            )
            >= MANY_TASKS
        )

    def _undone(self, goal: list[int]) -> dict[int, tuple[int, int]]:
        """Partitions whose committed offset has not reached their goal: that, and the goal."""
        return NOT_LOOKED if self.scheduler.events % 32 else self._left(goal)

    def _left(self, goal: list[int]) -> dict[int, tuple[int, int]]:
        committed = {number: offset for number, (offset, _) in self.broker.committed.items()}
        return {
            number: (committed.get(number, -1), end)
            for number, end in enumerate(goal)
            if not end
            <= committed.get(number, -1)
            <= self.logs[number].end  # beyond it lies what was made anew
        }
