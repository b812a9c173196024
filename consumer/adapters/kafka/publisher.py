"""Write events to a topic, and know of each whether it arrived, at no cost for those that did."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.adapters.kafka.client import ThrottledLog, advice, client_config, create_client
from consumer.core.model import InvalidEvent
from consumer.errors import UserError

#: Broker and topic must be there within this time.
PATIENCE_SECONDS = 20.0
#: After this time without an answer, say what is waited for.
TELL_SECONDS = 2.0
#: How long one call may keep a signal waiting.
CALL_SECONDS = 1.0
_TOPICS_SHOWN = 10

#: The queue bounds the memory; a broker that is gone for a minute ends the work. kafka.client goes
#: over these.
DEFAULTS: dict[str, Any] = {
    "compression.type": "lz4",
    "linger.ms": 20,
    "queue.buffering.max.messages": 50_000,
    "queue.buffering.max.kbytes": 32_768,
    "message.timeout.ms": 60_000,
}
#: As partition: the partitioner chooses.
_BY_KEY = -1
#: What is wrong with one record only: the others go on.
_OWN_FAULT = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.RECORD_LIST_TOO_LARGE,
)
#: The second is what an idempotent producer gets that may not write to any topic.
_NO_RIGHT = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
#: The log-in or the handshake was refused: waiting does not mend it.
_REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL)


class BrokenError(Exception):
    """Kafka takes no more, or nobody waits for it; the publisher tells what was lost."""


class _Cause(ThrottledLog):
    """Keeps what the client last complained of: calls only fail with a time-out, or the like."""

    def __init__(self) -> None:
        super().__init__()
        self.error_seen: KafkaError | None = None
        self.told = False  # whether complaints are logged, too

    def error(self, error: KafkaError) -> None:
        if self.error_seen is None or self.error_seen.code() not in _REFUSED:
            self.error_seen = error
        if self.told:
            super().error(error)


class TopicPublisher:
    """A producer for one topic: in order within a partition, acknowledged by all in-sync replicas.

    ``refused`` is called, inside this object's methods, with the line of a record that the broker
    will not have, and the reason. ``cancelled`` and ``hurry`` are asked while it waits: whether to
    send no more, and whether to wait no longer for what was sent. ``say``: tells a person what it
    waits for.
    """

    def __init__(
        self,
        topic: str,
        *,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        refused: Callable[[int, InvalidEvent], None],
        cancelled: Callable[[], bool],
        hurry: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._topic = topic
        self._bootstrap = bootstrap_servers
        self._refused = refused
        self._cancelled = cancelled
        self._hurry = hurry
        self._say = say
        self._cause = _Cause()
        config = client_config(
            bootstrap_servers,
            {**DEFAULTS, **properties},
            self._cause.error,
            **{
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # as Java's producers choose
                "delivery.report.only.error": True,  # a success costs no call
            },
        )
        self._producer = create_client(Producer, config)
        self.sent = 0  #: records handed to the client
        self.failed = 0  #: of them, those that are not acknowledged and will not be
        #: The first line of those that failed through no fault of theirs.
        self.unacknowledged_from: int | None = None
        self.broken = ""  #: why Kafka takes no more

    def connect(self) -> None:
        """Wait for the topic, or until cancelled; raise UserError if broker or topic is away."""
        begin, told = time.monotonic(), False
        while not self._cancelled():
            try:
                # All topics: asking for one would create it where the broker does that.
                found = self._producer.list_topics(timeout=CALL_SECONDS).topics
            except KafkaException as error:
                self._producer.poll(0)  # the cause comes through its callback
                cause = self._cause.error_seen or error.args[0]
                if cause.code() in _REFUSED or time.monotonic() - begin > PATIENCE_SECONDS:
                    raise UserError(f"Kafka at {self._bootstrap}: {_why(cause)}") from None
                if not told and time.monotonic() - begin > TELL_SECONDS:
                    told = True
                    self._say(
                        f"waiting for Kafka at {self._bootstrap}, up to {PATIENCE_SECONDS:g} s ..."
                    )
                continue
            if self._topic not in found:
                names = sorted(name for name in found if not name.startswith("__"))
                more = (
                    f" and {len(names) - _TOPICS_SHOWN} more" if len(names) > _TOPICS_SHOWN else ""
                )
                raise UserError(
                    f"the topic {self._topic} is not there: create it (scm-consumer check --create "
                    "makes those of kafka.topics), or name another one with --topic; "
                    f"the broker has {', '.join(names[:_TOPICS_SHOWN]) or 'none'}{more}"
                )
            self._cause.told = True
            return

    def send(self, line: int, key: str, value: bytes) -> None:
        """Hand over the record of a line; waits while the client's queue is full.

        Raise InvalidEvent if this record is too large; BrokenError, and it was not handed over, if
        Kafka takes no more or if this is cancelled while it waits.
        """
        while True:
            try:
                # By position: that takes two thirds of the time.
                self._producer.produce(
                    self._topic, value, key, _BY_KEY, partial(self._failed, line)
                )
            except BufferError:
                self.poll(0.1)
                if self._cancelled():
                    raise BrokenError from None
            except KafkaException as error:
                if error.args[0].code() in _OWN_FAULT:
                    raise _refusal(error.args[0]) from None
                self.poll()  # a fatal error's cause comes this way
                self._break(error.args[0])
                raise BrokenError from None
            else:
                self.sent += 1
                return

    def poll(self, seconds: float = 0.0) -> None:
        """Take in failures; raise BrokenError."""
        try:
            self._producer.poll(seconds)
        except KafkaException as error:  # a fatal one
            self._break(error.args[0])
        if self.broken:
            raise BrokenError

    def finish(self) -> None:
        """Wait for the acknowledgements.

        In a hurry, or when Kafka takes no more, give up those that are missing.
        """
        try:
            while self._producer.flush(0.2) and not self.broken and not self._hurry():
                pass
        except KafkaException as error:  # a fatal one
            self._break(error.args[0])
        if len(self._producer):
            self._producer.purge()
            with suppress(KafkaException):
                self._producer.flush(CALL_SECONDS)

    @property
    def acknowledged(self) -> int:
        """Return how many records all in-sync replicas have."""
        return self.sent - self.failed - len(self._producer)

    def _failed(self, line: int, error: KafkaError, _: object) -> None:
        self.failed += 1
        if error.code() in _OWN_FAULT:
            self._refused(line, _refusal(error))
            return
        if self.unacknowledged_from is None or line < self.unacknowledged_from:
            self.unacknowledged_from = line
        if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            self._break(error)

    def _break(self, error: KafkaError) -> None:
        cause = self._cause.error_seen
        if cause is not None and error.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._FATAL):
            error = cause
        self.broken = self.broken or _why(error)


def _refusal(error: KafkaError) -> InvalidEvent:
    cure = (
        "; raise max.message.bytes of the topic"
        if error.code() != KafkaError.INVALID_RECORD
        else ""
    )
    return InvalidEvent("invalid_event", f"Kafka refuses the record: {error.str()}{cure}")


def _why(error: KafkaError) -> str:
    if error.code() in _NO_RIGHT:
        return f"{error.str()}: give this user the right to write to the topic"
    known = advice(error)
    return f"{error.str()}: {known}" if known else error.str()
