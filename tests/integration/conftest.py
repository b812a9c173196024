"""The fixtures of this folder: a Kafka that tests may break, a sandbox, a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumer.sandbox import Sandbox
from tests.support.job import Job
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_witness import Kafka


@pytest.fixture
def own_broker() -> Iterator[JvmBroker]:
    """Yield a broker for one test alone, running: to stop, kill, pause and restart."""
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
