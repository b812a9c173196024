"""Write a batch of records, and know of each where it stands, or why it does not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.adapters.kafka.client import ThrottledLog, advice, client_config, create_client
from consumer.adapters.kafka.ends import no_answer
from consumer.errors import UserError

#: Without an acknowledgement for so long, the batch has failed.
PATIENCE_SECONDS = 60.0
#: What is wrong with one record only: the others go on.
_OWN_FAULT = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.RECORD_LIST_TOO_LARGE,
)
_BY_KEY = -1


class ToWrite(msgspec.Struct, frozen=True):
    """A record to write. ``partition``: None: by the hash of its key, as Java's producers do."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Written(msgspec.Struct, frozen=True):
    """The outcome of a write: its place, acknowledged by all in-sync replicas, or a refusal."""

    partition: int
    offset: int
    refused: str = ""  #: by the broker, for what the record is


class BatchWriter:
    """A producer for commands: idempotent, in order within a partition, one batch at a time."""

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self._bootstrap = bootstrap_servers
        defaults = {"linger.ms": "2"}
        config = client_config(
            bootstrap_servers,
            defaults | dict(properties),
            ThrottledLog().error,
            **{
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "allow.auto.create.topics": False,
                "message.timeout.ms": int(PATIENCE_SECONDS * 1000),
            },
        )
        self._producer = create_client(Producer, config)

    def write(self, records: Sequence[ToWrite]) -> list[Written]:
        """Write the records and return what became of each, in their order.

        Raise UserError when Kafka does not take them: then some may have been written.
        """
        outcomes: list[Written | KafkaError | None] = [None] * len(records)

        def report(index: int) -> Any:
            def delivered(error: KafkaError | None, message: Message) -> None:
                if error is None:
                    place = (message.partition() or 0, message.offset() or 0)
                    outcomes[index] = Written(*place)
                else:
                    outcomes[index] = error

            return delivered

        try:
            for index, record in enumerate(records):
                self._hand_over(record, report(index), outcomes, index)
            until = time.monotonic() + 2 * PATIENCE_SECONDS
            while self._producer.flush(1.0) and time.monotonic() < until:
                pass
        except KafkaException as error:  # a fatal one
            raise UserError(self._why(error.args[0], records)) from None
        return [self._outcome(outcome, records) for outcome in outcomes]

    def close(self) -> None:
        """Let the client go, with what it still holds."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _hand_over(
        self, record: ToWrite, report: Any, outcomes: list[Written | KafkaError | None], index: int
    ) -> None:
        partition = _BY_KEY if record.partition is None else record.partition
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=report,
                    headers=record.headers,  # type: ignore[arg-type]  # a list is invariant
                )
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() not in _OWN_FAULT:
                    raise
                outcomes[index] = error.args[0]
                return
            else:
                self._producer.poll(0)
                return

    def _outcome(self, outcome: Written | KafkaError | None, records: Sequence[ToWrite]) -> Written:
        if isinstance(outcome, Written):
            return outcome
        if outcome is not None and outcome.code() in _OWN_FAULT:
            return Written(-1, -1, f"Kafka refuses the record: {outcome.str()}")
        raise UserError(self._why(outcome or KafkaError(KafkaError._TIMED_OUT), records))

    def _why(self, error: KafkaError, records: Sequence[ToWrite]) -> str:
        if error.code() in (KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT):
            return no_answer(self._bootstrap, KafkaException(error))
        topics = ", ".join(sorted({record.topic for record in records}))
        if error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ):
            return f"{topics}: {error.str()}: give this user the right to write to the topic"
        known = advice(error)
        return f"{topics} cannot be written: {error.str()}{f': {known}' if known else ''}"
