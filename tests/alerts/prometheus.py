"""Debian's Prometheus on the divided rules, and what it says about alerts."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.alerts.divide import divided
from tests.deploy import alerts
from tests.support.kafka_broker import _watch, free_port
from tests.support.process import wait_until

#: By what the rules' durations are divided.
BY = 30
START_SECONDS = 60.0

_CONFIGURATION = """
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml, slo.yml]
scrape_configs:
  - job_name: files
    file_sd_configs: [{files: ["targets/*.json"], refresh_interval: 1s}]
"""


class Alert(NamedTuple):
    """An alert as Prometheus tells it."""

    name: str
    state: str  #: pending or firing
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def title(self) -> str:
        """Return its name, with the cause if there is one."""
        cause = self.labels.get("cause")
        return f"{self.name} ({cause})" if cause else self.name


class Prometheus:
    """One Prometheus in a folder of its own; targets come and go as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "targets").mkdir(parents=True)
        (folder / "prometheus.yml").write_text(_CONFIGURATION)
        for path in alerts.FILES:
            (folder / path.name).write_text(divided(path.read_text(encoding="utf-8"), BY))
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = (self._folder / "prometheus.log").open("ab")
        options = [
            f"--config.file={self._folder}/prometheus.yml",
            f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        self._process = subprocess.Popen(["prometheus", *options], stdout=log, stderr=log)
        log.close()
        self._watcher = _watch(self._process.pid, self._folder / "data")
        wait_until(self._ready, START_SECONDS)

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._watcher.kill()
            self._watcher.communicate()

    def watch(self, job: str, targets: Iterable[str]) -> None:
        """Scrape these addresses (host:port) under this name."""
        groups = [{"targets": [address], "labels": {"job": job}} for address in targets]
        file = self._folder / "targets" / f"{job}.json"
        part = file.with_suffix(".part")
        part.write_text(json.dumps(groups))
        part.rename(file)

    def forget(self, job: str) -> None:
        """Scrape them no more."""
        (self._folder / "targets" / f"{job}.json").unlink(missing_ok=True)

    def alerts(self, job: str) -> list[Alert]:
        """Return the alerts of a job, pending and firing."""
        found = self._get("/api/v1/alerts")["alerts"]
        return [
            Alert(one["labels"]["alertname"], one["state"], one["labels"], one["annotations"])
            for one in found
            if one["labels"].get("job") == job
        ]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now."""
        found: list[dict[str, Any]] = self._get(
            f"/api/v1/query?{urlencode({'query': expression})}"
        )["result"]
        return found

    def query_range(
        self, expression: str, began: float, ended: float, step: float
    ) -> list[dict[str, Any]]:
        """Return what an expression gave between two moments."""
        asked = {"query": expression, "start": began, "end": ended, "step": step}
        found: list[dict[str, Any]] = self._get(f"/api/v1/query_range?{urlencode(asked)}")["result"]
        return found

    def _get(self, path: str) -> Any:
        with urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)["data"]

    def _ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
