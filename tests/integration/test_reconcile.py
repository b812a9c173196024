"""``reconcile``: each silent loss is found and named, on the real broker and sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.job import Job
from tests.support.kafka_witness import unique
from tests.support.process import toml, wait_until

pytestmark = pytest.mark.promise("reconcile")


def reconcile(job: Job, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return what ``reconcile --json`` tells."""
    done = command(job, "reconcile", "--rate", "10", "--json", *arguments)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    told: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
    return told


def command(job: Job, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = Path(job.folder) / "reconcile.toml"
    file.write_text(toml(job.settings()), encoding="utf-8")
    line = [sys.executable, "-m", "consumer.cli", "-c", str(file), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


def found(told: dict[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    return [
        (d["key_value"], d["kind"], d["field"], d["expected"], d["held"], d["cause"])
        for d in told["differences"]
    ]


def counts(told: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in told["counts"].items() if count}


EVENTS = [
    {"extended_id": "CODE-1", "case_code": "case-1", "batch": "B1", "line": "L1"},
    {"extended_id": "CODE-2", "case_code": "case-1", "batch": "B1", "line": "L1"},
    {"extended_id": "CODE-3", "case_code": "case-2", "batch": "B1", "line": "L2"},
    {"extended_id": "CODE-3", "batch": "B2", "activation_status": "1"},
]
SHIPPED = {"data_key": "case_code", "key_value": "case-1", "scm_data": {"ship_date": "2026-11-22"}}


@pytest.fixture
def uploaded(job: Job) -> Job:
    """Return a job whose events are all at the API."""
    job.produce(EVENTS, partition=0)
    job.kafka.produce(job.topic, [(b"k", json.dumps(SHIPPED).encode(), 0, None)])
    job.run_to_end()
    return job


def test_what_was_uploaded_is_equal_units_too(uploaded: Job) -> None:
    told = reconcile(uploaded)
    assert counts(told) == {"equal": 3}
    assert told["differences"] == []


def write(job: Job, code: str, **fields: str) -> None:
    with job.sandbox.store.lock:
        job.sandbox.store.codes.write(code, fields)


def delete(job: Job, code: str) -> None:
    with job.sandbox.store.lock:
        del job.sandbox.store.codes.data[code]


@pytest.mark.parametrize(
    ("lose", "kind", "expected"),
    [
        (
            lambda job: write(job, "CODE-3", batch="B1"),
            "different",
            ("CODE-3", "different", "batch", "B2", "B1", "stale"),
        ),
        (
            lambda job: write(job, "CODE-1", line="by hand"),
            "different",
            ("CODE-1", "different", "line", "L1", "by hand", "foreign"),
        ),
        (
            lambda job: write(job, "CODE-2", ship_date=""),
            "different",
            ("CODE-2", "different", "ship_date", "2026-11-22", "", "stale"),
        ),
        (
            lambda job: delete(job, "CODE-2"),
            "missing",
            ("CODE-2", "missing", "", "", "", "the API has no such code"),
        ),
    ],
    ids=["an older value", "a change by hand", "an update by unit", "a deleted code"],
)
def test_each_loss_is_found_and_nothing_else(
    uploaded: Job, lose: Callable[[Job], None], kind: str, expected: tuple[str, ...]
) -> None:
    lose(uploaded)
    told = reconcile(uploaded, code=1)
    assert counts(told) == {"equal": 2, kind: 1}
    assert found(told) == [expected]


def test_a_row_that_the_api_drops_with_a_200_is_found(job: Job) -> None:
    job.produce(EVENTS[:3], partition=0)
    job.sandbox.faults.add("omit_rows", keys=["CODE-2"])
    job.run_to_end()
    told = reconcile(job, code=1)
    assert counts(told) == {"equal": 2, "missing": 1}


def test_a_field_that_the_campaign_does_not_have_is_discarded(job: Job) -> None:
    job.sandbox.faults.add("campaign_fields", fields=["case_code", "line", "ship_date"])
    job.produce(EVENTS, partition=0)
    job.run_to_end()
    told = reconcile(job, code=1)
    assert counts(told) == {"discarded": 3}
    assert {(d["field"], d["kind"]) for d in told["differences"]} == {("batch", "discarded")}


def test_a_column_that_the_document_lacks_is_named_and_not_compared(uploaded: Job) -> None:
    uploaded.sandbox.faults.add("document_columns", fields=["batch"])
    told = reconcile(uploaded)
    assert counts(told) == {"equal": 3}
    assert list(told["not_compared"]) == ["batch"]


def test_other_spellings_a_late_document_and_a_busy_api_are_no_matter(uploaded: Job) -> None:
    uploaded.sandbox.faults.add("document_spelling")
    uploaded.sandbox.faults.add("document_late", seconds=1.0)
    uploaded.sandbox.faults.add("throttle", path="any", first=2, retry_after=1.0)
    assert counts(reconcile(uploaded)) == {"equal": 3}


@pytest.mark.parametrize("fault", ["document_cut", "document_fails"])
def test_a_document_that_is_not_whole_is_no_proof(uploaded: Job, fault: str) -> None:
    more = {"bytes": 120} if fault == "document_cut" else {}
    uploaded.sandbox.faults.add(fault, **more)
    told = reconcile(uploaded, code=3)
    assert "the document" in told["error"]


def test_what_was_not_uploaded_yet_is_undecided(uploaded: Job) -> None:
    uploaded.produce([{"extended_id": "CODE-1", "line": "L9"}], partition=0)
    uploaded.produce([{"extended_id": "CODE-4", "line": "L9"}], partition=0)
    told = reconcile(uploaded)
    assert counts(told) == {"equal": 2, "undecided": 2}


def test_rows_in_the_dead_letter_topic_do_not_count(uploaded: Job) -> None:
    uploaded.produce([{"extended_id": "CODE-1", "product": "UNKNOWN-P"}], partition=0)
    uploaded.run_to_end()
    assert counts(reconcile(uploaded)) == {"equal": 3}


def test_a_repair_that_is_published_makes_it_equal(uploaded: Job, tmp_path: Path) -> None:
    write(uploaded, "CODE-3", batch="B1", activation_status="0")
    write(uploaded, "CODE-1", line="by hand")
    repair = tmp_path / "repair.ndjson"
    reconcile(uploaded, "--repair", str(repair), code=1)
    events = [json.loads(line) for line in repair.read_text().splitlines()]
    assert [(e["key_value"], e["scm_data"]) for e in events] == [
        ("CODE-3", {"activation_status": "1", "batch": "B2"})
    ]
    write(uploaded, "CODE-1", line="L1")
    assert command(uploaded, "publish", str(repair)).returncode == 0
    uploaded.run_to_end()
    assert counts(reconcile(uploaded)) == {"equal": 3}


def test_nothing_is_committed_joined_or_uploaded(uploaded: Job) -> None:
    before = uploaded.kafka.committed(uploaded.group, uploaded.topic)
    rows = uploaded.sandbox.journal()["rows"]
    reconcile(uploaded)
    assert uploaded.kafka.committed(uploaded.group, uploaded.topic) == before
    assert uploaded.sandbox.journal()["rows"] == rows


def test_a_downloaded_document_is_read_instead(uploaded: Job, tmp_path: Path) -> None:
    file = tmp_path / "portal.csv"
    file.write_text(
        "Extended ID;Status;batch;line;case_code;ship_date\n"
        "CODE-1;inactive;B1;L1;case-1;2026-11-22T00:00:00Z\n"
        "CODE-2;inactive;B1;L1;case-1;2026-11-22\n"
        "CODE-3;active;B2;L2;case-2;\n",
        encoding="utf-8",
    )
    assert counts(reconcile(uploaded, "--download", str(file))) == {"equal": 3}


def test_events_that_retention_has_eaten_accuse_nobody(uploaded: Job) -> None:
    """Two events are left: the last of CODE-3, and one of the unit that holds the others."""
    uploaded.kafka.delete_records(uploaded.topic, {0: 3})
    write(uploaded, "CODE-1", line="by hand")  # no event that is left says what it should be
    write(uploaded, "CODE-2", ship_date="2026-01-01")  # it is in the unit by an event that is gone
    told = reconcile(uploaded)
    assert counts(told) == {"equal": 2, "undecided": 1}
    assert told["gone"] == [f"{uploaded.topic}[0]"]
    write(uploaded, "CODE-3", batch="B1")
    assert counts(reconcile(uploaded, code=1)) == {"equal": 1, "different": 1, "undecided": 1}


def test_a_partition_that_is_empty_now_may_have_had_the_newest_event(job: Job) -> None:
    job.topic = job.kafka.create_topic(unique("two"), 2)
    job.group = job.topic
    job.produce([{"extended_id": "CODE-1", "line": "L1"}], partition=0)
    job.produce([{"extended_id": "CODE-1", "line": "L2"}], partition=1)
    job.run_to_end()
    job.kafka.delete_records(job.topic, {1: 1})
    write(job, "CODE-1", line="L2")
    assert counts(reconcile(job)) == {"undecided": 1}


def test_a_compacted_topic_is_no_proof_of_what_is_gone_from_it(job: Job) -> None:
    """The line of CODE-1 was said by an event that its later one replaced in the log."""
    rolls = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
    job.topic = job.kafka.create_topic(unique("compacted"), 1, rolls)
    job.group = job.topic
    moved = {"data_key": "extended_id", "key_value": "CODE-9", "scm_data": {"line": "L9"}}
    job.produce([{"extended_id": "CODE-9", "line": "L8"}])
    job.kafka.produce(job.topic, [(b"CODE-1", json.dumps(moved).encode(), 0, None)])
    job.produce([{"extended_id": "CODE-1", "batch": "B2"}])
    job.run_to_end()
    write(job, "CODE-1", batch="B2")
    deadline = time.monotonic() + 90
    while len(job.kafka.read_all(job.topic)) > 2 + fillers(job):
        assert time.monotonic() < deadline, "the log was not cleaned"
        job.kafka.produce(job.topic, [(b"filler", None, 0, None)])  # a new segment begins
        time.sleep(0.3)  # the pace at which segments begin
    told = reconcile(job)
    assert counts(told) == {"equal": 1, "undecided": 1}


def fillers(job: Job) -> int:
    return sum(record.key == b"filler" for record in job.kafka.read_all(job.topic))


@contextmanager
def begun(job: Job) -> Iterator[subprocess.Popen[str]]:
    """Begin a run, and give it once it waits for its document."""
    job.sandbox.faults.add("document_late", seconds=60.0)
    file = Path(job.folder) / "begun.toml"
    file.write_text(toml(job.settings()), encoding="utf-8")
    line = [sys.executable, "-m", "consumer.cli", "-c", str(file), "reconcile", "--rate", "10"]
    before = job.sandbox.stats()["arrived"]
    with subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        try:
            wait_until(lambda: job.sandbox.stats()["arrived"] >= before + 2, 30)
            yield run
        finally:
            run.kill()
            job.sandbox.faults.clear()


def test_one_that_was_killed_is_run_again(uploaded: Job) -> None:
    with begun(uploaded) as run:
        run.kill()
    assert counts(reconcile(uploaded)) == {"equal": 3}


def test_a_token_that_ends_in_the_middle_is_told_and_a_new_one_goes_on(uploaded: Job) -> None:
    with begun(uploaded) as run:
        uploaded.sandbox.faults.add("status", path="any", code=401)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 3
        assert "the token is not accepted" in err
        assert "Traceback" not in err
    assert counts(reconcile(uploaded)) == {"equal": 3}


def test_no_call_comes_above_the_pace_though_the_api_throttles(uploaded: Job) -> None:
    uploaded.sandbox.faults.add("document_late", seconds=2.0)
    uploaded.sandbox.faults.add("throttle", path="any", first=3, retry_after=0.0)
    before = len(uploaded.sandbox.journal()["requests"])
    file = Path(uploaded.folder) / "pace.toml"
    file.write_text(toml(uploaded.settings()), encoding="utf-8")
    assert command(uploaded, "reconcile", "--rate", "5").returncode == 0
    times = sorted(one["at"] for one in uploaded.sandbox.journal()["requests"][before:])
    assert len(times) >= 8
    # Calls are made one after another: the n-th cannot come before its time, however late others.
    for number, at in enumerate(times):
        assert at - times[0] >= number / 5 - 0.15, number


def test_a_job_tells_its_group_and_codes_to_the_textfile_collector(
    uploaded: Job, tmp_path: Path
) -> None:
    delete(uploaded, "CODE-2")
    file = tmp_path / "scm_reconcile.prom"
    before = time.time()
    reconcile(uploaded, "--push", str(file), code=1)
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text(encoding="utf-8"))
        for sample in family.samples
    }
    codes = dict.fromkeys(("equal", "missing", "different", "discarded", "undecided"), 0)
    for kind, count in (codes | {"equal": 2, "missing": 1}).items():
        assert told["scm_consumer_reconcile_codes", uploaded.group, kind] == count
    ended = told["scm_consumer_reconcile_timestamp_seconds", uploaded.group]
    assert before <= ended <= time.time() + 0.001
    assert told["scm_consumer_reconcile_duration_seconds", uploaded.group] <= ended - before + 1
    assert list(tmp_path.glob("*.prom*")) == [file], "nothing half written is left"
