"""The memory of the real process: it is bounded by what a backlog decompresses to."""

from __future__ import annotations

import json
import random
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
#: A peak that has not grown for so long grows no more.
STILL_SECONDS = 4.0
BACKLOG_BYTES = 200_000_000


def publish_compressed(job: Job, partitions: int, value_bytes: int) -> None:
    """Publish records in large batches, which travel at about a fiftieth of their size."""
    count = BACKLOG_BYTES // value_bytes
    producer = Producer(
        {
            "bootstrap.servers": job.kafka.bootstrap,
            "compression.type": "zstd",
            "batch.size": 1_000_000,
            "linger.ms": 500,
            "queue.buffering.max.messages": count,
        }
    )
    digits = random.Random(1)
    differs = (
        12 if value_bytes > 500 else 0
    )  # digits that do not compress; a short event travels at no less anyway
    for number in range(count):
        pad = f"{digits.getrandbits(64):016x}"[:differs].ljust(value_bytes - 80, "x")
        event = {"key_value": f"CODE{number:07d}", "scm_data": {"activation_status": 1}, "pad": pad}
        producer.produce(job.topic, json.dumps(event).encode(), partition=number % partitions)
        producer.poll(0)
    assert producer.flush(60) == 0


def peak_mib(consumer: ConsumerProcess) -> int:
    """Return the largest resident set of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{consumer.running.pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak here")
@pytest.mark.parametrize(("partitions", "value_bytes"), [(1, 230), (48, 900)])
def test_a_backlog_that_compresses_well_takes_no_more_memory_than_is_promised(
    job: Job, partitions: int, value_bytes: int
) -> None:
    job.topic = job.kafka.create_topic(unique("compressed"), partitions)
    publish_compressed(job, partitions, value_bytes)
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


def test_a_record_larger_than_a_fetch_is_read(job: Job) -> None:
    job.produce(
        [{"extended_id": "LARGE", "line": "x" * 700_000}, {"extended_id": "SMALL", "line": "x"}],
        partition=0,
    )
    assert "1 accepted + 1 rejected" in job.run_to_end()
    job.assert_committed_to_the_end()
