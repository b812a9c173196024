"""A plain client of the sandbox, with which the sandbox's own tests speak to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import orjson
import pytest
import requests

from consumer.sandbox import Sandbox

UPLOAD = "/api/v2/scm/upload/"
ASYNC = "/api/v2/scm/upload/async/"
ME = "/api/v2/me/"


class StandingClock:
    """The clock by which faults count calls in a second; it goes on when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("consumer.sandbox.faults.time", self)

    def monotonic(self) -> float:
        """Return the time now."""
        return self.now


class Client:
    """One keep-alive session; nothing of the environment, no redirects, no retries."""

    def __init__(self, sandbox: Sandbox, token: str = "sandbox-token", timeout: float = 10) -> None:
        self._url = sandbox.url
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"UAT {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request."""
        options.setdefault("timeout", self._timeout)
        return self._session.request(method, self._url + path, allow_redirects=False, **options)

    def post(self, body: object, path: str = UPLOAD, **options: Any) -> requests.Response:
        """POST a body, by default to the upload's address: bytes as they are, else as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.call("POST", path, data=data, headers=headers, **options)

    def upload(
        self, *items: dict[str, Any], data_key: str = "extended_id", **options: Any
    ) -> requests.Response:
        """Upload rows."""
        return self.post({"data_key": data_key, "items": list(items)}, **options)

    def begin(self, body: object, **options: Any) -> requests.Response:
        """POST a body to the address of asynchronous uploads."""
        return self.post(body, path=ASYNC, **options)

    def began(self, constraints: dict[str, list[str]], **data: Any) -> str:
        """Begin an asynchronous upload; return the task's id."""
        answer = self.begin({"constraints": constraints, "scm_data": data})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])

    def poll(self, task_id: str) -> requests.Response:
        """Ask about a task."""
        return self.call("GET", f"/api/v2/scm/tasks/{task_id}/")

    def ended(self, task_id: str) -> dict[str, Any]:
        """Ask about a task until it is complete or has failed; return the last answer."""
        told: dict[str, Any] = {}

        def over() -> bool:
            told.update(self.poll(task_id).json())
            return told["status"] in ("complete", "failed")

        wait_until(over, f"task {task_id} ends")
        return told

    def me(self) -> requests.Response:
        """Test the access."""
        return self.call("GET", ME)

    def look(self, name: str) -> Any:
        """Return what a GET under /sandbox/ shows."""
        return self.call("GET", f"/sandbox/{name}").json()


def rows(count: int, **fields: str) -> list[dict[str, str]]:
    """Return good rows CODE0, CODE1, ..., each with the same fields (by default one)."""
    return [
        {"extended_id": f"CODE{number}", **(fields or {"market": "cn"})} for number in range(count)
    ]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 5) -> None:
    """Wait for a condition; fail with ``what`` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)
