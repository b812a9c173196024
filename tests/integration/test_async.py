"""Asynchronous uploads on the real broker: packed, delivered, in order, whatever
becomes of tasks.
"""

from __future__ import annotations

import json
import signal
from bisect import bisect_left
from collections import defaultdict
from typing import Any

import pytest

from consumer.sandbox import SandboxPace
from tests.support.job import Job
from tests.support.process import ConsumerProcess, wait_until

Event = tuple[str, dict[str, Any]]


def by_unit(unit: str, value: str, **fields: str) -> dict[str, Any]:
    return {"data_key": unit, "key_value": value, "scm_data": fields}


def publish(job: Job, events: list[Event]) -> None:
    """Publish each with the group that keeps its order as the record's key."""
    job.kafka.produce(
        job.topic,
        [(group.encode(), json.dumps(event).encode(), None, None) for group, event in events],
    )


def packed_and_shipped(cases: int, children: int) -> list[Event]:
    """Return items packed into cases that are shipped; some again, on another day."""
    events: list[Event] = []
    for number in range(cases):
        case = f"case-{number}"
        events += [
            (case, {"extended_id": f"{case}-{child}", "line": "L1"}) for child in range(children)
        ]
        events += [
            (case, {"extended_id": f"{case}-{child}", "case_code": case})
            for child in range(children)
        ]
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


@pytest.mark.promise("I1", "I9")
@pytest.mark.parametrize("mode", ["async", "auto"])
def test_tasks_that_are_slow_fail_and_get_lost_cost_no_row_and_no_order(
    job: Job, mode: str
) -> None:
    sandbox = job.sandbox
    sandbox.pace = SandboxPace(task_seconds=0.2)
    sandbox.faults.add("task_slow", seconds=1.0, every=7)
    sandbox.faults.add("task_lost", answer="404", every=5)
    sandbox.faults.add("status", code=503, every=6, path="async")
    sandbox.faults.add("status", code=502, every=4, path="task")
    sandbox.faults.add("task_shape", field="state", done="COMPLETED", inside="task")
    publish(job, packed_and_shipped(12, 8))

    out = job.run_to_end(
        api={"mode": mode, "max_processing_seconds": 1}, retry={"base_seconds": 0.1}
    )

    assert "dead letters: 0" in out
    assert_shipped(job, 12, 8)
    assert sandbox.rules()["broken"] == {}
    job.assert_committed_to_the_end()


def test_rows_of_the_same_data_are_packed_into_one_call(job: Job) -> None:
    job.sandbox.pace = SandboxPace(task_seconds=0.0)
    publish(
        job, [("line", {"extended_id": f"code-{number}", "line": "L1"}) for number in range(400)]
    )
    job.run_to_end(api={"mode": "async"}, windows={"linger_seconds": 1})
    assert 4 <= len(job.sandbox.tasks()) <= 12
    assert len(job.sandbox.state()["codes"]) == 400


def test_auto_delivers_pallets_that_a_synchronous_call_gives_up_on(job: Job) -> None:
    """Ten pallets of 5,000 codes each: synchronously none is ever updated, by tasks all are."""
    pallets = [f"pallet-{number}" for number in range(10)]
    assert job.sandbox.fill("pallet_code", pallets, 5_000, {}) == 50_000
    job.sandbox.pace = SandboxPace(sync_codes=1_000, sync_seconds=0.2, task_seconds=0.5)
    events = [
        (pallet, by_unit("pallet_code", pallet, ship_date="2026-11-22")) for pallet in pallets
    ]
    events += [
        (f"code-{number}", {"extended_id": f"code-{number}", "line": "L1"}) for number in range(100)
    ]
    publish(job, events)

    def shipped() -> int:
        codes = job.sandbox.state()["codes"]
        return sum(fields.get("ship_date") == "2026-11-22" for fields in codes.values())

    with job.process(api={"mode": "sync"}, retry={"base_seconds": 0.1}) as consumer:
        wait_until(lambda: job.sandbox.stats()["requests"].get("504", 0) >= 12, 60)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(30) == 0
    assert shipped() == 0

    out = job.run_to_end(api={"mode": "auto"})

    assert "dead letters: 0" in out
    assert shipped() == 50_000


def test_a_code_that_every_synchronous_call_fails_for_goes_by_a_task(job: Job) -> None:
    job.sandbox.faults.add("status", code=504, path="upload", key="BIG")
    publish(job, [("BIG", {"extended_id": "BIG", "line": "L1"})])
    others = 0

    def goes_by_task() -> list[dict[str, Any]]:
        nonlocal others  # while they pass, it is not the API's trouble
        publish(
            job,
            [("others", {"extended_id": f"code-{others + n}", "line": "L1"}) for n in range(20)],
        )
        others += 20
        return job.sandbox.tasks()

    with job.process(
        api={"mode": "auto"}, retry={"base_seconds": 0.05, "cap_seconds": 0.2}
    ) as consumer:
        wait_until(goes_by_task, 60)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(30) == 0
    job.run_to_end(api={"mode": "auto"})
    assert {key for task in job.sandbox.tasks() for key in task["keys"]} == {"BIG"}
    codes = job.sandbox.state()["codes"]
    assert len(codes) == others + 1
    assert codes["BIG"] == {"line": "L1"}
    assert job.kafka.read_all(job.letters) == []


def test_the_row_that_makes_tasks_fail_is_found_and_its_letter_tells_why(job: Job) -> None:
    job.sandbox.faults.add("task_fails", key="case-3", message="This case is sealed.")
    job.sandbox.pace = SandboxPace(task_seconds=0.1)
    job.sandbox.fill("case_code", [f"case-{number}" for number in range(12)], 3, {})
    publish(
        job,
        [
            ("line", by_unit("case_code", f"case-{number}", ship_date="2026-11-22"))
            for number in range(12)
        ],
    )
    job.run_to_end(api={"mode": "auto"})
    (letter,) = job.kafka.read_all(job.letters)
    told = {name: value.decode() for name, value in letter.headers}
    assert told["scm.reason"] == "rejected_by_api"
    assert told["scm.message"] == "the task failed: This case is sealed."
    assert told["scm.key_value"] == "case-3"
    assert "scm.http_status" not in told
    shipped = {f["case_code"] for f in job.sandbox.state()["codes"].values() if "ship_date" in f}
    assert shipped == {f"case-{number}" for number in range(12)} - {"case-3"}


def test_rows_of_a_task_that_never_ends_go_again_after_its_deadline(job: Job) -> None:
    job.sandbox.faults.add("task_lost", answer="running", first=1)
    job.sandbox.pace = SandboxPace(task_seconds=0.1)
    publish(
        job,
        [
            ("line", {"extended_id": "code-1", "line": "L1"}),
            ("line", {"extended_id": "code-1", "line": "L2"}),
        ],
    )
    out = job.run_to_end(
        api={"mode": "async", "task_deadline_seconds": 2, "max_processing_seconds": 1}
    )
    assert "dead letters: 0" in out
    assert [task["keys"] for task in job.sandbox.tasks()] == [["code-1"]] * 3
    assert [row["fields"]["line"] for row in job.sandbox.journal()["rows"]] == ["L1", "L2"]


def test_a_stop_waits_for_the_tasks_at_work_so_that_nothing_is_sent_again(job: Job) -> None:
    job.sandbox.pace = SandboxPace(task_seconds=5.0)
    publish(
        job, [(f"code-{n}", {"extended_id": f"code-{n}", "line": f"L{n % 3}"}) for n in range(30)]
    )
    with job.process(api={"mode": "async"}) as consumer:
        wait_until(lambda: len(job.sandbox.tasks()) >= 3, 60)
        consumer.signal(signal.SIGTERM)
        consumer.wait_for_line(r"stopping: .* and \d+ tasks? at work", 10)
        assert consumer.wait(30) == 0
    job.sandbox.pace = SandboxPace(task_seconds=0.1)
    job.run_to_end(api={"mode": "async"})
    assert sorted(row["key_value"] for row in job.sandbox.journal()["rows"]) == sorted(
        f"code-{n}" for n in range(30)
    )


def test_a_stop_waits_for_tasks_no_longer_than_its_bound(job: Job) -> None:
    job.sandbox.pace = SandboxPace(task_seconds=300.0)
    publish(job, [("code-1", {"extended_id": "code-1", "line": "L1"})])
    with job.process(api={"mode": "async"}, limits={"stop_seconds": 1}) as consumer:
        wait_until(lambda: job.sandbox.tasks(), 60)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(20) == 1
    job.sandbox.pace = SandboxPace(task_seconds=0.1)
    job.run_to_end(api={"mode": "async"})
    assert job.sandbox.state()["codes"]["code-1"] == {"line": "L1"}


@pytest.mark.promise("I7", "I9")
def test_a_rebalance_waits_for_the_tasks_at_work_nothing_is_sent_twice_and_order_is_kept(
    job: Job,
) -> None:
    job.sandbox.pace = SandboxPace(task_seconds=0.5)
    job.sandbox.faults.add("task_slow", seconds=0.8, every=3)
    publish(job, packed_and_shipped(20, 8))

    def committed() -> bool:
        ends = {number: end for number, end in job.kafka.end_offsets(job.topic).items() if end}
        return job.kafka.committed(job.group, job.topic).items() >= ends.items()

    settings = job.settings(api={"mode": "async"})
    with ConsumerProcess(job.folder / "first", settings, "run") as first:
        wait_until(lambda: len(job.sandbox.tasks()) >= 10, 60)
        with ConsumerProcess(job.folder / "second", settings, "run") as second:
            first.wait_for_line("revoked: ", 60)
            wait_until(committed, 60)
            for member in (first, second):
                member.signal(signal.SIGTERM)
                assert member.wait(30) == 0
    assert_shipped(job, 20, 8)
    assert assert_in_order(job, [], []) == 0


# -- kill -9 -------------------------------------------------------------------------------------

Update = tuple[str, str, str]
"""Data key, key value, and what is set, as JSON; in these tests no two events set the same."""


@pytest.mark.promise("I1", "I9")
def test_a_process_killed_with_tasks_at_work_loses_nothing_and_keeps_the_order_while_it_lives(
    job: Job,
) -> None:
    job.sandbox.pace = SandboxPace(task_seconds=0.5)
    # so that tasks do not end in the order of their starts
    job.sandbox.faults.add("task_slow", seconds=0.8, every=3)
    job.sandbox.faults.add("task_lost", answer="404", every=15)
    events = packed_and_shipped(20, 8)
    events += [
        (f"case-{c}", {"extended_id": f"case-{c}-0", "step": str(s)})
        for s in range(4)
        for c in range(20)
    ]
    publish(job, events)
    how: dict[str, dict[str, Any]] = {"api": {"mode": "async", "max_processing_seconds": 1}}
    deaths: list[int] = []  # the last request of each life
    committed: list[dict[int, int]] = []  # what was committed when it ended
    for _ in range(2):
        with job.process(**how) as consumer:
            before = len(job.sandbox.tasks())
            wait_until(lambda before=before: len(job.sandbox.tasks()) >= before + 20, 60)  # type: ignore[misc]
            consumer.signal(signal.SIGKILL)
            consumer.running.wait()
        assert not all(task["ended"] for task in job.sandbox.tasks()), (
            "it was killed with tasks at work"
        )
        deaths.append(job.sandbox.stats()["arrived"])
        committed.append(job.kafka.committed(job.group, job.topic))

    out = job.run_to_end(**how)

    assert "dead letters: 0" in out
    job.assert_committed_to_the_end()
    repeats = assert_in_order(job, deaths, committed)
    assert 0 < repeats <= 2 * 32 * 100
    # Nothing was late: each new process took longer to begin than the tasks of the killed one to
    # end.
    codes = job.sandbox.state()["codes"]
    assert {codes[f"case-{case}-0"]["step"] for case in range(20)} == {"3"}
    assert_shipped(job, 20, 8)


def assert_in_order(job: Job, deaths: list[int], committed: list[dict[int, int]]) -> int:
    """Compare what was published with what was applied; return how many rows were applied again.

    Every event was applied. In one life of the process nothing was applied twice, and what one
    code, or one case and what is in it, was told came in the order of its partition. What a later
    life applied again was not committed.
    """
    places: dict[Update, tuple[int, int]] = {}
    for record in job.kafka.read_all(job.topic):
        event = json.loads(record.value or b"{}")
        if "scm_data" in event:
            update = (event["data_key"], event["key_value"], json.dumps(event["scm_data"]))
        else:
            update = ("extended_id", event.pop("extended_id"), json.dumps(event))
        assert places.setdefault(update, (record.partition, record.offset)) == (
            record.partition,
            record.offset,
        )
    lives: dict[Update, list[int]] = defaultdict(list)
    latest: dict[tuple[int, str, str, int], int] = {}  # life, code and partition → offset
    # partition, case → who goes in, when
    packed: dict[tuple[int, str], list[tuple[int, Update]]] = defaultdict(list)
    for update, (partition, offset) in places.items():
        case = json.loads(update[2]).get("case_code")
        if case:
            packed[partition, case].append((offset, update))
    for row in job.sandbox.journal()["rows"]:
        update = (row["data_key"], row["key_value"], json.dumps(row["fields"]))
        partition, offset = places[update]
        life = bisect_left(deaths, row["request"])
        assert life not in lives[update], f"{update} was applied twice in life {life}"
        key = (life, row["data_key"], row["key_value"], partition)
        assert latest.get(key, -1) < offset, f"{update} came after a later one in life {life}"
        latest[key] = offset
        if row["data_key"] == "case_code":
            late = [
                child
                for at, child in packed[partition, row["key_value"]]
                if at < offset and not lives[child]
            ]
            assert not late, f"{update} came before {late}"
        for earlier in lives[update]:
            kept = committed[max(earlier, life - 1)].get(partition, 0)
            assert offset >= kept, f"{update} was committed ({offset} < {kept}) and applied again"
        lives[update].append(life)
    assert lives.keys() == places.keys(), f"lost: {list(places.keys() - lives.keys())[:3]}"
    return sum(len(found) - 1 for found in lives.values())


def test_every_accepted_row_has_its_receipt(job: Job) -> None:
    job.sandbox.pace = SandboxPace(task_seconds=0.1)
    receipts = job.kafka.create_topic(f"{job.topic}.receipts", 2)
    publish(job, packed_and_shipped(4, 5))
    job.run_to_end(api={"mode": "auto"}, receipts={"topic": receipts})
    told = [
        (record.key, json.loads(record.value or b"")) for record in job.kafka.read_all(receipts)
    ]
    assert len(told) == 4 * 5 * 2 + 4 + 2
    by_case = [
        content for key, content in told if key is not None and key.startswith(b"case_code=")
    ]
    assert {
        (content["codes_affected"] // content["request_rows"], "task_id" in content)
        for content in by_case
    } == {(5, True)}
    assert {
        content["http_status"]
        for key, content in told
        if key is not None and key.startswith(b"ext")
    } == {200}
    assert {(content["topic"], content["unconfirmed"]) for _, content in told} == {
        (job.topic, False)
    }
    assert len({(content["partition"], content["offset"]) for _, content in told}) == len(told)
