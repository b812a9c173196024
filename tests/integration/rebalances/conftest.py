"""The fixtures of these tests: a broker with short sessions, and a group on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumer.sandbox import Sandbox
from tests.integration.rebalances.group import PROPERTIES, Group
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_witness import Kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[JvmBroker]:
    """Yield a broker whose sessions are short in both protocols."""
    with closing(JvmBroker(PROPERTIES)) as running:
        try:
            running.start()
        except BrokerUnavailable as reason:
            pytest.fail(f"these tests need short sessions: {reason}", pytrace=False)
        yield running


@pytest.fixture
def group(broker: JvmBroker, sandbox: Sandbox, tmp_path: Path) -> Iterator[Group]:
    group = Group(Kafka(broker.bootstrap, "a broker with short sessions"), sandbox, tmp_path)
    with group.stack:
        yield group
    if not broker.runs:
        broker.start()
