"""Writing dead letters, to a real topic and in the simulation."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from consumer.adapters.kafka.dead_letter import DeadLetters
from consumer.core.effects import DeadLetter
from consumer.core.model import Record, Rejection, Row, Stage
from consumer.core.offsets.partition import Partition
from tests.simulation.adapters import Results
from tests.simulation.broker import Broker, Message
from tests.simulation.dead_letters import PendingWrite, SimDeadLetters
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.witness import Witness
from tests.support.kafka_witness import Kafka, unique

PATIENCE_SECONDS = 30.0


def letter_of(value: str, offset: int = 0) -> DeadLetter:
    """A rejected row on its way."""
    partition = Partition("events", 0, 0, 0)
    item = {"extended_id": value, "tag": f"0.{offset}.0"}
    raw = Message(0, offset, None, f"{value} at {offset}".encode(), 0)
    row = Row(
        Record(partition, offset, raw, 50, open=1),
        "extended_id",
        value,
        item,
        ("extended_id", "tag"),
        50,
    )
    row.stage = Stage.DEAD_LETTER
    return DeadLetter(row, Rejection("rejected_by_api", "no", None, "upload", 400))


class LettersSite(Protocol):
    """A dead-letter topic, and one that writes to it. At first the topic cannot be written."""

    def send(self, letter: DeadLetter) -> None:
        """Hand in a letter."""

    def make_writable(self) -> None:
        """From now on the topic can be written."""

    def written(self) -> list[int]:
        """The offsets of the records whose letters are in the topic, in the order in which they
        came there.
        """

    def acknowledged(self) -> list[Row]:
        """The rows that were acknowledged so far."""

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let time pass until something holds.

        AssertionError with ``what`` when it takes too long.
        """

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which nothing may happen."""


class RealLetters:
    """``consumer.adapters.kafka.dead_letter`` on a real broker; the topic is not there at first."""

    def __init__(self, kafka: Kafka, *, refusing: bool = False) -> None:
        """``refusing``: the topic is there, and every letter is too large for it at first."""
        self._kafka = kafka
        self._topic = unique("contract.dlq")
        self._there = refusing
        if refusing:
            kafka.create_topic(self._topic, 1, {"max.message.bytes": "50"})
        self._results: SimpleQueue[list[Row]] = SimpleQueue()
        self._acknowledged: list[Row] = []
        self._letters = DeadLetters(
            self._results.put, topic=self._topic, bootstrap_servers=kafka.bootstrap, version="test"
        )

    def close(self) -> None:
        self._letters.close()

    def send(self, letter: DeadLetter) -> None:
        self._letters.send(letter)

    def make_writable(self) -> None:
        if self._there:
            self._kafka.configure_topic(self._topic, {"max.message.bytes": "1000000"})
        else:
            self._kafka.create_topic(self._topic, 1)
        self._there = True

    def written(self) -> list[int]:
        if not self._there:
            return []
        return [
            int((found.value or b"").rpartition(b" ")[2])
            for found in self._kafka.read_all(self._topic)
        ]

    def acknowledged(self) -> list[Row]:
        with suppress(Empty):
            while True:
                self._acknowledged += self._results.get_nowait()
        return self._acknowledged

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < until, f"not within {PATIENCE_SECONDS:g} s: {what}"
            with suppress(Empty):
                self._acknowledged += self._results.get(timeout=0.02)

    def pass_time(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= until, "time passes")


class SimulatedLetters:
    """The simulation's producer and broker."""

    def __init__(self) -> None:
        self._scheduler = Scheduler()
        process = Process(self._scheduler, "member", lambda: None)
        self._broker = Broker([])
        self._broker.letters_writable = False
        self._results = Results(process, lambda _: None, Witness())
        self._acknowledged: list[Row] = []
        draw = random.Random(1)
        self._letters = SimDeadLetters(
            process, self._broker, self._results, draw, PendingWrite(), Witness()
        )

    def close(self) -> None:
        """Nothing runs."""

    def send(self, letter: DeadLetter) -> None:
        self._letters.send(letter)

    def make_writable(self) -> None:
        self._broker.letters_writable = True

    def written(self) -> list[int]:
        return [offset for _, offset, _, _ in self._broker.letters]

    def acknowledged(self) -> list[Row]:
        with suppress(Empty):
            while True:
                rows = self._results.get_nowait()
                assert isinstance(rows, list)
                self._acknowledged += rows
        return self._acknowledged

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        there = self._scheduler.run(condition, self._scheduler.now + PATIENCE_SECONDS)
        assert there or condition(), f"not within {PATIENCE_SECONDS:g} s: {what}"

    def pass_time(self, seconds: float) -> None:
        self._scheduler.run(lambda: False, self._scheduler.now + seconds)
