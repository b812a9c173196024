"""A run from its beginning to its evidence."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumer.sandbox import Sandbox
from tests.chaos.actions import say
from tests.chaos.driver import Driver
from tests.chaos.evidence import Application, Evidence, Record, Request
from tests.chaos.load import Line, Publisher
from tests.chaos.offsets_topic import history
from tests.chaos.stage import (
    GROUP,
    LETTERS,
    MAX_PROCESSING,
    MAX_UNSETTLED_ROWS,
    REQUEST_TIMEOUT,
    TOPIC,
    Stage,
    set_up,
)
from tests.chaos.watcher import Watcher
from tests.support.kafka_witness import Kafka, Witnessed

EVIDENCE = "evidence.pickle"  #: beside the members' logs
PER_SECOND = 100.0
AHEAD = 1500
#: With everything healthy, something is committed at least this often until all is; and all of it
#: in this time.
DRAIN_STALL_SECONDS = 120.0  #: a member that died last may hold its partitions for its session
DRAIN_SECONDS = 900.0


def run(seed: int, plan: Callable[[Driver], None], members: int, folder: Path) -> Evidence:
    """Drive the plan, drain, and collect the evidence.

    What there is of it is also kept in the folder.
    """
    began = time.monotonic()
    with set_up(folder) as stage:
        driver = Driver(stage, seed)
        publisher = Publisher(stage.broker.bootstrap, TOPIC, Line(seed), PER_SECOND, AHEAD)
        watcher = Watcher(driver.members)
        publisher.start()
        watcher.start()
        try:
            driver.begin(members)
            plan(driver)
            say("settle")
            driver.settle()
            publisher.close()
            if publisher.published < PER_SECOND * (time.monotonic() - began) / 2:
                driver.findings.append(
                    f"void: the line stood still: {publisher.published} events only"
                )
            say("drain")
            drained_in = _drain(stage, driver)
            driver.dismiss()
        finally:
            watcher.close()
            for member in driver.members():
                member.process.__exit__(None, None, None)
        say("collect")
        evidence = _collect(stage, driver, watcher, seed)
        evidence.drain_seconds = drained_in
        evidence.seconds = time.monotonic() - began
    (folder / EVIDENCE).write_bytes(pickle.dumps(evidence))
    return evidence


def _drain(stage: Stage, driver: Driver) -> float:
    """Wait until everything is committed; return how long that took. What does not end is a
    finding.
    """
    began = moved = time.monotonic()
    ends = {partition: end for partition, end in stage.kafka.end_offsets(TOPIC).items() if end}
    last: dict[int, tuple[int, str]] = {}
    while True:
        commits = stage.kafka.commits(GROUP, TOPIC)
        committed = {partition: commit.offset for partition, commit in commits.items()}
        now = time.monotonic()
        if all(committed.get(partition) == end for partition, end in ends.items()):
            return now - began
        # With its metadata: what is settled behind a hot code's row moves the map first, and then
        # the offset.
        if (
            seen := {
                partition: (commit.offset, commit.metadata) for partition, commit in commits.items()
            }
        ) != last:
            last, moved = seen, now
        if now - moved > DRAIN_STALL_SECONDS or now - began > DRAIN_SECONDS:
            left = {
                p: (committed.get(p), end) for p, end in ends.items() if committed.get(p) != end
            }
            driver.findings.append(
                f"stuck: not committed to the end {now - began:.0f} s after the last fault: {left}"
            )
            return now - began
        driver.watch_over()
        time.sleep(0.2)


def _collect(stage: Stage, driver: Driver, watcher: Watcher, seed: int) -> Evidence:
    kafka, sandbox = stage.kafka, stage.sandbox
    commits, generations = history(kafka, GROUP, TOPIC, stage.lives)
    return Evidence(
        seed=seed,
        max_processing=MAX_PROCESSING,
        request_timeout=REQUEST_TIMEOUT,
        max_unsettled_rows=MAX_UNSETTLED_ROWS,
        lives=stage.lives,
        troubles=driver.troubles,
        requests=_requests(stage),
        applications=_applications(sandbox),
        records=_records(kafka, TOPIC),
        letters=_records(kafka, LETTERS),
        commits=commits,
        generations=generations,
        committed=kafka.committed(GROUP, TOPIC),
        ends=kafka.end_offsets(TOPIC),
        state=sandbox.state()["codes"],
        failed=_failed(sandbox),
        broken_rules={rule: about["count"] for rule, about in sandbox.rules()["broken"].items()},
        looks=watcher.looks,
        most_unsettled=watcher.most_unsettled,
        actions=driver.actions,
        faults=driver.faults,
        seen=driver.findings + watcher.findings,
    )


def _requests(stage: Stage) -> list[Request]:
    entries = stage.sandbox.journal()["requests"]
    ended = {row["task"]: row["at"] for row in stage.sandbox.journal()["rows"] if row["task"]}
    shown = {task["task_id"] for task in stage.sandbox.tasks() if task["state"] == "complete"}
    told: dict[str, dict[str, Any]] = {}  # the last call in which its end was told
    for entry in entries:
        task = entry["task"]
        asks = entry["method"] == "GET" and task in shown and entry["status"] == 200
        if asks and stage.seen[entry["request"]].answered >= ended.get(task, 0.0):
            told[task] = entry
    found: list[Request] = []
    for entry in entries:
        seen = stage.seen[entry["request"]]
        request = Request(
            entry["request"],
            seen.life,
            seen.received,
            seen.answered,
            entry["status"],
            entry["fault"] or "",
            entry["rows"],
        )
        if entry["task"] and entry["method"] == "POST":
            request = _of_a_task(request, entry["task"], told.get(entry["task"]), stage)
        found.append(request)
    return found


def _of_a_task(request: Request, task: str, told: dict[str, Any] | None, stage: Stage) -> Request:
    """Return the call that began a task, with the answer that told of its end.

    With none, nobody knows what became of it.
    """
    if told is None:
        return request._replace(task=task, status=None)
    seen = stage.seen[told["request"]]
    return request._replace(
        task=task,
        answered=seen.answered,
        status=told["status"],
        fault=told["fault"] or "",
        asked=seen.received,
    )


def _failed(sandbox: Sandbox) -> frozenset[tuple[str, str]]:
    return frozenset(
        (task["data_key"], key)
        for task in sandbox.tasks()
        if task["message"] is not None
        for key in task["keys"]
    )


def _applications(sandbox: Sandbox) -> list[Application]:
    return [
        Application(
            row["seq"], row["request"], row["data_key"], row["key_value"], row["fields"], row["at"]
        )
        for row in sandbox.journal()["rows"]
    ]


def _records(kafka: Kafka, topic: str) -> list[Record]:
    def record(found: Witnessed) -> Record:
        return Record(
            found.partition,
            found.offset,
            found.key,
            found.value,
            found.headers,
            found.timestamp / 1000,
        )

    return [record(found) for found in kafka.read_all(topic)]
