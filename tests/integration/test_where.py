"""``where KEY``: every fate of a code's events, on the real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.job import Job
from tests.support.process import toml


def where(job: Job, *arguments: str, code: int = 0, receipts: str = "") -> str:
    file = Path(job.folder) / "where.toml"
    file.write_text(toml(job.settings(receipts={"topic": receipts})), encoding="utf-8")
    command = [sys.executable, "-m", "consumer.cli", "-c", str(file), "where", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done.stdout


def fates(job: Job, *arguments: str, receipts: str = "") -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in where(job, *arguments, "--json", receipts=receipts).splitlines()
    ]


def envelope(key: str, value: str, also: tuple[str, str] | None = None, **fields: str) -> bytes:
    more = {} if also is None else {"also_update": {"data_key": also[0], "key_value": also[1]}}
    return json.dumps({"data_key": key, "key_value": value, "scm_data": fields, **more}).encode()


@pytest.mark.parametrize("receipts", [True, False])
def test_every_fate_of_a_code_is_told(job: Job, receipts: bool) -> None:
    topic = job.kafka.create_topic(f"{job.topic}.receipts", 2) if receipts else ""
    first = [
        envelope("extended_id", "CODE-A", line="L1"),
        envelope("extended_id", "CODE-A", activation_status="9"),
        envelope("extended_id", "CODE-B", line="L1"),
        envelope("case_code", "CODE-C", ("extended_id", "CODE-A"), line="L2"),
        b'{"scm_data": CODE-A',
    ]
    job.kafka.produce(job.topic, [(b"k", value, 0, None) for value in first])
    job.run_to_end(receipts={"topic": topic})
    escaped = envelope("extended_id", "CODE-A", line="L9").replace(b"CODE-A", b"CODE\\u002dA")
    job.kafka.produce(job.topic, [(b"k", escaped, 0, None)])

    told = fates(job, "CODE-A", receipts=topic)

    accepted = "accepted" if receipts else "unknown"
    assert [(fate["offset"], fate["data_key"], fate["fate"]) for fate in told] == [
        (0, "extended_id", accepted),
        (1, "extended_id", "dead_lettered"),
        (3, "extended_id", accepted),
        (4, None, "dead_lettered"),
        (5, "extended_id", "unsettled"),
    ]
    assert told[0]["fields"] == {"line": "L1"}
    assert told[1]["told"].startswith("invalid_value: ")
    assert told[3]["told"].startswith("undecodable: ")
    if receipts:
        assert "HTTP 200" in told[0]["told"]
    lines = where(job, "CODE-A", receipts=topic).splitlines()
    assert len(lines) == 5
    assert f"{job.topic}[0]@5  extended_id=CODE-A  line='L9'  unsettled: committed: 5" in lines[-1]


def test_a_code_that_was_never_published_is_told_so(job: Job) -> None:
    job.produce([{"extended_id": "SOME", "line": "L1"}])
    assert where(job, "OTHER") == f"OTHER: not seen in 1 records of {job.topic}\n"


def test_only_events_since_a_time_are_looked_at(job: Job) -> None:
    job.produce([{"extended_id": "SOME", "line": "L1"}])
    assert len(fates(job, "SOME", "--since", "1h")) == 1
    assert fates(job, "SOME", "--since", "2099-01-01") == []
    assert where(job, "SOME", "--since", "yesterday", code=2) == ""


def test_a_letter_is_told_when_its_event_is_not_in_the_topic_any_more(job: Job) -> None:
    job.kafka.produce(
        job.topic, [(b"k", envelope("extended_id", "CODE-A", activation_status="9"), 0, None)]
    )
    job.run_to_end()
    job.kafka.delete_records(job.topic, {0: 1})
    (fate,) = fates(job, "CODE-A")
    assert (fate["fate"], fate["offset"], fate["fields"]) == ("dead_lettered", 0, None)
