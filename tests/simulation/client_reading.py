"""Fetching of a simulated client: positions, ends, and what is out of range."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from consumer.core.offsets.partition import Partition
from tests.simulation.broker import Message
from tests.simulation.client_state import ClientPart, ClientState

log = logging.getLogger("consumer.adapters.kafka.source")


@dataclass
class Fetch:
    """Where the client reads a partition."""

    position: int
    ready_at: float
    known_end: int  #: what was fetched, or could be, when the broker was last there
    topic_id: int  #: the topic's when it was assigned
    eof: int = -1  #: the end that was told last


class Reading(ClientPart):
    """The partitions that a client has, and where it reads each.

    ``begin_anew``: called with a partition that cannot be read on, and where it begins instead.
    """

    def __init__(
        self,
        client: ClientState,
        on_out_of_range: Callable[[], str],
        begin_anew: Callable[[Partition, int], object],
    ) -> None:
        super().__init__(client)
        self._on_out_of_range = on_out_of_range
        self._begin_anew = begin_anew
        self.paused = False
        self.stopped: dict[Partition, str] = {}
        self.owned: dict[int, Partition] = {}
        self.fetches: dict[int, Fetch] = {}
        self._held: set[Partition] = set()
        self._first = 0

    def hold(self, partition: Partition, *, held: bool) -> None:
        """Read a partition no more, or read it on."""
        (self._held.add if held else self._held.discard)(partition)
        self._witness.held(self._process, held=held)
        if not held and self.owned.get(partition.number) is partition:
            self.read_later([partition.number])

    def forget(self, partition: Partition) -> None:
        """Drop a partition that was taken away."""
        del self.owned[partition.number]
        del self.fetches[partition.number]
        self.stopped.pop(partition, None)
        self._held.discard(partition)

    def topic_of(self, number: int) -> int:
        """Return the topic's id when a partition was assigned.

        Of one that is not owned, the one that it has now.
        """
        fetch = self.fetches.get(number)
        return self._broker.logs[number].topic_id if fetch is None else fetch.topic_id

    def take(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Return what has arrived, at most ``count`` records."""
        batches: list[tuple[Partition, list[Message]]] = []
        now = self._scheduler.now
        numbers = list(self.fetches)
        self._first += 1  # a fair client begins with another partition each time
        for place in range(len(numbers)):
            number = numbers[(place + self._first) % len(numbers)]
            partition, fetch = self.owned[number], self.fetches[number]
            if self._rests(partition) or now < fetch.ready_at or number in self._broker.deleted:
                continue
            log = self._broker.logs[number]
            if self._client.reachable:
                fetch.known_end = log.end
                if fetch.topic_id != log.topic_id:
                    self._another_topic(partition)
                    continue
                if not log.begin <= fetch.position <= log.end:
                    self._out_of_range(partition)
                    continue
                log.unseen = False
            messages: list[Message] = []
            if count > 0 and fetch.position < fetch.known_end:
                messages = list(log.read(fetch.position, count))
                while messages and messages[-1].offset() >= fetch.known_end:
                    messages.pop()
            if messages:
                count -= len(messages)
                fetch.position = messages[-1].offset() + 1
                batches.append((partition, messages))
                self._witness.read(
                    self._process, partition, [message.offset() for message in messages]
                )
            if self._at_end(fetch, log, told_with_records=bool(messages)):
                fetch.eof = fetch.position = fetch.known_end
                partition.position = max(partition.position, fetch.known_end)
                self._witness.reached(self._process, partition, fetch.known_end)
        return batches

    def _at_end(self, fetch: Fetch, log: Any, *, told_with_records: bool) -> bool:
        """Return whether the client tells of the partition's end now.

        It does at times together with its last records, or later.
        """
        if fetch.eof >= fetch.known_end or not self._client.reachable:
            return False
        if log.read(fetch.position, 1):
            return False
        return not told_with_records or self._rng.random() < 0.5

    def _rests(self, partition: Partition) -> bool:
        return self.paused or partition in self._held or partition in self.stopped

    def read_later(self, numbers: Iterable[int]) -> None:
        """Read partitions (on) after a while."""
        for number in numbers:
            fetch = self.fetches[number]
            fetch.ready_at = self._scheduler.now + self._link.resume
        self._process.thread(self._link.resume, self._process.wake)

    def _out_of_range(self, partition: Partition) -> None:
        """Go on by the setting where the broker has nothing at the position.

        Retention removed it, or what was read is no more.
        """
        rule, number = self._on_out_of_range(), partition.number
        held, fetch = self._broker.logs[number], self.fetches[number]
        if rule == "stop":
            self._stop_reading(partition, fetch.position)
            return
        held.unseen = False
        beyond = fetch.position > held.end  # then nothing that is there is known to have been read
        start = held.begin if rule == "earliest" or beyond else held.end
        self._tell_jump(number, fetch.position, start, rule)
        if beyond:
            self._begin_anew(partition, start)
        else:
            partition.position = fetch.position = start
            self._witness.reached(self._process, partition, start)
            self.read_later([number])

    def _stop_reading(self, partition: Partition, position: int) -> None:
        log.error("%s is stopped: offset %s is no longer there", partition, position)
        self._tell_jump(partition.number, position, position, "stop")
        self.stopped[partition] = "out_of_range"

    def _tell_jump(self, number: int, position: int, start: int, rule: str) -> None:
        if self._watch is not None:
            self._watch.jumped(self._process, number, position, start, rule)

    def _another_topic(self, partition: Partition) -> None:
        if self._on_out_of_range() == "stop":
            self._stop_reading(partition, partition.position)
        else:
            self._begin_anew(partition, self._broker.logs[partition.number].begin)
