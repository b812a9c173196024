"""Bounds of a run's end: rows at fault, and what waits for the rate or for tasks, take longer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.simulation.api_faults import TELLING_NOTHING
from tests.simulation.documents import UNIT, PublishedRow
from tests.simulation.plan import Scenario
from tests.simulation.witness import Tag

if TYPE_CHECKING:
    from tests.simulation.world import World

#: How long it may take until somebody has looked after a partition that was stopped, and all run
#: again, seconds.
OPERATED = 90.0
#: So many windows that fail as tasks, with none that passes, are taken for the API's fault.
MANY_TASKS = 4
#: What waits for no row at fault, whatever those do, and although nothing else arrives, is settled
#: within this time, seconds; twice as long as its rows take one by one; so long for each row at
#: fault; and for each task that others wait for.
GOING_ON = 60.0
GOING_ON_AT_FAULT = 10.0
GOING_ON_TASK = 15.0
#: A pace that 429s have brought down to little comes back by a hundredth with each request that is
#: accepted, seconds.
PACE_COMES_BACK = 300.0


def plan_session(plan: Scenario) -> float:
    """Return how long the group may take until all partitions have owners that upload.

    It is what comes on top of the time that short sessions take, seconds.
    """
    return max(0.0, plan.session - 10.0) + plan.commit_interval


class Bounds:
    """Judges from outside what may take long in a world, and for how long."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._oracle = world.oracle
        self._publisher = world.publisher
        self._logs = world.logs

    def seconds(self, open_: list[Tag], undone: list[Tag], at_fault: int) -> float:
        """Return how long rows may take that wait for no row at fault, seconds.

        ``open_``: these rows; ``undone``: all that are not settled, and take requests, too.
        """
        rules = self._plan.rules
        questions = 2.0 if self._plan.tasks else 1.0  #: about tasks, they and uploads take turns
        each = max(0.3 / rules.concurrency, questions / rules.rate if rules.rate else 0.0)
        # A member's share of the rate is its partitions', whether or not the others have anything
        # to send.
        most = max(Counter(tag[0] for tag in undone).values(), default=0) * len(self._logs)
        units = Counter(key for tag in open_ for key in self._oracle.units_of(tag))
        chain = max(units.values(), default=0) if self._plan.tasks else 0
        # Dead members' sessions, a person who looks after what was stopped, and the next look for a
        # commit come first.
        group = 2 * plan_session(self._plan) + (OPERATED if self._plan.log_trouble else 0.0)
        taken = 2 * max(each * len(undone), most / rules.rate if rules.rate else 0.0)
        if rules.rate and self._plan.ending.stuck:
            group += GOING_ON  # all the time, full tasks are asked about at the same rate
        if rules.rate and "throttle" in self._plan.troubles:
            group += PACE_COMES_BACK
        return group + GOING_ON + taken + GOING_ON_AT_FAULT * at_fault + GOING_ON_TASK * chain

    def at_fault(self, row: PublishedRow) -> bool:
        """Return whether a row, and what waits for it, may take long.

        The reason is what the API has against it, or its task.
        """
        plan, kind = self._plan, self._publisher.kinds.get(row.tag)
        if plan.ending.stuck and (row.key[0] == UNIT or self._oracle.may_go_by_task(row.tag)):
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

    def tasks_at_fault(self) -> int:
        """Return the most rows of one unit that go by tasks, and fail.

        Each is tried for a while before the next.
        """
        records = self._publisher.records.values() if self._plan.tasks else ()
        rows = (row for record in records for row in record.rows if row.key[0] == UNIT)
        return max(
            Counter(row.key for row in rows if row.tag in self._publisher.kinds).values(), default=0
        )

    @property
    def tasks_tell_nothing(self) -> bool:
        """Return whether so many rows fail as tasks that nothing tells them from broken workers."""
        records = self._publisher.records.values() if self._plan.tasks else ()
        rows = (row for record in records for row in record.rows if row.key[0] == UNIT)
        return (
            sum(
                row.tag in self._publisher.kinds and not self._oracle.is_done(row.tag)
                for row in rows
            )
            >= MANY_TASKS
        )
