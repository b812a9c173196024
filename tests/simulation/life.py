"""One process of a member, from its start to its end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from consumer.core.pipeline import Pipeline
from consumer.core.rows.by_task import TaskRowMaker
from consumer.core.rows.maker import RowMaker
from consumer.errors import UserError
from consumer.formats import decoder
from consumer.loop.intake import Intake
from consumer.loop.ports import Listener
from consumer.loop.runner import Runner
from tests.simulation.adapters import Results, SimApi
from tests.simulation.dead_letters import SimDeadLetters
from tests.simulation.documents import RULES, UNIT
from tests.simulation.oracle import Violation
from tests.simulation.process import Process
from tests.simulation.receipts import SimReceipts
from tests.simulation.source import SimSource

if TYPE_CHECKING:
    from tests.simulation.world import World

#: The wall clock when the simulated one is at zero, seconds.
EPOCH = 1_700_000_000.0
#: What the threads of a process may take for a turn that waits for nothing, seconds.
TURN = (0.0001, 0.001)


class Life:
    """One process of a member, from its start to its end."""

    def __init__(self, world: World, name: str, number: int, *, instance: str = "") -> None:
        plan = world.plan
        self.world = world
        self.instance = instance
        self.until_end = plan.until_end and world.troubled
        self.rng = random.Random(f"{plan.seed} {name}")
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
        self.pipeline = Pipeline(plan.rules, self.rng.random)
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
                self.rng,
                world.pace,
                world.oracle,
                world.watch,
            ),
            dead_letters=SimDeadLetters(
                self.process, world.broker, self.results, self.rng, world.writing, world.oracle
            ),
            receipts=SimReceipts(
                self.process,
                world.broker,
                world.receipts,
                self.results,
                self.rng,
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
            self.rng,
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
        """Stop when the group has committed what there was at the start.

        It is what ``consumer.adapters.kafka.ends`` does.
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
        """Let the owner wait for results.

        As long as nothing else can matter to it, its turns are not taken one by one.
        """
        process, now = self.process, self.world.scheduler.now
        if not timeout:
            process.sleep(self.rng.uniform(*TURN))
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
