"""A quarter of an hour without the API and a million events behind it, in simulated time."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import orjson
import pytest

from consumer.core.pipeline import Pipeline, Rules
from consumer.core.rows.maker import RowMaker
from consumer.formats import decoder
from consumer.loop.intake import Intake
from consumer.loop.runner import Runner
from tests.simulation.adapters import Pace, Results, SimApi
from tests.simulation.api import Api
from tests.simulation.api_faults import Faults
from tests.simulation.broker import Broker, LazyLog
from tests.simulation.dead_letters import PendingWrite, SimDeadLetters
from tests.simulation.group import Group
from tests.simulation.process import Process
from tests.simulation.scheduler import BEGIN, Scheduler
from tests.simulation.source import SimSource
from tests.simulation.witness import Call, Witness

pytestmark = pytest.mark.promise("I6", "I8")

PARTITIONS = 4
EVENTS = 1_000_000
OUTAGE_SECONDS = 900.0
#: The consumer's own defaults, but for the pace: fast enough that full speed is more than a window
#: now and then.
RULES = Rules(rate=20.0, concurrency=8)


class Watch(Witness):
    """Counts what matters here."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.rows_by_second: Counter[int] = Counter()  #: applied, from the start
        self.assignments = 0
        self.revocations = 0

    def applied(self, call: Call, rows: object) -> None:
        self.rows_by_second[int(self._scheduler.now - BEGIN)] += len(call.items)

    def assigned(self, *_: object) -> None:
        self.assignments += 1

    def leaving(self, *_: object, lost: bool) -> None:
        self.revocations += 1


class Outage:
    """One member, its partitions full of events, and an API that can be away."""

    def __init__(self) -> None:
        self.scheduler = scheduler = Scheduler()
        self.watch = Watch(scheduler)
        logs = [
            LazyLog(n, EVENTS // PARTITIONS, partial(self._event, n), 0) for n in range(PARTITIONS)
        ]
        broker = Broker(logs)
        group = Group(scheduler, PARTITIONS, random.Random(1), session=45.0, heartbeat=3.0)
        self.api = Api(scheduler, random.Random(2), {}, Faults(), self.watch)
        self.process = Process(scheduler, "A1", lambda: self.runner.run())
        results = Results(self.process, self._pause, self.watch)
        self.pipeline = Pipeline(RULES, random.Random(3).random)
        draw = random.Random(5)
        self.runner = Runner(
            self.pipeline,
            Intake(decoder("auto"), RowMaker("extended_id")),
            results,
            scheduler.clock,
            source=lambda listener: SimSource(
                self.process, listener, broker, group, random.Random(4), witness=self.watch
            ),
            api=SimApi(self.process, self.api, results, draw, Pace(), self.watch),
            dead_letters=SimDeadLetters(
                self.process, broker, results, draw, PendingWrite(), self.watch
            ),
            commit_interval=0.5,
            stop_seconds=80.0,
            revoke_seconds=80.0,
            session_seconds=45.0,
            wall_clock=scheduler.clock,
        )
        self.process.start()
        self.most_rows = 0
        self.most_bytes = 0

    @staticmethod
    def _event(number: int, offset: int) -> bytes:
        return orjson.dumps(
            {"extended_id": f"{number}-{offset}", "tag": f"{number}.{offset}.0", "note": "packed"}
        )

    def _pause(self, timeout: float) -> None:
        self.most_rows = max(self.most_rows, self.pipeline.flow.rows)
        self.most_bytes = max(self.most_bytes, self.pipeline.flow.size)
        wakes_at = self.pipeline.wakes_at(self.scheduler.now)
        wait = timeout or 0.0005
        if timeout and wakes_at is not None:
            wait = min(0.5, max(timeout, wakes_at - self.scheduler.now))
        self.process.rest(wait)

    def rows_a_second(self, begin: int, end: int) -> float:
        """Return the rows applied a second, between two times since the start."""
        return sum(self.watch.rows_by_second[second] for second in range(begin, end)) / (
            end - begin
        )

    def pass_time(self, seconds: float) -> None:
        self.scheduler.run(lambda: False, self.scheduler.now + seconds)


def test_a_long_outage_of_the_api_stays_within_the_limits_and_ends_at_full_speed() -> None:
    outage = Outage()
    outage.pass_time(40)
    speed = outage.rows_a_second(30, 40)
    assert speed > 1500, "the backlog is worked off at the pace of the limiter"
    outage.api.mode = "down"
    outage.pass_time(OUTAGE_SECONDS)
    assert sum(outage.watch.rows_by_second.values()) < EVENTS / 10, (
        "the million is behind the outage"
    )
    assert outage.most_rows <= RULES.max_unsettled_rows
    assert outage.most_bytes <= RULES.max_unsettled_bytes
    assert (outage.watch.assignments, outage.watch.revocations) == (PARTITIONS, 0), (
        "it stayed in the group"
    )
    outage.api.mode = "healthy"
    back = int(outage.scheduler.now - BEGIN)
    outage.pass_time(15)
    seconds = [outage.watch.rows_by_second[second] for second in range(back, back + 15)]
    outage.process.kill()
    assert outage.rows_a_second(back + 5, back + 15) >= 0.9 * speed, (
        f"full speed ({speed:g}) within 5 s: {seconds}"
    )
