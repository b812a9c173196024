"""The five troubles behind "rows are not arriving": cause, place and what to do, within 15 seconds.

Each is brought about on the real parts; ``/status``, the metric and the log name it, and a line
says when it is over.
"""

from __future__ import annotations

import json
import re
import signal
import time
from typing import Any

import requests

from tests.support.job import Job
from tests.support.kafka_witness import unique
from tests.support.process import ConsumerProcess, wait_until

#: Within so many seconds of a trouble it is named.
SOON = 15.0
#: So long a trouble's end may take: the back-off of who tries, and a look.
OVER = 40.0
RETRY = {"base_seconds": 0.2, "cap_seconds": 1.0}


def items(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"extended_id": f"CODE{number}", "line": "1"} for number in range(start, start + count)]


def status(consumer: ConsumerProcess) -> dict[str, Any]:
    told: dict[str, Any] = requests.get(f"{consumer.ops()}/status", timeout=10).json()
    return told


def trouble(consumer: ConsumerProcess, cause: str) -> dict[str, Any]:
    """Return the trouble of this cause, as soon as it is told; the health goes on meanwhile."""
    found = wait_until(
        lambda: [one for one in status(consumer)["troubles"] if one["cause"] == cause],
        SOON,
        lambda: f"{status(consumer)['troubles']}\n{consumer.err[-3000:]}",
    )
    assert requests.get(f"{consumer.ops()}/healthz", timeout=10).status_code == 200
    assert requests.get(f"{consumer.ops()}/readyz", timeout=10).status_code == 200
    metrics = requests.get(f"{consumer.ops()}/metrics", timeout=10).text
    assert f'scm_consumer_trouble{{cause="{cause}"}} 1.0' in metrics
    assert found[0]["advice"]
    assert found[0]["runbook"] == cause.replace("_", "-")
    return dict(found[0])


def line(consumer: ConsumerProcess, pattern: str, seconds: float) -> str:
    """Return the message of the first line of the log that matches."""
    message: str = json.loads(consumer.wait_for_line(pattern, seconds))["message"]
    return message


def stop(consumer: ConsumerProcess) -> None:
    consumer.signal(signal.SIGTERM)
    assert consumer.wait(30) == 0, consumer.err
    assert "Traceback" not in consumer.err + consumer.out


def well(consumer: ConsumerProcess) -> bool:
    told = status(consumer)
    return not told["troubles"] and told["state"] == told["phase"] == "running"


def test_an_api_that_fails(job: Job) -> None:
    job.produce(items(20))
    with job.process(retry=RETRY) as consumer:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] == 20, 30, lambda: consumer.err)
        assert well(consumer), status(consumer)["troubles"]
        job.sandbox.faults.add("status", code=503, path="any")
        job.produce(items(1, start=20), partition=5)
        found = trouble(consumer, "api_failing")
        assert "HTTP 503" in found["message"]
        assert found["severity"] == status(consumer)["state"] == "degraded"
        assert found["where"].startswith(f"{job.topic}[5]@")
        told = line(consumer, "api_failing: ", SOON)
        assert f"{job.topic}[5]@" in told
        assert "check that the API is up" in told
        job.sandbox.faults.clear()
        assert "after" in line(consumer, "over: api_failing", OVER)
        wait_until(lambda: well(consumer), 10, lambda: str(status(consumer)["troubles"]))
        stop(consumer)
    assert len(re.findall(r'"api_failing: ', consumer.err)) == 1


def test_a_token_that_is_refused(job: Job) -> None:
    job.produce(items(20), partition=2)
    job.sandbox.faults.add("status", code=401, path="any")
    with job.process(retry=RETRY) as consumer:
        found = trouble(consumer, "api_unauthorized")
        told = status(consumer)
        assert (told["state"], told["phase"]) == ("stuck", "running")
        assert "token" in told["advice"]
        assert "HTTP 401" in found["message"]
        assert told["api"]["blocked_why"].startswith("HTTP 401")
        wait_until(
            lambda: trouble(consumer, "api_unauthorized")["where"] == f"{job.topic}[2]@0",
            SOON,
        )
        assert "check api.token" in line(consumer, "uploading is paused", SOON)
        assert "api_unauthorized: " not in consumer.err, "it is told twice"
        job.sandbox.faults.clear()
        line(consumer, "uploading goes on", OVER)
        wait_until(lambda: well(consumer), 10)
        stop(consumer)


def test_a_row_that_the_api_fails_for_for_ever(job: Job) -> None:
    job.sandbox.faults.add("status", code=500, key="POISON")
    job.produce([{"extended_id": "POISON", "line": "1"}], partition=4)
    with job.process(retry=RETRY) as consumer:
        consumer.wait_for_line("a request failed", 30)
        began = time.monotonic()
        number = 0

        def named() -> bool:
            nonlocal number
            job.produce(items(3, start=number))  # others pass meanwhile
            number += 3
            return any(one["cause"] == "row_stuck" for one in status(consumer)["troubles"])

        wait_until(named, SOON + 10, lambda: json.dumps(status(consumer), indent=1))
        assert time.monotonic() - began < SOON
        found = trouble(consumer, "row_stuck")
        assert found["where"] == f"{job.topic}[4]@0"
        assert "HTTP 500" in found["message"]
        told = status(consumer)
        assert told["state"] == "stuck"
        assert told["api"]["last_error"].startswith("HTTP 500")
        (partition,) = [one for one in told["partitions"] if one["partition"] == 4]
        oldest = partition["oldest"]
        assert (oldest["offset"], oldest["suspect"]) == (0, True)
        assert oldest["last_response"].startswith("HTTP 500")
        assert oldest["attempts"] >= 3
        assert oldest["key_value"] == "(hidden)"
        logged = line(consumer, "row_stuck: ", SOON)
        assert f"{job.topic}[4]@0" in logged
        assert "HTTP 500" in logged
        assert "POISON" not in consumer.err, "a key is shown though log.keys is off"
        job.sandbox.faults.clear()
        line(consumer, f"over: row_stuck of {re.escape(job.topic)}", OVER)
        wait_until(lambda: well(consumer), 10)
        stop(consumer)


def test_a_dead_letter_topic_that_is_not_there(job: Job) -> None:
    job.letters = unique("letters-later")
    job.produce([{"extended_id": "UNKNOWN1", "line": "1"}], partition=0)
    with job.process() as consumer:
        found = trouble(consumer, "dead_letter_topic_failing")
        assert found["where"] == job.letters
        assert f"create the topic {job.letters}" in found["advice"]
        told = status(consumer)
        assert told["state"] == "stuck"
        assert told["advice"] == found["advice"]
        assert told["rows"]["dead_letters_error"]
        logged = line(consumer, "dead_letter_topic_failing: ", SOON)
        assert f"create the topic {job.letters}" in logged
        wait_until(lambda: status(consumer)["rows"]["dead_letters_oldest_seconds"] > 1, SOON)
        job.kafka.create_topic(job.letters, 1)
        line(consumer, "over: dead_letter_topic_failing", OVER)
        wait_until(lambda: not status(consumer)["rows"]["dead_letters_pending"], 10)
        (rejections,) = status(consumer)["troubles"]
        assert rejections["cause"] == "rejections"
        stop(consumer)
    assert "create the topic" in consumer.err
    assert consumer.err.count("create the topic") == 1, "it is told twice"


def test_a_dead_letter_that_is_too_large_for_its_topic(job: Job) -> None:
    job.letters = job.kafka.create_topic(unique("small"), 1, {"max.message.bytes": "500"})
    job.produce([{"extended_id": "UNKNOWN1", **{f"f{n}": "y" * 40 for n in range(20)}}])
    with job.process() as consumer:
        found = trouble(consumer, "dead_letter_topic_failing")
        assert found["advice"] == f"raise max.message.bytes of {job.letters}"
        line(consumer, "dead_letter_topic_failing: ", SOON)  # what is over sooner is no line
        job.kafka.configure_topic(job.letters, {"max.message.bytes": "100000"})
        line(consumer, "over: dead_letter_topic_failing", OVER)
        stop(consumer)


def test_a_partition_whose_next_record_is_gone(job: Job) -> None:
    job.produce(items(20), partition=3)
    job.run_to_end()
    job.produce(items(20, start=20), partition=3)
    job.produce(items(5, start=40), partition=6)
    job.kafka.delete_records(job.topic, {3: 30})
    with job.process() as consumer:
        found = trouble(consumer, "partition_out_of_range")
        assert found["where"] == f"{job.topic}[3]"
        assert "kafka.on_out_of_range" in found["advice"]
        told = status(consumer)
        assert told["state"] == "stuck"
        (partition,) = [one for one in told["partitions"] if one["partition"] == 3]
        assert "a person has to decide" in partition["pauses"][0]
        assert "kafka.on_out_of_range" in line(consumer, "is stopped: ", SOON)
        stop(consumer)
