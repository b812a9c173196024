"""Write records that rows wait for: each counts when all in-sync replicas of its topic have it.

One that cannot be written stays here and is tried again with back-off, loudly; its row stays
unsettled meanwhile, so nothing is ever committed past it.

What is written can be many times as large as what was read: a rejected row's dead letter is its
whole record, and a record may have thousands of rows. So a record is made only when it is handed to
the client, which keeps a copy until the broker has it, and no more is handed out than
``BUDGET_BYTES``. The rest waits here, as references.
"""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.adapters.kafka.client import ThrottledLog, client_config, create_client
from consumer.core.model import Row

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 0.5
RETRY_CAP_SECONDS = 15.0
IDLE_SECONDS = 0.5
CLOSE_SECONDS = 5.0
#: How long the number of the topic's partitions is believed.
METADATA_SECONDS = 60.0
#: Errors after which a new client goes on: some were seen to stand still for minutes after the
#: broker was back.
RENEWING = (KafkaError._FATAL, KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT)
_NO_TOPIC = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
#: A record that was legal compressed may be larger than a producer's default limit when it is
#: written again.
MAX_MESSAGE_BYTES = 100_000_000

#: What may be handed to the client and not acknowledged: enough to keep a fast broker busy. A
#: larger record goes alone.
BUDGET_BYTES = 8_000_000
#: What a record takes there besides its key, value and headers.
RECORD_BYTES = 1000

Headers = list[tuple[str, str | bytes | None]]
Content = TypeVar("Content")


@dataclass(slots=True)
class Produced:
    """The record that is written for a row."""

    value: bytes | None
    key: bytes | None
    headers: Headers
    code: bytes  #: decides the partition, so that what belongs to one code stays in order

    @property
    def size(self) -> int:
        """Return the bytes that it takes in the client."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.value or b"") + len(self.key or b"") + headers + RECORD_BYTES


@dataclass(eq=False, slots=True)
class PendingWrite(Generic[Content]):
    """A record on its way; ``short``: it was too large, and goes without what it can do without."""

    row: Row
    content: Content
    short: bool = False
    tries: int = 0


class RetryingProducer(ABC, Generic[Content]):
    """Writes one topic from a thread of its own (I1, I6).

    ``acknowledged`` is called there with rows whose records are safe.
    """

    what: str  #: what is written, in the plural, for messages
    setting: str  #: that names the topic

    def __init__(
        self,
        acknowledged: Callable[[list[Row]], object],
        *,
        topic: str,
        bootstrap_servers: str,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._acknowledged = acknowledged
        self._topic = topic
        self._throttled = ThrottledLog()
        self._config = client_config(
            bootstrap_servers,
            properties or {},
            self._throttled.error,
            **{
                "acks": "all",
                "enable.idempotence": True,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "queue.buffering.max.kbytes": (BUDGET_BYTES + MAX_MESSAGE_BYTES) // 1000,
                "queue.buffering.max.messages": BUDGET_BYTES // RECORD_BYTES + 1,
                "message.timeout.ms": 30_000,
                "linger.ms": 5,
                "allow.auto.create.topics": False,
            },
        )
        self._inbox: queue.SimpleQueue[list[PendingWrite[Content]]] = queue.SimpleQueue()
        # To be handed to the client when there is room.
        self._waiting: deque[PendingWrite[Content]] = deque()
        self._retries: list[tuple[float, int, PendingWrite[Content]]] = []  # a heap by time
        self._retry_number = 0
        # Handed to the client and not acknowledged, with its bytes.
        self._pending: dict[PendingWrite[Content], int] = {}
        self._handed_out = 0  # bytes of all that is pending
        self._done: list[Row] = []
        # What could not be written, and is tried again, with why.
        self._failing: dict[PendingWrite[Content], tuple[str, str]] = {}
        #: Why the record that has failed for the longest cannot be written, and what to do; None:
        #: none has failed. It is read by other threads.
        self.trouble: tuple[str, str] | None = None
        self._partitions = 0
        self._partitions_at = -METADATA_SECONDS
        # Made at once, so that a property it cannot take is told at the start and not with the
        # first record.
        self._producer: Producer | None = create_client(Producer, self._config)
        self._renewals = 0
        self._thread: threading.Thread | None = None
        self._closing = False

    @abstractmethod
    def _produced(self, write: PendingWrite[Content]) -> Produced | None:
        """Return the record; None: its partition was taken away, and the next owner writes it."""

    def _hand_in(self, writes: list[PendingWrite[Content]]) -> None:
        """Have these written; never wait."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=self.what.replace(" ", "-"), daemon=True
            )
            self._thread.start()
        self._inbox.put(writes)

    def close(self) -> None:
        """Stop; what is not acknowledged stays uncommitted and is read again by the next member."""
        self._closing = True
        if self._thread is not None:
            self._inbox.put([])
            self._thread.join(CLOSE_SECONDS)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:
                # A bug here must not end the thread: rows would wait for ever. They stay pending
                # and are told.
                log.exception("%s", self.what)
                time.sleep(1.0)

    def _turn(self) -> None:
        wait = 0.0 if self._pending or self._waiting else IDLE_SECONDS
        if self._retries:
            wait = min(wait, max(0.0, self._retries[0][0] - time.monotonic()))
        self._waiting += self._take(wait)
        now = time.monotonic()
        while self._retries and self._retries[0][0] <= now:
            self._waiting.append(heapq.heappop(self._retries)[2])
        while self._waiting and not self._closing and self._produce(self._waiting[0]):
            self._waiting.popleft()
        if self._producer is not None:
            self._producer.poll(0.02 if self._pending else 0)
        if self._done:
            done, self._done = self._done, []
            self._acknowledged(done)

    def _take(self, wait: float) -> list[PendingWrite[Content]]:
        taken: list[PendingWrite[Content]] = []
        try:
            taken += self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            while True:
                taken += self._inbox.get_nowait()
        except queue.Empty:
            return taken

    def _produce(self, write: PendingWrite[Content]) -> bool:
        """Hand a record to the client, if it is still to be written.

        Return False where there is no room: it has to wait.
        """
        if self._pending and self._handed_out >= BUDGET_BYTES:
            return False
        # A number, not the client: who holds the callback would hold the client, and it could never
        # end.
        renewals = self._renewals

        def delivered(error: KafkaError | None, _: Message) -> None:
            if renewals != self._renewals:
                return  # produced again by a new client
            self._take_back(write)
            if error is None:
                self._done.append(write.row)
                self._set_trouble(write, None)
            else:
                self._failed(write, error)

        try:
            record = self._produced(write)
            if record is None:
                self._set_trouble(write, None)
                return True
            size = record.size
            if self._pending and self._handed_out + size > BUDGET_BYTES:
                return False
            producer = self._client()
            partition = self._partition(producer, record.code)
            self._pending[write] = size
            self._handed_out += size
            producer.produce(
                self._topic,
                value=record.value,
                key=record.key,
                headers=record.headers,
                partition=partition,
                on_delivery=delivered,
            )
        except Exception as error:
            # Whatever is wrong with one record, it is tried again, and the others go on.
            self._take_back(write)
            if isinstance(error, KafkaException):
                self._failed(write, error.args[0])
            elif isinstance(error, BufferError):
                self._failed(write, KafkaError(KafkaError._QUEUE_FULL))
            else:
                self._failed(
                    write,
                    KafkaError(KafkaError._FAIL, f"a fault in the program: {type(error).__name__}"),
                )
        return True

    def _take_back(self, write: PendingWrite[Content]) -> None:
        """Take in that the client has it no more."""
        self._handed_out -= self._pending.pop(write, 0)

    def _client(self) -> Producer:
        if self._producer is None:
            self._producer = create_client(Producer, self._config)
        return self._producer

    def _partition(self, producer: Producer, code: bytes) -> int:
        now = time.monotonic()
        if now - self._partitions_at >= METADATA_SECONDS:
            found = producer.list_topics(self._topic, timeout=5.0).topics.get(self._topic)
            if found is None or found.error is not None or not found.partitions:
                missing = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
                raise KafkaException(
                    found.error if found is not None and found.error is not None else missing
                )
            self._partitions = len(found.partitions)
            self._partitions_at = now
        return zlib.crc32(code) % self._partitions

    def _failed(self, write: PendingWrite[Content], error: KafkaError) -> None:
        code = error.code()
        if code in _TOO_LARGE and not write.short:
            write.short = True
            self._retry(write, 0.0)
            return
        self._set_trouble(write, (error.str(), self._advice(code)))
        write.tries += 1
        self._retry(
            write, min(RETRY_CAP_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(write.tries - 1, 10))
        )
        if code in _NO_TOPIC:
            self._partitions_at = -METADATA_SECONDS
        log.debug("%s cannot be written to %s: %s", self.what, self._topic, error.str())
        if error.fatal() or code in RENEWING:
            self._renew()

    def _advice(self, code: int) -> str:
        """Return what to do about an error."""
        if code in _NO_TOPIC:
            return (
                f"create the topic {self._topic} (scm-consumer check --create), "
                f"or correct {self.setting}"
            )
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return f"give this user the right to write to {self._topic}"
        if code == KafkaError.INVALID_RECORD:
            return (
                f"if {self._topic} is compacted, it takes no record without a key: "
                "set its cleanup.policy to delete"
            )
        if code in _TOO_LARGE:
            return f"raise max.message.bytes of {self._topic}"
        return "check the broker"

    def _set_trouble(self, write: PendingWrite[Content], why: tuple[str, str] | None) -> None:
        """Take in why a record cannot be written; None: it is written, or need not be."""
        if why is not None:
            self._failing[write] = why
        elif self._failing.pop(write, None) is None:
            return  # as nearly always
        self.trouble = next(iter(self._failing.values()), None)

    def _retry(self, write: PendingWrite[Content], delay: float) -> None:
        self._retry_number += 1
        heapq.heappush(self._retries, (time.monotonic() + delay, self._retry_number, write))

    def _renew(self) -> None:
        """Give up a client that cannot go on.

        A new one produces again what the old one did not acknowledge.
        """
        self._producer = None
        self._renewals += 1
        pending, self._pending = self._pending, {}
        self._handed_out = 0
        for write in pending:
            self._retry(write, 0.0)
