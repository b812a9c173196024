"""A Kafka for the tests of this folder, and one they may break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from consumer.sandbox import Sandbox
from tests.support.job import Job
from tests.support.kafka_broker import BrokerUnavailable, JvmBroker
from tests.support.kafka_sources import USED, open_kafka
from tests.support.kafka_witness import Kafka


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """The Kafka that all tests share: use topics and groups of your own (``unique``)."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(open_kafka())
        except BrokerUnavailable as reason:
            pytest.fail(str(reason), pytrace=False)
        request.config.stash[USED] = (found.source, found.notice)
        yield found


@pytest.fixture
def own_broker() -> Iterator[JvmBroker]:
    """A broker for one test alone, running: to stop, kill, pause and restart."""
    with closing(JvmBroker()) as broker:
        try:
            broker.start()
        except BrokerUnavailable as reason:
            pytest.fail(f"this test breaks a broker of its own: {reason}", pytrace=False)
        yield broker


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def job(kafka: Kafka, sandbox: Sandbox, tmp_path: Path) -> Job:
    return Job(kafka, sandbox, tmp_path, partitions=8)
