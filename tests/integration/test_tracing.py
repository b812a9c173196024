"""Traces of the program as a process, on a real Kafka, at a collector over HTTP."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from consumer.sandbox import Sandbox
from tests.support.job import RUN_SECONDS, Job
from tests.support.kafka_witness import Kafka
from tests.support.otlp import Collector

COUNT = 250


@pytest.fixture
def job(kafka: Kafka, sandbox: Sandbox, tmp_path: Path) -> Job:
    return Job(kafka, sandbox, tmp_path, partitions=3)


def publish(job: Job) -> None:
    """Publish events, each in a trace of its own."""
    job.kafka.produce(
        job.topic,
        [
            (
                f"CODE{n:04d}".encode(),
                json.dumps({"extended_id": f"CODE{n:04d}", "line": "L1"}).encode(),
                n % 3,
                [("traceparent", f"00-{n + 1:032x}-{n + 1:016x}-01".encode())],
            )
            for n in range(COUNT)
        ],
    )


def test_every_event_is_linked_to_from_the_window_that_brought_it_and_commits_to_the_windows(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(job)
    job.sandbox.faults.add("status", code=503, first=2)
    with Collector().serving() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "line-7")
        out = job.run_to_end(retry={"base_seconds": 0.05, "cap_seconds": 0.3})
        assert f"{COUNT} consumed = {COUNT} accepted" in out
    windows = collector.named(f"process {job.topic}")
    linked = {trace for span in windows for trace, _ in span.links}
    assert linked == {f"{n + 1:032x}" for n in range(COUNT)}
    assert sum(span.attributes["scm.rows.accepted"] for span in windows) == COUNT
    for span in windows:
        for trace, attributes in span.links:
            n = int(trace, 16) - 1
            assert attributes["messaging.destination.partition.id"] == str(n % 3)
            assert attributes["messaging.kafka.offset"] == n // 3
    attempts = collector.named("POST /api/v2/scm/upload/")
    statuses = [span.attributes["http.response.status_code"] for span in attempts]
    journal = [r["status"] for r in job.sandbox.journal()["requests"] if "upload" in r["path"]]
    assert sorted(statuses) == sorted(journal)
    assert statuses.count(503) == 2
    assert {span.trace_id for span in attempts} == {span.trace_id for span in windows}
    commits = [
        s for s in collector.spans if s.attributes.get("messaging.operation.type") == "settle"
    ]
    settled = {trace for span in commits for trace, _ in span.links}
    assert settled == {span.trace_id for span in windows}
    assert {span.resource["service.name"] for span in collector.spans} == {"line-7"}
    assert not any(b"CODE0" in body for body in collector.bodies), "codes are no one's business"


def test_a_collector_that_hangs_holds_up_neither_the_rows_nor_the_end(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(job)
    with Collector().serving() as collector:
        collector.hold = threading.Event()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with job.process("--until-end") as consumer:
            consumer.wait_for_line("stopping", RUN_SECONDS)
            began = time.monotonic()
            assert consumer.wait(RUN_SECONDS) == 0, consumer.err
            assert time.monotonic() - began < 15, "the end waited for the collector"
            assert f"{COUNT} accepted" in consumer.out
            assert "Traceback" not in consumer.err
        assert collector.asked >= 1
