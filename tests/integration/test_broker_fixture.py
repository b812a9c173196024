"""The Kafka that tests stand on does what they take for granted; a run without one says so or
fails.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError
from kafka.partitioner.default import murmur2

from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.kafka_witness import Kafka, ToSend, unique

PROJECT = Path(__file__).parents[2]
SMALL_RECORDS = 5_000


@pytest.fixture(scope="module")
def breakable() -> Iterator[JvmBroker]:
    """Yield a broker that these tests stop, kill and freeze; each leaves it running."""
    with closing(JvmBroker({"message.max.bytes": str(SMALL_RECORDS)})) as broker:
        broker.start()
        yield broker


def until(what: str, holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


def values(kafka: Kafka, topic: str, *, committed_only: bool = True) -> list[bytes | None]:
    return [record.value for record in kafka.read_all(topic, committed_only=committed_only)]


def test_a_key_goes_to_the_partition_a_java_producer_would_choose(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("partitioner"), 8)
    kafka.produce(topic, [ToSend(b"key-%d" % i, b"%d" % i) for i in range(500)])
    found = kafka.read_all(topic)
    assert len(found) == 500
    assert all(r.key and r.partition == (murmur2(r.key) & 0x7FFFFFFF) % 8 for r in found)
    assert len({r.partition for r in found}) == 8


def test_records_of_a_partition_keep_the_order_they_were_produced_in(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("order"), 2)
    kafka.produce(topic, [ToSend(None, b"%05d" % i, i % 2) for i in range(20_000)])
    assert values(kafka, topic) == [b"%05d" % i for half in (0, 1) for i in range(half, 20_000, 2)]


def test_an_aborted_transaction_leaves_a_gap_at_the_partitions_end(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("aborted"), 1)
    kafka.produce(topic, [ToSend(b"k", b"kept")])
    kafka.produce_transaction(topic, [ToSend(b"k", b"dropped")] * 3, abort=True)
    assert values(kafka, topic) == [b"kept"]
    assert values(kafka, topic, committed_only=False) == [b"kept"] + [b"dropped"] * 3
    assert kafka.end_offsets(topic) == {0: 5}  # kept, three dropped, one control record


def test_a_committed_transaction_is_seen_and_ends_in_a_control_record(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("transaction"), 1)
    kafka.produce_transaction(topic, [ToSend(b"k", b"one"), ToSend(b"k", b"two")])
    assert values(kafka, topic) == [b"one", b"two"]
    assert kafka.end_offsets(topic) == {0: 3}


def test_deleted_records_are_gone_and_the_later_ones_keep_their_offsets(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("retention"), 1)
    kafka.produce(topic, [ToSend(None, b"%d" % i, 0) for i in range(5)])
    kafka.delete_records(topic, {0: 3})
    assert [(record.offset, record.value) for record in kafka.read_all(topic)] == [
        (3, b"3"),
        (4, b"4"),
    ]


def test_committed_offsets_and_their_metadata_are_visible(kafka: Kafka) -> None:
    topic, group = kafka.create_topic(unique("commits"), 3), unique("group")
    kafka.produce(topic, [ToSend(None, b"x", 1)] * 10)
    assert kafka.committed(group, topic) == {}
    with closing(Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 1, 7, "a note")], asynchronous=False)
    assert kafka.committed(group, topic) == {1: 7}
    assert kafka.commits(group, topic)[1].metadata == "a note\0"


def test_a_topic_that_was_not_created_does_not_come_by_being_asked_for(kafka: Kafka) -> None:
    name = unique("never-created")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    assert admin.list_topics(name, timeout=10).topics[name].error is not None
    assert name not in admin.list_topics(timeout=10).topics


def test_topic_configuration_is_applied(kafka: Kafka) -> None:
    topic = kafka.create_topic(unique("small"), 1, {"max.message.bytes": "1000"})
    with pytest.raises(AssertionError, match="MSG_SIZE_TOO_LARGE"):
        kafka.produce(topic, [ToSend(None, bytes(2_000))])


def test_the_witness_closes_what_it_could_not_connect() -> None:
    """Left to the garbage collector, such a socket fails whichever test runs then."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(KafkaTimeoutError):
            KafkaConsumer(bootstrap_servers=f"127.0.0.1:{free_port()}", bootstrap_timeout_ms=500)
        gc.collect()
    assert [str(warning.message) for warning in told] == []


def test_extra_broker_properties_are_applied(breakable: JvmBroker) -> None:
    kafka = Kafka(breakable.bootstrap, "breakable")
    topic = kafka.create_topic(unique("small-broker"), 1)
    with pytest.raises(AssertionError, match="MSG_SIZE_TOO_LARGE"):
        kafka.produce(topic, [ToSend(None, bytes(SMALL_RECORDS + 1_000))])


@pytest.mark.parametrize("end", [JvmBroker.stop, JvmBroker.kill])
def test_a_restart_keeps_address_records_and_commits(
    breakable: JvmBroker, end: Callable[[JvmBroker], None]
) -> None:
    kafka = Kafka(breakable.bootstrap, "breakable")
    topic, group = kafka.create_topic(unique("restart"), 2), unique("group")
    kafka.produce(topic, [ToSend(b"%d" % i, b"%d" % i) for i in range(100)])
    with closing(Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
    before = kafka.read_all(topic)
    address, process = breakable.bootstrap, breakable.pid
    end(breakable)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    breakable.restart()
    assert breakable.bootstrap == address
    assert kafka.read_all(topic) == before
    assert len(before) == 100
    assert kafka.committed(group, topic) == {0: 5}


def test_a_paused_broker_answers_nothing_until_it_is_resumed(breakable: JvmBroker) -> None:
    admin = AdminClient({"bootstrap.servers": breakable.bootstrap})
    assert admin.list_topics(timeout=10).brokers
    breakable.pause()
    try:
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=0.5)
    finally:
        breakable.resume()
    assert admin.list_topics(timeout=30).brokers


def test_a_broker_does_not_outlive_a_killed_test_run() -> None:
    script = (
        "from tests.support.kafka_broker import JvmBroker\n"
        "broker = JvmBroker().start()\n"
        "print(broker.port, broker.folder, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        port, folder = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    until(f"nobody listens on {port}", lambda: not listening(int(port)))
    until(f"{folder} is removed", lambda: not Path(folder).exists())


def test_in_ci_a_run_without_a_real_kafka_fails_and_says_what_to_install() -> None:
    run = nested_run({"CI": "true"})
    assert run.returncode == 1, run.stdout
    for word in (
        "CI=true",
        "SCM_TEST_KAFKA=host:port",
        "container engine",
        "install a JDK 17",
        "Maven",
    ):
        assert word in run.stdout


def test_outside_ci_a_run_without_a_real_kafka_uses_the_mock_cluster_and_says_so() -> None:
    run = nested_run({"CI": ""})
    assert run.returncode == 0, run.stdout
    assert "No real Kafka" in run.stdout
    assert "java is not on the PATH" in run.stdout


def test_the_address_in_the_environment_is_used_first(kafka: Kafka) -> None:
    run = nested_run({"CI": "true", "SCM_TEST_KAFKA": kafka.bootstrap})
    assert run.returncode == 0, run.stdout
    assert f"Kafka: the broker at {kafka.bootstrap} (SCM_TEST_KAFKA)" in run.stdout


def nested_run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a Kafka test on a machine without Java, Maven or an answering container engine."""
    test = str(Path(__file__).with_name("test_shared_kafka.py"))
    bare = {
        "PATH": "",
        "DOCKER_HOST": "tcp://127.0.0.1:9",
        "SCM_TEST_KAFKA": "",
        "HOME": os.environ["HOME"],
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=PROJECT,
        env=bare | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
