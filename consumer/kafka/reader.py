"""Reading partitions from given offsets: records, ends, pauses, and offsets that are gone.

librdkafka always runs with ``auto.offset.reset=error`` and is given every start offset explicitly, so an offset that is
gone is seen, never jumped over in silence. Partition ends are taken from EOF events, because behind the last record
there can be offsets that hold none (control records of transactions, compaction).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.core.offsets import Commit, Partition
from consumer.core.settled_map import NOTHING, MapError, SettledMap, decode
from consumer.errors import UserError
from consumer.kafka.client import PartitionId, Teller, client_config, create_client

log = logging.getLogger(__name__)

#: KiB that librdkafka may hold before they are taken, on top of limits.max_unsettled_mib. Less starves it.
PREFETCH_KIB = 16_384
#: How long one look-up of offsets may take, and the longest pause before the next.
LOOK_UP_SECONDS = 5.0
LOOK_UP_PAUSE_SECONDS = 2.0


class Listener(Protocol):
    """Who is told what happens to the assignment; called inside ``poll`` and ``close``."""

    def on_assigned(self, partitions: list[Partition]) -> None:
        """These partitions came, each a new epoch."""

    def on_joined(self) -> None:
        """The group has answered; what it assigns, if anything, comes with ``on_assigned``."""

    def on_counted(self, counts: Mapping[str, int]) -> None:
        """The group reads these topics, each with so many partitions, whoever owns them.

        None at all: they cannot be counted.
        """

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        """These partitions go when this returns; ``lost``: another member may own them already."""

    def on_committed(self, commits: list[Commit], error: str | None, *, too_large: bool = False) -> None:
        """A commit ended for these partitions; ``too_large``: the broker does not take so much metadata."""

    def on_waiting(self) -> None:
        """The owner's thread waits for Kafka inside a callback, and lives."""

    @property
    def stopping(self) -> bool:
        """Whether the process is to end: nothing new is begun."""

    @property
    def leaves_at_once(self) -> bool:
        """Whether it is to end without waiting for anything."""


class StoppingError(Exception):
    """The process is to end before a look-up was answered."""


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """What is read, and from where on; as in the settings' ``kafka`` section."""

    bootstrap_servers: str
    group_id: str
    topics: Sequence[str]
    start_from: str
    on_out_of_range: str
    properties: Mapping[str, str]


class Reader:
    """A client that reads the partitions it is assigned; who assigns them is up to the classes made of it."""

    def __init__(self, listener: Listener, reading: ReadFrom, **more: Any) -> None:
        self._listener = listener
        self._topics = list(reading.topics)
        self._start_from = reading.start_from
        self._on_out_of_range = reading.on_out_of_range
        self._owned: dict[PartitionId, Partition] = {}
        self._fatal: UserError | None = None
        self._held: set[Partition] = set()
        self.stopped: dict[Partition, str] = {}  #: partitions that are not read on, with the reason
        self.paused = False  #: desired: nothing is read (back-pressure)
        self._teller = Teller()
        more |= {
            "group.id": reading.group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": PREFETCH_KIB,
            "fetch.queue.backoff.ms": 20,
        }
        self._config = client_config(reading.bootstrap_servers, reading.properties, self._teller.error, **more)
        self._consumer = create_client(Consumer, self._config)

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

    def _apply_pause(self, keys: Iterable[PartitionId]) -> None:
        # A pause outlives a revocation of the partition inside librdkafka, so the wanted state is said either way.
        hold: list[PartitionId] = []
        read: list[PartitionId] = []
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
            self._gone([TopicPartition(*key) for key in self._owned], lost=True)
            self._ended(error)
        else:
            self._teller.error(error)

    def _ended(self, error: KafkaError) -> None:
        """The client cannot go on."""
        self._fatal = UserError(f"Kafka: {error.str()}: this member cannot go on")

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
        except StoppingError:
            return
        log.error("%s: offset %s is no longer there; going on at %s", partition, partition.position, start)
        if start < partition.position:
            # The topic was made anew: what was read of the old one cannot be committed any more.
            self._listener.on_revoked([partition], lost=True)
            fresh = self._owned[key] = Partition(*key, start, None)
            self._listener.on_assigned([fresh])
        else:
            partition.position = start  # what was read before the gap stays, and is committed as it settles
        self._read_anew(key, start)

    # -- assignment ----------------------------------------------------------------------------------------------

    def _assign(self, keys: list[PartitionId]) -> None:
        """Read these partitions, too: from their committed offsets, else from where ``start_from`` says."""
        try:
            committed, starts = self._starts(keys)
        except StoppingError:
            return  # nothing is assigned: the process is about to end
        partitions = [self._partition(key, starts[key], committed.get(key)) for key in keys]
        self._read_too([TopicPartition(p.topic, p.number, p.position) for p in partitions])
        self._owned |= dict(zip(keys, partitions, strict=True))
        self._apply_pause(keys)  # only after the assignment: before it, a pause is ignored
        self._listener.on_assigned(partitions)

    def _read_too(self, starts: list[TopicPartition]) -> None:
        """Have the client read these partitions, too, from these offsets."""
        self._consumer.incremental_assign(starts)

    def _read_anew(self, key: PartitionId, start: int) -> None:
        """Have the client go on at this offset. Not a seek: librdkafka refuses one while the partition is in error."""
        self._consumer.incremental_unassign([TopicPartition(*key)])
        self._consumer.incremental_assign([TopicPartition(*key, start)])
        self._apply_pause([key])

    def _partition(self, key: PartitionId, start: int, committed: TopicPartition | None) -> Partition:
        """A new epoch of a partition, with what its last commit says is settled already."""
        if committed is None:
            return Partition(*key, start, None)
        metadata: str = (committed.metadata or "").rstrip("\0")  # librdkafka sends the end of the text along
        skips: SettledMap = NOTHING
        try:
            skips = decode(metadata, key[1], start)
        except MapError as error:
            log.warning(
                "%s[%s]: the metadata of its committed offset %s is no settled map to go by (%s): it is ignored; "
                "records behind that offset may be sent again",
                *key,
                start,
                error,
            )
        if skips:
            log.info("%s[%s]: %s records beyond offset %s are settled already", *key, skips.count, start)
        return Partition(*key, start, start, skips, metadata)

    def _starts(self, keys: list[PartitionId]) -> tuple[dict[PartitionId, TopicPartition], dict[PartitionId, int]]:
        """The commit of each partition that has one, and where each begins; raises StoppingError."""
        committed = self._committed(keys)
        begin = OFFSET_BEGINNING if self._start_from == "earliest" else OFFSET_END
        starts = {key: tp.offset for key, tp in committed.items()}
        return committed, starts | self._look_up({key: begin for key in keys if key not in starts})

    def _committed(self, keys: list[PartitionId]) -> dict[PartitionId, TopicPartition]:
        def ask() -> list[TopicPartition]:
            return self._consumer.committed([TopicPartition(*key) for key in keys], timeout=LOOK_UP_SECONDS)

        found = self._insist(ask, "the committed offsets")
        return {(tp.topic, tp.partition): tp for tp in found if tp.offset >= 0}

    def _look_up(self, wanted: dict[PartitionId, int]) -> dict[PartitionId, int]:
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
            self._listener.on_waiting()
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
        raise StoppingError

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

    def end(self, partition: Partition) -> int | None:
        """Where the partition ended when it was last fetched from (what transactions hold back apart); never waits.

        None: nothing was fetched of it yet.
        """
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(partition.topic, partition.number), cached=True)
        except (KafkaException, RuntimeError):  # not assigned any more, or closed
            return None
        return found[1] if found is not None and found[1] >= 0 else None

    def close(self, timeout: float) -> bool:
        """Leave the group, if this is a member of it, within ``timeout`` seconds; whether that was done in time."""
        helper = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        helper.start()
        until = time.monotonic() + timeout
        while helper.is_alive() and time.monotonic() < until and not self._listener.leaves_at_once:
            helper.join(0.1)
        return not helper.is_alive()
