"""Read on from a group's committed offsets without being a member: nothing is committed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Message

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.ends import PATIENCE_SECONDS, ends_of, no_answer, partitions_of
from consumer.adapters.kafka.reader import Reader, ReadFrom
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.errors import UserError
from consumer.loop.ports import Listener

#: Time between two looks at the topics: until all are there, and then for partitions and topics
#: that come later.
LOOK_AGAIN_SECONDS = 0.5
LOOK_EVERY_SECONDS = 30.0


class StandaloneReader(Reader):
    """Reads all partitions of the topics; to the group it does not exist.

    ``reached``: called when everything is settled up to the end as it was when all topics had been
    found; None: read on for ever. With it, ``poll`` raises UserError when broker and topics are not
    there within half a minute.
    """

    committing = False

    def __init__(
        self, listener: Listener, reading: ReadFrom, *, reached: Callable[[], None] | None = None
    ) -> None:
        # Without a subscription the client never joins: its group's name only says whose offsets to
        # look up.
        super().__init__(listener, reading)
        self._bootstrap_servers = reading.bootstrap_servers
        self._reached = reached
        self._ends: dict[PartitionId, int] | None = None  # not known yet
        self._patient_until = math.inf
        self._look_at = 0.0

    def subscribe(self) -> None:
        """Begin; what is there is assigned by ``poll``."""
        self._patient_until = time.monotonic() + PATIENCE_SECONDS

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Return what has arrived, as every reader.

        It waits only for the look at the topics, now and then.
        """
        if time.monotonic() >= self._look_at and not self._listener.stopping:
            self._refresh()
        if self._reached is not None and self._at_end():
            self._reached()
            return []
        return super().poll(count)

    def commit(self, commits: list[Commit]) -> None:
        """Commit nothing."""

    def commit_and_wait(self, commits: list[Commit]) -> bool:  # noqa: ARG002 - as a member's
        """Commit nothing, and wait for nothing."""
        return True

    def _at_end(self) -> bool:
        owned = self._assignment.owned
        return self._ends is not None and all(
            key in owned and owned[key].committable_offset >= end for key, end in self._ends.items()
        )

    def _refresh(self) -> None:
        """Assign what is there and not assigned yet.

        With an end to reach, only once everything is there.
        """
        until_end = self._reached is not None
        keys: list[PartitionId] = []
        try:
            keys, problem = partitions_of(self._consumer, self._topics)
            if until_end and not problem:
                self._ends = ends_of(self._consumer, keys)
        except KafkaException as error:
            problem = no_answer(self._bootstrap_servers, error)
        if problem:
            if until_end and time.monotonic() >= self._patient_until:
                raise UserError(problem)
            trying = (
                f"giving up if that lasts for {PATIENCE_SECONDS:g} s" if until_end else "trying on"
            )
            self._throttled.log_once("look", f"{problem}; {trying}")
        if not (problem and until_end):
            fresh = [
                key
                for key in keys
                if key not in self._assignment.owned and key not in self._assignment.searches
            ]
            if fresh:
                self._listener.on_assigned(self._assign(fresh))
        wait = LOOK_AGAIN_SECONDS if problem else math.inf if until_end else LOOK_EVERY_SECONDS
        self._look_at = time.monotonic() + wait
