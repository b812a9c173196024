"""Read partitions: records, ends, pauses, and what the client complains of.

librdkafka always runs with ``auto.offset.reset=error`` and is given every start offset explicitly
(``beginning``), so an offset that is gone is seen (``log_changes``), never jumped over in silence.
Partition ends are taken from EOF events, because behind the last record there can be offsets that
hold none (control records of transactions, compaction).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.adapters.kafka.assignment import Assignment
from consumer.adapters.kafka.beginning import Beginning
from consumer.adapters.kafka.brokers_away import BrokersAway
from consumer.adapters.kafka.client import (
    FETCH_LEAST,
    FETCH_SIZES,
    PartitionId,
    ThrottledLog,
    client_config,
    create_client,
    message_of,
)
from consumer.adapters.kafka.log_changes import LogChanges
from consumer.adapters.kafka.refusals import Refusals
from consumer.adapters.kafka.seeking import Seeking
from consumer.adapters.kafka.starts import Starts
from consumer.adapters.kafka.topic_ids import TopicIds
from consumer.core.offsets.partition import Partition
from consumer.errors import UserError
from consumer.loop.ports import Listener

log = logging.getLogger(__name__)

#: KiB that librdkafka may hold before they are taken, on top of limits.max_unsettled_mib. Less
#: starves it.
PREFETCH_KIB = 16_384
#: Time between two looks at what lasts.
LASTING_SECONDS = 1.0
#: Errors that come when a topic is deleted, or was made anew.
_TOPIC_ERRORS = (
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
)
_WITHOUT_COMMIT = (
    "the group {} has no committed offset there, or has none any more "
    "(brokers drop those of a group without members after offsets.retention.minutes): "
    'kafka.start_from = "{}" says where it begins'
)


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """The topics to read, and from where on; as in the settings' ``kafka`` section."""

    bootstrap_servers: str
    group_id: str
    topics: Sequence[str]
    start_from: str
    on_out_of_range: str
    properties: Mapping[str, str]


class Reader:
    """A client that reads the partitions it is assigned.

    Who assigns them is up to the classes made of it.
    """

    def __init__(
        self, listener: Listener, reading: ReadFrom, *, eager: bool = False, **more: Any
    ) -> None:
        self._listener = listener
        self._topics = list(reading.topics)
        self._group = reading.group_id
        self._fatal: UserError | None = None  # why it cannot go on
        self._raised = False  # ``poll`` has said so
        self._lasting_at = 0.0  # when it is looked next at what lasts
        self._throttled = ThrottledLog()
        self._brokers = BrokersAway(self._throttled.error)
        self._refusals = Refusals(self._throttled)
        more |= {
            "group.id": reading.group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": PREFETCH_KIB,
            "message.max.bytes": FETCH_LEAST,
            "fetch.queue.backoff.ms": 20,
        }
        properties = FETCH_SIZES | dict(reading.properties)
        self._config = client_config(
            reading.bootstrap_servers, properties, self._brokers.error, **more
        )
        self._consumer = create_client(Consumer, self._config)
        self._assignment = Assignment(lambda: self._consumer, eager=eager)
        plain = client_config(reading.bootstrap_servers, reading.properties, self._throttled.error)
        ids = TopicIds(plain)
        starts = Starts(self._topics, reading.start_from, ids)
        beside = {
            "group.id": reading.group_id,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
        }
        self._seeking = Seeking(lambda: create_client(Consumer, plain | beside), self._throttled)
        self._beginning = Beginning(
            self._assignment,
            starts,
            self._seeking,
            self._throttled,
            on_out_of_range=reading.on_out_of_range,
            begins=_WITHOUT_COMMIT.format(reading.group_id, reading.start_from),
            begun=lambda partitions: self._begun(partitions),
        )
        self._changes = LogChanges(
            self._assignment,
            self._beginning,
            starts,
            ids,
            listener,
            begun=lambda partitions: self._begun(partitions),
        )

    # -- reading ---------------------------------------------------------------------------------

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Return what has arrived, at most ``count`` records, by partition and in order.

        It never waits, and serves every callback. Raise UserError, once, when the client cannot go
        on: a stop polls on for the callbacks.
        """
        if self._fatal is not None and not self._raised:
            self._raised = True
            raise self._fatal
        self._take_what_was_found()
        self._changes.look_at_ids()
        if (now := time.monotonic()) >= self._lasting_at:
            self._lasting_at = now + LASTING_SECONDS
            self._log_lasting()
        return self._batches(self._consumer.consume(count, 0))

    def _take_what_was_found(self) -> None:
        for search, answer in self._seeking.found():
            del self._assignment.searches[search.key]
            try:
                search.then(answer)
            except KafkaException as refused:
                problem = "{}[{}] cannot be read: {}".format(*search.key, refused.args[0].str())
                self._fatal = self._fatal or UserError(f"Kafka: {problem}")

    def _batches(self, messages: list[Message]) -> list[tuple[Partition, list[Message]]]:
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
                self._brokers.answered()
                topic, number = message.topic(), message.partition()
                key = (topic or "", number or 0)
                partition = self._assignment.owned.get(key)
                batch = []
                if partition is not None:
                    self._refusals.on_read(key)
                    batches.append((partition, batch))
            batch.append(message)
        # An error of this call is raised by the next one: what was taken must be taken in first.
        return batches

    @property
    def paused(self) -> bool:
        """Return whether nothing is to be read (back-pressure)."""
        return self._assignment.all_paused

    @property
    def stopped(self) -> dict[Partition, str]:
        """Return the partitions that are not read until a person has decided, with the reason."""
        return self._assignment.stopped

    def pause(self) -> None:
        """Read nothing until ``resume``; what was prefetched is dropped and read again later."""
        self._assignment.all_paused = True
        self._assignment.apply_pauses(self._assignment.owned)

    def resume(self) -> None:
        """Read on, except the partitions that are paused or stopped."""
        self._assignment.all_paused = False
        self._assignment.apply_pauses(self._assignment.owned)

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        """Read nothing of this partition, or read on."""
        each = self._assignment.paused
        (each.add if paused else each.discard)(partition)
        key = (partition.topic, partition.number)
        if self._assignment.owned.get(key) is partition:
            self._assignment.apply_pauses([key])

    def end(self, partition: Partition) -> int | None:
        """Return where the partition ended when it was last fetched from.

        What transactions hold back apart. It never waits. None: nothing was fetched of it yet.
        """
        try:
            found = self._consumer.get_watermark_offsets(
                TopicPartition(partition.topic, partition.number), cached=True
            )
        except (KafkaException, RuntimeError):  # not assigned any more, or closed
            return None
        return found[1] if found is not None and found[1] >= 0 else None

    # -- what goes wrong -------------------------------------------------------------------------

    def _on_error(self, message: Message, error: KafkaError) -> None:
        key = (message.topic() or "", message.partition() or 0)
        partition = self._assignment.owned.get(key)
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            if partition is not None:
                self._on_end(partition, message.offset() or 0)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if partition is not None:
                self._changes.on_out_of_range(partition, error)
        elif error.fatal() or code == KafkaError._FATAL:
            every = {**self._assignment.owned, **self._assignment.searches}
            self._gone([TopicPartition(*each) for each in every], lost=True)
            self._ended(error)
        else:
            if code in _TOPIC_ERRORS:
                self._changes.suspect_soon()
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED and partition is not None:
                self._refusals.on_refused(key, message_of(error))
            self._throttled.error(error)

    def _on_end(self, partition: Partition, offset: int) -> None:
        self._brokers.answered()
        self._refusals.on_read((partition.topic, partition.number))
        if offset < partition.position:
            self._changes.suspect()  # the end has jumped back
        partition.position = max(partition.position, offset)

    def _log_lasting(self) -> None:
        """Log again, at a calm pace, what keeps this process from reading and has not ended."""
        self._refusals.log_again()

    @property
    def unknown(self) -> set[PartitionId]:
        """Return the partitions of which it is not known how far behind they are."""
        return self._refusals.unknown

    @property
    def lasting(self) -> list[tuple[float, str]]:
        """Return what keeps this process from reading: since when, and in words."""
        return self._refusals.lasting

    @property
    def away(self) -> tuple[float, str] | None:
        """Return since when no broker answers, by time.monotonic, and in words."""
        return self._brokers.away

    @property
    def awaiting(self) -> dict[PartitionId, float]:
        """Return the partitions of which it is not known yet where they begin, and since when.

        They are not read. The times are of time.monotonic.
        """
        return {key: search.since for key, search in self._assignment.searches.items()}

    def _fault(self, error: Exception) -> None:
        """Have the next poll say that something was raised inside a callback of the client."""
        self._fatal = UserError(
            f"Kafka: a fault in the program ({type(error).__name__}); see the log above"
        )

    def _ended(self, error: KafkaError) -> None:
        """Have the next poll say that the client cannot go on."""
        self._fatal = UserError(f"Kafka: {error.str()}: this member cannot go on")

    # -- assignment ------------------------------------------------------------------------------

    def _assign(self, keys: list[PartitionId]) -> list[Partition]:
        """Read these partitions, too; return those whose start is known at once."""
        self._changes.suspect()
        self._listener.on_waiting()
        partitions = self._beginning.begin(self._consumer, keys)
        self._refusals.lost -= {(p.topic, p.number) for p in partitions}
        return partitions

    def _begun(self, partitions: list[Partition]) -> None:
        """Take in that partitions begin that were assigned before."""
        self._refusals.lost -= {(p.topic, p.number) for p in partitions}
        self._listener.on_begun(partitions)

    def _gone(self, revoked: list[TopicPartition], *, lost: bool) -> None:
        keys = [(tp.topic, tp.partition) for tp in revoked]
        for key in keys:
            if (search := self._assignment.searches.pop(key, None)) is not None:
                search.ended = True
        owned = self._assignment.owned
        partitions = [partition for key in keys if (partition := owned.get(key)) is not None]
        try:
            self._listener.on_revoked(partitions, lost=lost)
        except Exception as error:
            # It must not cross librdkafka; the partitions are gone all the same.
            log.exception("revocation")
            self._fault(error)
        for partition in partitions:
            self._assignment.drop(partition)
            self._refusals.on_gone((partition.topic, partition.number), lost=lost)

    def close(self, timeout: float) -> bool:
        """Leave the group, if this is a member of it; return whether that was done in time.

        ``timeout``: in seconds.
        """
        self._seeking.close()
        helper = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        helper.start()
        return self._wait_for(helper, timeout)

    def _wait_for(self, helper: threading.Thread, timeout: float) -> bool:
        until = time.monotonic() + timeout
        while helper.is_alive() and time.monotonic() < until and not self._listener.leaves_at_once:
            helper.join(0.1)
        return not helper.is_alive()
