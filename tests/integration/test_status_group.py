"""``scm-consumer status --group`` on a real Kafka: while members run, and when nobody does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.integration.test_ops import stop, wait_until_settled
from tests.support.job import Job, line_events
from tests.support.kafka_broker import free_port
from tests.support.process import toml

SECONDS = 60.0


def status(
    job: Job, *arguments: str, **sections: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Run the command with the job's settings."""
    file = job.folder / "status.toml"
    file.write_text(toml(job.settings(**sections)), encoding="utf-8")
    command = [sys.executable, "-m", "consumer.cli", "-c", str(file), "status", "--group"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def told(job: Job) -> dict[str, Any]:
    done = status(job, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_it_tells_who_is_in_the_group_and_when_nobody_is_what_is_left_to_do(job: Job) -> None:
    job.produce(line_events(400, seed=1, unknown=0))
    with job.process() as consumer:
        wait_until_settled(consumer.ops(), 400)
        running = told(job)
        (member,) = running["members"]
        assert member["client_id"] == "scm-consumer"
        assert sorted(member["partitions"]) == [f"{job.topic}[{n}]" for n in range(8)]
        assert (running["state"], running["records"], running["seconds"]) == ("stable", 0, 0)
        stop(consumer)
    job.produce(line_events(300, seed=2, unknown=0))
    left = told(job)
    assert (left["state"], left["members"], left["records"]) == ("empty", [], 300)
    assert 0 < left["seconds"] < SECONDS
    assert left["desired_members"] == 1
    assert sum(p["committed"] or 0 for p in left["partitions"]) == 400
    text = status(job)
    assert text.returncode == 0
    assert f"{job.group}: empty, nobody in it now; 300 records behind" in text.stdout


def test_without_a_broker_it_fails_and_says_what_to_look_at(job: Job) -> None:
    done = status(job, kafka={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    assert done.returncode == 1
    assert "does not tell the group" in done.stderr
    assert "Traceback" not in done.stderr
