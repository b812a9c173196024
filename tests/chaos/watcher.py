"""A look at every member all the time: /status must balance and keep its bounds,
/healthz not fail.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from tests.chaos.load import MOST_ROWS
from tests.chaos.stage import MAX_UNSETTLED_ROWS, Member

EVERY_SECONDS = 0.7
#: An undisturbed member answers /healthz within this; it asks nobody.
PATIENCE_SECONDS = 20.0
COUNTS = ("accepted", "rejected", "skipped", "released", "unsettled")


class Watcher:
    """A thread that looks at ``members()`` until it is closed."""

    def __init__(self, members: Callable[[], list[Member]]) -> None:
        self._members = members
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._http = requests.Session()
        self._http.trust_env = False
        self._up: set[str] = set()
        self.looks = 0
        self.most_unsettled = 0
        self.findings: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()
        self._http.close()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            for member in self._members():
                if member.alive and not member.suspended and member.ending is None:
                    self._look(member)

    def _look(self, member: Member) -> None:
        before, asked = member.disturbed, time.time()
        problem = ""
        try:
            answer = self._http.get(f"http://{member.ops}/healthz", timeout=PATIENCE_SECONDS)
            self._up.add(member.name)
            if answer.status_code != 200:
                problem = f"/healthz answers {answer.status_code}: {answer.text[:200]!r}"
            else:
                self._status(member)
        except requests.RequestException as error:
            if member.name in self._up:
                problem = f"its ops address does not answer: {type(error).__name__}"
        if problem and member.disturbed == before and member.life.ended is None and member.alive:
            self.findings.append(f"health: {member.name}, at {asked:.3f}: {problem}")

    def _status(self, member: Member) -> None:
        answer = self._http.get(f"http://{member.ops}/status", timeout=PATIENCE_SECONDS)
        if answer.status_code != 200:
            return  # the loop is in a callback of Kafka's; /healthz is what tells whether it lives
        self.looks += 1
        status: Mapping[str, Any] = answer.json()
        for name, counts in [
            ("all partitions", status["ledger"]),
            *(
                (f"partition {partition['partition']}", partition)
                for partition in status["partitions"]
            ),
        ]:
            if counts["consumed"] != sum(counts[count] for count in COUNTS):
                self.findings.append(f"ledger: {member.name}, {name}: does not balance: {counts}")
        unsettled = status["rows"]["unsettled"]
        self.most_unsettled = max(self.most_unsettled, unsettled)
        # A record is taken in whole: the last one may have brought more rows than there was room
        # for.
        if unsettled >= MAX_UNSETTLED_ROWS + MOST_ROWS:
            self.findings.append(
                f"memory: {member.name} holds {unsettled} rows, {MAX_UNSETTLED_ROWS} are allowed"
            )
