"""Outages: the member stays in the group, its memory stays bounded, and all goes on by itself."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.job import Job, line_events
from tests.support.kafka_witness import unique
from tests.support.oracle import assert_delivered, published
from tests.support.process import ConsumerProcess, wait_until

pytestmark = pytest.mark.promise("I8")

#: The bound on rows.
ROWS = 1000
LIMITS = {"max_unsettled_rows": ROWS}
#: After an outage all goes on within this time, seconds: a probe every three at most, and a busy
#: machine.
SOON = 8.0


def status(consumer: ConsumerProcess) -> dict[str, Any]:
    """Return what it tells of itself: within its bound, healthy, and without a rebalance."""
    address = consumer.ops()
    told: dict[str, Any] = requests.get(f"{address}/status", timeout=10).json()
    assert told["rows"]["unsettled"] <= ROWS
    assert told["rebalances"] <= 1, "the member fell out of the group"
    assert requests.get(f"{address}/healthz", timeout=10).status_code == 200
    return told


def stop(consumer: ConsumerProcess) -> None:
    consumer.signal(signal.SIGTERM)
    assert consumer.wait(30) == 0, consumer.err
    assert "Traceback" not in consumer.err


def applied(job: Job) -> int:
    rows: int = job.sandbox.stats()["rows_applied"]
    return rows


def take_away(job: Job, how: str) -> None:
    """Take the API away in one of three ways."""
    if how == "refused":
        job.sandbox.stop()
    elif how == "hanging":
        job.sandbox.faults.add("timeout_before", seconds=60, path="any")
    else:
        job.sandbox.faults.add("status", code=503, path="any")


@pytest.mark.parametrize("how", ["refused", "hanging", "503"])
def test_an_api_that_was_away_is_noticed_within_seconds_and_what_waited_goes_at_once(
    job: Job, how: str
) -> None:
    job.produce(line_events(6000, seed=5, unknown=0))
    job.sandbox.faults.add("latency", seconds=0.05)
    # The default back-off of windows, up to a minute, must not matter.
    api = {"timeout_seconds": 1, "max_processing_seconds": 1, "concurrency": 4}
    with job.process(api=api, limits=LIMITS) as consumer:
        wait_until(lambda: applied(job) >= 500, 30, lambda: consumer.err)
        take_away(job, how)
        wait_until(lambda: status(consumer)["api"]["circuit"], 30, lambda: consumer.err)

        def failed() -> int:
            return sum(
                status(consumer)["requests"]["outcomes"].get(name, 0)
                for name in ("failed", "lost", "unsent")
            )

        # Until every row in hand has been tried and has failed: then nothing but a probe can notice
        # the end.
        wait_until(lambda: failed() >= 16, 60, lambda: consumer.err)
        before = applied(job)
        job.sandbox.faults.clear()
        job.sandbox.start()
        wait_until(lambda: applied(job) >= before + 2 * ROWS, SOON, lambda: consumer.err)
        wait_until(lambda: applied(job) >= 6000 and not status(consumer)["rows"]["unsettled"], 30)
        stop(consumer)
    job.assert_committed_to_the_end()
    assert_delivered(published(job.kafka.read_all(job.topic)), job.sandbox.journal())
    assert job.kafka.read_all(job.letters) == []


def test_a_token_that_is_revoked_and_replaced_costs_seconds(job: Job, tmp_path: Path) -> None:
    """With the default back-off, as an operator sees it."""
    job.produce(line_events(3000, seed=6, unknown=0))
    token_file = tmp_path / "token"
    token_file.write_text(job.sandbox.token)
    job.sandbox.faults.add("latency", seconds=0.05)
    with job.process(api={"token": "", "token_file": str(token_file)}, limits=LIMITS) as consumer:
        wait_until(lambda: applied(job) >= 500, 30, lambda: consumer.err)
        job.sandbox.token = "another-token"
        wait_until(
            lambda: status(consumer)["api"]["blocked"] == "unauthorized", 30, lambda: consumer.err
        )
        calls = job.sandbox.stats()["arrived"]
        wait_until(lambda: job.sandbox.stats()["arrived"] >= calls + 4, 30, lambda: consumer.err)
        before = applied(job)
        assert before < 3000
        assert status(consumer)["rows"]["dead_letters_pending"] == 0
        token_file.write_text(job.sandbox.token)
        wait_until(lambda: applied(job) >= 3000, 15, lambda: consumer.err)
        wait_until(lambda: not status(consumer)["rows"]["unsettled"], 10)
        stop(consumer)
    job.assert_committed_to_the_end()
    assert job.kafka.read_all(job.letters) == []


def test_a_dead_letter_topic_that_is_away_stops_the_partition_with_the_bad_rows_and_no_other(
    job: Job,
) -> None:
    job.letters = unique("letters-later")
    bad = [{"extended_id": " ", "line": str(number)} for number in range(3 * ROWS)]
    job.produce(bad, partition=0)
    good = line_events(3000, seed=7, unknown=0)
    for number in range(1, 8):
        job.produce(good[number - 1 :: 7], partition=number)
    with job.process(limits=LIMITS) as consumer:
        wait_until(lambda: applied(job) >= 3000, 40, lambda: consumer.err)
        consumer.wait_for_line(f"create the topic {job.letters}", 30)
        told = status(consumer)
        assert told["rows"]["dead_letters_pending"] > 0
        assert [p["partition"] for p in told["partitions"] if p["unsettled"]] == [0]
        job.kafka.create_topic(job.letters, 1)
        wait_until(lambda: not status(consumer)["rows"]["unsettled"], 40, lambda: consumer.err)
        wait_until(
            lambda: job.kafka.committed(job.group, job.topic).get(0) == len(bad),
            20,
            lambda: consumer.err,
        )
        stop(consumer)
    job.assert_committed_to_the_end()
    letters = Counter(letter.value for letter in job.kafka.read_all(job.letters))
    assert len(letters) == len(bad), "every bad row has its letter"


def test_a_hot_code_does_not_stop_the_other_partitions(job: Job) -> None:
    """Each of its updates is a request of its own, many times what may be in memory."""
    hot = 20 * ROWS
    job.produce([{"extended_id": "HOT", "step": str(number)} for number in range(hot)], partition=0)
    others = line_events(5000, seed=8, unknown=0)
    job.sandbox.faults.add("latency", seconds=0.1)
    with job.process(limits=LIMITS) as consumer:
        # The hot one alone fills what it may first.
        wait_until(
            lambda: any(p["paused"] for p in status(consumer)["partitions"]),
            30,
            lambda: consumer.err,
        )
        for number in range(1, 8):
            job.produce(others[number - 1 :: 7], partition=number)

        def settled() -> int:
            return sum(p["accepted"] for p in status(consumer)["partitions"] if p["partition"])

        wait_until(lambda: settled() == 5000, 15, lambda: consumer.err)
        told = status(consumer)
        assert [p["partition"] for p in told["partitions"] if p["unsettled"]] == [0]
        consumer.running.kill()
