"""Actions on members, the broker and connections, and what follows them later."""

from __future__ import annotations

import heapq
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import click

from tests.chaos.decks import CUTS
from tests.chaos.evidence import Trouble
from tests.chaos.stage import SLOTS, Member, Stage, send
from tests.chaos.weather import Weather

#: A stop may take this long: limits.stop_seconds, the last commit, leaving the group, and a slow
#: machine.
STOP_SECONDS = 90.0
#: How long after the broker's trouble a static member that is fenced is excused, seconds.
FENCED_SECONDS = 10.0
_FENCED = "Static consumer fenced by other consumer with same group.instance.id"


class Actions:
    """Acts on members, and keeps what is down from staying down."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self._rng = random.Random(f"actions {seed}")
        self._weather = Weather(stage, seed, self._in)
        self._members: dict[int, Member] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._cut: dict[str, int] = {}
        self.troubles: list[Trouble] = []
        self.actions: Counter[str] = Counter()
        self.findings: list[str] = []

    def members(self) -> list[Member]:
        """Return those that there are now; for other threads, too."""
        return list(self._members.values())

    def _do(self, action: str) -> None:
        say(action)
        done = getattr(self, f"_{action}")()
        self.actions[action if done is not False else f"{action} (nobody there)"] += 1

    def _kill(self) -> bool:
        member = self._choose(even_suspended=True)
        if member is None:
            return False
        member.disturbed += 1
        self._end(member, "kill")
        send(member, signal.SIGKILL)
        member.process.running.wait()
        self._members.pop(member.life.slot)
        member.life.exit_code = member.process.running.returncode
        self._come_back(member.life.slot)
        return True

    def _stop(self, member: Member | None = None) -> bool:
        member = member or self._choose()
        if member is None or member.ending is not None:
            return False
        member.disturbed += 1
        member.ending = time.monotonic()
        self._end(member, "stop")
        send(member, signal.SIGTERM)
        return True

    def _remove(self) -> bool:
        if len(self._standing()) < 2:
            return False
        member = self._choose()
        if member is None:
            return False
        member.stays_away = True
        return self._stop(member)

    def _add(self) -> bool:
        free = [slot for slot in range(SLOTS) if slot not in self._members]
        if not free:
            return False
        slot = self._rng.choice(free)
        self._members[slot] = self.stage.start_member(slot)
        return True

    def _suspend(self) -> bool:
        """Halt past the session's end: the group gives its partitions away."""
        return self._halt(self.stage.session + self._rng.uniform(1.5, 4.0))

    def _nap(self) -> bool:
        return self._halt(self._rng.uniform(0.5, 3.0))

    def _halt(self, seconds: float) -> bool:
        member = self._choose()
        if member is None:
            return False
        member.suspended = True
        member.disturbed += 1
        began = time.time()
        send(member, signal.SIGSTOP)

        def go_on() -> None:
            if member.alive:
                send(member, signal.SIGCONT)
            self.troubles.append(
                Trouble("suspended", member.name, began, time.time(), f"{seconds:.1f} s")
            )
            member.disturbed += 1
            member.suspended = False

        self._in(seconds, go_on)
        return True

    def _restart_broker(self) -> None:
        began = time.time()
        self.stage.broker.restart()
        self.troubles.append(Trouble("kafka", "", began, time.time(), "broker restarted"))

    def _kill_broker(self) -> None:
        began = time.time()
        self.stage.broker.kill()
        self.stage.broker.start()
        self.troubles.append(Trouble("kafka", "", began, time.time(), "broker killed"))

    def _freeze_broker(self) -> None:
        began = time.time()
        self.stage.broker.pause()

        def go_on() -> None:
            self.stage.broker.resume()
            self.troubles.append(Trouble("kafka", "", began, time.time(), "broker frozen"))

        self._in(self._rng.uniform(1, 5), go_on)
        # Nothing else can be done to it meanwhile.
        while any(entry[2] is go_on for entry in self._later):
            self._tick()
            time.sleep(0.02)

    def _cut_kafka(self) -> bool:
        member = self._choose()
        if member is None:
            return False
        kind, attributes, most = self._rng.choice(CUTS)
        # every second time past the session's end, if the cut is a whole one
        whole = kind in ("down", "timeout")
        seconds = self._rng.uniform(1, most + 4 if whole else most)
        if whole and self.stage.protocol == "consumer" and self._rng.random() < 0.2:
            seconds += self.stage.session
        self._cut_off("kafka", member, kind, attributes, seconds)
        return True

    def _cut_api(self) -> bool:
        member = self._choose()
        if member is None:
            return False
        kind, attributes, most = self._rng.choice(CUTS)
        self._cut_off("api", member, kind, attributes, self._rng.uniform(0.5, most))
        return True

    def _cut_off(
        self, what: str, member: Member, kind: str, attributes: dict[str, int], seconds: float
    ) -> None:
        proxy = member.to_kafka if what == "kafka" else member.to_api
        key = proxy.listen
        if self._cut.get(key):
            return  # one at a time
        self._cut[key] = 1
        began = time.time()
        proxy.cut(kind, **attributes)

        def mend() -> None:
            proxy.mend()
            self._cut.pop(key)
            ended = time.time()
            where = {life.name for life in self.stage.lives if life.slot == member.life.slot}
            for name in sorted(where if what == "kafka" else {member.name}):
                self.troubles.append(Trouble(what, name, began, ended, f"{kind} {seconds:.1f} s"))

        self._in(seconds, mend)

    # -- the loop --------------------------------------------------------------------------------

    def _standing(self) -> list[Member]:
        return [
            member
            for member in self._members.values()
            if member.ending is None and not member.suspended
        ]

    def _somebody_stands(self) -> bool:
        self._tick()
        return bool(self._standing())

    def _choose(self, *, even_suspended: bool = False) -> Member | None:
        if even_suspended:
            some = [member for member in self._members.values() if member.ending is None]
        else:
            some = self._standing()
        return self._rng.choice(some) if some else None

    def _end(self, member: Member, how: str) -> None:
        member.life.ended = time.time()
        member.life.end = how

    def _come_back(self, slot: int) -> None:
        def start() -> None:
            if slot not in self._members:
                self._members[slot] = self.stage.start_member(slot)

        self._in(self._rng.choice((0.0, 0.0, self._rng.uniform(0.5, 9.0))), start)

    def _in(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), what))

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick()
            time.sleep(0.02)

    def _tick(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()
        for member in self.members():
            if not member.alive:
                self._reap(member)
            elif member.ending is not None and time.monotonic() - member.ending > STOP_SECONDS:
                self.findings.append(f"stuck: {member.name} did not stop within {STOP_SECONDS:g} s")
                send(member, signal.SIGKILL)
                member.process.running.wait()

    def _reap(self, member: Member) -> None:
        member.disturbed += 1
        life = member.life
        life.exit_code = member.process.running.returncode
        self._members.pop(life.slot)
        if member.ending is None:
            fenced = _FENCED in member.process.err and self._was_cut_off(member)
            self._end(member, "fenced" if fenced else "itself")
            if fenced:
                self.actions["fenced after trouble with the broker"] += 1
            else:
                self.findings.append(f"ended: {life.name} ended by itself with {life.exit_code}")
        if "Traceback" in member.process.err:
            self.findings.append(f"traceback: {life.name} printed one")
        if not member.stays_away and not self._weather.calm:
            self._come_back(life.slot)

    def _was_cut_off(self, member: Member) -> bool:
        """Return whether the broker, or the way of this member to it, was away a moment ago.

        Static members were fenced within a few seconds of that, and at no other time. The cause is
        not proved: their client may have sent a joining twice, which the group takes for two
        members. The process ends, as documented for a fenced one, and is started again.
        """
        since = time.time() - FENCED_SECONDS
        return bool(self._cut.get(member.to_kafka.listen)) or any(
            trouble.kind == "kafka"
            and trouble.where in ("", member.life.name)
            and trouble.end > since
            for trouble in self.troubles
        )


def say(text: str) -> None:
    """Write a line for who watches."""
    click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)
