"""A client that cannot join is left for a new one, and the loop goes on meanwhile."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from consumer.adapters.kafka import source as module
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source

NOT_RELEASED = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID, fatal=True)


class Client:
    """Refuses to be a member; closing it takes until ``may_close``."""

    def __init__(self) -> None:
        self.may_close = threading.Event()
        self.source: Source | None = None
        self.subscribed = self.closed = False

    def subscribe(self, *_: Any, **__: Any) -> None:
        self.subscribed = True

    def consume(self, *_: Any) -> list[Any]:
        assert not self.closed, "a client that is being closed is not called"
        error = SimpleNamespace(
            error=lambda: NOT_RELEASED, topic=lambda: None, partition=lambda: None
        )
        return [error, error]

    def memberid(self) -> str:
        return "line-7"

    def consumer_group_metadata(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True
        assert self.may_close.wait(30)
        if self.source is not None:  # what a client reports while it is being closed
            self.source._on_lost(self, [TopicPartition("events", 0)])
            self.source._on_commit(None, [TopicPartition("events", 0, 5)])


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    made = [Client(), Client()]
    left = iter(made)
    monkeypatch.setattr("consumer.adapters.kafka.reader.create_client", lambda *_: next(left))
    monkeypatch.setattr(module, "create_client", lambda *_: next(left))
    monkeypatch.setattr(module, "JOIN_AGAIN_SECONDS", 0.0)
    return made


@pytest.fixture
def source(clients: list[Client]) -> Source:
    owner = threading.current_thread()

    def on_revoked(partitions: list[Any], *, lost: bool) -> None:
        assert threading.current_thread() is owner, "only the owner's thread calls the loop"
        assert not partitions
        assert lost

    # Nothing else is reported.
    listener: Any = SimpleNamespace(stopping=False, leaves_at_once=False, on_revoked=on_revoked)
    reading = ReadFrom("127.0.0.1:1", "group", ["events"], "earliest", "stop", {})
    made = Source(listener, reading, instance_id="line-7")
    made.subscribe()
    return made


def test_the_loop_turns_while_a_client_that_could_not_join_is_being_closed(
    source: Source, clients: list[Client]
) -> None:
    """With no broker, closing takes as long as a session: /healthz would say stalled."""
    first, second = clients
    first.source = source
    began = time.monotonic()
    for _ in range(20):
        assert source.poll(10) == []
    assert time.monotonic() - began < 5
    assert first.closed
    assert not second.subscribed, "one client at a time"
    first.may_close.set()
    second.may_close.set()
    assert source._leaving is not None
    source._leaving.join(30)
    source.poll(10)
    assert second.subscribed, (
        "and nothing that the first one told on its way out was taken for the second's"
    )


@pytest.mark.parametrize("in_time", [True, False])
def test_a_stop_waits_for_a_client_that_is_being_closed_and_closes_it_not_twice(
    source: Source, clients: list[Client], *, in_time: bool
) -> None:
    source.poll(10)
    if in_time:
        clients[0].may_close.set()
    assert source.close(0.3 if not in_time else 30) is in_time
    clients[0].may_close.set()
