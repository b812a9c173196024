"""Reading partitions of a group, and committing what is settled.

The start offset of a partition comes from one ``committed()`` answer inside the assignment callback and is given
explicitly: librdkafka always runs with ``auto.offset.reset=error``, so an offset that is gone is seen, never jumped
over in silence. Partition ends are taken from EOF events, because behind the last record there can be offsets that
hold none (control records of transactions, compaction).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.core.offsets import Partition
from consumer.errors import UserError
from consumer.kafka.client import Teller, client_config

log = logging.getLogger(__name__)

#: KiB that librdkafka may hold before they are taken, on top of limits.max_unsettled_mib. Less starves it.
PREFETCH_KIB = 16_384
#: How long a commit that is waited for (revocation, stop) may take; librdkafka itself knows no bound.
COMMIT_WAIT_SECONDS = 5.0
#: How long one look-up inside the assignment callback may take, and how often it is tried.
LOOK_UP_SECONDS = 10.0
LOOK_UP_TRIES = 6

_Key = tuple[str, int]


class Listener(Protocol):
    """Who is told what happens to the assignment; called inside ``poll`` and ``close``."""

    def on_assigned(self, partitions: list[Partition]) -> None:
        """These partitions came, each a new epoch."""

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        """These partitions go when this returns; ``lost``: another member may own them already."""

    def on_committed(self, offsets: list[tuple[Partition, int]], error: str | None) -> None:
        """A commit ended for these partitions."""


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
        self._committing: dict[_Key, tuple[Partition, int]] | None = None
        self._fatal: UserError | None = None
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
        self._consumer = Consumer(client_config(bootstrap_servers, properties or {}, self._teller, **more))

    def subscribe(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """What has arrived, at most ``count`` records, by partition and in order; never waits.

        Serves every callback. Raises UserError when the client cannot go on.
        """
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
        if self._fatal is not None:
            raise self._fatal
        return batches

    def pause(self) -> None:
        """Read nothing until ``resume``; what was prefetched is dropped and read again later."""
        self.paused = True
        self._apply_pause(self._owned)

    def resume(self) -> None:
        """Read on, except the partitions that are stopped."""
        self.paused = False
        self._apply_pause(self._owned)

    def _apply_pause(self, keys: Iterable[_Key]) -> None:
        # A pause outlives a revocation of the partition inside librdkafka, so the wanted state is said either way.
        hold: list[_Key] = []
        read: list[_Key] = []
        for key in keys:
            (hold if self.paused or self._owned[key] in self.stopped else read).append(key)
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
        elif error.fatal():
            self._fatal = UserError(f"Kafka: {error.str()}: this member cannot go on")
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
        target = OFFSET_BEGINNING if self._on_out_of_range == "earliest" else OFFSET_END
        start = self._look_up({(partition.topic, partition.number): target})[(partition.topic, partition.number)]
        log.error("%s: offset %s is no longer there; going on at %s", partition, partition.position, start)
        self._listener.on_revoked([partition], lost=True)
        fresh = Partition(partition.topic, partition.number, start, partition.committed)
        self._owned[(partition.topic, partition.number)] = fresh
        # Not a seek: librdkafka refuses one while the partition stands in error.
        self._consumer.incremental_unassign([TopicPartition(partition.topic, partition.number)])
        self._consumer.incremental_assign([TopicPartition(partition.topic, partition.number, start)])
        self._apply_pause([(partition.topic, partition.number)])
        self._listener.on_assigned([fresh])

    # -- assignment ----------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if not assigned:
            self._listener.on_assigned([])
            return
        keys = [(tp.topic, tp.partition) for tp in assigned]
        committed = self._committed(keys)
        begin = OFFSET_BEGINNING if self._start_from == "earliest" else OFFSET_END
        starts = {key: offset for key, offset in committed.items() if offset is not None}
        starts |= self._look_up({key: begin for key in keys if key not in starts})
        partitions = [Partition(*key, starts[key], committed[key]) for key in keys]
        consumer.incremental_assign([TopicPartition(p.topic, p.number, p.position) for p in partitions])
        self._owned |= dict(zip(keys, partitions, strict=True))
        self._apply_pause(keys)  # only after the assignment: before it, a pause is ignored
        self._listener.on_assigned(partitions)

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
        problem: object = None
        for _ in range(LOOK_UP_TRIES):
            try:
                found = ask()
            except KafkaException as error:
                problem = error.args[0].str()
            else:
                problem = next((tp.error.str() for tp in found if tp.error is not None), None)
                if problem is None:
                    return found
            self._teller.tell(("look-up", what), f"Kafka: {what} cannot be read ({problem}); trying on")
        raise UserError(f"Kafka: {what} cannot be read: {problem}")

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

    # -- committing ----------------------------------------------------------------------------------------------

    @property
    def committing(self) -> bool:
        """Whether a commit is in flight; there is one at a time."""
        return self._committing is not None

    def commit(self, offsets: list[tuple[Partition, int]]) -> None:
        """Send a commit; ``on_committed`` tells how it ended."""
        self._committing = {(p.topic, p.number): (p, offset) for p, offset in offsets}
        try:
            self._consumer.commit(offsets=[TopicPartition(p.topic, p.number, o) for p, o in offsets], asynchronous=True)
        except KafkaException as error:
            self._committing = None
            self._listener.on_committed(offsets, error.args[0].str())

    def _on_commit(self, error: KafkaError | None, answered: list[TopicPartition]) -> None:
        sent, self._committing = self._committing, None
        if sent is None:
            return  # of a commit that was waited for
        self._settle_commit(sent, error, answered)

    def _settle_commit(
        self, sent: dict[_Key, tuple[Partition, int]], error: KafkaError | None, answered: list[TopicPartition]
    ) -> None:
        failed = {(tp.topic, tp.partition): tp.error for tp in answered if tp.error is not None}
        good = [pair for key, pair in sent.items() if error is None and key not in failed]
        bad = [pair for key, pair in sent.items() if error is not None or key in failed]
        if good:
            self._listener.on_committed(good, None)
        if bad:
            why = error or next(iter(failed.values()))
            self._listener.on_committed(bad, why.str())

    def commit_and_wait(self, offsets: list[tuple[Partition, int]]) -> bool:
        """Commit and wait for the answer, at most five seconds, as on revocation; whether it was acknowledged."""
        if not offsets:
            return True
        answer: list[Any] = []

        def commit() -> None:
            try:
                answer.append(
                    self._consumer.commit(
                        offsets=[TopicPartition(p.topic, p.number, o) for p, o in offsets], asynchronous=False
                    )
                )
            except KafkaException as error:
                answer.append(error)

        # In a thread, because the call has no time-out of its own and a broker can be down for minutes.
        helper = threading.Thread(target=commit, name="commit", daemon=True)
        helper.start()
        helper.join(COMMIT_WAIT_SECONDS)
        sent = {(p.topic, p.number): (p, o) for p, o in offsets}
        if not answer:
            self._listener.on_committed(offsets, f"not acknowledged within {COMMIT_WAIT_SECONDS:g} s")
            return False
        if isinstance(answer[0], KafkaException):
            self._settle_commit(sent, answer[0].args[0], [])
            return False
        self._settle_commit(sent, None, answer[0])
        return all(tp.error is None for tp in answer[0])

    def close(self, timeout: float) -> bool:
        """Leave the group, within ``timeout`` seconds; whether that was done in time."""
        helper = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        helper.start()
        helper.join(timeout)
        return not helper.is_alive()
