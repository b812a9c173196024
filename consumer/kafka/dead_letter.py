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
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.core.model import Row, Stage
from consumer.core.pipeline import Letter
from consumer.kafka.client import Teller, client_config, create_client

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 0.5
RETRY_CAP_SECONDS = 15.0
IDLE_SECONDS = 0.5
CLOSE_SECONDS = 5.0
#: How long the number of the topic's partitions is believed.
METADATA_SECONDS = 60.0
#: A record that was legal compressed may be larger than a producer's default limit when it is written again.
MAX_MESSAGE_BYTES = 100_000_000
#: The message of a letter that was refused for its size.
SHORT_MESSAGE = 100
#: Errors after which a new client goes on: some were seen to stand still for minutes after the broker was back.
RENEWING = (KafkaError._FATAL, KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT)
ADDED_PREFIXES = ("__connect.errors.", "scm.")

Headers = list[tuple[str, str | bytes | None]]


def headers_of(letter: Letter, original: Headers, version: str, *, short: bool = False) -> Headers:
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
    own = [(name, value) for name, value in original if not name.startswith(ADDED_PREFIXES)]
    return own + [(n, str(v).encode("utf-8", "replace")) for n, v in added.items() if v is not None]


@dataclass(eq=False, slots=True)
class _Writing:
    """A letter on its way; ``short``: it was too large, and goes without what it can do without."""

    letter: Letter
    short: bool = False
    tries: int = 0


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
            self._teller.error,
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
        self._retries: list[tuple[float, int, _Writing]] = []  # a heap by time
        self._retry_number = 0
        self._pending: dict[_Writing, None] = {}  # handed to the client, not acknowledged
        self._done: list[Row] = []
        self._partitions = 0
        self._partitions_at = -METADATA_SECONDS
        # Made at once, so that a property it cannot take is told at the start and not with the first letter.
        self._producer: Producer | None = create_client(Producer, self._config)
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
            self._thread.join(CLOSE_SECONDS)

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
        wait = 0.0 if self._pending else IDLE_SECONDS
        if self._retries:
            wait = min(wait, max(0.0, self._retries[0][0] - time.monotonic()))
        due = [_Writing(letter) for letter in self._take(wait)]
        now = time.monotonic()
        while self._retries and self._retries[0][0] <= now:
            due.append(heapq.heappop(self._retries)[2])
        for writing in due:
            self._produce(writing)
        if self._producer is not None:
            self._producer.poll(0.02 if self._pending else 0)
        if self._done:
            done, self._done = self._done, []
            self._acknowledged(done)

    def _take(self, wait: float) -> list[Letter]:
        letters: list[Letter] = []
        try:
            letter = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            while letter is not None:
                letters.append(letter)
                letter = self._inbox.get_nowait()
        except queue.Empty:
            pass
        return letters

    def _produce(self, writing: _Writing) -> None:
        row = writing.letter.row
        record = row.record
        raw = record.raw
        if row.stage != Stage.LETTER or raw is None:
            return  # its partition was taken away: the next owner writes it

        def delivered(error: KafkaError | None, _: Message) -> None:
            if producer is not self._producer:
                return  # produced again by a new client
            self._pending.pop(writing, None)
            if error is None:
                self._done.append(row)
            else:
                self._failed(writing, error)

        try:
            producer = self._client()
            partition = self._partition(producer, row, raw.key())
            self._pending[writing] = None
            producer.produce(
                self._topic,
                value=raw.value(),
                key=raw.key(),
                headers=headers_of(writing.letter, self._own_headers(raw), self._version, short=writing.short),
                partition=partition,
                on_delivery=delivered,
            )
        except Exception as error:  # whatever is wrong with one letter, it is tried again, and the others go on
            self._pending.pop(writing, None)
            if isinstance(error, KafkaException):
                self._failed(writing, error.args[0])
            elif isinstance(error, BufferError):
                self._failed(writing, KafkaError(KafkaError._QUEUE_FULL))
            else:
                self._failed(writing, KafkaError(KafkaError._FAIL, f"a fault in the program: {type(error).__name__}"))

    def _own_headers(self, raw: Message) -> Headers:
        try:
            return list(raw.headers() or [])  # type: ignore[arg-type]  # a list, whatever its stub says
        except (SystemError, UnicodeDecodeError, ValueError):
            # A header's name that is not UTF-8: the client cannot give any of them.
            self._teller.tell("headers", "a dead letter goes without its record's headers: they cannot be read")
            return []

    def _client(self) -> Producer:
        if self._producer is None:
            self._producer = create_client(Producer, self._config)
        return self._producer

    def _partition(self, producer: Producer, row: Row, key: bytes | None) -> int:
        """The letter's partition: by its code, so that a code's letters stay in order."""
        now = time.monotonic()
        if now - self._partitions_at >= METADATA_SECONDS:
            found = producer.list_topics(self._topic, timeout=5.0).topics.get(self._topic)
            if found is None or found.error is not None or not found.partitions:
                missing = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
                raise KafkaException(found.error if found is not None and found.error is not None else missing)
            self._partitions = len(found.partitions)
            self._partitions_at = now
        code = key or b"" if row.value is None else f"{row.data_key}={row.value}".encode()
        return zlib.crc32(code) % self._partitions

    def _failed(self, writing: _Writing, error: KafkaError) -> None:
        code = error.code()
        too_large = code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
        if too_large and not writing.short:
            writing.short = True
            self._retry(writing, 0.0)
            return
        writing.tries += 1
        self._retry(writing, min(RETRY_CAP_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(writing.tries - 1, 10)))
        if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
            self._partitions_at = -METADATA_SECONDS
            advice = f"create the topic {self._topic} (scm-consumer check --create), or correct dead_letter.topic"
        elif code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            advice = f"give this user the right to write to {self._topic}"
        elif too_large:
            advice = f"raise max.message.bytes of {self._topic}"
        else:
            advice = "check the broker"
        self._teller.tell(
            ("dead letter", code),
            f"dead letters cannot be written to {self._topic} ({error.str()}): {advice}; "
            "nothing is lost, their rows wait",
            logging.ERROR,
        )
        if error.fatal() or code in RENEWING:
            self._renew()

    def _retry(self, writing: _Writing, delay: float) -> None:
        self._retry_number += 1
        heapq.heappush(self._retries, (time.monotonic() + delay, self._retry_number, writing))

    def _renew(self) -> None:
        """The client cannot go on: a new one produces again what the old one did not acknowledge."""
        self._producer = None
        pending, self._pending = self._pending, {}
        for writing in pending:
            self._retry(writing, 0.0)
