"""The judge of the group: fencing, the session, the pace, the end, seen from outside.

It stands beside the oracle's books of records, and like them shares no code with the program.
"""

from __future__ import annotations

import math
from collections import Counter, deque

from tests.simulation.oracle import Oracle, Violation
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler

#: A process that stood still for so long sends nothing until a commit that it sent afterwards is
#: acknowledged, seconds.
STOOD_STILL = 5.0
#: A partition of which the broker cannot say where it begins holds up the others of its member no
#: longer, seconds.
HELD_UP = 15.0
#: A request may start so late in its slot, and requests are paced by this share of the rate
#: (architecture, Pace).
LATE, SHARE = 0.025, 0.95
#: The time over which the API counts requests, seconds.
WINDOW = 1.0
#: After this share of its session without a sign of the group a member uploads nothing; with what
#: its turns take.
LEASE, TURNS = 2 / 3, 2.0
#: An API that refuses connections ends a run with an end after this time, with what its turns take,
#: seconds.
BLOCKED = 300.0 + 30.0


class GroupWatch:
    """Judges a run beside the oracle.

    ``rate``: requests a second that the group may make; 0: any.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        seen: Counter[str],
        oracle: Oracle,
        *,
        session: float,
        rate: float,
    ) -> None:
        self._scheduler = scheduler
        self._seen = seen
        self._oracle = oracle
        self._session = session
        self._rate = rate
        self._most = math.floor((1 + LATE) * SHARE * rate) + 1
        self._starts: deque[tuple[float, Process]] = deque()
        #: Since when the group's word is needed, of processes that stood still.
        self._doubt: dict[Process, float] = {}
        #: When the group was last asked, or told something; or there was no need.
        self._sign: dict[Process, float] = {}
        self._working_since: dict[Process, float] = {}
        self._to_an_end: set[Process] = set()
        self.uncounted = False  #: partitions cannot be counted now
        self._replaced: set[Process] = set()  #: another one has their instance id
        self.refused_since = math.inf  #: the API refuses all connections
        #: Since a process's first call that was refused.
        self._refused_since: dict[Process, float] = {}

    # -- standing still, and the group's word ----------------------------------------------------

    def stood_still(self, process: Process, seconds: float) -> None:
        """Take in that a process goes on after it stood still."""
        self._sign[process] = self._scheduler.now
        self._working_since.pop(process, None)
        if seconds > STOOD_STILL:
            self._doubt[process] = self._scheduler.now

    def asked(self, process: Process) -> None:
        """Take in that a process sends a commit."""
        self._sign[process] = self._scheduler.now

    def confirmed(self, process: Process, sent_at: float) -> None:
        """Take in that the owner of a process hears of a commit that was taken."""
        since = self._doubt.get(process)
        if since is None:
            return
        if sent_at >= since:
            del self._doubt[process]
        else:
            self._seen["old answer after a stand-still"] += 1

    def uploads(self, process: Process) -> None:
        """Check an upload that leaves a process."""
        if process in self._doubt:
            raise Violation(
                f"I9: {process.name} stood still and uploads, "
                "though no commit that it sent since is acknowledged"
            )

    def polled(self, process: Process, *, can_ask: bool) -> None:
        """Check a process at the begin of a turn.

        ``can_ask``: nothing keeps it from asking the group for a sign.
        """
        now = self._scheduler.now
        if not self._oracle.works(process):
            self._sign[process] = now
            self._working_since.pop(process, None)
            return
        since = self._working_since.setdefault(process, now)
        refused = max(self.refused_since, self._refused_since.get(process, now))
        if process in self._to_an_end and now - max(since, refused) > BLOCKED:
            raise Violation(
                f"I8: {process.name} runs with --until-end, "
                "and goes on though the API refuses connections"
            )
        if not can_ask:
            self._sign[process] = now
        elif now - self._sign.setdefault(process, now) > LEASE * self._session + TURNS:
            raise Violation(
                f"I8: {process.name} has work, and has not asked the group for a sign for "
                f"{now - self._sign[process]:.1f} s of a session of {self._session:g} s: "
                "it uploads nothing"
            )

    # -- commits ---------------------------------------------------------------------------------

    def waits_behind(self, process: Process) -> None:
        """Count a commit that waits behind its member's joining."""
        self._seen["commit waits behind a joining"] += 1
        self._oracle.tell(process, "has a commit that waits behind its joining")

    def forgotten(self, process: Process) -> None:
        """Count a commit that is lost, and its client never says so."""
        self._seen["commit forgotten"] += 1
        self._oracle.tell(process, "has a commit that its client forgets")

    def sent_again(self, process: Process) -> None:
        """Count a commit that arrives once more."""
        self._seen["commit sent once more"] += 1
        self._oracle.tell(process, "has a commit sent once more")

    def believes(
        self,
        process: Process,
        number: int,
        belief: tuple[int | None, str],
        has: tuple[int, str] | None,
    ) -> None:
        """Compare what a member takes for committed with what is, when nothing is on its way."""
        if belief != has:
            raise Violation(
                f"I7: {process.name} takes {belief} of {number} for committed, the group has {has}"
            )

    def faulted(self, process: Process) -> None:
        """Count a revocation that was ended by a fault of the program."""
        self._seen["fault in a revocation"] += 1
        self._oracle.tell(process, "has a fault in its revocation")

    def unreleased(self, process: Process) -> None:
        """Count a static member that is not let in."""
        self._seen["instance id not released"] += 1
        self._oracle.tell(process, "is not let in: its id is not released")

    # -- partitions ------------------------------------------------------------------------------

    def held_up(
        self, process: Process, unknown: list[int], numbers: list[int], seconds: float
    ) -> None:
        """Check how long others wait for partitions whose begin the broker does not tell."""
        self._seen["one start unknown"] += 1
        if seconds > HELD_UP:
            others = sorted(set(numbers) - set(unknown))
            raise Violation(
                f"I8: {process.name} has waited {seconds:.0f} s for {unknown}, "
                f"and {others} with them"
            )

    def jumped(self, process: Process, number: int, position: int, start: int, rule: str) -> None:
        """Take in that a client goes on elsewhere, by the setting for what is out of range."""
        self._seen["out of range"] += 1
        self._seen[f"out of range: {rule}"] += 1
        self._oracle.tell(process, f"goes on at {start} of {number}: nothing is at {position}")
        if rule == "latest":
            self._oracle.removed(number, position, start)

    def map_cut(self, epoch: object, end: int) -> None:
        """Take in that a map is not taken over from an offset on."""
        self._oracle.map_cut(epoch, end)

    # -- the pace --------------------------------------------------------------------------------

    def replaced(self, process: Process) -> None:
        """Take in that another process has its instance id.

        Its next heartbeat tells it. Until then it asks about its tasks.
        """
        self._replaced.add(process)

    def requested(self, process: Process, *, small: bool) -> None:
        """Check the rate at a process's request.

        ``small``: it uploads nothing, and needs no share of the rate.
        """
        if self._scheduler.now >= self.refused_since:
            self._refused_since.setdefault(process, self._scheduler.now)
        shares = process not in self._replaced and self._oracle.has_share(process)
        if not self._rate or (small and not shares):
            return
        now, starts = self._scheduler.now, self._starts
        while starts and starts[0][0] <= now - WINDOW:
            starts.popleft()
        starts.append((now, process))
        members = len({who for _, who in starts})
        if members > 1:
            self._seen["several members at one rate"] += 1
            if self.uncounted:
                self._seen["several members at one rate, uncounted"] += 1
        if len(starts) > self._most:
            ago = " ".join(f"{who.name}-{now - at:.2f}" for at, who in starts)
            uncounted = "; the partitions cannot be counted" if self.uncounted else ""
            raise Violation(
                f"I6: {len(starts)} requests in a second, "
                f"the group may make {self._rate:g}{uncounted}: {ago}"
            )

    # -- the end ---------------------------------------------------------------------------------

    def has_end(self, process: Process) -> None:
        """Take in that a process runs until the end of what there is."""
        self._to_an_end.add(process)

    def reached_end(self, process: Process) -> None:
        """Check a run with an end that says that it has reached it."""
        self._seen["end reached"] += 1
        until = self._oracle.lost_until(process)
        if until > self._scheduler.now:
            raise Violation(
                f"I9: {process.name} has reached its end and leaves, "
                "and a lost call may take effect for "
                f"{until - self._scheduler.now:.1f} s more"
            )

    def forget(self, process: Process) -> None:
        """Forget a process that is no more."""
        self._replaced.discard(process)
        self._refused_since.pop(process, None)
        self._doubt.pop(process, None)
        self._sign.pop(process, None)
        self._working_since.pop(process, None)
