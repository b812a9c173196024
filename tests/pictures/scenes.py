"""Scenes for the pictures: a consumer on a real Kafka and the sandbox, and its troubles.

All scenes run side by side for some minutes, so that the curves have something to show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from consumer.sandbox import Sandbox
from tests.support.job import Job
from tests.support.kafka_witness import Kafka
from tests.support.process import ConsumerProcess, wait_until

PARTITIONS = 4
#: Events a second of a line, and how many the backlog's line has published already.
PACE, BACKLOG = 60, 600_000
#: Time between two bursts of a line, in seconds.
BURST_SECONDS = 0.25
START_SECONDS = 60.0


class Stage:
    """One consumer with its topic, its sandbox, and a line that publishes."""

    def __init__(self, kafka: Kafka, number: int, folder: Path) -> None:
        self.kafka = kafka
        self.sandbox = Sandbox()
        folder.mkdir()
        self.job = Job.__new__(Job)  # by name: its own topics are called at random
        self.job.kafka, self.job.sandbox, self.job.folder = kafka, self.sandbox, folder
        self.job.topic = self.job.group = kafka.create_topic(f"plant-{number}.events", PARTITIONS)
        self.job.letters = kafka.create_topic(f"plant-{number}.dead-letters", 1)
        self.published = 0
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 20})
        self._stop = threading.Event()
        self._line = threading.Thread(target=self._publish_on, daemon=True)
        self._consumer: ConsumerProcess | None = None
        self.url = ""

    def publish(self, count: int, code: str = "") -> None:
        """Publish so many events, of new codes or of one."""
        for _ in range(count):
            key = code or f"HGDT{self.published:08d}"
            self.published += 1
            value = msgspec.json.encode({"extended_id": key, "activation_status": "1"})
            while True:
                try:
                    self._producer.produce(self.job.topic, value, key)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        self._producer.flush(START_SECONDS)

    def begin_line(self) -> None:
        """Publish ``PACE`` events a second from now on."""
        self._line.start()

    def start(self, **sections: dict[str, Any]) -> None:
        """Start the consumer."""
        self._consumer = self.job.process(**sections)
        self._consumer.__enter__()
        self.url = self._consumer.ops(START_SECONDS)

    def stop(self) -> None:
        """Stop the consumer in order."""
        assert self._consumer is not None
        self._consumer.__exit__(None, None, None)
        self._consumer = None

    @property
    def said(self) -> str:
        """Return the consumer's log."""
        return "" if self._consumer is None else self._consumer.err

    def close(self) -> None:
        """End all of it."""
        self._stop.set()
        if self._line.is_alive():
            self._line.join()
        if self._consumer is not None:
            self.stop()
        self.sandbox.__exit__(None, None, None)

    def _publish_on(self) -> None:
        while not self._stop.wait(BURST_SECONDS):
            self.publish(round(PACE * BURST_SECONDS))


class Scene(msgspec.Struct):
    """A scene: how it begins, and what happens later."""

    begin: Callable[[Stage], None]
    trouble: Callable[[Stage], None] | None = None


def _line(stage: Stage) -> None:
    stage.sandbox.faults.add("latency", seconds=0.2)
    stage.start()
    stage.begin_line()


def _backlog(stage: Stage) -> None:
    stage.publish(BACKLOG)
    stage.sandbox.faults.add("latency", seconds=0.2)
    stage.start(api={"requests_per_second": 10})


def _refuse_token(stage: Stage) -> None:
    stage.sandbox.token = "another-token"


def _fail(stage: Stage) -> None:
    stage.sandbox.faults.add("status", code=503)


def _poison(stage: Stage) -> None:
    stage.sandbox.faults.add("status", code=500, key="HGDTPOISON")
    stage.publish(1, "HGDTPOISON")


def _refuse_dead_letters(stage: Stage) -> None:
    stage.kafka.configure_topic(stage.job.letters, {"max.message.bytes": "1"})
    stage.publish(3, "UNKNOWN1")


def _lose_offsets(stage: Stage) -> None:
    """Have retention remove what was not read while the consumer was down."""
    kafka, topic = stage.kafka, stage.job.topic
    stage.stop()
    stage.publish(4_000)
    begin = max(1, kafka.end_offsets(topic)[1] - 100)
    assert begin > kafka.committed(stage.job.group, topic)[1], "so that the committed one is gone"
    kafka.delete_records(topic, {1: begin})
    stage.start()


SCENES = {
    "healthy": Scene(_line),
    "backlog": Scene(_backlog),
    "api-blocked": Scene(_line, _refuse_token),
    "api-failing": Scene(_line, _fail),
    "row-stuck": Scene(_line, _poison),
    "dead-letters-refused": Scene(_line, _refuse_dead_letters),
    "out-of-range": Scene(_line, _lose_offsets),
}


def staged(stack: ExitStack, kafka: Kafka, name: str, number: int, folder: Path) -> Stage:
    """Begin a scene; it ends with the stack."""
    stage = Stage(kafka, number, folder)
    stage.sandbox.__enter__()
    stack.callback(stage.close)
    SCENES[name].begin(stage)
    wait_until(lambda: stage.sandbox.journal()["requests"], START_SECONDS, lambda: stage.said)
    return stage
