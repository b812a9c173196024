"""The memory of the real process: what travels compressed is bounded by what it is when it is not."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.support.job import Job
from tests.support.kafka_witness import unique
from tests.support.process import ConsumerProcess, wait_until

#: What docs/configuration.md names.
BOUND_MIB = 200
#: As long as nothing is added to the peak for so long, nothing more comes.
STILL_SECONDS = 4.0
VALUE_BYTES = 900


def publish_compressed(job: Job, partitions: int, records: int) -> None:
    """Publish records in large batches, which travel at about a ninetieth of their size."""
    producer = Producer(
        {
            "bootstrap.servers": job.kafka.bootstrap,
            "compression.type": "zstd",
            "batch.size": 1_000_000,
            "linger.ms": 500,
            "queue.buffering.max.messages": records,
        }
    )
    for number in range(records):
        value = f'{{"extended_id": "CODE{number:07d}", "line": "{"x" * VALUE_BYTES}"}}'
        producer.produce(job.topic, value.encode(), partition=number % partitions)
        producer.poll(0)
    assert producer.flush(60) == 0


def peak_mib(consumer: ConsumerProcess) -> int:
    """The largest resident set of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{consumer.running.pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak here")
@pytest.mark.parametrize("partitions", [8, 48])
def test_a_backlog_that_compresses_well_takes_no_more_memory_than_is_promised(job: Job, partitions: int) -> None:
    job.topic = job.kafka.create_topic(unique("compressed"), partitions)
    publish_compressed(job, partitions, 240_000)
    nowhere = {"base_url": "http://127.0.0.1:1"}
    with job.process(api=nowhere) as consumer:
        consumer.wait_for_line("assigned", 30)
        peak, since = 0, time.monotonic()

        def still() -> bool:
            nonlocal peak, since
            if (now := peak_mib(consumer)) > peak:
                peak, since = now, time.monotonic()
            return time.monotonic() - since > STILL_SECONDS

        wait_until(still, 60)
    assert peak <= BOUND_MIB, f"I6: {peak} MiB are resident"
