"""The end of a run: with nothing going wrong any more, all is settled in bounded time (I8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.bounds import Bounds
from tests.simulation.life import EPOCH
from tests.simulation.oracle import Violation
from tests.simulation.progress import independent

if TYPE_CHECKING:
    from tests.simulation.world import World

#: With nothing going wrong any more, everything is settled and committed within this time (I8),
#: seconds.
PROGRESS_BOUND = 900.0
#: More than that for each row of one unit whose task fails: it is rejected once it has failed alone
#: for five minutes.
TASK_AT_FAULT = 330.0
#: While rows fail in a way that may be the whole process's fault, it asks who it is so often, and
#: for each row.
PAUSES = 15
PAUSES_OF_A_ROW = 3
#: So long after the last update that goes by a task, when no task ends any more, good rows arrive,
#: and so many: a member that reads nothing takes one a second all the same, as a sign of life.
FILLING = 20.0
BESIDE = 300
#: An API that took small windows only takes large ones again for so long before it is looked at how
#: full they are.
AFTER_SMALL_WINDOWS = 60.0

#: What is undone when nobody has looked.
NOT_LOOKED = {-1: (-1, -1)}


class Ending:
    """Makes the surroundings well, and waits for the members to settle, commit and stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._scheduler = world.scheduler
        self._oracle = world.oracle
        self._publisher = world.publisher
        self._api = world.api
        self._logs = world.logs
        self._bounds = Bounds(world)
        self._beats = True
        #: The longest time until all was settled that waits for no row at fault, as a share of
        #: what it may take.
        self.went_on = 0.0

    def finish(self) -> None:
        """Make all well, wait until everything is settled and committed, and judge."""
        self._world.tell("", "from now on nothing goes wrong")
        self._world.troubled = False
        self._world.befalling.end()
        self._world.cluster.end()
        self._world.receipts.writable = True
        self._api.mode = "healthy"
        self._api.most_rows, self._api.tasks_broken = None, False
        self._api.faults.shares = {}
        self._api.faults.task_ends = {}
        self._api.faults.task_seconds = min(self._api.faults.task_seconds, 8.0)
        self._api.faults.latency = (0.02, 0.3)
        link, pace, writing = self._world.link, self._world.pace, self._world.writing
        link.commits_fail = link.commits_vanish = link.answers_vanish = link.commits_forgotten = 0.0
        link.commit_latency = (0.001, 0.02)
        pace.unsent = pace.twice = writing.acks_lost = writing.twice = 0.0
        pace.start = (0.0, 0.001)
        writing.latency = (0.002, 0.05)
        for life in list(self._world.members):
            if life is not None:
                life.process.spare()
                life.source.mend()
        self._scheduler.run(lambda: not self._world.cluster.busy, self._scheduler.now + 120.0)
        asked = self._api.asked
        self._let_go_on()
        if self._plan.ending.quiet:
            # with nothing else to try, a refused row pauses uploading until others come
            asked = self._api.asked
            self._beat(0)
        bound = PROGRESS_BOUND + TASK_AT_FAULT * self._bounds.tasks_at_fault()
        until = self._scheduler.now + bound
        goal = [log.end for log in self._logs]
        if not self._scheduler.run(lambda: not self._undone(goal), until):
            raise Violation(
                f"I8: not settled {bound:g} s after the last trouble: {self._left(goal)}"
            )
        self._beats = False
        if self._plan.ending.burst:
            self._fill_windows()
            until = self._scheduler.now + PROGRESS_BOUND
        goal = [log.end for log in self._logs]
        if not self._scheduler.run(lambda: not self._undone(goal), until):
            raise Violation(
                f"I8: not settled {PROGRESS_BOUND:g} s after the last trouble: {self._left(goal)}"
            )
        self._check_pauses(self._api.asked - asked)
        self._world.restarts = False
        for life in self._world.members:
            if life is not None:
                life.runner.signal()
        if not self._scheduler.run(
            lambda: not any(self._world.members), self._scheduler.now + 60.0
        ):
            raise Violation("I8: a member does not stop")
        self._oracle.judge(self._world.broker.committed, [log.end for log in self._logs])

    def _let_go_on(self) -> None:
        """Raise Violation unless what waits for no row at fault, nor for a stuck task, goes on."""
        ending, api = self._plan.ending, self._api
        if ending.stuck:
            api.tasks_stuck = True
            self._fill_tasks()
        if not ending.quiet:
            self._beat(0)
        self._world.count("quiet end" if ending.quiet else "busy end")
        self._wait_for_the_independent()
        if ending.poison:
            self._world.count("a last window with a row at fault")
            self._fill_last_window()
            self._wait_for_the_independent()
        api.unstick()

    def _wait_for_the_independent(self) -> None:
        records = self._publisher.records
        at_fault = {
            row.tag
            for record in records.values()
            for row in record.rows
            if not row.invalid and self._bounds.at_fault(row)
        }
        open_ = [tag for tag in independent(records, at_fault) if not self._oracle.is_done(tag)]
        rows = (row for record in records.values() for row in record.rows)
        undone = [row.tag for row in rows if not self._oracle.is_done(row.tag)]
        bound, began = (
            self._bounds.seconds(
                open_, undone, sum(tag in self._publisher.kinds for tag in at_fault)
            ),
            self._scheduler.now,
        )

        def done() -> bool:
            while open_ and self._oracle.is_done(open_[-1]):
                open_.pop()
            return not open_

        if not self._scheduler.run(done, began + bound):
            left = [tag for tag in open_ if not self._oracle.is_done(tag)]
            raise Violation(
                f"I8: not settled {bound:.0f} s after the last trouble, "
                "though it waits for no row at fault: "
                f"{left[0]} and {len(left) - 1} others"
            )
        self.went_on = max(self.went_on, (self._scheduler.now - began) / bound)

    def _fill_last_window(self) -> None:
        """Publish good rows with one among them that tells nothing, and nothing else after them."""
        now, most = EPOCH + self._scheduler.now, self._plan.rules.max_rows
        odd = self._world.rng.randrange(most)
        for place in range(most):
            if place == odd:
                self._publisher.kinds[0, self._logs[0].end, 0] = self._plan.ending.poison
            self._publisher.beat(0, f"last{place}", now)
        self._world.arrived(0)

    def _fill_windows(self) -> None:
        """Publish many good rows at once: the API takes large windows again, and gets them."""
        burst, scheduler = self._plan.ending.burst, self._scheduler
        self._world.count("burst")
        scheduler.run(lambda: False, scheduler.now + AFTER_SMALL_WINDOWS)
        first = len(self._oracle.sizes)
        for place in range(burst):
            self._publisher.beat(0, f"burst{place}", EPOCH + scheduler.now)
        self._world.arrived(0)
        end = self._logs[0].end
        scheduler.run(lambda: not self._undone([end]), scheduler.now + PROGRESS_BOUND)
        sizes = self._oracle.sizes[first:]
        most = self._plan.rules.max_rows
        if max(sizes[2 * len(sizes) // 3 :], default=most) < most / 2:
            raise Violation(
                f"I8: windows stay small, {sizes[-1]} of {most} rows at the end of {burst} in "
                f"{len(sizes)} requests, "
                f"{AFTER_SMALL_WINDOWS:g} s and more after the API took small ones only"
            )

    def _check_pauses(self, asked: int) -> None:
        """Raise Violation when a refused row pauses uploading again and again, with the
        API well.
        """
        kinds = self._publisher.kinds
        rows = (
            row
            for record in self._publisher.records.values()
            for row in record.rows
            if row.tag in kinds
        )
        refused = sum(map(self._bounds.at_fault, rows))
        # Beside pauses, suspect rows that are left alone make the program ask, once a second until
        # they are given up.
        signs = 3 * self._plan.rules.retry.give_up * (refused > 0)
        bound = PAUSES + PAUSES_OF_A_ROW * refused + signs
        self._world.seen["asked most"] = asked
        if self._plan.me_status is None and asked > bound:
            raise Violation(
                f"I8: GET /me is asked {asked} times after the last trouble, "
                f"with {refused} rows at fault"
            )

    def _fill_tasks(self) -> None:
        """Publish more windows of tasks than may be open and in stock, and behind them other good
        rows.
        """
        plan, most = self._plan, self._plan.rules.max_rows
        for place in range(most * (5 * plan.rules.concurrency + 12)):
            note = f"task {place // most}"
            self._publisher.unit(
                place % plan.partitions, f"u-stuck-{place}", note, EPOCH + self._scheduler.now
            )
        self._all_arrived()
        self._scheduler.run(lambda: False, self._scheduler.now + FILLING)
        for place in range(BESIDE):
            self._publisher.beat(
                place % plan.partitions, f"beside{place}", EPOCH + self._scheduler.now
            )
        self._all_arrived()

    def _all_arrived(self) -> None:
        for number in range(self._plan.partitions):
            self._world.arrived(number)

    def _beat(self, count: int) -> None:
        """Let other rows come while something is left to settle.

        Only then can a row's own fault be told from the API's.
        """
        if self._beats:
            number = count % len(self._logs)
            if not self._world.unwritable(number):
                self._publisher.beat(number, f"beat{count}", EPOCH + self._scheduler.now)
                if count % 8 == 0 and self._bounds.tasks_tell_nothing and not self._api.tasks_stuck:
                    self._publisher.unit(
                        number, f"u-beat{count}", f"beat{count}", EPOCH + self._scheduler.now
                    )
                self._world.arrived(number)
            self._scheduler.after(
                0.5 if self._plan.mix.kinds else 2.0, lambda: self._beat(count + 1)
            )

    def _undone(self, goal: list[int]) -> dict[int, tuple[int, int]]:
        """Return the partitions whose committed offset has not reached their goal: that, and the
        goal.
        """
        return NOT_LOOKED if self._scheduler.events % 32 else self._left(goal)

    def _left(self, goal: list[int]) -> dict[int, tuple[int, int]]:
        committed = {number: offset for number, (offset, _) in self._world.broker.committed.items()}
        return {
            number: (committed.get(number, -1), end)
            for number, end in enumerate(goal)
            if not end
            <= committed.get(number, -1)
            <= self._logs[number].end  # beyond it lies what was made anew
        }
