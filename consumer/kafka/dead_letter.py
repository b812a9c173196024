"""Dead letters: rejected rows, each with its original record and the reason.

A letter counts only when all in-sync replicas have it. One that cannot be written stays here and is tried again with
back-off, loudly; the row stays unsettled meanwhile, so nothing is ever committed past it.
"""

from __future__ import annotations

import heapq
import json
import logging
import queue
import threading
import time
import zlib
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.core.model import Row, Stage
from consumer.core.pipeline import Letter
from consumer.kafka.client import Teller, client_config

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 0.5
RETRY_CAP_SECONDS = 15.0
#: How long the number of the topic's partitions is believed.
METADATA_SECONDS = 60.0
#: A record that was legal compressed may be larger than a producer's default limit when it is written again.
MAX_MESSAGE_BYTES = 100_000_000
#: The message of a letter that was refused for its size.
SHORT_MESSAGE = 100
ADDED_PREFIXES = ("__connect.errors.", "scm.")

Headers = list[tuple[str, str | bytes | None]]


def headers_of(letter: Letter, version: str, *, short: bool = False) -> Headers:
    """The headers of a letter: the record's own, then ours; earlier copies of ours are replaced.

    ``short``: without ``scm.row`` and with a cut message, for a letter that was too large.
    """
    row, why = letter.row, letter.rejection
    record = row.record
    partition = record.partition
    message = why.message[:SHORT_MESSAGE] if short else why.message
    item = row.item or None
    added: dict[str, object] = {
        "__connect.errors.topic": partition.topic,
        "__connect.errors.partition": partition.number,
        "__connect.errors.offset": record.offset,
        "__connect.errors.stage": why.stage,
        "__connect.errors.exception.message": message,
        "scm.reason": why.reason,
        "scm.message": message,
        "scm.field": why.field,
        "scm.data_key": row.data_key,
        "scm.key_value": row.value,
        "scm.row": None if short or item is None else json.dumps(item, ensure_ascii=False),
        "scm.http_status": why.http_status,
        "scm.attempts": row.attempts or None,
        "scm.event_id": record.event_id or f"{partition.topic}-{partition.number}-{record.offset}",
        "scm.consumer": version,
    }
    own = [(name, value) for name, value in record.raw.headers() or [] if not name.startswith(ADDED_PREFIXES)]
    return own + [(n, str(v).encode("utf-8", "replace")) for n, v in added.items() if v is not None]


class DeadLetters:
    """Writes letters from a thread of its own; ``acknowledged`` is called there with the rows that are safe."""

    def __init__(
        self,
        acknowledged: Callable[[list[Row]], object],
        *,
        topic: str,
        bootstrap_servers: str,
        version: str,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._acknowledged = acknowledged
        self._topic = topic
        self._version = version
        self._teller = Teller()
        self._config = client_config(
            bootstrap_servers,
            properties or {},
            self._teller,
            **{
                "acks": "all",
                "enable.idempotence": True,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "message.timeout.ms": 30_000,
                "linger.ms": 5,
                "allow.auto.create.topics": False,
            },
        )
        self._inbox: queue.SimpleQueue[Letter | None] = queue.SimpleQueue()
        self._retries: list[tuple[float, int, Letter, bool]] = []
        self._tries: dict[int, int] = {}  # of a letter, by identity
        self._pending: dict[int, tuple[Letter, bool]] = {}  # handed to the client, not acknowledged; by number
        self._number = 0
        self._done: list[Row] = []
        self._partitions = 0
        self._partitions_at = -METADATA_SECONDS
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def send(self, letter: Letter) -> None:
        """Hand in a letter; never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)
            self._thread.start()
        self._inbox.put(letter)

    def close(self) -> None:
        """Stop; what is not acknowledged stays uncommitted and is read again by the next member."""
        self._closing = True
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join(5.0)

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:
                # A bug here must not end the thread: letters would wait for ever. They stay pending and are told.
                log.exception("dead letters")
                time.sleep(1.0)

    def _turn(self) -> None:
        busy = bool(self._pending)
        wait = 0.0 if busy else 0.5
        if self._retries:
            wait = min(wait, max(0.0, self._retries[0][0] - time.monotonic()))
        letters = self._take(wait)
        now = time.monotonic()
        while self._retries and self._retries[0][0] <= now:
            _, _, letter, short = heapq.heappop(self._retries)
            letters.append((letter, short))
        for letter, short in letters:
            self._produce(letter, short=short)
        if self._producer is not None:
            self._producer.poll(0.02 if self._pending else 0)
        if self._done:
            done, self._done = self._done, []
            self._acknowledged(done)

    def _take(self, wait: float) -> list[tuple[Letter, bool]]:
        letters: list[tuple[Letter, bool]] = []
        try:
            letter = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            while letter is not None:
                letters.append((letter, False))
                letter = self._inbox.get_nowait()
        except queue.Empty:
            pass
        return letters

    def _produce(self, letter: Letter, *, short: bool) -> None:
        row = letter.row
        if row.stage != Stage.LETTER:
            self._tries.pop(id(letter), None)
            return  # its partition was taken away: the next owner writes it
        try:
            producer = self._client()
            partition = self._partition(producer, row)
        except KafkaException as error:
            self._failed(letter, error.args[0], short=short)
            return
        self._number += 1
        number = self._number
        self._pending[number] = letter, short

        def delivered(error: KafkaError | None, _: Message) -> None:
            if self._pending.pop(number, None) is None:
                return  # produced again by a new client
            if error is None:
                self._tries.pop(id(letter), None)
                self._done.append(row)
            else:
                self._failed(letter, error, short=short)

        try:
            producer.produce(
                self._topic,
                value=row.record.raw.value(),
                key=row.record.raw.key(),
                headers=headers_of(letter, self._version, short=short),
                partition=partition,
                on_delivery=delivered,
            )
        except (KafkaException, BufferError) as error:
            self._pending.pop(number, None)
            failure = error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._QUEUE_FULL)
            self._failed(letter, failure, short=short)

    def _client(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(self._config)
        return self._producer

    def _partition(self, producer: Producer, row: Row) -> int:
        """The letter's partition: by its code, so that a code's letters stay in order."""
        now = time.monotonic()
        if now - self._partitions_at >= METADATA_SECONDS:
            found = producer.list_topics(self._topic, timeout=5.0).topics[self._topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._partitions = len(found.partitions)
            self._partitions_at = now
        known = row.value is not None
        code = f"{row.data_key}={row.value}".encode() if known else row.record.raw.key() or b""
        return zlib.crc32(code) % self._partitions

    def _failed(self, letter: Letter, error: KafkaError, *, short: bool) -> None:
        if error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE) and not short:
            heapq.heappush(self._retries, (0.0, self._next_number(), letter, True))
            return
        tries = self._tries[id(letter)] = self._tries.get(id(letter), 0) + 1
        delay = min(RETRY_CAP_SECONDS, RETRY_FIRST_SECONDS * 2 ** (tries - 1))
        heapq.heappush(self._retries, (time.monotonic() + delay, self._next_number(), letter, short))
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
            self._partitions_at = -METADATA_SECONDS
            advice = f"create the topic {self._topic}, or correct dead_letter.topic"
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            advice = f"give this user the right to write to {self._topic}"
        elif error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE):
            advice = f"raise max.message.bytes of {self._topic}"
        else:
            advice = "check the broker"
        self._teller.tell(
            ("dead letter", error.code()),
            f"dead letters cannot be written to {self._topic} ({error.str()}): {advice}; "
            "nothing is lost, their rows wait",
            logging.ERROR,
        )
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._renew()

    def _renew(self) -> None:
        """A fatal error ends an idempotent client: a new one produces again what the old one did not acknowledge."""
        self._producer = None
        pending, self._pending = list(self._pending.values()), {}
        for letter, short in pending:
            heapq.heappush(self._retries, (time.monotonic(), self._next_number(), letter, short))

    def _next_number(self) -> int:
        self._number += 1
        return self._number
