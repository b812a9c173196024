"""Reading partitions of a group, and committing what is settled.

The start offset of a partition comes from one ``committed()`` answer inside the assignment callback and is given
explicitly: librdkafka always runs with ``auto.offset.reset=error``, so an offset that is gone is seen, never jumped
over in silence. Partition ends are taken from EOF events, because behind the last record there can be offsets that
hold none (control records of transactions, compaction).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.core.offsets import Partition
from consumer.errors import ConfigError, UserError
from consumer.kafka.client import Teller, client_config, made

log = logging.getLogger(__name__)

#: KiB that librdkafka may hold before they are taken, on top of limits.max_unsettled_mib. Less starves it.
PREFETCH_KIB = 16_384
#: How long a commit that is waited for (revocation, stop) may take; librdkafka itself knows no bound.
COMMIT_WAIT_SECONDS = 5.0
#: How long one look-up inside the assignment callback may take, and the longest pause before the next.
LOOK_UP_SECONDS = 5.0
LOOK_UP_PAUSE_SECONDS = 2.0

_Key = tuple[str, int]


class Listener(Protocol):
    """Who is told what happens to the assignment; called inside ``poll`` and ``close``."""

    def on_assigned(self, partitions: list[Partition]) -> None:
        """These partitions came, each a new epoch."""

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        """These partitions go when this returns; ``lost``: another member may own them already."""

    def on_committed(self, offsets: list[tuple[Partition, int]], error: str | None) -> None:
        """A commit ended for these partitions."""

    @property
    def stopping(self) -> bool:
        """Whether the process is to end: nothing new is begun."""

    @property
    def leaves_at_once(self) -> bool:
        """Whether it is to end without waiting for anything."""


class _StoppingError(Exception):
    """The process is to end before a look-up was answered."""


class Source:
    """One member of the group."""

    def __init__(
        self,
        listener: Listener,
        *,
        bootstrap_servers: str,
        group_id: str,
        topics: Sequence[str],
        group_protocol: str = "classic",
        instance_id: str = "",
        start_from: str = "earliest",
        on_out_of_range: str = "stop",
        properties: dict[str, str] | None = None,
    ) -> None:
        self._listener = listener
        self._topics = list(topics)
        self._start_from = start_from
        self._on_out_of_range = on_out_of_range
        self._owned: dict[_Key, Partition] = {}
        self._committing: deque[dict[_Key, tuple[Partition, int]]] = deque()  # in the order they were sent
        self._fatal: UserError | None = None
        self._held: set[Partition] = set()
        self.stopped: dict[Partition, str] = {}  #: partitions that are not read on, with the reason
        self.paused = False  #: desired: nothing is read (back-pressure)
        self._teller = Teller()
        more: dict[str, Any] = {
            "group.id": group_id,
            "group.protocol": group_protocol,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": PREFETCH_KIB,
            "fetch.queue.backoff.ms": 20,
            "on_commit": self._on_commit,
        }
        if group_protocol == "classic":
            more["partition.assignment.strategy"] = "cooperative-sticky"
        if instance_id:
            more["group.instance.id"] = instance_id
        self._consumer = made(Consumer, client_config(bootstrap_servers, properties or {}, self._teller, **more))

    def subscribe(self) -> None:
        """Join the group; raises ConfigError for a pattern that the client cannot read."""
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise ConfigError([f"kafka.topics = {self._topics}: {error.args[0].str()}"]) from None

    # -- reading -------------------------------------------------------------------------------------------------

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """What has arrived, at most ``count`` records, by partition and in order; never waits.

        Serves every callback. Raises UserError when the client cannot go on.
        """
        if self._fatal is not None:
            raise self._fatal
        messages = self._consumer.consume(count, 0)
        batches: list[tuple[Partition, list[Message]]] = []
        batch: list[Message] = []
        topic: str | None = None
        number: int | None = None
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(message, error)
                continue
            if message.partition() != number or message.topic() != topic:
                topic, number = message.topic(), message.partition()
                partition = self._owned.get((topic or "", number or 0))
                batch = []
                if partition is not None:
                    batches.append((partition, batch))
            batch.append(message)
        return batches  # an error of this call is raised by the next one: what was taken must be taken in first

    def pause(self) -> None:
        """Read nothing until ``resume``; what was prefetched is dropped and read again later."""
        self.paused = True
        self._apply_pause(self._owned)

    def resume(self) -> None:
        """Read on, except the partitions that are stopped."""
        self.paused = False
        self._apply_pause(self._owned)

    def hold(self, partition: Partition, *, held: bool) -> None:
        """Read nothing of this partition, or read on."""
        (self._held.add if held else self._held.discard)(partition)
        if partition in self._owned.values():
            self._apply_pause([(partition.topic, partition.number)])

    def _apply_pause(self, keys: Iterable[_Key]) -> None:
        # A pause outlives a revocation of the partition inside librdkafka, so the wanted state is said either way.
        hold: list[_Key] = []
        read: list[_Key] = []
        for key in keys:
            partition = self._owned[key]
            rests = self.paused or partition in self.stopped or partition in self._held
            (hold if rests else read).append(key)
        if hold:
            self._consumer.pause([TopicPartition(*key) for key in hold])
        if read:
            self._consumer.resume([TopicPartition(*key) for key in read])

    def _on_error(self, message: Message, error: KafkaError) -> None:
        topic, number = message.topic(), message.partition()
        partition = None if topic is None or number is None else self._owned.get((topic, number))
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            if partition is not None:
                partition.position = max(partition.position, message.offset() or 0)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if partition is not None:
                self._out_of_range(partition, error)
        elif error.fatal() or code == KafkaError._FATAL:
            self._fatal = UserError(f"Kafka: {error.str()}: this member cannot go on")
            self._gone([TopicPartition(*key) for key in self._owned], lost=True)
        else:
            self._teller.error(error)

    def _out_of_range(self, partition: Partition, error: KafkaError) -> None:
        if partition in self.stopped:
            return
        if self._on_out_of_range == "stop":
            self.stopped[partition] = "out_of_range"
            self._apply_pause([(partition.topic, partition.number)])
            log.error(
                "%s is stopped: offset %s is no longer there (%s): records were deleted by retention before they were "
                "read; set kafka.on_out_of_range to earliest or latest to go on without them",
                partition,
                partition.position,
                error.str(),
            )
            return
        key = (partition.topic, partition.number)
        target = OFFSET_BEGINNING if self._on_out_of_range == "earliest" else OFFSET_END
        try:
            start = self._look_up({key: target})[key]
        except _StoppingError:
            return
        log.error("%s: offset %s is no longer there; going on at %s", partition, partition.position, start)
        if start < partition.position:
            # The topic was made anew: what was read of the old one cannot be committed any more.
            self._listener.on_revoked([partition], lost=True)
            fresh = self._owned[key] = Partition(*key, start, None)
            self._listener.on_assigned([fresh])
        else:
            partition.position = start  # what was read before the gap stays, and is committed as it settles
        # Not a seek: librdkafka refuses one while the partition stands in error.
        self._consumer.incremental_unassign([TopicPartition(*key)])
        self._consumer.incremental_assign([TopicPartition(*key, start)])
        self._apply_pause([key])

    # -- assignment ----------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if not assigned:
            self._listener.on_assigned([])
            return
        keys = [(tp.topic, tp.partition) for tp in assigned]
        try:
            committed, starts = self._starts(keys)
        except _StoppingError:
            return  # nothing is assigned: the group is being left
        partitions = [Partition(*key, starts[key], committed[key]) for key in keys]
        consumer.incremental_assign([TopicPartition(p.topic, p.number, p.position) for p in partitions])
        self._owned |= dict(zip(keys, partitions, strict=True))
        self._apply_pause(keys)  # only after the assignment: before it, a pause is ignored
        self._listener.on_assigned(partitions)

    def _starts(self, keys: list[_Key]) -> tuple[dict[_Key, int | None], dict[_Key, int]]:
        """The committed offset of each partition, and where it begins; raises _StoppingError."""
        committed = self._committed(keys)
        begin = OFFSET_BEGINNING if self._start_from == "earliest" else OFFSET_END
        starts = {key: offset for key, offset in committed.items() if offset is not None}
        return committed, starts | self._look_up({key: begin for key in keys if key not in starts})

    def _committed(self, keys: list[_Key]) -> dict[_Key, int | None]:
        def ask() -> list[TopicPartition]:
            return self._consumer.committed([TopicPartition(*key) for key in keys], timeout=LOOK_UP_SECONDS)

        found = self._insist(ask, "the committed offsets")
        return {(tp.topic, tp.partition): tp.offset if tp.offset >= 0 else None for tp in found}

    def _look_up(self, wanted: dict[_Key, int]) -> dict[_Key, int]:
        """The offsets at which partitions begin or end now."""
        if not wanted:
            return {}

        def ask() -> list[TopicPartition]:
            # The protocol's list-offsets request takes -2 (begin) and -1 (end) where a timestamp would stand.
            queries = [TopicPartition(*key, offset) for key, offset in wanted.items()]
            return self._consumer.offsets_for_times(queries, timeout=LOOK_UP_SECONDS)

        found = self._insist(ask, "the partitions' ends")
        return {(tp.topic, tp.partition): tp.offset for tp in found}

    def _insist(self, ask: Callable[[], list[TopicPartition]], what: str) -> list[TopicPartition]:
        """Ask until it is answered for every partition: beginning at a guessed offset would lose or repeat records."""
        pause = 0.05
        while not self._listener.stopping:
            try:
                found = ask()
                problem = next((tp.error.str() for tp in found if tp.error is not None), "")
            except KafkaException as error:
                problem = error.args[0].str()
            if not problem:
                return found
            self._teller.tell(("look-up", what), f"Kafka: {what} cannot be read ({problem}); trying on")
            time.sleep(pause)
            pause = min(2 * pause, LOOK_UP_PAUSE_SECONDS)
        raise _StoppingError

    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        self._gone(revoked, lost=False)

    def _on_lost(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        self._gone(revoked, lost=True)

    def _gone(self, revoked: list[TopicPartition], *, lost: bool) -> None:
        partitions = [p for tp in revoked if (p := self._owned.get((tp.topic, tp.partition))) is not None]
        try:
            self._listener.on_revoked(partitions, lost=lost)
        except Exception:  # an exception must not cross librdkafka; the partitions are gone all the same
            log.exception("revocation")
        for partition in partitions:
            del self._owned[(partition.topic, partition.number)]
            self.stopped.pop(partition, None)
            self._held.discard(partition)

    # -- committing ----------------------------------------------------------------------------------------------
    #
    # All calls of the client are made by the owner's thread: the library holds calls of other threads back while the
    # owner is in a callback, and would then commit what is no longer owned.

    @property
    def committing(self) -> bool:
        """Whether a commit is in flight; there is one at a time, but for those of a revocation."""
        return bool(self._committing)

    def commit(self, offsets: list[tuple[Partition, int]]) -> None:
        """Send a commit; ``on_committed`` tells how it ended."""
        self._committing.append({(p.topic, p.number): (p, offset) for p, offset in offsets})
        try:
            self._consumer.commit(offsets=[TopicPartition(p.topic, p.number, o) for p, o in offsets], asynchronous=True)
        except KafkaException as error:
            self._committing.pop()
            self._listener.on_committed(offsets, error.args[0].str())

    def _on_commit(self, error: KafkaError | None, answered: list[TopicPartition]) -> None:
        keys = {(tp.topic, tp.partition) for tp in answered}
        while self._committing:
            sent = self._committing.popleft()
            if sent.keys() == keys:
                break
        else:
            return
        failed = {(tp.topic, tp.partition): tp.error for tp in answered if tp.error is not None}
        good = [pair for key, pair in sent.items() if error is None and key not in failed]
        bad = [pair for key, pair in sent.items() if error is not None or key in failed]
        if good:
            self._listener.on_committed(good, None)
        if bad:
            why = error or next(iter(failed.values()))
            self._listener.on_committed(bad, why.str())

    def commit_and_wait(self, offsets: list[tuple[Partition, int]]) -> bool:
        """Commit and wait until the group has it, at most five seconds, as on revocation; whether it has."""
        if not offsets:
            return True
        self.commit(offsets)
        wanted = {(p.topic, p.number): offset for p, offset in offsets}
        until = time.monotonic() + COMMIT_WAIT_SECONDS
        while time.monotonic() < until and not self._listener.leaves_at_once:
            # In steps, so that a second signal is seen between them. The answer comes after the commit's own, on
            # the same connection; the commit's callback is not served while this one runs.
            try:
                found = self._consumer.committed([TopicPartition(*key) for key in wanted], timeout=0.5)
            except KafkaException:
                continue
            if all(tp.error is None and tp.offset >= wanted[(tp.topic, tp.partition)] for tp in found):
                return True
        return False

    def close(self, timeout: float) -> bool:
        """Leave the group, within ``timeout`` seconds; whether that was done in time."""
        helper = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        helper.start()
        until = time.monotonic() + timeout
        while helper.is_alive() and time.monotonic() < until and not self._listener.leaves_at_once:
            helper.join(0.1)
        return not helper.is_alive()
