"""The stage: an embedded Kafka, the sandbox API with faults, the line, and the real consumer.

The consumer is a process of its own, started as a user starts it. Everything is on free ports of this machine
and in a temporary folder, and is gone when ``play`` ends, however it ends.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consumer.demo import factory, line
from consumer.demo.evidence import Applied, Evidence, Request, World
from consumer.demo.mistakes import mistakes
from consumer.demo.topics import Topics
from consumer.errors import UserError
from consumer.kafka.embedded import EmbeddedKafka
from consumer.sandbox import Sandbox

TOPIC = "scm.events"
DEAD_LETTERS = "scm.events.dlq"
GROUP = "scm-consumer-demo"
TOKEN = "demo-token"  # noqa: S105 - it opens the sandbox only

#: The consumer has this long to bring everything to its end.
PATIENCE_SECONDS = 120.0
STOP_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.25

#: How the API misbehaves: each entry is a fault of the sandbox, in the order in which they are asked.
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "latency", "seconds": 0.05},
    {"kind": "throttle", "every": 23, "retry_after": 1},
    {"kind": "status", "code": 503, "every": 11},
    {
        "kind": "late",
        "first": 1,
        "seconds": 0.6,
        "min_rows": 40,
    },  # no answer, and applied when all seems over
    {"kind": "reset_after", "every": 13},  # applied, but the answer is lost
    {"kind": "bad_request", "style": "none", "first": 2, "min_rows": 20},  # 400 that names no row
    {"kind": "bad_request", "style": "line", "first": 3},  # 400 that names rows by their line only
)

#: A user's settings, but quick: lost answers and retries are waited for in seconds instead of a minute.
CONFIGURATION = """\
[kafka]
bootstrap_servers = "{bootstrap_servers}"
group_id = "{group}"
topics = ["{topic}"]
commit_interval_seconds = 0.2

[events]
data_key = "{data_key}"
date_fields = [{date_fields}]

[api]
base_url = "{url}"
token = "{token}"
requests_per_second = 25
timeout_seconds = 5
max_processing_seconds = 2

[retry]
base_seconds = 0.1
cap_seconds = 1

[dead_letter]
topic = "{dead_letters}"
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens, and the seed that decides what."""

    cases: int = 100
    per_case: int = 12
    loose: int = 600
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the consumer is."""

    published: int
    committed: int  #: records
    applied: int  #: rows, those sent again included
    letters: int
    requests: Mapping[str, int]  #: by status; "none": no answer
    seconds: float


def play(size: Size, watch: Callable[[Progress], None]) -> Evidence:
    """Run it all once; what there is to judge. ``watch`` is told about four times a second.

    Raises UserError when the consumer fails or does not end.
    """
    rng = random.Random(size.seed)
    plant = factory.build(rng, size.cases, size.per_case, size.loose)
    world = plant.world()
    formats = line.Formats(world.schema)
    messages = line.shift(plant, formats, rng) + mistakes(plant, formats, rng)
    messages.sort(key=lambda message: message.at)
    with (
        TemporaryDirectory(prefix="scm-consumer-demo-") as folder,
        EmbeddedKafka() as kafka,
        Sandbox(token=TOKEN, codes=world.codes, products=world.products) as api,
        Topics(kafka.bootstrap_servers, GROUP) as topics,
    ):
        for fault in FAULTS:
            api.faults.add(**fault)
        partitions = kafka.create_topic(TOPIC)
        kafka.create_topic(DEAD_LETTERS)
        published = line.publish(kafka.bootstrap_servers, TOPIC, messages)
        file = Path(folder, "scm-consumer.toml")
        file.write_text(_configuration(world, kafka.bootstrap_servers, api.url), encoding="utf-8")
        begun = time.monotonic()

        def look() -> None:
            stats = api.stats()
            committed, letters = topics.committed(TOPIC, partitions), sum(topics.ends(DEAD_LETTERS).values())
            seconds = time.monotonic() - begun
            watch(Progress(published, committed, stats["rows_applied"], letters, stats["requests"], seconds))

        last_line = _consume(file, look)
        seconds = time.monotonic() - begun
        return _evidence(world, topics, api, last_line, seconds)


def _configuration(world: World, bootstrap_servers: str, url: str) -> str:
    return CONFIGURATION.format(
        bootstrap_servers=bootstrap_servers,
        group=GROUP,
        topic=TOPIC,
        dead_letters=DEAD_LETTERS,
        data_key=world.data_key,
        date_fields=", ".join(f'"{name}"' for name in world.date_fields),
        url=url,
        token=TOKEN,
    )


def _consume(configuration: Path, look: Callable[[], None]) -> str:
    """Run ``scm-consumer run --until-end``; the last line it prints. Raises UserError when it fails."""
    with _consumer(configuration) as (process, told):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise UserError(_failure(f"the consumer did not end within {PATIENCE_SECONDS:g} s", told))
            look()
            try:
                process.wait(LOOK_EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        look()
        if process.returncode:
            raise UserError(_failure(f"the consumer ended with exit code {process.returncode}", told))
        lines = told.with_suffix(".out").read_text(encoding="utf-8").splitlines()
        return lines[-1] if lines else ""


@contextmanager
def _consumer(configuration: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The consumer's process and the file of its log; stopped at the end if it still runs."""
    told = configuration.with_suffix(".log")
    command = [sys.executable, "-m", "consumer.cli", "-c", str(configuration), "run", "--until-end"]
    # Nothing of a real consumer's environment may reach this one: least of all its address and token.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCM_")}
    with told.open("wb") as log, told.with_suffix(".out").open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=environment
        )
    try:
        yield process, told
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def _failure(text: str, told: Path) -> str:
    tail = told.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    return "\n".join([f"{text}; the end of its log:", *tail])


def _evidence(world: World, topics: Topics, api: Sandbox, last_line: str, seconds: float) -> Evidence:
    journal = api.journal()
    return Evidence(
        world=world,
        published=topics.read(TOPIC),
        letters=topics.read(DEAD_LETTERS),
        state=api.state()["codes"],
        applied=[Applied(row["data_key"], row["key_value"], row["fields"]) for row in journal["rows"]],
        requests=[
            Request(entry["status"], entry["fault"], entry["data_key"], entry["keys"], entry["applied"])
            for entry in journal["requests"]
            if entry["method"] == "POST"
        ],
        broken_rules={rule: about["count"] for rule, about in api.rules()["broken"].items()},
        last_line=last_line,
        seconds=seconds,
    )
