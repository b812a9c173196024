"""A pod as a process of this machine: command, variables, mounts, probes and stop of a manifest.

Ports and addresses are replaced, and paths that are mounted; everything else is as it stands. The
pod's address is 127.0.0.2: what listens on 127.0.0.1 only is not reached there, as in a cluster.
"""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from tests.deploy.chart import Resource, container, pod_spec
from tests.deploy.dockerfile import Image
from tests.support.kafka_broker import free_port
from tests.support.process import wait_until

POD_IP = "127.0.0.2"
#: What a kubelet takes where a probe says nothing: its own defaults.
_PERIOD, _TIMEOUT, _FAILURES = 10, 1, 3


class Pod:
    """One pod of a StatefulSet, Deployment or CronJob; gone at the latest when the block ends.

    Args:
        folder: where its volumes are made.
        image: what it runs.
        resource: the workload.
        name: the pod's name, as from ``metadata.name``.
        data: what Secrets and ConfigMaps hold, by name.
        replaced: texts in the settings and the addresses here.
    """

    def __init__(
        self,
        folder: Path,
        image: Image,
        resource: Resource,
        name: str,
        data: Mapping[str, Mapping[str, str]],
        replaced: Mapping[str, str],
    ) -> None:
        self.name = name
        self.spec = pod_spec(resource)
        self.container = container(resource)
        self._folder = folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._image = image
        self._data = data
        self._replaced = dict(replaced)
        self.port = free_port()
        for port in self.container.get("ports", []):
            self._replaced[f":{port['containerPort']}"] = f":{self.port}"
        self._mount()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        """Return what the container wrote so far."""
        return (self._folder / "log").read_text(errors="replace")[-5000:]

    def volume(self, name: str) -> Path:
        """Return where a volume is here."""
        return self._folder / name

    def start(self) -> None:
        """Start the container: the image's entry point with the manifest's arguments."""
        assert "command" not in self.container, "the image's own entry point"
        arguments = [self._here(word) for word in self.container["args"]]
        work = self._folder / "work"
        work.mkdir(exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._image.command(arguments),
                cwd=work,
                env=self._image.environment | self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def probe(self, name: str) -> bool:
        """Make one try of a probe, at the pod's address, in the probe's own time."""
        check = self.container[name]
        (port,) = (
            self.port for one in self.container["ports"] if one["name"] == check["httpGet"]["port"]
        )
        seconds = check.get("timeoutSeconds", _TIMEOUT)
        connection = http.client.HTTPConnection(POD_IP, port, timeout=seconds)
        try:
            connection.request("GET", check["httpGet"]["path"])
            return 200 <= connection.getresponse().status < 400
        except OSError:
            return False
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels, as scraped; 0 while there is none."""
        with urlopen(f"http://{POD_IP}:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def wait_started(self) -> None:
        """Wait for the startup probe, no longer than a kubelet does; then for readiness."""
        check = self.container["startupProbe"]
        limit = check.get("periodSeconds", _PERIOD) * check.get("failureThreshold", _FAILURES)
        wait_until(lambda: self._alive() and self.probe("startupProbe"), limit, lambda: self.log)
        wait_until(lambda: self._alive() and self.probe("readinessProbe"), 60, lambda: self.log)

    def stop(self) -> tuple[int, float]:
        """Stop it as a kubelet does; return exit code and seconds. Fail after the grace period."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(self.spec["terminationGracePeriodSeconds"])
        return code, time.monotonic() - began

    def wait(self, seconds: float) -> int:
        """Wait for a job's end; return its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def _alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended:\n{self.log}"
        return True

    def _mount(self) -> None:
        """Lay out the volumes, each key a file, and have their paths replaced."""
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        for mount in self.container["volumeMounts"]:
            volume = volumes.pop(mount["name"])
            here = self._folder / mount["name"]
            here.mkdir(exist_ok=True)
            self._replaced[f"{mount['mountPath']}/"] = f"{here}/"
            name = volume.get("secret", {}).get("secretName") or volume.get("configMap", {}).get(
                "name"
            )
            if name is None:
                assert "emptyDir" in volume
                continue
            for key, text in self._data[name].items():
                (here / key).write_text(text)
        assert not volumes, f"mounted nowhere: {sorted(volumes)}"
        for file in self._folder.glob("*/*"):
            file.write_text(self._here(file.read_text()))

    def _variables(self) -> dict[str, str]:
        found = {}
        for variable in self.container.get("env", []):
            source: dict[str, Any] = variable.get("valueFrom", {})
            if "fieldRef" in source:
                assert source["fieldRef"] == {"fieldPath": "metadata.name"}
                found[variable["name"]] = self.name
            elif "secretKeyRef" in source:
                reference = source["secretKeyRef"]
                found[variable["name"]] = self._data[reference["name"]][reference["key"]]
            else:
                found[variable["name"]] = variable["value"]
        return found

    def _here(self, text: str) -> str:
        """Return a text with everything replaced once, so that nothing is replaced in what was."""
        names = "|".join(map(re.escape, sorted(self._replaced, key=len, reverse=True)))
        return re.sub(names, lambda found: self._replaced[found[0]], text)
