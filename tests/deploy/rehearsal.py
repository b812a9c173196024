"""A rehearsal of docker-compose.yml: its variables, commands and health checks, as processes.

Only addresses are replaced (see ``Addresses``), and paths. Kafka is set up by the class that its
image starts with, from the service's variables alone; the project's services run from the image's
content.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.deploy import compose
from tests.deploy.dockerfile import Image
from tests.support.kafka_broker import FIRST_COMPILER_ONLY, JVM_OPTIONS, _watch
from tests.support.kafka_jars import broker_jars
from tests.support.process import wait_until

HEALTHY_SECONDS = 60.0
TOOL = "/opt/kafka/bin/kafka-topics.sh"


class Rehearsal:
    """The services as processes of this machine; all are gone at the latest when the block ends."""

    def __init__(self, folder: Path, image: Image) -> None:
        self.addresses = compose.Addresses()
        self._services = compose.services()
        self._folder = folder
        self._image = image
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._said: dict[str, str] = {}
        self._watchers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes.values()):
            process.kill()
            process.wait()
        for watcher in self._watchers:
            watcher.kill()
            watcher.communicate()

    def start_kafka(self) -> None:
        """Write the broker's configuration, format its folder as the image does at every start, and
        run it.
        """
        java = ["java", "-Xmx512m", *JVM_OPTIONS, FIRST_COMPILER_ONLY, "-cp", f"{broker_jars()}/*"]
        tool = self._folder / "kafka-topics.sh"
        tool.write_text(
            f'#!/bin/sh\nexec {shlex.join(java)} org.apache.kafka.tools.TopicCommand "$@"\n'
        )
        tool.chmod(0o755)
        # default, mounted, final
        folders = {letter: self._folder / f"kafka-{letter}" for letter in "DMF"}
        for folder in folders.values():
            folder.mkdir()
        options = [
            word for letter, folder in folders.items() for word in (f"-{letter}", str(folder))
        ]
        variables = self._variables("kafka") | {"PATH": os.environ["PATH"]}
        variables["KAFKA_LOG_DIRS"] = f"{self._folder}{variables['KAFKA_LOG_DIRS']}"
        setup = [*java, "kafka.docker.KafkaDockerWrapper", "setup", *options]
        done = subprocess.run(setup, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self._start(
            "kafka", [*java, "kafka.Kafka", str(folders["F"] / "server.properties")], variables
        )

    def make_topics(self) -> None:
        """Run the one-shot service that makes the topics, to its end."""
        service = self._services["topics"]
        command = [
            self._local(word, "topics") for word in (*service["entrypoint"], *service["command"])
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start_from_image(self, name: str) -> None:
        """Start a service of the project: its command with the image's entry point, in an empty
        folder.
        """
        command = [self._local(word, name) for word in self._services[name]["command"]]
        self._start(
            name, self._image.command(command), self._image.environment | self._variables(name)
        )

    def start_prometheus(self) -> str:
        """Start Prometheus with deploy/prometheus.yml; return its address."""
        etc = self._folder / "etc"
        for volume in self._services["prometheus"]["volumes"]:
            source, target, _ = volume.split(":")
            here = etc / target.removeprefix("/etc/prometheus/")
            here.parent.mkdir(exist_ok=True)
            here.symlink_to(compose.ROOT / source)
        file = etc / "with-addresses.yml"
        named = (etc / "prometheus.yml").read_text()
        file.write_text(self.addresses.here(named, "prometheus"))
        address = f"127.0.0.1:{self.addresses.port('prometheus', 9090)}"
        options = [
            f"--config.file={file}",
            f"--storage.tsdb.path={self._folder}",
            f"--web.listen-address={address}",
        ]
        self._start("prometheus", ["prometheus", *options], {"PATH": os.environ["PATH"]})
        return f"http://{address}"

    def healthy(self, name: str) -> bool:
        """Run the service's own health check, in its own time; return its answer."""
        check = self._services[name]["healthcheck"]
        kind, *words = check["test"]
        assert kind == "CMD"
        command = [self._local(word, name) for word in words]
        if "build" in self._services[name]:
            command = self._image.program(command)
        seconds = compose.seconds(check["timeout"])
        variables = self._image.environment
        try:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            self._said[name] = f"no answer within {seconds} s"
            return False
        self._said[name] = done.stdout + done.stderr
        return done.returncode == 0

    def wait_healthy(self, name: str) -> None:
        """Wait until the service is healthy by its own check; fail at once when its process has
        ended.
        """

        def look() -> bool:
            assert self._processes[name].poll() is None, f"{name} ended:\n{self.log(name)}"
            return self.healthy(name)

        wait_until(look, HEALTHY_SECONDS, lambda: f"{name}: {self._said[name]}\n{self.log(name)}")

    def stop(self, name: str) -> int:
        """Stop a service as the engine does, within its grace period; return its exit code."""
        process = self._processes[name]
        process.send_signal(signal.SIGTERM)
        return process.wait(compose.seconds(self._services[name].get("stop_grace_period", "10s")))

    def log(self, name: str) -> str:
        """Return what a service wrote so far."""
        return (self._folder / f"{name}.log").read_text(errors="replace")[-5000:]

    def _start(self, name: str, command: list[str], variables: Mapping[str, str]) -> None:
        work = self._folder / name
        work.mkdir(exist_ok=True)
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=work,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes[name] = process
        self._watchers.append(_watch(process.pid, work))

    def _variables(self, name: str) -> dict[str, str]:
        found = self._services[name].get("environment", {})
        return {key: self.addresses.here(str(value), name) for key, value in found.items()}

    def _local(self, word: str, service: str) -> str:
        return self.addresses.here(
            word.replace(TOOL, str(self._folder / "kafka-topics.sh")), service
        )
