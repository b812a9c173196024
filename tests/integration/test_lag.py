"""The lag of a real consumer on a real Kafka: read or not, and while Kafka is away."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.sandbox import Sandbox
from tests.integration.test_ops import metrics, status, stop, wait_until_settled
from tests.support.job import Job, line_events
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka
from tests.support.process import wait_until

SECONDS = 60.0
#: Ends are asked for every 10 s; a look and a tick more.
SOON = 20.0
HOUR = 3600.0


def partition(url: str, number: int) -> dict[str, Any]:
    """Return what is told of a partition, as soon as it is there."""

    def found() -> dict[str, Any] | None:
        return next((p for p in status(url)["partitions"] if p["partition"] == number), None)

    return wait_until(found, SECONDS) or {}


def produce_at(job: Job, number: int, count: int, at: float) -> None:
    """Publish flat events with a time of their own, seconds since the epoch."""
    producer = Producer({"bootstrap.servers": job.kafka.bootstrap, "linger.ms": 5})
    for index in range(count):
        item = {"extended_id": f"OLD{number}X{index:07d}", "line": "L1"}
        value = json.dumps(item).encode()
        producer.produce(job.topic, value, partition=number, timestamp=int(at * 1000))
        if index % 10_000 == 0:
            producer.flush()
    assert producer.flush(60) == 0


def commit(job: Job, number: int, offset: int) -> None:
    client = Consumer({"bootstrap.servers": job.kafka.bootstrap, "group.id": job.group})
    client.commit(offsets=[TopicPartition(job.topic, number, offset)], asynchronous=False)
    client.close()


def test_records_that_are_hours_behind_are_as_old_as_they_are_and_not_as_their_reading(
    job: Job,
) -> None:
    produce_at(job, 3, 35_800, time.time() - 2 * HOUR)
    job.sandbox.faults.add("status", code=503)
    with job.process() as consumer:
        url = consumer.ops()
        wait_until(lambda: (status(url)["lag"]["records"] or 0) >= 35_800, SOON)
        told = partition(url, 3)
        assert (told["begin"], told["end"], told["lag"]) == (0, 35_800, 35_800)
        assert 2 * HOUR <= told["lag_seconds"] < 2 * HOUR + 60
        assert 2 * HOUR <= status(url)["lag"]["seconds"] < 2 * HOUR + 60
        assert metrics(url)["lag_seconds"][("3", job.topic)] >= 2 * HOUR
        stop(consumer)


def test_the_lag_grows_while_nothing_can_be_read(job: Job) -> None:
    job.sandbox.faults.add("status", code=401, path="any")
    few = {"max_unsettled_rows": 20}
    job.produce(line_events(500, seed=1, unknown=0), partition=0)
    with job.process(limits=few) as consumer:
        url = consumer.ops()
        wait_until(lambda: partition(url, 0)["lag"] == 500, SOON, lambda: str(status(url)["lag"]))
        wait_until(lambda: partition(url, 0)["paused"], SOON)
        began = time.time()
        job.produce(line_events(700, seed=2, unknown=0), partition=0)
        # Of this one nothing was ever read, nor could be: its record is fetched for its time.
        job.produce(line_events(5, seed=3, unknown=0), partition=1)
        wait_until(lambda: partition(url, 0)["lag"] == 1200, SOON, lambda: str(status(url)["lag"]))
        wait_until(lambda: partition(url, 1)["lag"] == 5, SOON)
        wait_until(lambda: partition(url, 1)["lag_seconds"], SOON, lambda: str(status(url)))
        told = partition(url, 1)
        assert 0 < told["lag_seconds"] <= time.time() - began + 1
        assert partition(url, 0)["lag_seconds"] > told["lag_seconds"]
        stop(consumer)


def test_a_stopped_partition_is_as_far_behind_as_its_log_holds(job: Job) -> None:
    produce_at(job, 0, 30, time.time() - HOUR)
    commit(job, 0, 3)
    job.kafka.delete_records(job.topic, {0: 10})
    with job.process() as consumer:
        url = consumer.ops()
        wait_until(lambda: partition(url, 0)["stopped"], SECONDS, lambda: consumer.err)
        wait_until(lambda: partition(url, 0)["lag_seconds"], SOON, lambda: str(partition(url, 0)))
        told = partition(url, 0)
        assert (told["begin"], told["end"], told["lag"]) == (10, 30, 20)
        assert HOUR <= told["lag_seconds"] < HOUR + 60
        assert status(url)["lag"]["backlog_eta_seconds"] is None
        assert metrics(url)["backlog_eta_seconds"][()] == math.inf
        stop(consumer)


def test_offsets_that_hold_no_record_are_no_lag(job: Job) -> None:
    """Behind the last record stand an aborted transaction and its marker; reading is stopped."""
    produce_at(job, 0, 5, time.time() - HOUR)
    job.kafka.produce_transaction(job.topic, [(None, b"{}", 0)] * 3, abort=True)
    end = job.kafka.end_offsets(job.topic)[0]
    assert end == 9
    commit(job, 0, 5)
    with job.process() as consumer:
        url = consumer.ops()
        wait_until(lambda: partition(url, 0)["end"] == end, SECONDS)
        wait_until(
            lambda: (partition(url, 0)["lag"], partition(url, 0)["lag_seconds"]) == (0, 0),
            SOON,
            lambda: str(partition(url, 0)),
        )
        assert status(url)["lag"]["backlog_eta_seconds"] == 0
        stop(consumer)


def test_what_kafka_does_not_tell_any_more_is_not_known_and_one_line_says_so(
    own_broker: JvmBroker, sandbox: Sandbox, tmp_path: Any
) -> None:
    kafka = Kafka(own_broker.bootstrap, "own")
    job = Job(kafka, sandbox, tmp_path, partitions=2)
    job.produce(line_events(20, seed=4, unknown=0))
    # It stays a member for as long as this lasts.
    with job.process(**{"kafka.client": {"session.timeout.ms": 120_000}}) as consumer:
        url = consumer.ops()
        wait_until_settled(url, 20)
        wait_until(lambda: status(url)["lag"]["desired_members"] == 1, SOON)
        own_broker.pause()
        wait_until(lambda: status(url)["lag"]["seconds"] is None, SECONDS)
        told = metrics(url)
        assert all(map(math.isnan, told["lag_records"].values()))
        assert all(map(math.isnan, told["lag_seconds"].values()))
        wait_until(lambda: math.isnan(metrics(url)["backlog_eta_seconds"][()]), 10)
        consumer.wait_for_line("the lag is not known", 10)
        own_broker.resume()
        wait_until(lambda: status(url)["lag"]["seconds"] == 0, SECONDS)
        assert consumer.err.count("the lag is not known") == 1
        consumer.wait_for_line("the lag is known", 10)
        stop(consumer)


@pytest.mark.parametrize("kept", ["604800000", "-1"])
def test_the_retention_of_a_topic_is_told(job: Job, kept: str) -> None:
    job.kafka.configure_topic(job.topic, {"retention.ms": kept})
    with job.process() as consumer:
        url = consumer.ops()
        wanted = math.inf if kept == "-1" else 604_800.0
        wait_until(lambda: metrics(url).get("retention_seconds") == {(job.topic,): wanted}, SOON)
        stop(consumer)
