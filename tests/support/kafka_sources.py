"""The Kafka that the tests run against: the first of four that can be had.

1. the address in SCM_TEST_KAFKA (host:port);
2. a container, where an engine answers;
3. a broker in a JVM, from Maven Central's jars;
4. outside CI only, librdkafka's mock cluster, which is no Kafka: the run says so.
"""

from __future__ import annotations

import gc
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.support.kafka_broker import BROKER_PROPERTIES, JvmBroker, free_port, wait_until_ready
from tests.support.kafka_jars import POM, BrokerUnavailable
from tests.support.kafka_mock import open_mock
from tests.support.kafka_witness import Kafka

ADDRESS_VARIABLE = "SCM_TEST_KAFKA"
READY_SECONDS = 60.0

#: In a test run's configuration: what the Kafka was, and what a reader of the results must know
#: about it.
USED = pytest.StashKey[tuple[str, str]]()


@contextmanager
def open_kafka() -> Iterator[Kafka]:
    """Yield the first Kafka that can be had, for as long as the context is open.

    Raises BrokerUnavailable when SCM_TEST_KAFKA names a broker that does not answer, and when CI is
    ``true`` and no real Kafka can be had. The message says what was tried and what to install.
    """
    with ExitStack() as stack:
        yield _first(stack)


def _first(stack: ExitStack) -> Kafka:
    address = os.environ.get(ADDRESS_VARIABLE)
    if address:
        wait_until_ready(address, READY_SECONDS)
        return Kafka(address, f"the broker at {address} ({ADDRESS_VARIABLE})")
    tried: list[str] = []
    for source in (_container, _jvm):
        try:
            return stack.enter_context(source())
        except BrokerUnavailable as reason:
            tried.append(str(reason))
    told = "\n".join(f"  - {reason}" for reason in tried)
    if os.environ.get("CI") == "true":
        raise BrokerUnavailable(
            f"CI=true, and no real Kafka for the tests:\n{told}\n"
            f"Set {ADDRESS_VARIABLE}=host:port, start a container engine, "
            "or install a JDK 17 and Maven 3.8."
        )
    return stack.enter_context(open_mock(told))


@contextmanager
def _jvm() -> Iterator[Kafka]:
    with closing(JvmBroker()) as broker:
        broker.start()
        yield Kafka(broker.bootstrap, f"Apache Kafka {kafka_version()} in a JVM")


@contextmanager
def _container() -> Iterator[Kafka]:
    # Imported here: it takes half a second that a run with an address does not need.
    from docker.errors import DockerException  # type: ignore[import-untyped]
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.docker_client import DockerClient

    silent = ""
    with warnings.catch_warnings():
        # a failed attempt leaves its socket to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            DockerClient().client.ping()
        except DockerException as error:  # the docker command may be there without its engine
            silent = str(error)
        gc.collect()
    if silent:
        raise BrokerUnavailable(f"no container engine answers: {silent}")
    host, port = DockerClient().host(), free_port()
    properties = BROKER_PROPERTIES | {
        "listeners": "PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": "1@127.0.0.1:9093",
    }
    container = DockerContainer(f"apache/kafka:{kafka_version()}").with_bind_ports(9092, port)
    for key, value in properties.items():
        container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
    try:
        container.start()
    except DockerException as error:  # for one, an image that cannot be pulled
        raise BrokerUnavailable(f"the container engine could not start Kafka: {error}") from error
    try:
        wait_until_ready(f"{host}:{port}", READY_SECONDS)
        yield Kafka(f"{host}:{port}", f"Apache Kafka {kafka_version()} in a container")
    finally:
        container.stop()


def kafka_version() -> str:
    """Return the version of Apache Kafka the tests use, as pom.xml names it."""
    found = re.search(r"kafka_2\.13</artifactId>\s*<version>([^<]+)", POM.read_text())
    if found is None:
        raise RuntimeError(f"{POM} names no version of kafka_2.13")
    return found[1]
