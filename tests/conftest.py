"""A Kafka for all tests that want one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.kafka_broker import BrokerUnavailable
from tests.support.kafka_sources import open_kafka
from tests.support.kafka_witness import Kafka

USED = pytest.StashKey[Kafka]()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """The Kafka that all tests share: use topics and groups of your own (``unique``)."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(open_kafka())
        except BrokerUnavailable as reason:
            pytest.fail(str(reason), pytrace=False)
        request.config.stash[USED] = found
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which Kafka the tests ran against, loudly when it was not a real one."""
    used = config.stash.get(USED, None)
    if used is None:
        return
    if used.notice:
        terminalreporter.section("Kafka", yellow=True)
        terminalreporter.write_line(used.notice, yellow=True)
    else:
        terminalreporter.write_line(f"Kafka: {used.source}")
