"""Faults to switch on: how often each strikes, and which requests.

A kind belongs to a stage of a call. Of each stage, the first fault (in the order they were added)
that matches and is due takes part. Only a fault that is asked counts the request, so "the first 2"
of a kind that changes a 400 means the first two 400s.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from consumer.sandbox.kinds import KINDS, FaultError, read_parameters


@dataclass(slots=True)
class Facts:
    """The request as a fault can see it."""

    route: str  #: upload, async, task, me, or other
    body: bytes = b""
    keys: list[str] = field(default_factory=list)
    rows: int = 0


class Fault:
    """A fault that is switched on; ``fault["seconds"]`` is a parameter with its default."""

    def __init__(self, number: int, kind: str, given: Mapping[str, object]) -> None:
        self.number = number
        self.kind = kind
        self._given = read_parameters(kind, given)
        self._values = {**KINDS[kind].own, **self._given}
        self.seen = self.fired = 0
        self._random = random.Random(self._values.get("seed", 0))
        self._passed: deque[float] = deque()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def strikes(self, facts: Facts) -> bool:
        """Return whether this request gets it; count the request when it matches."""
        if not self._matches(facts):
            return False
        self.seen += 1
        if not self._due():
            return False
        self.fired += 1
        return True

    def described(self) -> dict[str, Any]:
        """Return it as it is listed over HTTP."""
        return {
            "id": self.number,
            "kind": self.kind,
            **self._given,
            "seen": self.seen,
            "fired": self.fired,
        }

    def _matches(self, facts: Facts) -> bool:
        values = self._values
        if values.get("path", KINDS[self.kind].path) not in ("any", facts.route):
            return False
        if "key" in values and values["key"] not in facts.keys:
            return False
        if facts.rows < values.get("min_rows", 0) or len(facts.body) < values.get("min_bytes", 0):
            return False
        if "text" in values and values["text"].encode() not in facts.body:
            return False
        if self.kind == "too_large":
            return bool(
                len(facts.body) > (values["max_bytes"] or float("inf"))
                or facts.rows > (values["max_rows"] or float("inf"))
            )
        return True

    def _due(self) -> bool:
        values = self._values
        if self.kind == "rate_limit":
            now = time.monotonic()
            while self._passed and self._passed[0] <= now - 1.0:
                self._passed.popleft()
            if len(self._passed) < values["per_second"]:
                self._passed.append(now)
                return False
        if "first" in values:
            return self.fired < int(values["first"])
        if "every" in values:
            return self.seen % int(values["every"]) == 0
        if "probability" in values:
            return self._random.random() < float(values["probability"])
        return True


class Faults:
    """The faults that are switched on. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._last = 0

    def add(self, kind: str, **parameters: object) -> int:
        """Switch a fault on and return its id; raise FaultError for one not described rightly."""
        with self._lock:
            fault = Fault(self._last + 1, kind, parameters)
            self._last = fault.number
            self._faults.append(fault)
            return fault.number

    def remove(self, number: int) -> bool:
        """Switch one off; return whether it was on."""
        with self._lock:
            before = len(self._faults)
            self._faults = [fault for fault in self._faults if fault.number != number]
            return len(self._faults) < before

    def clear(self) -> None:
        """Switch all off."""
        with self._lock:
            self._faults = []

    def listed(self) -> list[dict[str, Any]]:
        """Return all that are on, with how many requests each saw and struck."""
        with self._lock:
            return [fault.described() for fault in self._faults]

    def strike(self, stage: str, facts: Facts) -> Fault | None:
        """Return the fault of this stage that this request gets, if any."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if KINDS[fault.kind].stage == stage and fault.strikes(facts):
                    return fault
        return None


def parse_fault(text: str) -> dict[str, Any]:
    """Return the parameters of ``Faults.add`` from a flag's text.

    The text is ``KIND[:name=value,...]`` or a JSON object.
    """
    if text.lstrip().startswith("{"):
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise FaultError(f"fault {text!r}: not JSON: {error}") from None
        return checked(document)
    kind, _, rest = text.partition(":")
    parameters: dict[str, Any] = {"kind": kind.strip()}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise FaultError(f"fault {kind}: {part!r} is not name=value")
        parameters[name.strip()] = value.strip()
    return checked(parameters)


def checked(document: object) -> dict[str, Any]:
    """Return a fault's description, if ``Faults.add`` takes it; else raise FaultError."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise FaultError(
            "a fault is an object with a kind, such as {'kind': 'throttle', 'first': 2}"
        )
    Fault(0, document["kind"], {name: value for name, value in document.items() if name != "kind"})
    return document
