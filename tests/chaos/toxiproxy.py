"""Toxiproxy, the TCP proxy that can be told to misbehave: built once with Go, driven over HTTP."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import requests

from tests.support.kafka_broker import free_port
from tests.support.process import wait_until

#: The newest that also builds with Debian 12's own Go.
VERSION = "v2.5.0"
MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
CACHE = Path(__file__).parents[2] / ".cache" / f"toxiproxy-{VERSION}"
BUILD_SECONDS = 600
ANSWER_SECONDS = 10


class ToxiproxyUnavailableError(Exception):
    """Toxiproxy cannot be had; the message says what to install."""


def binary() -> Path:
    """Return the program, built into the project's cache the first time."""
    program = CACHE / "server"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists():
            return program
        if shutil.which("go") is None:
            raise ToxiproxyUnavailableError(
                "go is not on the PATH: install Go 1.19 or later to build toxiproxy once"
            )
        built = subprocess.run(
            ["go", "install", MODULE],
            env=os.environ | {"GOBIN": str(CACHE), "CGO_ENABLED": "0"},  # without a C compiler, too
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
        if built.returncode != 0:
            raise ToxiproxyUnavailableError(
                f"toxiproxy could not be built:\n{built.stdout}{built.stderr}"
            )
    return program


class Toxiproxy:
    """A running toxiproxy; ends with ``close``. To be used from one thread."""

    def __init__(self) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [str(binary()), "-host", "127.0.0.1", "-port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(self._answers, 30, lambda: "toxiproxy did not start")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and every connection through it."""
        self._http.close()
        self._process.kill()
        self._process.wait()

    def proxy(self, name: str, upstream: str) -> Proxy:
        """Return a new proxy to ``upstream`` (host:port), on any free port."""
        asked = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": True}
        made = self.ask("POST", "/proxies", asked)
        return Proxy(self, name, str(made["listen"]))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call its API; raise requests' HTTPError for a refusal."""
        answer = self._http.request(method, self._url + path, json=body, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _answers(self) -> bool:
        try:
            return isinstance(self.ask("GET", "/proxies"), dict)
        except requests.ConnectionError:
            if self._process.poll() is not None:
                raise ToxiproxyUnavailableError(
                    f"toxiproxy ended with {self._process.returncode}"
                ) from None
            return False


class Proxy:
    """One proxied address."""

    def __init__(self, toxiproxy: Toxiproxy, name: str, listen: str) -> None:
        self._toxiproxy = toxiproxy
        self._path = f"/proxies/{name}"
        self.listen = listen  #: host:port

    def cut(self, kind: str, **attributes: int) -> None:
        """Switch on ``down``, or a toxic on what comes from upstream."""
        if kind == "down":
            self._toxiproxy.ask("POST", self._path, {"enabled": False})
            return
        toxic = {
            "name": kind,
            "type": kind,
            "stream": "downstream",
            "toxicity": 1.0,
            "attributes": attributes,
        }
        self._toxiproxy.ask("POST", f"{self._path}/toxics", toxic)

    def mend(self) -> None:
        """Set everything as it should be."""
        for toxic in self._toxiproxy.ask("GET", self._path)["toxics"]:
            self._toxiproxy.ask("DELETE", f"{self._path}/toxics/{toxic['name']}")
        self._toxiproxy.ask("POST", self._path, {"enabled": True})
