"""Publishing at a steady pace, in the background: the line works while the consumer does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from consumer.demo.line import STATIONS, Message
from consumer.errors import UserError

FLUSH_SECONDS = 30.0
#: Time between two bursts of events.
TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class StationReport:
    """The word of a station: how many events, and the last one in words."""

    events: int = 0
    last: str = ""


@dataclass(slots=True)
class Published:
    """The line's progress."""

    events: int = 0  #: acknowledged by Kafka
    #: Offset after the last acknowledged record, by partition.
    ends: dict[int, int] = field(default_factory=dict)
    stations: dict[str, StationReport] = field(
        default_factory=lambda: {name: StationReport() for name in STATIONS}
    )
    clock: datetime | None = None  #: of the line, at its last event
    finished: bool = False


class LinePublisher:
    """Publish messages in order, so many a second, in a thread of its own.

    The thread works as long as the context is open. The partitioner is the one of Java's producers,
    so that every producer puts a code on the same partition.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, messages: Iterable[Message], per_second: float
    ) -> None:
        self._topic = topic
        self._messages = iter(messages)
        self._per_second = per_second
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "log_level": 0,  # failures are told by ``progress``
            }
        )
        self._state = Published()
        self._produced = 0
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()

    def progress(self) -> Published:
        """Return how far the line is, as of now; raise UserError when an event was not
        acknowledged.
        """
        with self._lock:
            if self._failures:
                raise UserError(
                    f"the line could not publish {len(self._failures)} of {self._produced} "
                    f"events: {self._failures[0]}"
                )
            state = self._state
            return Published(
                state.events, dict(state.ends), dict(state.stations), state.clock, state.finished
            )

    def _run(self) -> None:
        begun = time.monotonic()
        more = True
        while more and not self._closed.wait(TICK_SECONDS):
            due = int((time.monotonic() - begun) * self._per_second)
            while more and self._produced < due:
                more = self._publish_next()
            self._producer.poll(0)
        if self._closed.is_set():
            # who closes before the end does not ask what becomes of the rest
            self._producer.purge()
        unsent = self._producer.flush(FLUSH_SECONDS)
        with self._lock:
            if not self._closed.is_set():
                self._failures += [f"no answer within {FLUSH_SECONDS:g} s"] * unsent
            self._state.finished = True

    def _publish_next(self) -> bool:
        """Publish the next event; return False when there is none."""
        message = next(self._messages, None)
        if message is None:
            return False
        self._producer.produce(
            self._topic,
            key=message.key,
            value=message.value,
            headers=list(message.headers),
            on_delivery=self._delivered,
        )
        self._produced += 1
        with self._lock:
            state = self._state
            state.stations[message.station] = StationReport(
                state.stations[message.station].events + 1, message.about
            )
            state.clock = message.at
        return True

    def _delivered(self, error: Any, message: Any) -> None:
        with self._lock:
            if error:
                if not self._closed.is_set():
                    self._failures.append(error.str())
                return
            self._state.events += 1
            self._state.ends[message.partition()] = message.offset() + 1
