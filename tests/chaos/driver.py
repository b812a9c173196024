"""The seeded driver: kills, suspends, stops, adds and removes members, restarts the broker, cuts
connections.

One thread: what is done, and to whom, follows from the seed; when exactly, from the machine. What
was done is written down with its times, for the judge.
"""

from __future__ import annotations

import heapq
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

import click

from tests.chaos.evidence import Trouble
from tests.chaos.stage import GROUP, SLOTS, TOKEN, Member, Stage, send
from tests.support.process import wait_until

#: A stop may take this long: limits.stop_seconds, the last commit, leaving the group, and a slow
#: machine.
STOP_SECONDS = 90.0
#: With something published and something alive, a row is applied at least this often.
PROGRESS_SECONDS = 120.0

#: One round of a long run, shuffled anew each time. In a group of the ``consumer`` protocol a dead
#: member's partitions wait for 45 seconds, so there is less dying.
DECK = (
    *("kill",) * 5,
    *("stop",) * 2,
    *("suspend",) * 2,
    *("nap",) * 1,
    *("add",) * 3,
    *("remove",) * 2,
    *("cut_kafka",) * 2,
    *("cut_api",) * 3,
    *("restart_broker",) * 1,
    *("kill_broker",) * 1,
    *("freeze_broker",) * 1,
)
LONG_SESSION_DECK = (
    *("kill",) * 2,
    *("stop",) * 3,
    *("suspend",) * 1,
    *("nap",) * 2,
    *("add",) * 3,
    *("remove",) * 2,
    *("cut_kafka",) * 2,
    *("cut_api",) * 3,
    *("restart_broker",) * 1,
    *("kill_broker",) * 1,
    *("freeze_broker",) * 1,
)
#: The short run: everything once at least, three kills; then what takes no session with the other
#: protocol.
SHORT = (
    "add",
    "kill",
    "cut_api",
    "suspend",
    "kill",
    "stop",
    "cut_kafka",
    "restart_broker",
    "kill",
)
SHORT_THEN = ("add", "stop", "cut_api", "nap", "cut_kafka", "stop")
PROTOCOLS = ("classic", "consumer")
#: How long after the broker's trouble a static member may be fenced by what its own client sent
#: twice, seconds.
FENCED_SECONDS = 60.0
_FENCED = "Static consumer fenced by other consumer with same group.instance.id"

#: Cuts of a connection: the toxic, its attributes, and how long at most, in seconds.
CUTS: Sequence[tuple[str, dict[str, int], float]] = (
    ("down", {}, 8),
    ("reset_peer", {"timeout": 100}, 5),
    ("timeout", {"timeout": 0}, 8),
    ("timeout", {"timeout": 700}, 4),
    ("latency", {"latency": 800, "jitter": 400}, 6),
    ("limit_data", {"bytes": 300}, 4),
)

#: How the API misbehaves: faults of the sandbox, one or two at a time, for some seconds.
WEATHER: Sequence[dict[str, object]] = (
    {"kind": "throttle", "every": 4, "retry_after": 1},
    {"kind": "rate_limit", "per_second": 5, "retry_after": 1, "form": "body"},
    {"kind": "status", "code": 503, "every": 3},
    {"kind": "status", "code": 500},
    {"kind": "status", "code": 502, "every": 2, "path": "any"},
    {"kind": "reset_after", "every": 5},
    {"kind": "reset_before", "every": 4},
    {"kind": "reset_unread", "every": 4},
    {"kind": "reset_midway", "every": 5},
    {"kind": "timeout_after", "every": 6, "seconds": 4},
    {"kind": "timeout_before", "every": 6, "seconds": 4},
    {"kind": "late", "every": 5, "seconds": 4},
    {
        "kind": "late",
        "every": 5,
        "seconds": 7.5,
    },  # beyond the session of a member that is killed meanwhile
    {"kind": "latency", "seconds": 0.5},
    {"kind": "latency", "seconds": 4.5, "every": 7},
    {"kind": "garbage", "every": 9},
    {"kind": "trickle", "every": 7, "seconds": 0.005},
    {"kind": "bad_request", "style": "none"},
    {"kind": "bad_request", "style": "line"},
    {"kind": "bad_request", "style": "html"},
    {"kind": "bad_request", "style": "foreign"},
    {"kind": "token"},
    {"kind": "task_slow", "every": 3, "seconds": 3},
    {"kind": "task_fails", "every": 7},
    {"kind": "task_fails", "every": 7, "applied": True},
    {"kind": "task_lost", "every": 8, "applied": True},
    {"kind": "task_lost", "every": 8, "answer": "running"},
    {"kind": "reset_after", "every": 4, "path": "async"},
    {"kind": "status", "code": 503, "every": 3, "path": "async"},
    {"kind": "status", "code": 500, "every": 3, "path": "task"},
)


class Driver:
    """Does what its plan says, and keeps what is down from staying down."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self._draw = random.Random(f"actions {seed}")
        self._sky = random.Random(f"weather {seed}")
        order = random.Random(f"group {seed}")
        #: Each run has a part with each protocol, and static members beside others in both.
        self.protocols = PROTOCOLS if seed % 2 == 0 else PROTOCOLS[::-1]
        stage.protocol = self.protocols[0]
        stage.static = frozenset(order.sample(range(SLOTS), order.choice((1, 2))))
        self._members: dict[int, Member] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._cut: dict[str, int] = {}
        self.troubles: list[Trouble] = []
        self.actions: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.findings: list[str] = []
        self._calm = True
        self._progress = (0, time.monotonic())

    def members(self) -> list[Member]:
        """Those that there are now; for other threads, too."""
        return list(self._members.values())

    # -- plans -----------------------------------------------------------------------------------

    def begin(self, count: int) -> None:
        """Start the first members, and wait for the first row."""
        self._calm = False
        for slot in range(count):
            self._members[slot] = self.stage.start_member(slot)
        self._wait_for_rows(1)
        self._change_weather()

    def short(self) -> None:
        """One round in a fixed order; some work is done between any two actions."""
        self._round(SHORT)
        self._change_protocol()
        self._round(SHORT_THEN)

    def _round(self, actions: Sequence[str]) -> None:
        for action in actions:
            wait_until(self._somebody_stands, PROGRESS_SECONDS, lambda: "no member is up")
            self._do(action)
            self._wait_for_rows(100)

    def long(self, seconds: float) -> None:
        """Shuffled rounds, half of the time with each protocol."""
        self._rounds(seconds / 2)
        self._change_protocol()
        self._rounds(seconds / 2)

    def _rounds(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            deck = list(DECK if self.stage.protocol == "classic" else LONG_SESSION_DECK)
            self._draw.shuffle(deck)
            for action in deck:
                if time.monotonic() > until:
                    return
                self._do(action)
                self._pass(self._draw.uniform(0.5, 7.0))

    def _change_protocol(self) -> None:
        """Stop all, and when the group has no members any more, static ones included, go on with
        the other one.
        """
        self._heal()
        count = max(2, len(self._members))
        self.dismiss()
        wait_until(
            lambda: not self.stage.kafka.members(GROUP),
            2 * self.stage.session + 30,
            lambda: "members stay",
        )
        self.stage.protocol = self.protocols[1]
        say(f"protocol {self.stage.protocol}")
        self.begin(count)

    def settle(self) -> None:
        """All faults off, everything on, at least one healthy member."""
        self._heal()
        if not self._members:
            self._members[0] = self.stage.start_member(0)

    def _heal(self) -> None:
        self._calm = True
        while self._later or any(member.ending is not None for member in self._members.values()):
            self._tick()
            time.sleep(0.05)
        for proxy in self.stage.to_kafka:
            proxy.mend()
        for member in self._members.values():
            member.to_api.mend()
        self._clear_sky()

    def dismiss(self) -> None:
        """Stop every member in order, and say what did not end well."""
        for member in self.members():
            self._stop(member)
        while self._members:
            self._tick()
            time.sleep(0.05)

    def watch_over(self) -> None:
        """To be called now and then while something else is waited for."""
        self._tick()

    # -- actions ---------------------------------------------------------------------------------

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
        slot = self._draw.choice(free)
        self._members[slot] = self.stage.start_member(slot)
        return True

    def _suspend(self) -> bool:
        """Past the session's end: the group gives its partitions away."""
        return self._halt(self.stage.session + self._draw.uniform(1.5, 4.0))

    def _nap(self) -> bool:
        return self._halt(self._draw.uniform(0.5, 3.0))

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

        self._in(self._draw.uniform(1, 5), go_on)
        while any(
            entry[2] is go_on for entry in self._later
        ):  # nothing else can be done to it meanwhile
            self._tick()
            time.sleep(0.02)

    def _cut_kafka(self) -> bool:
        member = self._choose()
        if member is None:
            return False
        kind, attributes, most = self._draw.choice(CUTS)
        # every second time past the session's end, if the cut is a whole one
        whole = kind in ("down", "timeout")
        seconds = self._draw.uniform(1, most + 4 if whole else most)
        if whole and self.stage.protocol == "consumer" and self._draw.random() < 0.2:
            seconds += self.stage.session
        self._cut_off("kafka", member, kind, attributes, seconds)
        return True

    def _cut_api(self) -> bool:
        member = self._choose()
        if member is None:
            return False
        kind, attributes, most = self._draw.choice(CUTS)
        self._cut_off("api", member, kind, attributes, self._draw.uniform(0.5, most))
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

    # -- weather ---------------------------------------------------------------------------------

    def _change_weather(self) -> None:
        self._clear_sky()
        if self._calm:
            return
        if self._sky.random() < 0.75:
            for fault in self._sky.sample(WEATHER, self._sky.choice((1, 1, 2))):
                if fault["kind"] == "token":
                    self.stage.sandbox.token = "another"
                    self.faults["token"] += 1
                else:
                    self.stage.sandbox.faults.add(**fault)  # type: ignore[arg-type]
        self._in(self._sky.uniform(1.5, 5.0), self._change_weather)

    def _clear_sky(self) -> None:
        for fault in self.stage.sandbox.faults.listed():
            self.faults[fault["kind"]] += fault["fired"]
        self.stage.sandbox.faults.clear()
        self.stage.sandbox.token = TOKEN

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
        return self._draw.choice(some) if some else None

    def _end(self, member: Member, how: str) -> None:
        member.life.ended = time.time()
        member.life.end = how

    def _come_back(self, slot: int) -> None:
        def start() -> None:
            if slot not in self._members:
                self._members[slot] = self.stage.start_member(slot)

        self._in(self._draw.choice((0.0, 0.0, self._draw.uniform(0.5, 9.0))), start)

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
            self._end(member, "itself")
            if _FENCED in member.process.err and self._broker_was_troubled():
                self.actions["fenced by a joining that was sent twice"] += 1
            else:
                self.findings.append(f"ended: {life.name} ended by itself with {life.exit_code}")
        if "Traceback" in member.process.err:
            self.findings.append(f"traceback: {life.name} printed one")
        if not member.stays_away and not self._calm:
            self._come_back(life.slot)

    def _broker_was_troubled(self) -> bool:
        """Return whether the broker stood still or went away lately.

        What a static member's client sends once more then can come after the answer that gave it
        another id: the group takes the two for two members. The process ends, as it should, and is
        started again.
        """
        # A broker that is frozen now is written down when it goes on; that is pending then.
        since = time.time() - FENCED_SECONDS
        lately = any(
            not trouble.where and trouble.kind == "kafka" and trouble.end > since
            for trouble in self.troubles
        )
        return lately or bool(self._later)

    def _wait_for_rows(self, more: int) -> None:
        """Until so many more rows are applied: what the next action disturbs is at work."""
        begin = self.applied()

        def done() -> bool:
            self._tick()
            return self.applied() >= begin + more

        wait_until(
            done, PROGRESS_SECONDS, lambda: f"{self.applied() - begin} rows applied, {more} awaited"
        )

    def applied(self) -> int:
        """Rows that the API has applied so far."""
        return int(self.stage.sandbox.stats()["rows_applied"])


def say(text: str) -> None:
    """Tell who watches."""
    click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)
