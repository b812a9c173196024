"""A job for integration tests: own topics, a sandbox, the consumer as a process, a
line's events.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from consumer.sandbox import Sandbox
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import ConsumerProcess

RUN_SECONDS = 90.0


class Job:
    """Topics of its own, a sandbox, and the settings that bind them."""

    def __init__(self, kafka: Kafka, sandbox: Sandbox, folder: Path, partitions: int) -> None:
        self.kafka = kafka
        self.sandbox = sandbox
        self.folder = folder
        self.topic = kafka.create_topic(unique("events"), partitions)
        self.letters = kafka.create_topic(unique("letters"), 2)
        self.group = self.topic

    def settings(self, **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the settings; sections given are laid over."""
        base: dict[str, dict[str, Any]] = {
            "kafka": {
                "bootstrap_servers": self.kafka.bootstrap,
                "group_id": self.group,
                "topics": [self.topic],
            },
            "kafka.client": {"session.timeout.ms": 6000},  # so that a killed member is missed soon
            "windows": {"linger_seconds": 0.1},
            "api": {
                "base_url": self.sandbox.url,
                "token": self.sandbox.token,
                "requests_per_second": 0,
            },
            "dead_letter": {"topic": self.letters},
            "ops": {
                "listen": "127.0.0.1:0"
            },  # so that processes side by side do not fight for one port
        }
        for name, values in sections.items():
            base[name] = {**base.get(name, {}), **values}
        if base["kafka"].get("group_protocol") == "consumer":
            del base["kafka.client"]["session.timeout.ms"]  # the brokers' to say
        return base

    def process(self, *arguments: str, **sections: dict[str, Any]) -> ConsumerProcess:
        """Return the consumer with these arguments after ``run``."""
        return ConsumerProcess(self.folder, self.settings(**sections), "run", *arguments)

    def run_to_end(self, **sections: dict[str, Any]) -> str:
        """Run until the end is reached; return what it printed."""
        with self.process("--until-end", **sections) as consumer:
            assert consumer.wait(RUN_SECONDS) == 0, consumer.err[-5000:]
            assert "Traceback" not in consumer.err
            return consumer.out

    def produce(self, items: list[dict[str, str]], partition: int | None = None) -> None:
        """Publish flat events, keyed by their code."""
        self.kafka.produce(
            self.topic,
            [
                (next(iter(item.values())).encode(), json.dumps(item).encode(), partition, None)
                for item in items
            ],
        )

    def assert_committed_to_the_end(self) -> None:
        """Assert that every partition that holds anything is committed to its end."""
        ends = {number: end for number, end in self.kafka.end_offsets(self.topic).items() if end}
        committed = self.kafka.committed(self.group, self.topic)
        assert {number: committed.get(number) for number in ends} == ends


def line_events(
    count: int, seed: int, *, repeats: float = 0.05, unknown: float = 0.01
) -> list[dict[str, str]]:
    """Return a packaging line's events.

    They are mostly new codes, some updates of earlier ones, some codes nobody knows.
    """
    rng = random.Random(seed)
    codes: list[str] = []
    events = []
    for number in range(count):
        draw = rng.random()
        if draw < repeats and codes:
            code = rng.choice(codes)
        elif draw < repeats + unknown:
            code = f"UNKNOWN{number:07d}"
        else:
            code = f"CODE{number:07d}"
            codes.append(code)
        events.append({"extended_id": code, "line": "L1", "step": str(number)})
    return events


def unknown_codes(events: list[dict[str, str]]) -> set[str]:
    return {event["extended_id"] for event in events if event["extended_id"].startswith("UNKNOWN")}
