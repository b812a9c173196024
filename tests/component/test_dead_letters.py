"""The writer of dead letters, over a client that behaves as a real one was seen to do."""

from __future__ import annotations

import gc
import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.adapters.kafka import retrying_producer
from consumer.adapters.kafka.dead_letter import DeadLetters, headers_of
from consumer.adapters.kafka.receipts import Receipts
from consumer.adapters.kafka.retrying_producer import Headers
from consumer.core.effects import DeadLetter, Receipt
from consumer.core.model import Record, Rejection, Row, Stage
from consumer.core.offsets.partition import Partition
from tests.component.wire import wait_until
from tests.unit.runner_fakes import Message

TOPIC = "dead_letters"


class Client:
    """A producer that reports of each message what ``outcome`` says: an error, or None."""

    def __init__(self, outcome: int | None, metadata: int | None = None) -> None:
        self._outcome = None if outcome is None else KafkaError(outcome)
        self._metadata = metadata
        self._told: list[Callable[[KafkaError | None, Any], None]] = []
        self.produced = 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        if self._metadata is not None:
            raise KafkaException(KafkaError(self._metadata))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def produce(
        self, topic: str, *, on_delivery: Callable[[KafkaError | None, Any], None], **_: Any
    ) -> None:
        self.produced += 1
        self._told.append(on_delivery)

    def poll(self, timeout: float) -> None:
        told, self._told = self._told, []
        for tell in told:
            tell(self._outcome, None)


class WithHeaders(Message):
    """A record without headers."""

    def headers(self) -> None:
        return None


def dead_letter(offset: int) -> DeadLetter:
    record = Record(Partition("events", 0, 0, 0), offset, WithHeaders(offset, b"x"), 1)
    row = Row(record, "extended_id", f"C{offset}", {}, (), 0)
    row.stage = Stage.DEAD_LETTER
    return DeadLetter(row, Rejection("invalid_event", "no", None, "decode"))


@pytest.mark.promise("I8")
@pytest.mark.parametrize(
    "standing",
    [
        Client(KafkaError._MSG_TIMED_OUT),
        Client(KafkaError._FATAL),
        Client(None, metadata=KafkaError._TRANSPORT),
    ],
    ids=["timed out", "fatal", "no metadata"],
)
def test_after_a_client_that_stands_still_a_new_one_writes_what_is_left(
    standing: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8: whatever keeps a client from writing, the dead letters do not wait for it for ever."""
    clients = [standing, Client(None), Client(None)]
    made: list[Client] = []

    def make(*_: Any) -> Client:
        made.append(clients[min(len(made), 2)])
        return made[-1]

    monkeypatch.setattr(retrying_producer, "create_client", make)
    monkeypatch.setattr(retrying_producer, "RETRY_FIRST_SECONDS", 0.01)
    acknowledged: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    dead_letters = [dead_letter(offset) for offset in range(3)]
    with closing(
        DeadLetters(acknowledged.put, topic=TOPIC, bootstrap_servers="nowhere:1", version="0")
    ) as writer:
        for one in dead_letters:
            writer.send(one)
        done: list[Row] = []
        while len(done) < len(dead_letters):
            done += acknowledged.get(timeout=10)
    assert {row.value for row in done} == {"C0", "C1", "C2"}
    assert len(made) >= 2


def test_a_replaced_client_ends_though_it_never_reported_all_its_dead_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """librdkafka keeps the callbacks of what it still holds; in an outage threads would pile up."""
    kept: list[Any] = []  # as the library holds them: no garbage collector sees them
    made: list[weakref.ref[Client]] = []

    class Standing(Client):
        """Reports that its first dead letter took too long, and nothing of the second."""

        def produce(
            self, topic: str, *, on_delivery: Callable[[KafkaError | None, Any], None], **more: Any
        ) -> None:
            kept.append(on_delivery)
            if self.produced < 1:
                super().produce(topic, on_delivery=on_delivery, **more)

        def poll(self, timeout: float) -> None:
            if len(kept) > 1:
                super().poll(timeout)

    def make(*_: Any) -> Client:
        client = Client(None) if made else Standing(KafkaError._MSG_TIMED_OUT)
        made.append(weakref.ref(client))
        return client

    monkeypatch.setattr(retrying_producer, "create_client", make)
    monkeypatch.setattr(retrying_producer, "RETRY_FIRST_SECONDS", 0.01)
    acknowledged: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    with closing(
        DeadLetters(acknowledged.put, topic=TOPIC, bootstrap_servers="nowhere:1", version="0")
    ) as writer:
        for offset in range(2):
            writer.send(dead_letter(offset))
        done: list[Row] = []
        while len(done) < 2:
            done += acknowledged.get(timeout=10)
        assert len(kept) == 2
        gc.collect()
        assert made[0]() is None, "a replaced client lives on"


@pytest.mark.promise("I8")
def test_a_too_large_dead_letter_has_no_long_header_whatever_the_event_says() -> None:
    """I8: a key or a field's name as long as a record would keep its dead letter out for ever."""
    long = "x" * 500_000
    record = Record(Partition("events", 0, 0, 0), 1, None, 1, event_id=long)
    row = Row(record, long, long, {long: long}, (), 1)
    one = DeadLetter(row, Rejection("value_too_long", long, long))
    assert sum(len(value or b"") for _, value in headers_of(one, [], "1")) > 2_000_000
    assert sum(len(value or b"") for _, value in headers_of(one, [], "1", short=True)) < 10_000


def test_only_the_headers_that_a_dead_letter_adds_replace_those_of_the_record() -> None:
    own: Headers = [
        ("scm.line", b"7"),
        ("__connect.errors.task.id", b"1"),
        ("scm.reason", b"an earlier one"),
        ("scm.row", b"an earlier one"),
    ]
    names = [name for name, _ in headers_of(dead_letter(1), own, "1")]
    assert names[:2] == ["scm.line", "__connect.errors.task.id"]
    assert names.count("scm.reason") == 1
    assert "scm.row" not in names, "there is no row, and the earlier copy is none"


# -- what is handed to the client ----------------------------------------------------------------


class Holding(Client):
    """Holds what it is given, as a client whose broker is away, until ``gives`` lets it report."""

    def __init__(self, gives: threading.Event, outcome: int | None = None) -> None:
        super().__init__(outcome)
        self._gives = gives
        self.held = self.most = 0

    def produce(self, topic: str, *, value: bytes | None = None, **more: Any) -> None:
        super().produce(topic, **more)
        self.held += len(value or b"")
        self.most = max(self.most, self.held)

    def poll(self, timeout: float) -> None:
        if self._gives.wait(timeout):
            self.held = 0
            super().poll(timeout)


def _of_one_record(count: int, size: int) -> list[DeadLetter]:
    """Return dead letters of one record of many rows, each of which is the whole record."""
    record = Record(Partition("events", 0, 0, 0), 0, WithHeaders(0, b"x" * size), size)
    rows = [
        Row(record, "extended_id", f"C{number}", {}, (), 0, stage=Stage.DEAD_LETTER)
        for number in range(count)
    ]
    return [DeadLetter(row, Rejection("invalid_value", "no", None)) for row in rows]


@pytest.mark.promise("I6")
def test_of_a_record_of_many_rows_no_more_dead_letters_are_handed_over_than_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gives = threading.Event()
    client = Holding(gives)
    monkeypatch.setattr(retrying_producer, "create_client", lambda *_: client)
    acknowledged: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    with closing(
        DeadLetters(acknowledged.put, topic=TOPIC, bootstrap_servers="nowhere:1", version="0")
    ) as writer:
        for one in _of_one_record(300, 180_000):
            writer.send(one)
        wait_until(
            lambda: client.most > retrying_producer.BUDGET_BYTES / 2 and writer._inbox.empty()
        )
        gives.set()
        done: list[Row] = []
        while len(done) < 300:
            done += acknowledged.get(timeout=10)
    assert client.most <= retrying_producer.BUDGET_BYTES, "I6: what a client holds is not bounded"


@pytest.mark.promise("I6")
def test_a_client_that_is_renewed_gets_no_more_than_the_budget_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gives = threading.Event()
    gives.set()
    clients: list[Holding] = []

    def make(*_: Any) -> Holding:
        clients.append(Holding(gives, KafkaError._MSG_TIMED_OUT if len(clients) < 3 else None))
        return clients[-1]

    monkeypatch.setattr(retrying_producer, "create_client", make)
    monkeypatch.setattr(retrying_producer, "RETRY_FIRST_SECONDS", 0.01)
    acknowledged: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    with closing(
        DeadLetters(acknowledged.put, topic=TOPIC, bootstrap_servers="nowhere:1", version="0")
    ) as writer:
        for one in _of_one_record(100, 180_000):
            writer.send(one)
        done: list[Row] = []
        while len(done) < 100:
            done += acknowledged.get(timeout=10)
        assert writer._handed_out == 0, "I6: what is counted as handed out does not come back"
    assert max(client.most for client in clients) <= retrying_producer.BUDGET_BYTES, (
        "I6: what a client holds is not bounded"
    )


@pytest.mark.promise("I6")
def test_a_dead_letter_that_is_larger_than_the_budget_is_written_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gives = threading.Event()
    gives.set()
    client = Holding(gives)
    monkeypatch.setattr(retrying_producer, "create_client", lambda *_: client)
    acknowledged: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    with closing(
        DeadLetters(acknowledged.put, topic=TOPIC, bootstrap_servers="nowhere:1", version="0")
    ) as writer:
        for one in _of_one_record(3, retrying_producer.BUDGET_BYTES + 1):
            writer.send(one)
        done: list[Row] = []
        while len(done) < 3:
            done += acknowledged.get(timeout=10)
    assert client.most == retrying_producer.BUDGET_BYTES + 1, (
        "I6: what a client holds is not bounded"
    )


@pytest.mark.promise("I6")
def test_receipts_are_handed_out_within_the_budget_too(monkeypatch: pytest.MonkeyPatch) -> None:
    gives = threading.Event()
    client = Holding(gives)
    monkeypatch.setattr(retrying_producer, "create_client", lambda *_: client)
    acknowledged: queue.SimpleQueue[list[Row]] = queue.SimpleQueue()
    rows = [one.row for one in _of_one_record(300, 1)]
    for row in rows:
        row.stage, row.item = Stage.RECEIPT, {"extended_id": str(row.value), "note": "x" * 100_000}
    with closing(
        Receipts(acknowledged.put, topic=TOPIC, bootstrap_servers="nowhere:1", clock=lambda: 0.0)
    ) as writer:
        writer.send(Receipt(rows, [], {}, None, ""))
        wait_until(
            lambda: client.most > retrying_producer.BUDGET_BYTES / 2 and writer._inbox.empty()
        )
        gives.set()
        done: list[Row] = []
        while len(done) < 300:
            done += acknowledged.get(timeout=10)
    assert client.most <= retrying_producer.BUDGET_BYTES, "I6: what a client holds is not bounded"
