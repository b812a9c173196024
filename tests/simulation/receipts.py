"""The simulated producer of receipts, and the topic that it writes to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from consumer.core.effects import Receipt
from consumer.core.model import Row, Stage
from tests.simulation.adapters import Results, tag_of_row
from tests.simulation.broker import Broker
from tests.simulation.dead_letters import PendingWrite
from tests.simulation.process import Process
from tests.simulation.witness import Tag, Witness


@dataclass
class ReceiptsTopic:
    """The topic of receipts; while it is not writable nothing is written, and no error is told."""

    writable: bool = True
    written: list[Tag] = field(default_factory=list)


class SimReceipts:
    """The producer: receipts in, acknowledgements through the results, in batches."""

    trouble: tuple[str, str] | None = None

    def __init__(
        self,
        process: Process,
        broker: Broker,
        topic: ReceiptsTopic,
        results: Results,
        rng: random.Random,
        writing: PendingWrite,
        witness: Witness,
    ) -> None:
        self._process = process
        self._broker = broker
        self._topic = topic
        self._results = results
        self._rng = rng
        self._writing = writing
        self._witness = witness

    def send(self, receipt: Receipt) -> None:
        """Hand in the receipts of a request's rows."""
        self._process.step("letter")
        for row in receipt.rows:
            self._later(row, 0.0, 0)

    def _later(self, row: Row, wait: float, tries: int) -> None:
        there = wait + self._rng.uniform(*self._writing.latency) / 2
        self._process.thread(there, lambda: self._produce(row, tries))

    def _produce(self, row: Row, tries: int) -> None:
        if row.stage != Stage.RECEIPT:
            return  # its partition was taken away: the next owner writes it
        # It is on its way: what becomes of the process does not change that.
        there = self._rng.uniform(*self._writing.latency) / 2
        self._process.scheduler.after(there, lambda: self._arrive(row, tries))

    def _arrive(self, row: Row, tries: int) -> None:
        first, longest = self._writing.retry
        again = min(longest, first * 2.0**tries)
        if self._broker.away or not self._topic.writable:
            self._process.thread(0.0, lambda: self._later(row, again, tries + 1))
            return
        tag = tag_of_row(self._witness, row)
        self._topic.written.append(tag)
        self._witness.receipted(self._process, row.record.partition, tag)
        if self._rng.random() < self._writing.acks_lost:
            self._process.thread(0.0, lambda: self._later(row, again, tries + 1))
            return
        back = self._rng.uniform(*self._writing.latency) / 2
        self._process.thread(back, lambda: self._results.put([row]))
        if self._rng.random() < self._writing.twice:
            self._process.thread(back + 0.5, lambda: self._results.put([row]))
