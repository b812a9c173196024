"""Read, check and hand over line by line, and account for every line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.adapters.kafka.publisher import BrokenError
from consumer.core.model import InvalidEvent
from consumer.errors import UserError
from consumer.publish.reporting import Reporter

#: Lines between two checks for failures, and reports of progress.
CHECK_EVERY = 1000


class Sink(Protocol):
    """A destination of records: ``kafka.publisher.TopicPublisher``, or ``preview.Preview``."""

    unacknowledged_from: int | None
    broken: str

    @property
    def acknowledged(self) -> int: ...

    def connect(self) -> None: ...
    def send(self, line: int, key: str, value: bytes) -> None: ...
    def poll(self) -> None: ...
    def finish(self) -> None: ...


class StoppedError(Exception):
    """A signal came while the next line was waited for."""


class Stop:
    """A handler of signals: the first ends reading, the second also ends the wait for Kafka.

    Reading may wait for ever (a pipe), so it is left by an exception. Anything else ends between
    two lines, so that it is known of each line whether it was handed over.
    """

    def __init__(self) -> None:
        self.number = 0
        self.count = 0
        self.reading = False

    def __call__(self, number: int, _: object) -> None:
        self.number = number
        self.count += 1
        if self.reading:
            raise StoppedError

    @contextmanager
    def while_reading(self) -> Iterator[None]:
        """Let a signal end the wait in this block. Raise StoppedError if one came, or comes."""
        try:
            self.reading = True
            if self.count:
                raise StoppedError
            yield
        finally:
            self.reading = False


@dataclass(slots=True)
class PublishOutcome:
    """The counts of a run's lines, and where to go on."""

    taken: int = 0  #: lines that hold anything, from the first one wanted
    acknowledged: int = 0
    refused: int = 0
    seconds: float = 0.0
    next_line: int | None = None  #: where to go on, if not all lines are done
    problem: str = ""  #: why the file was not read to its end

    @property
    def unknown(self) -> int:
        """Return the number of lines handed over, and neither acknowledged nor refused."""
        return self.taken - self.acknowledged - self.refused


def publish(
    lines: Iterable[tuple[int, Any]],
    make: Callable[[int, Any], tuple[str, bytes]],
    sink: Sink,
    reporter: Reporter,
    stop: Stop,
    *,
    from_line: int,
    position: Callable[[], int],
) -> PublishOutcome:
    """Publish the lines from ``from_line`` on.

    ``lines``: numbers, each with what ``make`` makes a record of, or with an InvalidEvent.
    ``position``: returns the byte of the file where reading is.
    """
    sink.connect()
    outcome = PublishOutcome()
    begin = time.monotonic()
    last, ended = from_line - 1, False
    taken = 0
    send = sink.send
    try:
        with stop.while_reading():
            for line, content in lines:
                stop.reading = False
                if line >= from_line:
                    taken += 1
                    try:
                        if type(content) is InvalidEvent:
                            raise content
                        key, value = make(line, content)
                        send(line, key, value)
                    except InvalidEvent as bad:
                        reporter.refuse(line, bad)
                    except BrokenError:
                        taken -= 1
                        raise
                    last = line
                    if not taken % CHECK_EVERY:
                        sink.poll()
                        reporter.progress(taken, position())
                stop.reading = True
                if stop.count:
                    break
            else:
                ended = True
    except (StoppedError, BrokenError):
        pass
    except UserError as error:
        outcome.problem = str(error)
    except OSError as error:
        outcome.problem = f"the file cannot be read on: {error.strerror}"
    if stop.count:
        reporter.say("stopping: waiting for acknowledgements; a second signal leaves at once")
    sink.finish()
    outcome.seconds = time.monotonic() - begin
    outcome.taken, outcome.acknowledged = taken, sink.acknowledged
    outcome.refused = reporter.refused.total()
    outcome.next_line = (
        sink.unacknowledged_from if ended else min(last + 1, sink.unacknowledged_from or last + 1)
    )
    return outcome
