"""Asynchronous uploads on the real broker and the sandbox: packed, delivered, in order, whatever becomes of tasks."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from consumer.sandbox import Pace
from tests.support.job import Job
from tests.support.process import wait_until

Event = tuple[str, dict[str, Any]]


def by_unit(unit: str, value: str, **fields: str) -> dict[str, Any]:
    return {"data_key": unit, "key_value": value, "scm_data": fields}


def publish(job: Job, events: list[Event]) -> None:
    """Each with the group that keeps its order as the record's key."""
    job.kafka.produce(job.topic, [(group.encode(), json.dumps(event).encode(), None, None) for group, event in events])


def packed_and_shipped(cases: int, children: int) -> list[Event]:
    """Items, packed into cases, which are shipped; then some are shipped again, on another day."""
    events: list[Event] = []
    for number in range(cases):
        case = f"case-{number}"
        events += [(case, {"extended_id": f"{case}-{child}", "line": "L1"}) for child in range(children)]
        events += [(case, {"extended_id": f"{case}-{child}", "case_code": case}) for child in range(children)]
        events.append((case, by_unit("case_code", case, ship_date="2026-11-01")))
        if number % 3 == 0:
            events.append((case, by_unit("case_code", case, ship_date="2026-11-02")))
    return events


def assert_shipped(job: Job, cases: int, children: int) -> None:
    codes = job.sandbox.state()["codes"]
    assert len(codes) == cases * children
    for number in range(cases):
        day = "2026-11-02" if number % 3 == 0 else "2026-11-01"
        for child in range(children):
            code = f"case-{number}-{child}"
            assert codes[code].get("ship_date") == day, f"{code}: {codes[code]}"
            assert codes[code]["line"] == "L1"


@pytest.mark.parametrize("mode", ["async", "auto"])
def test_tasks_that_are_slow_fail_and_get_lost_cost_no_row_and_no_order(job: Job, mode: str) -> None:
    sandbox = job.sandbox
    sandbox.pace = Pace(task_seconds=0.2)
    sandbox.faults.add("task_slow", seconds=1.0, every=7)
    sandbox.faults.add("task_lost", answer="404", every=5)
    sandbox.faults.add("status", code=503, every=6, path="async")
    sandbox.faults.add("status", code=502, every=4, path="task")
    sandbox.faults.add("task_shape", field="state", done="COMPLETED", inside="task")
    publish(job, packed_and_shipped(12, 8))

    out = job.run_to_end(api={"mode": mode, "max_processing_seconds": 1}, retry={"base_seconds": 0.1})

    assert "dead letters: 0" in out
    assert_shipped(job, 12, 8)
    assert sandbox.rules()["broken"] == {}
    job.assert_committed_to_the_end()


def test_rows_of_the_same_data_are_packed_into_one_call(job: Job) -> None:
    job.sandbox.pace = Pace(task_seconds=0.0)
    publish(job, [("line", {"extended_id": f"code-{number}", "line": "L1"}) for number in range(400)])
    job.run_to_end(api={"mode": "async"}, windows={"linger_seconds": 1})
    assert 4 <= len(job.sandbox.tasks()) <= 12
    assert len(job.sandbox.state()["codes"]) == 400


def test_auto_delivers_pallets_that_a_synchronous_call_gives_up_on(job: Job) -> None:
    """Ten pallets of 5,000 codes each: synchronously nothing is ever updated."""
    pallets = [f"pallet-{number}" for number in range(10)]
    assert job.sandbox.fill("pallet_code", pallets, 5_000, {}) == 50_000
    job.sandbox.pace = Pace(sync_codes=1_000, sync_seconds=0.2, task_seconds=0.5)
    events = [(pallet, by_unit("pallet_code", pallet, ship_date="2026-11-22")) for pallet in pallets]
    events += [(f"code-{number}", {"extended_id": f"code-{number}", "line": "L1"}) for number in range(100)]
    publish(job, events)

    out = job.run_to_end(api={"mode": "auto"})

    assert "dead letters: 0" in out
    codes = job.sandbox.state()["codes"]
    assert sum(fields.get("ship_date") == "2026-11-22" for fields in codes.values()) == 50_000


def test_a_process_killed_with_tasks_at_work_loses_nothing(job: Job) -> None:
    """Its tasks are sent again; as nothing later was sent meanwhile, the state is that of the events in their order."""
    job.sandbox.pace = Pace(task_seconds=1.0)
    publish(job, packed_and_shipped(12, 8))
    for _ in range(3):
        with job.process(api={"mode": "async"}) as consumer:
            before = len(job.sandbox.tasks())
            wait_until(lambda before=before: len(job.sandbox.tasks()) > before, 60)  # type: ignore[misc]
            consumer.signal(signal.SIGKILL)
            consumer.running.wait()
    job.sandbox.pace = Pace(task_seconds=0.1)

    out = job.run_to_end(api={"mode": "async"})

    assert "dead letters: 0" in out
    assert_shipped(job, 12, 8)
    job.assert_committed_to_the_end()


def test_every_accepted_row_has_its_receipt(job: Job) -> None:
    job.sandbox.pace = Pace(task_seconds=0.1)
    receipts = job.kafka.create_topic(f"{job.topic}.receipts", 2)
    publish(job, packed_and_shipped(4, 5))
    job.run_to_end(api={"mode": "auto"}, receipts={"topic": receipts})
    told = [(record.key, json.loads(record.value or b"")) for record in job.kafka.read_all(receipts)]
    assert len(told) == 4 * 5 * 2 + 4 + 2
    by_case = [content for key, content in told if key is not None and key.startswith(b"case_code=")]
    assert {(content["codes_affected"] // content["request_rows"], "task_id" in content) for content in by_case} == {
        (5, True)
    }
    assert {content["http_status"] for key, content in told if key is not None and key.startswith(b"ext")} == {200}
    assert {(content["topic"], content["unconfirmed"]) for _, content in told} == {(job.topic, False)}
    assert len({(content["partition"], content["offset"]) for _, content in told}) == len(told)
