"""The ops address of a real consumer: metrics, health, readiness and status while it works."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.ops.metric import PREFIX
from consumer.ops.metrics import METRICS
from tests.support.job import Job, line_events, unknown_codes
from tests.support.kafka_broker import free_port
from tests.support.kafka_witness import unique
from tests.support.process import ConsumerProcess, wait_until

SECONDS = 60.0
QUICK: dict[str, dict[str, Any]] = {"retry": {"base_seconds": 0.05, "cap_seconds": 0.3}}
RESULTS = ("accepted", "rejected", "skipped", "released", "unsettled")


def get(url: str) -> tuple[int, bytes]:
    """Return status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def metrics(url: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return sample name without the prefix → values of its labels → value."""
    status, body = get(f"{url}/metrics")
    assert status == 200, body
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                found.setdefault(sample.name.removeprefix(PREFIX), {})[
                    tuple(sample.labels.values())
                ] = sample.value
    return found


def status(url: str) -> dict[str, Any]:
    code, body = get(f"{url}/status")
    assert code == 200, body
    document: dict[str, Any] = json.loads(body)
    return document


def wait_until_settled(url: str, records: int) -> dict[str, Any]:
    """Return the status once so many records are consumed, settled and committed."""

    def settled() -> dict[str, Any] | None:
        told = status(url)
        done = told["ledger"]["consumed"] == records and not told["ledger"]["unsettled"]
        return (
            told
            if done and all(p["committed"] == p["position"] for p in told["partitions"])
            else None
        )

    found = wait_until(settled, SECONDS, lambda: str(status(url)["ledger"]))
    assert found is not None
    return found


def stop(consumer: ConsumerProcess) -> None:
    consumer.signal(signal.SIGTERM)
    assert consumer.wait(30) == 0, consumer.err
    assert "Traceback" not in consumer.err


def test_a_run_in_trouble_emits_every_metric_that_is_declared_and_no_other(job: Job) -> None:
    events = line_events(3000, seed=7, unknown=0.02)
    unknown = len(unknown_codes(events))
    job.produce(events)
    job.kafka.produce(job.topic, [(b"bad", b"{not json", None, None), (b"gone", None, None, None)])
    job.produce([{"extended_id": "LONG", "line": "x" * 51}])
    for kind, parameters in (
        ("throttle", {"first": 2, "retry_after": 1}),
        ("status", {"code": 503, "first": 3}),
        ("reset_after", {"first": 2}),
        # Of a code in the middle: by then the others, which would take its answer away, have
        # struck.
        (
            "omit_rows",
            {
                "first": 1,
                "rows": 3,
                "key": [e["extended_id"] for e in events if "UNKN" not in e["extended_id"]][1500],
            },
        ),
        ("campaign_fields", {"fields": ["line"]}),
    ):
        job.sandbox.faults.add(kind, **parameters)
    with job.process(**QUICK, api={"max_processing_seconds": 1}) as consumer:
        url = consumer.ops()
        wait_until_settled(url, 3003)
        _, body = get(f"{url}/metrics")
        told = metrics(url)
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=body, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
        stop(consumer)

    parts = {"histogram": ("_bucket", "_count", "_sum")}
    declared = {metric.name + part for metric in METRICS for part in parts.get(metric.kind, ("",))}
    assert told.keys() == declared
    rejected = unknown + 2
    # What is counted is what happened: by Kafka, by the sandbox's journal, and by the faults that
    # struck.
    assert told["records_consumed_total"] == {(job.topic,): 3003}
    assert told["records_settled_total"] == {
        ("accepted",): 3003 - 1 - rejected,
        ("rejected",): rejected,
        ("skipped",): 1,
        ("released",): 0,
    }
    assert len(job.kafka.read_all(job.letters)) == rejected
    assert told["rows_accepted_total"] == {("extended_id",): 3003 - 1 - rejected}
    reasons = {reason: count for (reason,), count in told["rows_rejected_total"].items() if count}
    assert reasons == {"unknown_key": unknown, "undecodable": 1, "value_too_long": 1}
    outcomes = {outcome: count for (outcome,), count in told["requests_total"].items() if count}
    journal = [entry for entry in job.sandbox.journal()["requests"] if "upload" in entry["path"]]
    assert sum(outcomes.values()) == len(journal)
    assert outcomes["throttled"] == sum(entry["status"] == 429 for entry in journal) == 2
    assert outcomes["failed"] == sum(entry["status"] == 503 for entry in journal) == 3
    assert outcomes["lost"] == 2
    assert outcomes["rows_named"] == sum(entry["status"] == 400 for entry in journal)
    retries = {cause: count for (cause,), count in told["retries_total"].items() if count}
    assert retries == {**{cause: outcomes[cause] for cause in ("throttled", "failed", "lost")}} | {
        "rows_named": retries["rows_named"]
    }
    assert told["rows_resent_total"][("unconfirmed",)] == 3
    assert told["fields_not_confirmed_total"].keys() == {("step",)}
    assert told["throttled_seconds_total"][()] >= 1
    assert told["request_seconds_count"][()] == len(journal)
    assert told["window_rows_count"][()] == sum(told["windows_closed_total"].values()) > 0
    assert told["event_to_settled_seconds_count"][()] == 3003 - 1
    assert told["commits_total"][("ok",)] >= 1
    assert told["assigned_partitions"] == {(): 8}
    assert told["rebalances_total"][()] >= 1
    assert told["lag_records"] == {(str(number), job.topic): 0 for number in range(8)}
    for name in (
        "rows_in_flight",
        "records_unsettled",
        "dead_letters_pending",
        "oldest_unsettled_seconds",
    ):
        assert told[name] == {(): 0}, name


@pytest.mark.promise("I5")
def test_the_ledger_balances_in_each_of_two_hundred_scrapes_while_a_backlog_runs(job: Job) -> None:
    job.produce(line_events(30_000, seed=8))
    job.sandbox.faults.add("latency", seconds=0.02)
    job.sandbox.faults.add("status", code=503, every=20)
    busy = 0
    seen = [0]
    with job.process(**QUICK) as consumer:
        url = consumer.ops()
        for number in range(200):
            if number % 2:
                told = status(url)
                ledger = told["ledger"]
                for name, total in ledger.items():
                    assert total == sum(partition[name] for partition in told["partitions"])
            else:
                scraped = metrics(url)
                ledger = {
                    result: scraped["records_settled_total"][(result,)] for result in RESULTS[:4]
                }
                ledger["unsettled"] = scraped["records_unsettled"][()]
                ledger["consumed"] = sum(scraped.get("records_consumed_total", {}).values())
            assert ledger["consumed"] == sum(ledger[result] for result in RESULTS)
            assert ledger["consumed"] >= seen[-1]
            seen.append(ledger["consumed"])
            busy += ledger["unsettled"] > 0
        assert busy >= 50, "the backlog was not under way while it was looked at"
        wait_until_settled(url, 30_000)
        stop(consumer)


def test_ready_from_the_assignment_until_the_stop_and_healthy_throughout(job: Job) -> None:
    job.produce(line_events(300, seed=9))
    job.sandbox.faults.add("latency", seconds=10)
    with job.process() as consumer:
        url = consumer.ops()
        assert get(f"{url}/healthz")[0] == 200
        wait_until(lambda: get(f"{url}/readyz") == (200, b"ready: joined the group\n"), SECONDS)
        wait_until(lambda: status(url)["windows"]["in_flight"], SECONDS)
        consumer.signal(signal.SIGTERM)
        wait_until(
            lambda: get(f"{url}/readyz") == (503, b"not ready: stopping\n"), 8, lambda: consumer.err
        )
        assert get(f"{url}/healthz")[0] == 200
        assert status(url)["state"] == "stopping"
        assert consumer.wait(30) == 0, consumer.err


def test_without_a_broker_it_is_healthy_and_not_ready(job: Job) -> None:
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    with job.process(kafka=nowhere) as consumer:
        url = consumer.ops()
        consumer.wait_for_line("kafka.bootstrap_servers", 30)
        code, body = get(f"{url}/readyz")
        assert (code, body) == (
            503,
            b"not ready: the group has not given this member an assignment yet\n",
        )
        assert get(f"{url}/healthz")[0] == 200
        assert status(url)["phase"] == "joining"
        stop(consumer)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_without_any_partition_is_ready(job: Job, protocol: str) -> None:
    job.topic = job.kafka.create_topic(unique("one"), 1)
    kafka = {"kafka": {**job.settings()["kafka"], "group_protocol": protocol}}
    client = {"kafka.client": {} if protocol == "consumer" else job.settings()["kafka.client"]}
    settings = {**job.settings(), **kafka, **client}
    with ExitStack() as stack:
        members = [
            stack.enter_context(
                ConsumerProcess(job.folder, settings, "run", name=f"member{number}")
            )
            for number in range(2)
        ]
        urls = [member.ops() for member in members]
        wait_until(lambda: [get(f"{url}/readyz")[0] for url in urls] == [200, 200], SECONDS)
        wait_until(
            lambda: sorted(metrics(url)["assigned_partitions"][()] for url in urls) == [0, 1],
            SECONDS,
        )
        for member in members:
            stop(member)


def test_a_paused_api_is_told_and_leaves_it_ready_and_healthy(job: Job) -> None:
    job.produce(line_events(50, seed=10, unknown=0))
    job.sandbox.faults.add("status", code=401, path="any")
    with job.process(**QUICK) as consumer:
        url = consumer.ops()
        wait_until(lambda: metrics(url)["api_blocked"][("unauthorized",)] == 1, SECONDS)
        assert status(url)["api"]["blocked"] == "unauthorized"
        assert get(f"{url}/readyz")[0] == get(f"{url}/healthz")[0] == 200
        job.sandbox.faults.clear()
        wait_until_settled(url, 50)
        assert set(metrics(url)["api_blocked"].values()) == {0}
        stop(consumer)


def test_an_address_in_use_stops_nothing_and_is_taken_when_it_is_free(job: Job) -> None:
    job.produce(line_events(500, seed=11, unknown=0))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with job.process(ops={"listen": f"127.0.0.1:{port}"}) as consumer:
            line = consumer.wait_for_line("cannot be bound", 30)
            assert f"127.0.0.1:{port}" in line
            assert "ops.listen" in line
            wait_until(
                lambda: job.sandbox.stats()["rows_applied"] == 500, SECONDS, lambda: consumer.err
            )
            taken.close()
            assert consumer.ops() == f"http://127.0.0.1:{port}"
            wait_until_settled(f"http://127.0.0.1:{port}", 500)
            stop(consumer)
            assert consumer.err.count("cannot be bound") == 1


def test_an_empty_address_serves_nothing(job: Job) -> None:
    job.produce(line_events(10, seed=12, unknown=0))
    with job.process("--until-end", ops={"listen": ""}) as consumer:
        assert consumer.wait(SECONDS) == 0, consumer.err
    assert "ops:" not in consumer.err


def test_the_status_tells_the_settings_without_the_token(job: Job) -> None:
    with job.process() as consumer:
        _, body = get(f"{consumer.ops()}/status?settings=1")
        settings = json.loads(body)["settings"]
        assert settings["kafka"]["topics"] == [job.topic]
        assert settings["api"]["token"] == "(hidden)"
        assert job.sandbox.token.encode() not in body
        stop(consumer)
