"""A consumer with its own topics, sandbox and publisher, under its own job in Prometheus."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from confluent_kafka import Producer

from consumer.sandbox import Sandbox
from tests.alerts.prometheus import Prometheus
from tests.support.job import Job
from tests.support.kafka_broker import free_port
from tests.support.kafka_witness import Kafka
from tests.support.process import ConsumerProcess, wait_until

JOIN_SECONDS = 120.0
#: The longest wait for what a case needs before it goes on.
PATIENCE_SECONDS = 300.0
#: Between two batches of the publisher.
FEED_SECONDS = 0.25

Sections = dict[str, dict[str, Any]]


class Site:
    """Everything of one case. Members have fixed ports, so that they keep their ``instance``."""

    def __init__(
        self, name: str, kafka: Kafka, prometheus: Prometheus, folder: Path, partitions: int = 2
    ) -> None:
        self.name = f"scm-consumer-{name}"
        self.kafka = kafka
        self.prometheus = prometheus
        self.stack = ExitStack()
        self.sandbox = self.stack.enter_context(Sandbox())
        self.job = Job(kafka, self.sandbox, folder, partitions)
        self.settings: Sections = {
            "retry": {"base_seconds": 0.1, "cap_seconds": 1.0},
            "ops": {},
        }
        #: What the publisher publishes: the item of a number.
        self.item: Callable[[int], dict[str, str]] = lambda number: {
            "extended_id": f"CODE{number}",
            "line": "1",
        }
        self._ports: dict[str, int] = {}
        self._members: dict[str, ConsumerProcess] = {}
        self._fed = 0
        self._feeding = threading.Event()
        self._rate = 20.0
        self._over = threading.Event()
        self._feeder: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._feeder is not None:
            self._feeder.join()
        for member in self._members.values():
            if member.running.poll() is None:
                member.running.send_signal(signal.SIGCONT)
                member.running.kill()
                member.running.wait()
        self.prometheus.forget(self.name)
        self.stack.close()

    # -- members -----------------------------------------------------------------------------------

    def start(self, member: str = "a") -> None:
        """Start a member, and wait until its ops address answers."""
        port = self._ports.setdefault(member, free_port())
        sections: Sections = {name: dict(values) for name, values in self.settings.items()}
        sections["ops"]["listen"] = f"127.0.0.1:{port}"
        settings = self.job.settings(**sections)
        process = ConsumerProcess(self.job.folder, settings, "run", name=member)
        self._members[member] = process.__enter__()
        wait_until(lambda: self._answers(port), JOIN_SECONDS, lambda: process.err[-2000:])

    def begin(self, *members: str) -> None:
        """Start members and the publisher; have Prometheus scrape them once they are ready."""
        for member in members or ("a",):
            self.start(member)
        for member in members or ("a",):
            self.wait_ready(member)
        self.watch()
        self._feeder = threading.Thread(target=self._feed, name=f"feed {self.name}")
        self._feeder.start()
        self.feed()

    def watch(self, *members: str) -> None:
        """Have Prometheus scrape these members, by default all."""
        ports = [self._ports[member] for member in members or self._ports]
        self.prometheus.watch(self.name, [f"127.0.0.1:{port}" for port in ports])

    def wait_ready(self, member: str) -> None:
        """Wait until a member has joined its group."""
        wait_until(
            lambda: self._answers(self._ports[member], "/readyz"),
            JOIN_SECONDS,
            lambda: self._members[member].err[-2000:],
        )

    def signal(self, number: signal.Signals, member: str = "a") -> None:
        """Send a signal to a member."""
        self._members[member].signal(number)

    def kill(self, member: str = "a") -> None:
        """Kill a member, and wait until it is gone."""
        self.signal(signal.SIGKILL, member)
        self._members[member].running.wait()

    def stop(self, member: str = "a") -> None:
        """Stop a member in order."""
        self.signal(signal.SIGTERM, member)
        self._members[member].wait(120)

    def status(self, member: str = "a") -> dict[str, Any]:
        """Return a member's /status."""
        with urlopen(f"http://127.0.0.1:{self._ports[member]}/status", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def wait_applied(self, rows: int) -> None:
        """Wait until the API has applied so many more rows."""
        before = self.sandbox.stats()["rows_applied"]
        wait_until(lambda: self.sandbox.stats()["rows_applied"] >= before + rows, PATIENCE_SECONDS)

    def wait_late(self, seconds: float) -> None:
        """Wait until the oldest event that is not settled is so old."""
        wait_until(lambda: (self.status()["lag"]["seconds"] or 0) >= seconds, PATIENCE_SECONDS)

    def restart(self, member: str) -> None:
        """Kill a member, start it, and wait until Prometheus has seen the new process."""
        port = self._ports[member]
        series = f'scm_consumer_start_time_seconds{{instance="127.0.0.1:{port}"}}'

        def seen() -> list[str]:
            return [one["value"][1] for one in self.prometheus.query(series)]

        before = wait_until(seen, PATIENCE_SECONDS)
        self.kill(member)
        self.start(member)
        wait_until(lambda: (now := seen()) and now != before, PATIENCE_SECONDS)

    def log(self, member: str = "a") -> str:
        """Return what a member has logged."""
        return self._members[member].err

    @staticmethod
    def _answers(port: int, path: str = "/healthz") -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    # -- the publisher -----------------------------------------------------------------------------

    def feed(self, rate: float = 20.0) -> None:
        """Publish from now on at this many events a second."""
        self._rate = rate
        self._feeding.set()

    def hush(self) -> None:
        """Publish nothing for now."""
        self._feeding.clear()

    def _feed(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 5, "log_level": 0}
        )
        owed = 0.0
        while not self._over.wait(FEED_SECONDS):
            producer.poll(0)
            if not self._feeding.is_set():
                continue
            owed += self._rate * FEED_SECONDS
            count, owed = int(owed), owed % 1
            for number in range(self._fed, self._fed + count):
                item = self.item(number)
                key = next(iter(item.values())).encode()
                producer.produce(self.job.topic, json.dumps(item).encode(), key)
            self._fed += count
        producer.purge()
        producer.flush(1)
