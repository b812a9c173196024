"""Trouble of the cluster, and the group's make-up: topics, logs, protocols, decided by a seed.

``shape`` decides it before the run, ``Cluster`` lets it happen in a world.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.broker import TOPIC, ListLog
from tests.simulation.client_assignment import COUNT_PAUSE
from tests.simulation.maps import covered_by

if TYPE_CHECKING:
    from tests.simulation.world import World
from tests.simulation.shape import LOGS

#: The other topic that matches the pattern.
MORE = "scm.more"


class Cluster:
    """Lets it happen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"cluster of {world.plan.seed}")
        self._operating = False
        self._stops = 0  # times that nobody is to run, and that is not over

    @property
    def busy(self) -> bool:
        """Return whether something is under way."""
        world = self._world
        return bool(self._stops or world.broker.deleted) or any(log.unseen for log in world.logs)

    def acts(self, what: str, more: object, place: int) -> bool:
        """Let something happen, if it is one of these; return whether it is."""
        world, link = self._world, self._world.link
        now = world.scheduler.now
        seconds = more if isinstance(more, float) else 0.0
        number = self._rng.randrange(len(world.logs))
        if what in LOGS:
            self._log(what, while_running=bool(more))
        elif what == "partition added":
            self._add(TOPIC)
        elif what == "topic added":
            self._add(MORE)
        elif what == "no count":
            self._no_count(seconds)
        elif what == "no start":
            link.no_start_until[number] = now + seconds
        elif what == "no commit":
            link.no_commit_until[number] = now + seconds
            world.group.shuffle()
        elif what == "replaced":
            self._replace(place, seconds)
        elif what == "refuse":
            self._refuse(seconds)
        else:
            return False
        world.tell("", f"{what} {more}")
        return True

    def end(self) -> None:
        """Let nothing go wrong any more."""
        world = self._world
        world.link.no_count_until = 0.0
        world.link.no_start_until.clear()
        world.link.no_commit_until.clear()
        self._admit()

    # -- what befalls logs -----------------------------------------------------------------------

    def _log(self, what: str, *, while_running: bool) -> None:
        acts = {"retention": self._trim, "anew": self._delete, "lagging copy": self._cut}
        if while_running:
            acts[what]()
        else:
            self._nobody(acts[what])

    def _trim(self, tries: int = 40) -> None:
        """Remove records by retention, among them some that nobody has read."""
        world = self._world
        numbers = [
            number
            for number in range(len(world.logs))
            if self._unread(number) < world.logs[number].end
        ]
        if not numbers or world.broker.away:
            if tries and world.troubled:
                world.scheduler.after(0.5, lambda: self._trim(tries - 1))
            return
        number = self._rng.choice(numbers)
        log = world.logs[number]
        begin = self._rng.randint(self._unread(number) + 1, log.end)
        world.oracle.removed(number, log.begin, begin)
        log.trim(begin)
        world.seen["retention"] += 1
        world.tell("", f"retention: {number} begins at {begin}")

    def _unread(self, number: int) -> int:
        """Return from where on nobody who lives has read a partition."""
        world = self._world
        positions = [life.source.position(number) for life in world.living()]
        committed = world.broker.committed.get(number, (world.logs[number].begin, ""))[0]
        return max([committed, world.logs[number].begin, *(p for p in positions if p is not None)])

    def _cut(self) -> None:
        """Let a copy that lags behind take over a partition.

        Its end lies before what was read or committed.
        """
        world = self._world
        found = [
            number
            for number, log in enumerate(world.logs)
            if log.end - log.begin >= 6 and not log.end % 2
        ]
        mapped = [number for number in found if self._mapped(number) is not None]
        if not found:
            return
        number = self._rng.choice(mapped or found)
        log = world.logs[number]
        most = min(30, (log.end - log.begin) // 2 - 1)
        end = log.end - 2 * self._rng.randint(1, most)
        beyond = self._mapped(number)
        if beyond is not None:  # what is committed is there still, and what its map names is not
            end = self._rng.randrange(beyond[0] + beyond[0] % 2, max(beyond) + 1, 2)
        world.oracle.removed(number, end, log.end, replaced=True)
        world.oracle.cut(number, end)
        log.cut(end)
        committed = world.broker.committed.get(number, (0, ""))
        world.seen["lagging copy"] += 1
        world.seen["map beyond the end"] += beyond is not None
        world.tell(
            "",
            f"a lagging copy of {number} takes over: it ends at {log.end}, committed {committed}",
        )

    def _mapped(self, number: int) -> tuple[int, int] | None:
        """Return the committed offset and its map's last position, if there is a map.

        They are an even number apart.
        """
        offset, metadata = self._world.broker.committed.get(number, (0, ""))
        ranges = covered_by(metadata, number, offset)
        return (offset, ranges[-1][1] - 2) if ranges and ranges[-1][1] - offset >= 4 else None

    def _delete(self) -> None:
        """Delete the topic, and make it anew a while later.

        The broker removes the group's offsets with it.
        """
        world, broker = self._world, self._world.broker
        numbers = [number for number, log in enumerate(world.logs) if log.topic == TOPIC]
        forgets = self._rng.random() < 0.7
        for number in numbers:
            log = world.logs[number]
            world.oracle.removed(number, log.begin, log.end, replaced=True)
            broker.delete(number, forgets=forgets)
        if not broker.committed:
            world.oracle.late.clear()  # the group begins as one that has committed nothing
        world.seen["topic made anew"] += 1
        world.tell("", f"the topic is deleted{', and its committed offsets' if forgets else ''}")
        noticed = self._rng.random() < 0.5

        def anew() -> None:
            for number in numbers:
                world.logs[number] = broker.make_anew(number, stride=2)
            world.tell("", "the topic is made anew")
            if noticed:
                world.scheduler.after(self._rng.uniform(0.0, 5.0), world.group.shuffle)

        world.scheduler.after(self._rng.uniform(0.2, 3.0), anew)

    def _nobody(self, do: Callable[[], object]) -> None:
        """Stop all members, do something while nobody runs, and let them run again."""
        world = self._world
        if not world.restarts:
            return
        world.restarts = False
        self._stops += 1
        until = world.scheduler.now + 30.0

        def look() -> None:
            for life in world.living():
                if world.scheduler.now >= until:
                    world.bury(life)
                elif not life.runner.stopping:
                    life.runner.signal()
            if world.living():
                world.scheduler.after(0.5, look)
                return
            world.scheduler.after(self._rng.uniform(0.1, 5.0), act)

        def act() -> None:
            do()
            self._stops -= 1
            world.restarts = True
            for place in range(world.plan.members):
                world.scheduler.after(self._rng.uniform(3.0, 8.0), partial(world.begin, place))

        look()

    def operate(self) -> None:
        """Look after partitions that were stopped, as a person does.

        The group's offset is set to where they begin.
        """
        world = self._world
        if not self._operating:
            stopped = {p.number for life in world.living() for p in life.source.stopped}
            if stopped and world.restarts:
                world.seen["stopped as out of range"] += 1
                self._operating = True
                self._nobody(lambda: self._reset(stopped))
        world.scheduler.after(5.0, self.operate)

    def _reset(self, numbers: set[int]) -> None:
        self._operating = False
        world = self._world
        for number in sorted(numbers):
            log = world.logs[number]
            log.unseen = False
            world.broker.committed[number] = (log.begin, "")
            world.broker.committed_of[number] = log.topic_id
            world.tell("", f"the group's offset of {number} is set to {log.begin}")

    # -- what befalls the group ------------------------------------------------------------------

    def _add(self, topic: str) -> None:
        """Add one more partition, of the topic or of one that newly matches; the group hears of it
        later.
        """
        world = self._world
        number = len(world.logs)
        log = ListLog(number, stride=world.plan.stride, topic=topic)
        world.logs.append(log)
        world.broker.logs.append(log)
        if world.broker.committed:
            world.oracle.late.add(number)
            world.seen["partition added"] += 1
            world.seen["partition added, start_from latest"] += world.plan.start_from == "latest"
        world.scheduler.after(self._rng.uniform(1.0, 15.0), world.group.grow)

    def _no_count(self, seconds: float) -> None:
        world = self._world
        world.link.no_count_until = world.scheduler.now + seconds
        world.watch.uncounted = True
        world.scheduler.after(
            seconds + COUNT_PAUSE, lambda: setattr(world.watch, "uncounted", False)
        )

    def _replace(self, place: int, seconds: float) -> None:
        """Let a process stand still, and start another with its instance id."""
        world = self._world
        life = world.members[place]
        if life is None or not life.process.running or not life.source.member:
            # One that has not joined yet would replace the other when it does: two with one id.
            return
        world.seen["replaced while it stood still"] += 1
        life.process.freeze(seconds)
        world.members.append(life)  # nobody starts it again: the other has its place
        world.members[place] = None
        world.begin(place)

    def _refuse(self, seconds: float) -> None:
        world = self._world
        world.seen["connections refused"] += 1
        world.pace.refused = True
        world.watch.refused_since = world.scheduler.now
        world.scheduler.after(seconds, self._admit)

    def _admit(self) -> None:
        self._world.pace.refused = False
        self._world.watch.refused_since = float("inf")
