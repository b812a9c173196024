"""librdkafka's mock cluster: what is left for tests on a machine that can have no real Kafka."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata

from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_witness import Kafka

NOTICE = (
    "No real Kafka: these tests ran against librdkafka's mock cluster, which proves less. "
    "Install a JDK 17 and Maven 3.8 for the real one. Tried:\n"
)


class MockKafka(Kafka):
    """A mock cluster of one broker in this process, with topics of any number of partitions.

    The Python client can start a mock cluster but not make a topic in it, so its own copy of
    librdkafka is asked through its C interface (rdkafka_mock.h). Topic configuration is ignored.
    """

    # newer requests for the versions a broker knows are answered in a form nobody reads
    api_version = 2, 3

    def __init__(self, tried: str) -> None:
        self._library = _librdkafka()
        error = ctypes.create_string_buffer(512)
        configuration = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._handle = ctypes.c_void_p(
            self._library.rd_kafka_new(0, configuration, error, len(error))
        )
        if not self._handle:
            raise BrokerUnavailable(
                f"librdkafka's mock cluster did not start: {error.value.decode()}"
            )
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._handle, 1))
        bootstrap = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        super().__init__(bootstrap, "librdkafka's mock cluster", NOTICE + tried)

    def close(self) -> None:
        """End the cluster; nothing answers at its address any more."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def _request_topic(self, name: str, partitions: int, config: Mapping[str, str]) -> None:
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code:
            raise RuntimeError(f"the mock cluster refused topic {name}: error {code}")


@contextmanager
def open_mock(tried: str) -> Iterator[Kafka]:
    """Yield a mock cluster for as long as the context is open.

    Its notice ends in what was ``tried`` before.
    """
    kafka = MockKafka(tried)
    try:
        yield kafka
    finally:
        kafka.close()


def _librdkafka() -> ctypes.CDLL:
    """Return the library that came with the Python client."""
    for file in metadata.files("confluent-kafka") or []:
        if file.name.startswith("librdkafka"):
            library = ctypes.CDLL(str(file.locate()))
            for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
                getattr(library, name).restype = ctypes.c_void_p
            library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
            return library
    raise BrokerUnavailable(
        "the installed confluent-kafka brings no librdkafka of its own for a mock cluster"
    )
