"""For a run with an end: watch for the group's commits to get where the topics ended at the start.

All partitions count, whoever commits them: with several members each one stops when all the work is
done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka.client import (
    PartitionId,
    ThrottledLog,
    client_config,
    create_client,
    message_of,
)
from consumer.adapters.kafka.patterns import is_pattern, matching
from consumer.adapters.kafka.reader import ReadFrom
from consumer.errors import UserError

log = logging.getLogger(__name__)

#: Broker and topics must be there within this time.
PATIENCE_SECONDS = 30.0
#: And so long may they be away, or the group's offsets not be told, when they were there.
AWAY_SECONDS = 300.0
CALL_SECONDS = 5.0
#: Errors by which a client says that a group has no coordinator.
_NO_COORDINATOR = (
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
#: Time between two looks at the committed offsets.
LOOK_EVERY_SECONDS = 0.3


class Ends:
    """Watches from a thread of its own, with a client that never joins the group."""

    def __init__(
        self,
        reading: ReadFrom,
        *,
        reached: Callable[[], None],
        failed: Callable[[UserError], None],
    ) -> None:
        self._topics = reading.topics
        self._bootstrap = reading.bootstrap_servers
        self._group = reading.group_id
        self._reached = reached
        self._failed = failed
        config = client_config(
            reading.bootstrap_servers,
            reading.properties,
            ThrottledLog().error,
            **{
                "group.id": reading.group_id,
                "enable.auto.commit": False,
                "allow.auto.create.topics": False,
            },
        )
        self._consumer = create_client(Consumer, config)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ends", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread.join(2 * CALL_SECONDS)

    def _run(self) -> None:
        try:
            self._watch(self._find())
        except UserError as error:
            self._failed(error)
        except Exception as error:
            log.exception("watching for the end")
            self._failed(UserError(f"the topics' end cannot be watched ({type(error).__name__})"))

    def _watch(self, ends: dict[PartitionId, int]) -> None:
        answered, patience = time.monotonic(), PATIENCE_SECONDS
        problem = ""
        while ends and not self._closed.wait(LOOK_EVERY_SECONDS):
            error = None
            try:
                committed = self._consumer.committed(
                    [TopicPartition(*key) for key in ends], timeout=CALL_SECONDS
                )
            except KafkaException as failure:
                committed, error = [], failure.args[0]
            for tp in committed:
                error = error or tp.error
                if tp.error is None and tp.offset >= ends[(tp.topic, tp.partition)]:
                    del ends[(tp.topic, tp.partition)]
            if error is None:
                answered, patience, problem = time.monotonic(), AWAY_SECONDS, ""
                continue
            if time.monotonic() - answered >= patience:
                raise UserError(self._not_told(error))
            if not problem:
                problem = self._not_told(error)
                log.warning("%s; giving up if that lasts for %g s", problem, patience)
        if not self._closed.is_set():
            self._reached()

    def _not_told(self, error: KafkaError) -> str:
        text = (
            f"Kafka: the committed offsets of the group {self._group} cannot be read "
            f"({message_of(error)})"
        )
        if error.code() in _NO_COORDINATOR:
            text += (
                ": its coordinator does not answer; look whether every broker is up, "
                "and whether the topic "
                "__consumer_offsets can be made and is led"
            )
        return text

    def _find(self) -> dict[PartitionId, int]:
        """Return the end of every partition that holds anything.

        Raise UserError when broker or topics are not there.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        problem, logged = "", False
        while not self._closed.is_set():
            try:
                return self._refresh()
            except UserError as error:
                problem = str(error)
            except KafkaException as error:
                problem = no_answer(self._bootstrap, error)
            if time.monotonic() >= deadline:
                break
            if not logged:
                logged = True
                log.warning("%s; giving up if that lasts for %g s", problem, PATIENCE_SECONDS)
            self._closed.wait(0.5)
        raise UserError(problem)

    def _refresh(self) -> dict[PartitionId, int]:
        keys, problem = partitions_of(self._consumer, self._topics)
        if problem:
            raise UserError(problem)
        return ends_of(self._consumer, keys)


def partitions_of(
    consumer: Consumer, topics: Sequence[str], timeout: float = CALL_SECONDS
) -> tuple[list[PartitionId], str]:
    """Return the partitions of those topics that are there, and what to say of one that is not.

    Raise KafkaException when no broker answers.
    """
    found = consumer.list_topics(timeout=timeout).topics
    keys: dict[PartitionId, None] = {}  # patterns may overlap
    problem = ""
    for wanted in topics:
        names = matching(wanted, found) if is_pattern(wanted) else [wanted]
        names = [name for name in names if name in found and found[name].error is None]
        if not names:
            problem = (
                f"the topic {wanted} is not there: create it (scm-consumer check --create), "
                "or correct kafka.topics; "
                f"the broker has {', '.join(sorted(found)[:10]) or 'none'}"
            )
        for name in names:
            keys |= {(name, number): None for number in found[name].partitions}
    return list(keys), problem


def ends_of(consumer: Consumer, keys: Iterable[PartitionId]) -> dict[PartitionId, int]:
    """Return the end of those partitions that hold anything.

    Raise KafkaException when no broker answers.
    """
    ends: dict[PartitionId, int] = {}
    for key in keys:
        low, high = consumer.get_watermark_offsets(
            TopicPartition(*key), timeout=CALL_SECONDS, cached=False
        )
        if high > low:
            ends[key] = high
    return ends


def no_answer(bootstrap_servers: str, error: KafkaException) -> str:
    """Return what to say when no broker answers."""
    return (
        f"Kafka at {bootstrap_servers} does not answer ({error.args[0].str()}): "
        "check kafka.bootstrap_servers and that the broker is up"
    )
