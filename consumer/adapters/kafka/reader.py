"""Reading partitions from given offsets: records, ends, pauses, and offsets that are gone.

librdkafka always runs with ``auto.offset.reset=error`` and is given every start offset explicitly,
so an offset that is gone is seen, never jumped over in silence. A partition whose start is not
known yet is owned and not read (*awaiting its start*), while others go on; the look-up goes on
elsewhere (``seeking``).

A position is one of a log. The topic's id is looked at every few seconds, and at once when
something points to it: a topic that was made anew is another one, and is begun at its beginning, or
stopped, as ``kafka.on_out_of_range`` says. Partition ends are taken from EOF events, because behind
the last record there can be offsets that hold none (control records of transactions, compaction).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.adapters.kafka.client import (
    PartitionId,
    ThrottledLog,
    client_config,
    create_client,
    told,
)
from consumer.adapters.kafka.seeking import Search, Seeking
from consumer.adapters.kafka.starts import Extent, LookUpError, Start, Starts, another_log
from consumer.adapters.kafka.topic_ids import TopicIds
from consumer.core.offsets.partition import Commit, Partition
from consumer.core.offsets.settled_map import UNKNOWN, Origin
from consumer.errors import UserError
from consumer.loop.ports import Listener

log = logging.getLogger(__name__)

#: KiB that librdkafka may hold before they are taken, on top of limits.max_unsettled_mib. Less
#: starves it.
PREFETCH_KIB = 16_384
#: How long one look-up of offsets may take.
LOOK_UP_SECONDS = 5.0
#: Time between two looks at the topics' ids, and between those that something points to.
IDS_EVERY_SECONDS = 10.0
IDS_AGAIN_SECONDS = 0.5
#: Stands in the error of an offset that is not there if leader epochs tell the client that the log
#: was cut before it.
_CUT = KafkaError(KafkaError._LOG_TRUNCATION).str()
#: Time between two looks at what lasts.
LASTING_SECONDS = 1.0
#: Errors that come when a topic is deleted, or was made anew.
_TOPIC_ERRORS = (
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
)


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
    """A client that reads the partitions it is assigned.

    Who assigns them is up to the classes made of it.
    """

    def __init__(self, listener: Listener, reading: ReadFrom, **more: Any) -> None:
        self._listener = listener
        self._topics = list(reading.topics)
        self._on_out_of_range = reading.on_out_of_range
        self._group = reading.group_id
        self._start_from = reading.start_from
        self._owned: dict[PartitionId, Partition] = {}
        self._reads: set[PartitionId] = set()  # what the client is told to read, held back or not
        self._searches: dict[
            PartitionId, Search
        ] = {}  # the latest of each partition that awaits its start
        self._ids_at = 0.0  # when the topics' ids are looked at next
        self._fatal: UserError | None = None  # why it cannot go on
        self._raised = False  # ``poll`` has said so
        self._held: set[Partition] = set()
        self._refused: dict[
            PartitionId, tuple[float, str]
        ] = {}  # partitions that a broker does not give: since when
        self._lost: set[PartitionId] = set()  # those that went, and that nobody is known to have
        self._lasting_at = 0.0  # when it is looked next at what lasts
        self.stopped: dict[Partition, str] = {}  #: partitions that are not read on, with the reason
        self.paused = False  #: desired: nothing is read (back-pressure)
        self._teller = ThrottledLog()
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
        self._config = client_config(
            reading.bootstrap_servers, reading.properties, self._teller.error, **more
        )
        self._consumer = create_client(Consumer, self._config)
        plain = client_config(reading.bootstrap_servers, reading.properties, self._teller.error)
        self._ids = TopicIds(plain)
        self._starts = Starts(self._topics, reading.start_from, self._ids)
        beside = {
            "group.id": reading.group_id,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
        beside["allow.auto.create.topics"] = False
        self._seeking = Seeking(lambda: create_client(Consumer, plain | beside), self._teller)

    # -- reading ---------------------------------------------------------------------------------

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """What has arrived, at most ``count`` records, by partition and in order; never waits.

        Serves every callback. Raises UserError, once, when the client cannot go on: a stop polls on
        for the callbacks.
        """
        if self._fatal is not None and not self._raised:
            self._raised = True
            raise self._fatal
        for search, answer in self._seeking.found():
            del self._searches[search.key]
            try:
                search.then(answer)
            except KafkaException as refused:
                problem = "{}[{}] cannot be read: {}".format(*search.key, refused.args[0].str())
                self._fatal = self._fatal or UserError(f"Kafka: {problem}")
        self._look_at_ids()
        if (now := time.monotonic()) >= self._lasting_at:
            self._lasting_at = now + LASTING_SECONDS
            self._tell_lasting()
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
                    self._refused.pop((partition.topic, partition.number), None)
                    batches.append((partition, batch))
            batch.append(message)
        # an error of this call is raised by the next one: what was taken must be taken in first
        return batches

    def pause(self) -> None:
        """Read nothing until ``resume``; what was prefetched is dropped and read again later."""
        self.paused = True
        self._apply_pause(self._owned)

    def resume(self) -> None:
        """Read on, except the partitions that are stopped."""
        self.paused = False
        self._apply_pause(self._owned)

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        """Read nothing of this partition, or read on."""
        (self._held.add if paused else self._held.discard)(partition)
        if self._owned.get((partition.topic, partition.number)) is partition:
            self._apply_pause([(partition.topic, partition.number)])

    def _apply_pause(self, keys: Iterable[PartitionId]) -> None:
        # A pause outlives a revocation of the partition inside librdkafka, so the wanted state is
        # said either way.
        hold: list[PartitionId] = []
        read: list[PartitionId] = []
        for key in keys:
            if key not in self._reads:
                continue
            partition = self._owned[key]
            rests = (
                self.paused
                or partition in self.stopped
                or partition in self._held
                or key in self._searches
            )
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
                self._refused.pop((partition.topic, partition.number), None)
                if (message.offset() or 0) < partition.position:
                    self._ids_at = 0.0  # the end has jumped back
                partition.position = max(partition.position, message.offset() or 0)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if partition is not None:
                self._out_of_range(partition, error)
        elif error.fatal() or code == KafkaError._FATAL:
            self._gone(
                [TopicPartition(*key) for key in {**self._owned, **self._searches}], lost=True
            )
            self._ended(error)
        else:
            if code in _TOPIC_ERRORS:
                self._ids_at = min(self._ids_at, time.monotonic() + IDS_AGAIN_SECONDS)
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED and partition is not None:
                # The client says so once; it is so until something comes of the partition.
                self._refused.setdefault(
                    (partition.topic, partition.number), (time.monotonic(), told(error))
                )
            self._teller.error(error)

    def _tell_lasting(self) -> None:
        """Tell again, at a calm pace, what keeps this process from reading and has not ended."""
        for (topic, number), (_, why) in self._refused.items():
            self._teller.tell(
                ("refused", topic), f"Kafka: {topic}[{number}] cannot be read: {why}; trying on"
            )

    @property
    def unknown(self) -> set[PartitionId]:
        """Return the partitions of which it is not known how far behind they are.

        They are refused, or lost and not known to be another's. What was known of them holds no
        more.
        """
        return self._refused.keys() | self._lost

    @property
    def lasting(self) -> list[tuple[float, str]]:
        """Return what keeps this process from reading.

        Since when, by time.monotonic, and in words.
        """
        return [
            (since, "{}[{}] cannot be read: {}".format(*key, why))
            for key, (since, why) in self._refused.items()
        ]

    def _fault(self, error: Exception) -> None:
        """Something was raised inside a callback of the client: the next poll says so."""
        self._fatal = UserError(
            f"Kafka: a fault in the program ({type(error).__name__}); see the log above"
        )

    def _ended(self, error: KafkaError) -> None:
        """The client cannot go on."""
        self._fatal = UserError(f"Kafka: {error.str()}: this member cannot go on")

    def _out_of_range(self, partition: Partition, error: KafkaError) -> None:
        key = (partition.topic, partition.number)
        if partition in self.stopped or key in self._searches:
            return
        before = partition.origin
        self._seek(
            key,
            lambda client: self._starts.extent(client, key, before, LOOK_UP_SECONDS),
            lambda extent: self._judge(partition, extent, error),
        )

    def _judge(self, partition: Partition, extent: Extent, error: KafkaError) -> None:
        """An offset is not there.

        What the log holds now says why, and ``kafka.on_out_of_range`` what follows.
        """
        begin, end, origin = extent
        position = partition.position
        # Then what is there now took the place of what was read: none of it is known to have been.
        beyond = position > end or _CUT in error.str()
        if another_log(partition.origin, origin):
            self._made_anew(partition, extent)
        elif begin <= position and not beyond:  # it is there again
            self._read_anew((partition.topic, partition.number), position)
        elif self._on_out_of_range == "stop":
            if beyond:
                why = f"the partition ends at {end}: the topic was deleted and made anew, or brokers lost its end"
            else:
                why = "records were deleted by retention before they were read"
            self._stop(
                partition,
                f"offset {position} is no longer there ({error.str()}): {why}; set kafka.on_out_of_range to earliest "
                "or latest to go on without them",
            )
        elif beyond:
            self._begin_anew(
                partition, begin, origin, "which is behind the partition's end, or was"
            )
        else:
            start = begin if self._on_out_of_range == "earliest" else end
            log.error(
                "%s: offset %s is no longer there; going on at %s", partition, position, start
            )
            partition.position = (
                start  # what was read before the gap stays, and is committed as it settles
            )
            self._read_anew((partition.topic, partition.number), start)

    def _stop(self, partition: Partition, why: str) -> None:
        """Read this partition no more, until a person has decided."""
        self.stopped[partition] = "out_of_range"
        self._apply_pause([(partition.topic, partition.number)])
        log.error("%s is stopped: %s", partition, why)

    # -- topics that are made anew ---------------------------------------------------------------

    def _look_at_ids(self) -> None:
        """Compare the topics' ids with those that are read, now and then; never waits."""
        if (answer := self._ids.answer()) is not None:
            for partition in list(self._owned.values()):
                if partition.topic in answer:
                    self._compare(partition, answer[partition.topic])
        now = time.monotonic()
        if now >= self._ids_at and self._owned:
            self._ids_at = now + IDS_EVERY_SECONDS
            self._ids.ask({topic for topic, _ in self._owned}, LOOK_UP_SECONDS)

    def _compare(self, partition: Partition, now: Origin) -> None:
        key, before = (partition.topic, partition.number), partition.origin
        if now.topic_id == UNKNOWN or partition in self.stopped or key in self._searches:
            return
        if before.topic_id in (UNKNOWN, now.topic_id):
            partition.origin = now._replace(
                began=before.began, epoch=before.epoch
            )  # every commit from now on names it
            self._starts.seen[partition.topic] = now.topic_id
            return
        self._seek(
            key,
            lambda client: self._starts.extent(client, key, before, LOOK_UP_SECONDS),
            lambda extent: self._made_anew(partition, extent),
        )

    def _made_anew(self, partition: Partition, extent: Extent) -> None:
        """The topic is another one than the one that was read.

        No position in that one means anything in it.
        """
        before, now = partition.origin, extent.origin
        if now.topic_id in (UNKNOWN, before.topic_id):
            self._apply_pause(
                [(partition.topic, partition.number)]
            )  # it was not, after all: read on
        elif self._on_out_of_range == "stop":
            self._stop(partition, _anew(before, now, partition.position))
        else:
            self._begin_anew(
                partition, extent.begin, now, "which is one of the topic that was deleted"
            )

    def _begin_anew(self, partition: Partition, begin: int, origin: Origin, why: str) -> None:
        """A new epoch at the log's beginning; what was read before cannot be committed any more."""
        key = (partition.topic, partition.number)
        log.error(
            "%s: was at offset %s, %s; beginning at %s", partition, partition.position, why, begin
        )
        self._starts.seen[partition.topic] = origin.topic_id
        self._listener.on_revoked([partition], lost=True)
        self.stopped.pop(partition, None)
        self._held.discard(partition)
        fresh = self._owned[key] = Partition(*key, begin, None, origin=origin)
        self._begun([fresh])
        self._read_anew(key, begin)

    # -- assignment ------------------------------------------------------------------------------

    def _assign(self, keys: list[PartitionId]) -> list[Partition]:
        """Read these partitions, too.

        Those whose start is not known at once, later. Those that are known.
        """
        self._ids_at = 0.0
        self._listener.on_waiting()
        starts, problems = self._starts.find(self._consumer, keys, LOOK_UP_SECONDS)
        for key, problem in problems.items():
            self._teller.tell(("start", key), "{}[{}]: awaits its start ({})".format(*key, problem))
            self._seek_start(key)
        return self._take_on(starts)

    def _seek_start(self, key: PartitionId) -> None:
        def look(client: Consumer) -> Start:
            starts, problems = self._starts.find(client, [key], LOOK_UP_SECONDS)
            if problems:
                raise LookUpError(problems[key])
            return starts[key]

        def begin(start: Start) -> None:
            self._begun(self._take_on({key: start}))

        self._seek(key, look, begin)

    def _take_on(self, starts: dict[PartitionId, Start]) -> list[Partition]:
        """Own these, and have the client read them; the listener is told by the caller."""
        anew = {
            key for key, start in starts.items() if start.anew and self._on_out_of_range != "stop"
        }  # begun at their beginning, which is looked up first
        partitions = {
            key: _partition(key, start) for key, start in starts.items() if key not in anew
        }
        reads = {key: partition for key, partition in partitions.items() if not starts[key].anew}
        self._owned |= partitions
        self._lost -= partitions.keys()
        self._reads |= reads.keys()
        self._read_too(
            [TopicPartition(*key, partition.position) for key, partition in reads.items()]
        )
        self._apply_pause(reads)  # only after the assignment: before it, a pause is ignored
        for key, partition in partitions.items():
            if key not in reads:
                self._stop(
                    partition, _anew(starts[key].named, starts[key].origin, partition.position)
                )
        self._tell_uncommitted(
            [partition for partition in partitions.values() if partition.committed is None]
        )
        for key in anew:
            self._seek_beginning(key, starts[key])
        return list(partitions.values())

    def _tell_uncommitted(self, partitions: list[Partition]) -> None:
        """Say what begins without a commit: it is news to whoever thinks that the group has one."""
        if partitions:
            log.info(
                "%s: the group %s has no committed offset there, or has none any more (brokers drop those of a group "
                'without members after offsets.retention.minutes): kafka.start_from = "%s" says where it begins',
                ", ".join(f"{partition} at {partition.position}" for partition in partitions),
                self._group,
                self._start_from,
            )

    def _seek_beginning(self, key: PartitionId, start: Start) -> None:
        def begin(extent: Extent) -> None:
            log.error(
                "%s[%s]: %s; beginning at %s",
                *key,
                _anew(start.named, extent.origin, start.offset),
                extent.begin,
            )
            fresh = Start(
                extent.begin, None, start.already_settled, "", extent.origin, extent.origin
            )
            self._begun(self._take_on({key: fresh}))

        self._seek(
            key,
            lambda client: self._starts.extent(client, key, start.origin, LOOK_UP_SECONDS),
            begin,
        )

    def _begun(self, partitions: list[Partition]) -> None:
        self._listener.on_begun(partitions)

    def _seek(
        self, key: PartitionId, look: Callable[[Consumer], Any], then: Callable[[Any], None]
    ) -> None:
        """Look something up elsewhere; until it is found, nothing of the partition is read."""
        self._searches[key] = Search(key, look, then)
        self._apply_pause([key])
        self._seeking.seek(self._searches[key])

    @property
    def awaiting(self) -> dict[PartitionId, float]:
        """Partitions that are not read, as it is not known yet where they begin.

        Since when, by time.monotonic.
        """
        return {key: search.since for key, search in self._searches.items()}

    def _read_too(self, starts: list[TopicPartition]) -> None:
        """Have the client read these partitions, too, from these offsets."""
        self._consumer.incremental_assign(starts)

    def _read_anew(self, key: PartitionId, start: int) -> None:
        """Have the client go on at this offset.

        Not a seek: librdkafka refuses one while the partition is in error.
        """
        self._consumer.incremental_unassign([TopicPartition(*key)])
        self._consumer.incremental_assign([TopicPartition(*key, start)])
        self._apply_pause([key])

    def _gone(self, revoked: list[TopicPartition], *, lost: bool) -> None:
        keys = [(tp.topic, tp.partition) for tp in revoked]
        for key in keys:
            if (search := self._searches.pop(key, None)) is not None:
                search.ended = True
        partitions = [partition for key in keys if (partition := self._owned.get(key)) is not None]
        try:
            self._listener.on_revoked(partitions, lost=lost)
        except (
            Exception
        ) as error:  # an exception must not cross librdkafka; the partitions are gone all the same
            log.exception("revocation")
            self._fault(error)
        for partition in partitions:
            partition.owned = False
            del self._owned[(partition.topic, partition.number)]
            self._reads.discard((partition.topic, partition.number))
            self._refused.pop((partition.topic, partition.number), None)
            if lost:
                self._lost.add((partition.topic, partition.number))
            self.stopped.pop(partition, None)
            self._held.discard(partition)

    def end(self, partition: Partition) -> int | None:
        """Where the partition ended when it was last fetched from (what transactions hold back
        apart).

        Never waits.

        None: nothing was fetched of it yet.
        """
        try:
            found = self._consumer.get_watermark_offsets(
                TopicPartition(partition.topic, partition.number), cached=True
            )
        except (KafkaException, RuntimeError):  # not assigned any more, or closed
            return None
        return found[1] if found is not None and found[1] >= 0 else None

    def close(self, timeout: float) -> bool:
        """Leave the group, if this is a member of it, within ``timeout`` seconds.

        Whether that was done in time.
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


def _partition(key: PartitionId, start: Start) -> Partition:
    """A new epoch of a partition, with what its last commit says is settled already."""
    if start.complaint:
        log.warning(
            "%s[%s]: the metadata of its committed offset %s is no settled map to go by (%s); records behind that "
            "offset may be sent again",
            *key,
            start.offset,
            start.complaint,
        )
    if start.already_settled:
        log.info(
            "%s[%s]: %s records beyond offset %s are settled already",
            *key,
            start.already_settled.count,
            start.offset,
        )
    committed = None if start.metadata is None else start.offset
    # Stopped, it goes on naming the log that it was of: so that the next start, too, sees that it
    # is another one.
    origin = start.named if start.anew else start.origin
    return Partition(
        *key, start.offset, committed, start.already_settled, start.metadata or "", origin
    )


def _anew(before: Origin, now: Origin, offset: int) -> str:
    return (
        f"the topic was deleted and made anew (its id was {before.topic_id} and is {now.topic_id}): offset {offset} is "
        "one of the topic that was; set kafka.on_out_of_range to earliest to begin the new one at its beginning"
    )
