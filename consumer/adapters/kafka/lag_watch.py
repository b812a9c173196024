"""Watch the logs of a group's partitions on a thread of its own, read or not (thread ``lag``).

The owner loop says which offsets it stands at (``want``) and takes what was seen last (``seen``);
it waits for nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from functools import cache
from typing import Protocol

import msgspec
from confluent_kafka import Consumer

from consumer.adapters.kafka.client import PartitionId, client_config, create_client
from consumer.adapters.kafka.group_look import GroupLook, GroupLooker
from consumer.adapters.kafka.heads import SMALL, Head, Heads
from consumer.adapters.kafka.offsets import LookUpError
from consumer.adapters.kafka.reader import ReadFrom

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 10.0
#: Time between two looks when something is wanted sooner.
SOONER_SECONDS = 3.0
#: What was seen holds so long; then it is not known any more.
STALE_SECONDS = 30.0


class Seen(msgspec.Struct, frozen=True):
    """The last look: the group, and the first records from wanted offsets on."""

    look: GroupLook
    heads: dict[PartitionId, Head]


class Looks(Protocol):
    """Looks at a group."""

    def look(self, also: set[PartitionId]) -> GroupLook:
        """Look; raise LookUpError when Kafka does not answer."""


class FetchesHeads(Protocol):
    """Fetches first records."""

    def fetch(self, wanted: Mapping[PartitionId, int]) -> dict[PartitionId, Head]:
        """Return the heads from these offsets on, as far as they are told."""

    def close(self) -> None:
        """Let the client go."""


class LagWatch:
    """Looks at intervals; see ``watch_of``."""

    def __init__(self, looker: Looks, heads: FetchesHeads) -> None:
        self._looker = looker
        self._heads = heads
        self._seen: Seen | None = None
        self._wanted: Mapping[PartitionId, int | None] = {}
        self._asked: frozenset[PartitionId] = frozenset()  # those of the last look
        self._failing_since: float | None = None
        self._told = False
        self._urged = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Watch no more; wait for nothing."""
        self._closed.set()
        self._urged.set()

    # -- for the owner ---------------------------------------------------------------------------

    def seen(self, now: float) -> Seen | None:
        """Return what was seen last; None: nothing yet, or nothing lately (time.monotonic)."""
        seen = self._seen
        return seen if seen is not None and now - seen.look.at < STALE_SECONDS else None

    def want(self, offsets: Mapping[PartitionId, int | None]) -> None:
        """Say for which partitions the first record from an offset on is wanted.

        None: from what the group has committed on, or from the log's begin.
        """
        self._wanted = offsets
        if not offsets.keys() <= self._asked:
            self._urged.set()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            self.turn()
            self._urged.clear()
            if not self._closed.wait(SOONER_SECONDS):
                self._urged.wait(LOOK_EVERY_SECONDS - SOONER_SECONDS)
        self.let_go()

    def let_go(self) -> None:
        """Let the clients go, where no thread was started, or at its end."""
        self._heads.close()

    def turn(self) -> None:
        """Look once, whatever comes of it."""
        try:
            self.look()
        except LookUpError as error:
            self._on_failure(str(error))
        except Exception as error:  # whatever the client raises: the watch goes on
            log.exception("watching the lag")
            self._on_failure(type(error).__name__)
        else:
            if self._told:
                log.info("Kafka answers again: the lag is known")
            self._failing_since, self._told = None, False

    def look(self) -> Seen:
        """Look once; raise LookUpError when Kafka does not answer."""
        wanted = dict(self._wanted)
        self._asked = frozenset(wanted)
        look = self._looker.look(set(wanted))
        self._seen = Seen(look, self._heads_of(look, wanted))
        return self._seen

    def _heads_of(
        self, look: GroupLook, wanted: Mapping[PartitionId, int | None]
    ) -> dict[PartitionId, Head]:
        """Return the heads that are wanted; those that are known still are not fetched again."""
        before = self._seen.heads if self._seen is not None else {}
        known: dict[PartitionId, Head] = {}
        to_fetch: dict[PartitionId, int] = {}
        for key, wish in wanted.items():
            offset = first_unread(look, key, wish)
            if offset is None:
                continue
            head = before.get(key)
            if head is not None and _holds(head, offset, look.logs[key].end):
                known[key] = head
            else:
                to_fetch[key] = offset
        return known | self._heads.fetch(to_fetch)

    def _on_failure(self, why: str) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if not self._told and now - self._failing_since >= STALE_SECONDS - LOOK_EVERY_SECONDS:
            self._told = True
            log.warning("the lag is not known: Kafka does not tell it (%s); trying on", why)


def first_unread(look: GroupLook, key: PartitionId, wish: int | None) -> int | None:
    """Return the offset from which on a partition is to be read; None: nothing is there to read.

    What is outside of the log is not to be read: then all that the log holds is.
    """
    extent = look.logs.get(key)
    if extent is None:
        return None
    if wish is None:
        commit = look.commits.get(key)
        wish = extent.begin if commit is None else commit.offset
    if not extent.begin <= wish <= extent.end:
        wish = extent.begin
    return wish if wish < extent.end else None


def _holds(head: Head, offset: int, end: int) -> bool:
    """Return whether a head is that of this offset, too, in a log that ends there now."""
    return head.tells_of(offset) and (not head.none or head.offset >= end)


def watch_of(reading: ReadFrom) -> LagWatch:
    """Return the watch of a group, not started yet."""

    def quiet(_: object) -> None:
        """Say nothing: the reading client complains of the same."""

    config = client_config(reading.bootstrap_servers, reading.properties, quiet)
    beside = {"group.id": reading.group_id, **SMALL}

    @cache
    def consumer() -> Consumer:
        return create_client(Consumer, config | beside)

    looker = GroupLooker(config, reading.group_id, reading.topics, consumer)
    return LagWatch(looker, Heads(consumer))
