"""``scm-consumer dlq`` as a user runs it, on a job's topics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer

from tests.support.job import Job
from tests.support.process import toml


def dlq(
    job: Job, *arguments: str, code: int = 0, said: str = "", sections: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return what a subcommand of ``dlq`` printed; ``said``: to what it asks."""
    file = Path(job.folder) / "dlq.toml"
    file.write_text(toml(job.settings(**sections or {})), encoding="utf-8")
    command = [sys.executable, "-m", "consumer.cli", "-c", str(file), "dlq", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, input=said
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
    return done


def listed(job: Job, *arguments: str, **sections: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the letters that ``dlq list --json`` tells."""
    found = dlq(job, "list", "--json", *arguments, sections=sections).stdout
    return [json.loads(line) for line in found.splitlines()]


def rejected(code: str, product: str = "UNKNOWN-SKU", **fields: str) -> dict[str, str]:
    """Return a flat event that the sandbox rejects: it knows no such product."""
    return {"extended_id": code, "product": product, **fields}


def write_letter(
    job: Job,
    partition: int,
    value: str,
    *,
    source: int,
    item: dict[str, str] | None = None,
    reason: str = "rejected_by_api",
) -> None:
    """Write a letter as this program does, of the event at offset ``source`` of partition 0."""
    headers = {
        "__connect.errors.topic": job.topic,
        "__connect.errors.partition": "0",
        "__connect.errors.offset": str(source),
        "__connect.errors.stage": "upload",
        "__connect.errors.exception.message": "Invalid Product",
        "scm.reason": reason,
        "scm.message": "Invalid Product",
        "scm.consumer": "0.1.0",
    }
    if item is not None:
        (data_key, key_value), *_ = item.items()
        headers |= {
            "scm.data_key": data_key,
            "scm.key_value": key_value,
            "scm.row": json.dumps(item),
        }
    encoded = [(name, text.encode()) for name, text in headers.items()]
    job.kafka.produce(job.letters, [(b"k", value.encode(), partition, encoded)])


def write_letters(job: Job, count: int, *, events: bool) -> None:
    """Write so many letters, each of a code of its own; ``events``: and the events they are of.

    Letter n is of event n, which stands in partition n modulo 8 at offset n // 8.
    """
    producer = Producer(
        {
            "bootstrap.servers": job.kafka.bootstrap,
            "linger.ms": 100,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
        }
    )
    for number in range(count):
        notes = {f"note_{at}": "x" * 40 for at in range(4)}
        item = rejected(f"CODE{number:07d}", **notes)
        value = json.dumps(item).encode()
        key = item["extended_id"].encode()
        if events:
            _produce(producer, job.topic, value, key, number % 8)
        headers = {
            "__connect.errors.topic": job.topic,
            "__connect.errors.partition": str(number % 8),
            "__connect.errors.offset": str(number // 8),
            "__connect.errors.stage": "upload",
            "__connect.errors.exception.message": f"Invalid Product for line {number}",
            "scm.reason": "rejected_by_api",
            "scm.message": f"Invalid Product for line {number}",
            "scm.field": "product",
            "scm.data_key": "extended_id",
            "scm.key_value": item["extended_id"],
            "scm.row": json.dumps(item),
            "scm.http_status": "400",
            "scm.attempts": "1",
            "scm.consumer": "0.1.0",
        }
        _produce(producer, job.letters, value, key, number % 2, list(headers.items()))
    assert producer.flush(120) == 0


def _produce(
    producer: Producer,
    topic: str,
    value: bytes,
    key: bytes,
    partition: int,
    headers: list[tuple[str, str | bytes | None]] | None = None,
) -> None:
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


class Measured(NamedTuple):
    """A subcommand that ran, and what it took."""

    out: bytes
    err: str
    code: int
    seconds: float
    peak_mib: int  #: the largest resident set


def measured(job: Job, *arguments: str) -> Measured:
    """Run a subcommand of ``dlq`` and measure it."""
    file = Path(job.folder) / "dlq.toml"
    file.write_text(toml(job.settings()), encoding="utf-8")
    command = [sys.executable, "-m", "consumer.cli", "-c", str(file), "dlq", *arguments]
    out, err = (Path(job.folder) / f"dlq.{name}" for name in ("out", "err"))
    begin = time.monotonic()
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_err)
        peak = 0
        # The kernel keeps the peak. (That of a child that has ended would be its parent's, too.)
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            time.sleep(0.02)
    return Measured(
        out.read_bytes(),
        err.read_text("utf-8"),
        process.returncode,
        time.monotonic() - begin,
        peak,
    )


def _peak_mib(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0
