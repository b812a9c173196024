"""The API stand-in of the benchmarks: a Java program, and what starts and asks it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import requests

SOURCE = Path(__file__).with_name("StandIn.java")
ANSWER_SECONDS = 10.0


class Stats(msgspec.Struct, frozen=True):
    """The stand-in's counts since its last reset."""

    requests: int
    rows: int  #: of accepted requests
    refused: int  #: requests answered with 400
    repeated_in_request: int  #: rows whose key an earlier row of the same request had
    most_in_flight: int
    distinct_keys: int
    keys_hash: str
    busy_seconds: float  #: from the first request to the last one answered
    cpu_seconds: float  #: the stand-in's own


class Ceiling(msgspec.Struct, frozen=True):
    """The most that the stand-in can do, loaded by a native client on the same machine."""

    connections: int
    requests_per_second: float
    cpu_us_per_request: float  #: the stand-in's
    client_cpu_us_per_request: float


class StandIn:
    """The stand-in in a process of its own, until ``close`` or until this process is gone."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["java", "-Xmx256m", "-XX:+UseSerialGC", str(SOURCE), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in did not start: it needs a JDK, 17 or later")
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}"

    def reset(self, latency_ms: int = 0) -> None:
        """Forget what was seen; from now on every upload takes ``latency_ms``."""
        self._ask("POST", f"/reset?latency_ms={latency_ms}")

    def stats(self) -> Stats:
        """Return what was seen since the last reset."""
        return msgspec.convert(self._ask("GET", "/stats"), Stats)

    def ceiling(
        self, seconds: float, connections: int, rows: int = 100, row_bytes: int = 230
    ) -> Ceiling:
        """Load it as fast as a native client can, and return what it did."""
        self.reset()
        arguments = (self.port, seconds, connections, rows, row_bytes)
        done = subprocess.run(
            ["java", "-XX:+UseSerialGC", str(SOURCE), "hammer", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        count, nanos, client_cpu = map(int, done.stdout.split())
        return Ceiling(
            connections,
            count / nanos * 1e9,
            self.stats().cpu_seconds / count * 1e6,
            client_cpu / count / 1e3,
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate()  # the end of its standard input is the end of it
        self._process.wait()

    def _ask(self, method: str, path: str) -> Any:
        answer = requests.request(method, self.url + path, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        return answer.json()
