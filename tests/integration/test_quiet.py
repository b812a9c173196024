"""Light traffic is quick, and no traffic costs next to nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from confluent_kafka import Producer

from tests.support.job import Job
from tests.support.process import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
EVENTS = 500
EVENTS_PER_SECOND = 100


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def test_at_a_hundred_events_a_second_an_event_is_accepted_within_400_ms(job: Job) -> None:
    job.sandbox.faults.add("latency", seconds=0.02)
    producer = Producer({"bootstrap.servers": job.kafka.bootstrap, "linger.ms": 0})
    published: dict[str, float] = {}
    with job.process(windows={"linger_seconds": 0.2}) as consumer:
        consumer.wait_for_line("assigned", 30)
        start = time.monotonic()
        for number in range(EVENTS):
            # The pace of the line under test, not a wait for anything.
            time.sleep(max(0.0, start + number / EVENTS_PER_SECOND - time.monotonic()))
            code = f"CODE{number:05d}"
            published[code] = time.time()
            producer.produce(job.topic, json.dumps({"extended_id": code, "line": "1"}), code)
            producer.poll(0)
        producer.flush(10)
        wait_until(lambda: job.sandbox.stats()["rows_applied"] == EVENTS, 10, lambda: consumer.err)
    took = sorted(row["at"] - published[row["key_value"]] for row in job.sandbox.journal()["rows"])
    p99 = took[int(0.99 * EVENTS)]
    assert p99 <= 0.4, f"p50 {took[EVENTS // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, worst {took[-1] * 1000:.0f} ms"


def test_an_idle_consumer_takes_under_one_percent_of_a_core(job: Job) -> None:
    job.produce([{"extended_id": f"CODE{number}", "line": "1"} for number in range(100)])
    with job.process() as consumer:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] == 100, 30, lambda: consumer.err)
        wait_until(lambda: sum(job.kafka.committed(job.group, job.topic).values()) == 100, 10)
        before, since = cpu_seconds(consumer.running.pid), time.monotonic()
        time.sleep(10)  # the span of the measurement
        share = (cpu_seconds(consumer.running.pid) - before) / (time.monotonic() - since)
    assert share < 0.01, f"{share:.2%} of a core"
