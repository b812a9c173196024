"""One day in one format and mode: published, consumed by the real process, and judged."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.sandbox import Sandbox, SandboxPace
from tests.factory.encoders import (
    ENCODERS,
    EPCIS_SETTINGS,
    FLAT_KEYS,
    SCAN_SETTINGS,
    flat_topics,
    in_flat_order,
    scans,
)
from tests.factory.model import Warehouse, differences
from tests.factory.script import Happening, day, labels
from tests.support.job import Job
from tests.support.kafka_witness import Kafka

FORMATS = ("avro", "json", "flat", "epcis", "epcis-xml", "scan")
MODES = ("sync", "async", "auto")
UNITS = ["case_code", "box_code", "pallet_code"]
#: A window of a hundred pallets may select as many codes as there are. Synchronously the sandbox
#: gives up above 3,000 unless told otherwise, as the API does somewhere: that is what the other
#: modes are for.
SYNC_CODES = 1_000_000


@dataclass
class Told:
    """The outcome of a day."""

    format: str
    mode: str
    records: int
    rows: int  #: that the script asks for
    applied: int  #: rows that the sandbox applied
    requests: int
    tasks: int
    seconds: float  #: of the consumer's runs, from start to exit
    findings: list[str]  #: every difference from the model, and whatever else must not be


def run_day(
    kafka: Kafka, folder: Path, items: int, form: str, mode: str, *, seconds: float = 900
) -> Told:
    """Publish the day, consume it, and compare the sandbox's state with the model's."""
    happenings = day(items)
    names = labels(happenings)
    warehouse = Warehouse(names)
    warehouse.replay(in_flat_order(happenings) if form == "flat" else happenings)
    with Sandbox() as sandbox:
        sandbox.load({code: {"serial_number": case} for code, case in names.items()}, only=False)
        sandbox.pace = SandboxPace(sync_codes=SYNC_CODES) if mode == "sync" else SandboxPace()
        parts = _parts(kafka, sandbox, folder, happenings, form)
        spent, findings = 0.0, []
        for job, data_key, records in parts:
            job.kafka.produce(job.topic, records)
            began = time.monotonic()
            findings += _consume(job, form, mode, data_key, seconds)
            spent += time.monotonic() - began
        findings += differences(warehouse.codes, sandbox.state()["codes"])
        findings += [f"rule broken: {rule}" for rule in sandbox.rules()["broken"]]
        stats = sandbox.stats()
    return Told(
        format=form,
        mode=mode,
        records=sum(len(records) for _, _, records in parts),
        rows=warehouse.rows,
        applied=stats["rows_applied"],
        requests=stats["arrived"],
        tasks=sum(stats["tasks"].values()),
        seconds=spent,
        findings=findings,
    )


#: A consumer's run: its job, its data key, and the records: key, value, partition, headers.
Part = tuple[Job, str, list[tuple[Any, ...]]]


def _parts(
    kafka: Kafka, sandbox: Sandbox, folder: Path, happenings: list[Happening], form: str
) -> list[Part]:
    """Return the runs of a day, one after the other."""
    if form == "flat":
        topics = flat_topics(happenings)
        return [
            (
                Job(kafka, sandbox, folder / key, 8),
                key,
                [(order, value, None, None) for order, value in topics[key]],
            )
            for key in FLAT_KEYS
        ]
    records: list[tuple[Any, ...]]
    if form == "scan":
        records = [
            (one.order.encode(), value, None, headers)
            for one in happenings
            for value, headers in scans(one.what)
        ]
    else:
        encode = ENCODERS[form]
        records = [
            (one.order.encode(), value, None, None)
            for one in happenings
            for value in encode(one.what)
        ]
    return [(Job(kafka, sandbox, folder, 8), "extended_id", records)]


def _consume(job: Job, form: str, mode: str, data_key: str, seconds: float) -> list[str]:
    """Run the consumer to the end; return what must not be."""
    sections: dict[str, dict[str, Any]] = {
        "events": {
            "format": form.removesuffix("-xml"),
            "data_key": data_key,
            "logistic_units": UNITS,
        },
        "api": {"mode": mode},
    }
    if form.startswith("epcis"):
        sections["epcis"] = EPCIS_SETTINGS
    if form == "scan":
        sections["scan"] = SCAN_SETTINGS
    with job.process("--until-end", **sections) as consumer:
        code = consumer.wait(seconds)
        findings = [] if code == 0 else [f"exit code {code}: {consumer.err[-2000:]}"]
        if not re.search(r"dead letters: 0\b", consumer.out):
            findings.append(f"dead letters: {consumer.out[-500:]}")
    letters = job.kafka.read_all(job.letters)
    findings += [f"dead letter: {json.dumps(dict_of(letter.headers))}" for letter in letters[:3]]
    job.assert_committed_to_the_end()
    return findings


def dict_of(headers: list[tuple[str, bytes]]) -> dict[str, str]:
    """Return a dead letter's headers as text."""
    return {name: value.decode("utf-8", "replace") for name, value in headers}
