"""The weather: the API misbehaves by a seed, in one or two ways at a time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from tests.chaos.decks import WEATHER
from tests.chaos.stage import TOKEN, Stage


class Weather:
    """Adds faults to the sandbox and takes them away; ``later``: does something after seconds."""

    def __init__(
        self, stage: Stage, seed: int, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._stage = stage
        self._rng = random.Random(f"weather {seed}")
        self._later = later
        self.calm = True
        #: How often each fault fired.
        self.faults: Counter[str] = Counter()

    def change(self) -> None:
        """Change it now, and again after a while, until it is to be calm."""
        self.clear()
        if self.calm:
            return
        if self._rng.random() < 0.75:
            for fault in self._rng.sample(WEATHER, self._rng.choice((1, 1, 2))):
                if fault["kind"] == "token":
                    self._stage.sandbox.token = "another"
                    self.faults["token"] += 1
                else:
                    self._stage.sandbox.faults.add(**fault)  # type: ignore[arg-type]
        self._later(self._rng.uniform(1.5, 5.0), self.change)

    def clear(self) -> None:
        """Take all faults away."""
        for fault in self._stage.sandbox.faults.listed():
            self.faults[fault["kind"]] += fault["fired"]
        self._stage.sandbox.faults.clear()
        self._stage.sandbox.token = TOKEN
