"""Light traffic is quick, and no traffic costs next to nothing."""

from __future__ import annotations

import json
import os
import threading
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Producer

from tests.support.job import Job
from tests.support.process import wait_until

pytestmark = pytest.mark.alone

TICKS = os.sysconf("SC_CLK_TCK")
EVENTS = 500
EVENTS_PER_SECOND = 100
SAMPLE_SECONDS = 0.02


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def seconds_ready(pid: int) -> float:
    """Return how long the threads of a process were ready to run and did not, in seconds."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended, or this kernel does not count it
            total += int((thread / "schedstat").read_text().split()[1])
    return total / 1e9


def family(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not.

    Here these are the tests' own, the broker and the consumer.
    """
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(
            one
            for file in children
            for child in file.read_text().split()
            for one in family(int(child))
        ),
    ]


class Delays:
    """The times at which others kept some of these processes from running, sampled all along."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._at: list[float] = []
        self._kept: list[float] = []  # seconds so far, by each of these times

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> float:
        """Return how long one of them could not run though it was ready, between two wall-clock
        times.
        """
        first = max(0, bisect_right(self._at, begin) - 1)
        last = min(len(self._at) - 1, bisect_left(self._at, end))
        return max(0.0, self._kept[last] - self._kept[first])

    def _sample(self) -> None:
        kept, before = 0.0, (time.time(), sum(map(seconds_ready, self._pids)))
        while not self._stop.wait(SAMPLE_SECONDS):
            at, ready = time.time(), sum(map(seconds_ready, self._pids))
            # Threads may have waited at the same time: never more than has passed.
            kept += min(max(0.0, ready - before[1]), at - before[0])
            before = at, ready
            self._at.append(at)
            self._kept.append(kept)


def test_at_a_hundred_events_a_second_an_event_is_accepted_within_400_ms(job: Job) -> None:
    """Delay by others on this machine is measured at the same time, and does not count."""
    job.sandbox.faults.add("latency", seconds=0.02)
    producer = Producer({"bootstrap.servers": job.kafka.bootstrap, "linger.ms": 0})
    published: dict[str, float] = {}
    with job.process(windows={"linger_seconds": 0.2}) as consumer:
        consumer.wait_for_line("assigned", 30)
        with Delays(family(os.getpid())) as delays:
            start = time.monotonic()
            for number in range(EVENTS):
                # The pace of the line under test, not a wait for anything.
                time.sleep(max(0.0, start + number / EVENTS_PER_SECOND - time.monotonic()))
                code = f"CODE{number:05d}"
                published[code] = time.time()
                producer.produce(job.topic, json.dumps({"extended_id": code, "line": "1"}), code)
                producer.poll(0)
            producer.flush(10)
            wait_until(
                lambda: job.sandbox.stats()["rows_applied"] == EVENTS, 10, lambda: consumer.err
            )
    spans = [(published[row["key_value"]], row["at"]) for row in job.sandbox.journal()["rows"]]
    took = sorted(accepted - begin - delays.between(begin, accepted) for begin, accepted in spans)
    whole = sorted(accepted - begin for begin, accepted in spans)
    p99 = took[int(0.99 * EVENTS)]
    told = (
        f"p50 {took[EVENTS // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
        f"worst {took[-1] * 1000:.0f} ms"
    )
    assert p99 <= 0.4, (
        f"{told}; with the machine's own delays p99 {whole[int(0.99 * EVENTS)] * 1000:.0f} ms"
    )


def test_an_idle_consumer_takes_under_one_percent_of_a_core(job: Job) -> None:
    job.produce([{"extended_id": f"CODE{number}", "line": "1"} for number in range(100)])
    with job.process() as consumer:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] == 100, 30, lambda: consumer.err)
        wait_until(lambda: sum(job.kafka.committed(job.group, job.topic).values()) == 100, 10)
        before, since = cpu_seconds(consumer.running.pid), time.monotonic()
        time.sleep(10)  # the span of the measurement
        share = (cpu_seconds(consumer.running.pid) - before) / (time.monotonic() - since)
    assert share < 0.01, f"{share:.2%} of a core"
