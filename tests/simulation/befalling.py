"""Trouble of a run: processes that end or stand still, and services that are away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.happening import Happening
from tests.simulation.life import Life

if TYPE_CHECKING:
    from tests.simulation.world import World


class Befalling:
    """Lets a scenario's happenings happen, but for those of the cluster."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._api = world.api

    def end(self) -> None:
        """Let services be there again."""
        self._broker_back()
        self._letters_back()

    def happen(self, what: Happening) -> None:
        life = self._world.members[what.member]
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
            self._world.tell("", f"{what.what} {what.more if what.more else ''}")
            acts[what.what]()
            return
        if (
            self._world.cluster.acts(what.what, what.more, what.member)
            or life is None
            or not life.process.alive
        ):
            return
        self._world.count(what.what)
        if what.what == "kill":
            self._world.bury(life)
        elif what.what == "stop":
            self.stop(life)
            if self._world.rng.random() < 0.2:
                self._scheduler.after(self._world.rng.uniform(0.0, 3.0), lambda: self.stop(life))
        elif what.what == "freeze":
            self._world.tell(life.process.name, f"is frozen for {what.more:.1f} s")
            if what.more > self._world.plan.session:
                self._world.count("frozen past the session")
            life.process.freeze(what.more)
        elif what.what == "cut":
            self._world.tell(life.process.name, f"cannot reach the broker for {what.more:.1f} s")
            life.source.cut()
            self._scheduler.after(what.more, life.source.mend)

    def _shuffle(self) -> None:
        if self._world.group.shuffle():
            self._world.count("shuffle")

    def _another(self, seconds: float) -> None:
        """Run one more member, for a while."""
        self._world.count("another")
        place = len(self._world.members)
        self._world.members.append(None)
        self._world.begin(place)
        life = self._world.members[place]
        if life is not None:  # else nobody is to run
            self._scheduler.after(seconds, lambda: self.stop(life))

    def stop(self, life: Life) -> None:
        if life.process.alive:
            self._world.tell(life.process.name, "is asked to stop")
            self._world.oracle.asked_to_stop(life.process)
            life.runner.signal()

    def _broker_away(self, seconds: float) -> None:
        if self._world.broker.away:
            return
        self._world.count("broker away")
        self._world.broker.away = True
        self._world.group.go_away()
        for life in self._world.living():
            life.source.disconnected()
        self._scheduler.after(seconds, self._broker_back)

    def _broker_back(self) -> None:
        if self._world.broker.away:
            self._world.tell("", "the broker is back")
            self._world.broker.away = False
            self._world.group.come_back()
            for life in self._world.living():
                life.source.connected()

    def _letters_away(self, seconds: float) -> None:
        self._world.count("letters away")
        self._world.broker.letters_writable = False
        self._scheduler.after(seconds, self._letters_back)

    def _letters_back(self) -> None:
        self._world.broker.letters_writable = True

    def _api_mode(self, mode: str, seconds: float) -> None:
        self._world.count(f"api {mode}")
        self._api.mode = mode
        self._scheduler.after(seconds, lambda: setattr(self._api, "mode", "healthy"))

    def _api_state(self, name: str, value: object, seconds: float) -> None:
        self._world.count(name)
        well = {"most_rows": None, "tasks_broken": False}[name]
        setattr(self._api, name, value)
        self._scheduler.after(seconds, lambda: setattr(self._api, name, well))

    def _receipts_away(self, seconds: float) -> None:
        self._world.count("receipts away")
        self._world.receipts.writable = False
        self._scheduler.after(seconds, lambda: setattr(self._world.receipts, "writable", True))
