"""The settled map on a real broker: what is settled beyond the committed offset is not sent again
(I7).
"""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import closing
from functools import partial

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.core.offsets.settled_map import decode, origin_of
from consumer.sandbox import Sandbox
from tests.support.job import Job, line_events
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka
from tests.support.oracle import assert_delivered, published
from tests.support.process import ConsumerProcess, wait_until

STUCK = "STUCK"
COUNT = 5000


def _stuck_first(job: Job) -> None:
    """Publish one partition whose first row the API fails for, and much behind it.

    That row has fields of its own, so that it is in a window of its own.
    """
    job.sandbox.faults.add("status", code=503, key=STUCK)
    job.produce(
        [{"extended_id": STUCK, "other": "x"}, *line_events(COUNT, seed=1, repeats=0, unknown=0)],
        partition=0,
    )


def _has_applied(job: Job, count: int) -> bool:
    return int(job.sandbox.stats()["rows_applied"]) > count


def _map_count(job: Job) -> int:
    """Return how many settled records the commit's metadata names, by an independent client."""
    commit = job.kafka.commits(job.group, job.topic).get(0)
    if commit is None:
        return 0
    return decode(commit.metadata.rstrip("\0"), 0, commit.offset).count


def _applied(job: Job) -> Counter[str]:
    return Counter(row["key_value"] for row in job.sandbox.journal()["rows"])


def _run_until_mapped(job: Job, consumer: ConsumerProcess) -> None:
    wait_until(
        lambda: _map_count(job) == COUNT,
        60,
        lambda: f"{_map_count(job)} in the map\n{consumer.err[-3000:]}",
    )
    assert job.kafka.committed(job.group, job.topic)[0] == 0
    commit = job.kafka.commits(job.group, job.topic)[0]
    assert origin_of(commit.metadata.rstrip("\0")).epoch >= 0, (
        "I1: a commit does not name the leader's epoch"
    )


@pytest.mark.promise("I7")
def test_after_kill_9_only_what_the_map_did_not_name_is_sent_again(job: Job) -> None:
    _stuck_first(job)
    with job.process() as consumer:
        _run_until_mapped(job, consumer)
        consumer.signal(signal.SIGKILL)
        consumer.wait(10)
    job.sandbox.faults.clear()

    out = job.run_to_end()

    assert set(_applied(job).values()) == {1}
    assert len(_applied(job)) == COUNT + 1
    assert f"{COUNT + 1} consumed = 1 accepted + 0 rejected + {COUNT} skipped" in out
    job.assert_committed_to_the_end()


@pytest.mark.promise("I7")
def test_after_a_stop_nothing_is_sent_again(job: Job) -> None:
    events = line_events(20_000, seed=3, unknown=0)
    job.produce(events)
    job.sandbox.faults.add("latency", seconds=0.1)
    job.sandbox.faults.add("status", code=503, every=7)
    for life in (1, 2, 3):
        with job.process() as consumer:
            applied = partial(_has_applied, job, 3000 * life)
            wait_until(applied, 60, lambda: consumer.err)
            consumer.signal(signal.SIGTERM)
            assert consumer.wait(30) == 0, consumer.err
    job.sandbox.faults.clear()
    job.run_to_end()
    assert assert_delivered(published(job.kafka.read_all(job.topic)), job.sandbox.journal()) == 0


@pytest.mark.promise("I1")
def test_a_map_that_belongs_to_another_offset_or_program_is_ignored(job: Job) -> None:
    _stuck_first(job)
    with job.process() as consumer:
        _run_until_mapped(job, consumer)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(30) == 0, consumer.err
    metadata = job.kafka.commits(job.group, job.topic)[0].metadata.rstrip("\0")
    moved = Consumer({"bootstrap.servers": job.kafka.bootstrap, "group.id": job.group})
    with closing(moved):
        moved.commit(offsets=[TopicPartition(job.topic, 0, 10, metadata)], asynchronous=False)
    job.sandbox.faults.clear()
    with job.process("--until-end") as consumer:
        assert consumer.wait(60) == 0, consumer.err
        assert "it was made for partition 0 at offset 0" in consumer.err
    counts = _applied(job)
    assert len(counts) == COUNT, "what was skipped by hand, and nothing else, was not sent"
    assert sum(counts.values()) == COUNT + (COUNT + 1 - 10), (
        "everything behind the offset was sent again"
    )


def test_a_broker_that_takes_less_metadata_gets_less(sandbox: Sandbox, job: Job) -> None:
    with closing(JvmBroker({"offset.metadata.max.bytes": "20"})) as broker:
        broker.start()
        job = Job(Kafka(broker.bootstrap, "own"), sandbox, job.folder, partitions=1)
        _stuck_first(job)
        with job.process() as consumer:
            wait_until(
                lambda: job.sandbox.stats()["rows_applied"] == COUNT, 60, lambda: consumer.err
            )
            consumer.wait_for_line("commit failed", 10)
            job.sandbox.faults.clear()
            wait_until(
                lambda: job.kafka.committed(job.group, job.topic).get(0) == COUNT + 1,
                60,
                lambda: consumer.err,
            )
            consumer.signal(signal.SIGTERM)
            assert consumer.wait(30) == 0, consumer.err


@pytest.mark.promise("I7")
def test_two_members_hand_over_without_a_repeat(job: Job) -> None:
    events = line_events(20_000, seed=5, unknown=0)
    job.produce(events)
    job.sandbox.faults.add("latency", seconds=0.3)
    with job.process() as first:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] > 1000, 60, lambda: first.err)
        with ConsumerProcess(
            job.folder, job.settings(), "run", "--until-end", name="second"
        ) as second:
            second.wait_for_line("assigned", 30)
            wait_until(lambda: job.sandbox.stats()["rows_applied"] > 4000, 60, lambda: second.err)
            first.signal(signal.SIGTERM)
            assert first.wait(30) == 0, first.err
            job.sandbox.faults.clear()
            assert second.wait(60) == 0, second.err
    assert assert_delivered(published(job.kafka.read_all(job.topic)), job.sandbox.journal()) == 0
    job.assert_committed_to_the_end()
