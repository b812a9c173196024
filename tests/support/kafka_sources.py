"""Which Kafka the tests run against: the first of four that can be had.

1. the address in SCM_TEST_KAFKA (host:port); 2. a container, where an engine answers; 3. a broker in a JVM,
from Maven Central's jars; 4. outside CI only, librdkafka's mock cluster, which is no Kafka: the run says so.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib import metadata
from pathlib import Path

from tests.support.kafka_broker import (
    BROKER_PROPERTIES,
    POM,
    BrokerUnavailable,
    JvmBroker,
    free_port,
    wait_until_ready,
)
from tests.support.kafka_witness import Kafka

ADDRESS_VARIABLE = "SCM_TEST_KAFKA"
READY_SECONDS = 60.0
NOTICE = (
    "No real Kafka: these tests ran against librdkafka's mock cluster, which proves less. "
    "Install Java 17 and Maven 3.8 for the real one. Tried:\n"
)


@contextmanager
def open_kafka() -> Iterator[Kafka]:
    """The first Kafka that can be had, for as long as the context is open.

    Raises BrokerUnavailable when SCM_TEST_KAFKA names a broker that does not answer, and when CI is ``true``
    and no real Kafka can be had; the message says what was tried and what to install.
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
            f"Set {ADDRESS_VARIABLE}=host:port, start a container engine, or install Java 17 and Maven 3.8."
        )
    return stack.enter_context(_mock(told))


@contextmanager
def _jvm() -> Iterator[Kafka]:
    with closing(JvmBroker()) as broker:
        broker.start()
        yield Kafka(broker.bootstrap, f"Apache Kafka {kafka_version()} in a JVM")


@contextmanager
def _container() -> Iterator[Kafka]:
    # Not above: these imports take half a second, and most machines that run this have an address or Java.
    from docker.errors import DockerException  # type: ignore[import-untyped]
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.docker_client import DockerClient

    try:
        engine = DockerClient()
        engine.client.ping()
    except DockerException as error:  # the docker command may be there without its engine
        raise BrokerUnavailable(f"no container engine answers: {error}") from error
    host, port = engine.host(), free_port()
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


@contextmanager
def _mock(tried: str) -> Iterator[Kafka]:
    """librdkafka's mock cluster in this process, with topics of any number of partitions.

    The Python client has no call for the latter, so its own copy of librdkafka is asked by its C interface
    (rdkafka_mock.h).
    """
    library = ctypes.CDLL(str(_librdkafka()))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    error = ctypes.create_string_buffer(512)
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    handle = ctypes.c_void_p(library.rd_kafka_new(0, configuration, error, len(error)))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, 1))
    if not handle or not cluster:
        raise BrokerUnavailable(f"librdkafka's mock cluster did not start: {error.value.decode()}")

    def make_topic(name: str, partitions: int) -> None:
        code = library.rd_kafka_mock_topic_create(cluster, name.encode(), partitions, 1)
        if code:
            raise RuntimeError(f"the mock cluster refused topic {name}: error {code}")

    try:
        bootstrap = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        yield Kafka(bootstrap, "librdkafka's mock cluster", make_topic=make_topic, notice=NOTICE + tried)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)


def _librdkafka() -> Path:
    """The library that came with the Python client."""
    for file in metadata.files("confluent-kafka") or []:
        if file.name.startswith("librdkafka"):
            return Path(str(file.locate()))
    raise BrokerUnavailable(
        "the installed confluent-kafka brings no librdkafka of its own for a mock cluster"
    )


def kafka_version() -> str:
    """The version of Apache Kafka the tests use, as pom.xml names it."""
    found = re.search(r"kafka_2\.13</artifactId>\s*<version>([^<]+)", POM.read_text())
    if found is None:
        raise RuntimeError(f"{POM} names no version of kafka_2.13")
    return found[1]
