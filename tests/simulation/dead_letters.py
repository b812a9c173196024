"""The simulated dead-letter producer."""

from __future__ import annotations

import random
from dataclasses import dataclass

from consumer.core.effects import DeadLetter
from consumer.core.model import Stage
from tests.simulation.adapters import Results, tag_of_row
from tests.simulation.broker import Broker
from tests.simulation.process import Process
from tests.simulation.witness import Witness


@dataclass
class PendingWrite:
    """The writing to the dead-letter topic; shares from 0 to 1, times in seconds."""

    latency: tuple[float, float] = (0.002, 0.05)
    acks_lost: float = 0.0  #: letters that are written, and written again because nobody said so
    retry: tuple[float, float] = (0.5, 15.0)  #: first and longest back-off
    twice: float = 0.0  #: acknowledgements that come twice


class SimDeadLetters:
    """The dead-letter producer: letters in, acknowledgements through the results, in batches."""

    trouble: tuple[str, str] | None = None

    def __init__(
        self,
        process: Process,
        broker: Broker,
        results: Results,
        rng: random.Random,
        writing: PendingWrite,
        witness: Witness,
    ) -> None:
        self._process = process
        self._broker = broker
        self._results = results
        self._rng = rng
        self._writing = writing
        self._witness = witness

    def send(self, letter: DeadLetter) -> None:
        """Hand in a dead letter."""
        self._process.step("letter")
        self._process.thread(
            self._rng.uniform(*self._writing.latency) / 2, lambda: self._produce(letter, 0)
        )

    def _produce(self, letter: DeadLetter, tries: int) -> None:
        row = letter.row
        if row.stage != Stage.DEAD_LETTER or row.record.raw is None:
            return  # its partition was taken away: the next owner writes it
        # It is on its way: what becomes of the process does not change that.
        self._process.scheduler.after(
            self._rng.uniform(*self._writing.latency) / 2, lambda: self._arrive(letter, tries)
        )

    def _arrive(self, letter: DeadLetter, tries: int) -> None:
        first, longest = self._writing.retry
        again = min(longest, first * 2.0**tries)
        if self._broker.away or not self._broker.letters_writable:
            self._process.thread(again, lambda: self._produce(letter, tries + 1))
            return
        tag = tag_of_row(self._witness, letter.row)
        self._broker.letters.append(
            (tag[0], tag[1], letter.rejection.reason, dict(letter.row.item))
        )
        self._witness.dead_lettered(self._process, tag, letter.rejection.reason)
        if self._rng.random() < self._writing.acks_lost:
            self._process.thread(again, lambda: self._produce(letter, tries + 1))
            return
        back = self._rng.uniform(*self._writing.latency) / 2
        self._process.thread(back, lambda: self._results.put([letter.row]))
        if self._rng.random() < self._writing.twice:
            self._process.thread(back + 0.5, lambda: self._results.put([letter.row]))
