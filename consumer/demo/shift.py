"""A shift: all that the line tells, good events and mistakes, in their order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from consumer.demo import factory, line
from consumer.demo.mistakes import mistakes


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a shift, and the seed that decides what happens."""

    cases: int = 100
    per_case: int = 12
    loose: int = 600
    seed: int = 1


class Shift:
    """All that the line tells in a shift; the same for the same size and seed."""

    def __init__(self, size: Size) -> None:
        self._rng = random.Random(size.seed)
        self._plant = factory.build(self._rng, size.cases, size.per_case, size.loose)
        self.world = self._plant.world()
        self._formats = line.Formats(self.world.schema)

    def messages(self) -> list[line.Message]:
        """Yield a shift's messages in the order in which they happen."""
        told = line.shift(self._plant, self._formats, self._rng) + mistakes(
            self._plant, self._formats, self._rng
        )
        return sorted(told, key=lambda message: message.at)

    def on_and_on(self) -> Iterator[line.Message]:
        """Yield shift after shift."""
        while True:
            yield from self.messages()
