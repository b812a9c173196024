"""The results of the API's responses, by the real client over HTTP from the sandbox, and in the
simulation.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from queue import Queue
from typing import Protocol

from consumer.adapters.scantrust.client import Client, Job
from consumer.adapters.scantrust.pool import Pool
from consumer.adapters.scantrust.token import TokenSource
from consumer.core.batching.window import Window
from consumer.core.effects import Attempt
from consumer.core.model import Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.response import Response
from consumer.sandbox import Sandbox
from tests.simulation.adapters import Pace, Results, SimApi
from tests.simulation.api import Api
from tests.simulation.api_faults import Faults
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.witness import Call, Tag, Witness
from tests.support.sandbox_client import wait_until

#: How long a call may take, by the clock of the site, seconds.
PATIENCE_SECONDS = 30.0
#: After this long at most a late call has taken effect, by the clock of the site, seconds.
LATE_SECONDS = 0.5
KEY = "extended_id"


def rows_of(*values: str) -> list[Row]:
    """Rows with these key values, that carry the tags which the simulation knows them by."""
    partition = Partition("events", 0, 0, 0)
    rows = []
    for offset, value in enumerate(values):
        record = Record(partition, offset, None, 0, open=1)
        item = {KEY: value, "tag": f"0.{offset}.0"}
        rows.append(Row(record, KEY, value, item, ("extended_id", "tag"), 50))
    return rows


class ApiSite(Protocol):
    """One API and one worker that calls it. A trouble is switched on for all calls that follow."""

    def trouble(self, name: str) -> None:
        """Switch it on; the names are those of ``test_api``."""

    def upload(self, rows: Sequence[Row], *, too_late: bool = False) -> Response:
        """Send a window, and wait for what that brings.

        ``too_late``: its time to start has passed.
        """

    def me(self) -> Response:
        """``GET /me``."""

    def applied(self) -> list[str]:
        """The key values that took effect, in that order."""

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let time pass until something holds.

        AssertionError with ``what`` when it takes too long.
        """


class RealApi:
    """The pool and the client, and a sandbox."""

    def __init__(self) -> None:
        self._sandbox = Sandbox(token="right").start()
        self._results: Queue[tuple[Job, Response]] = Queue()
        self._token = "right"
        self._pool = Pool(self._client, 1, self._results)

    def close(self) -> None:
        self._pool.close(5.0)
        self._sandbox.stop()

    def _client(self) -> Client:
        return Client(self._sandbox.url, TokenSource("right"), connect_timeout=2.0, timeout=5.0)

    def trouble(self, name: str) -> None:
        add = self._sandbox.faults.add
        switches: dict[str, Callable[[], object]] = {
            "unauthorized": lambda: setattr(self._sandbox, "token", "another"),
            "forbidden": lambda: setattr(self._sandbox, "permissions", ()),
            "moved": lambda: add("status", code=404),
            "redirected": lambda: add("redirect", code=302),
            "down": lambda: add("status", code=503, path="any"),
            "busy": lambda: add("status", code=503, retry_after=1.0),
            "throttle": lambda: add("throttle", retry_after=2.0),
            "throttle without a time": lambda: add("throttle", form="none"),
            "garbage": lambda: add("garbage"),
            "reset": lambda: add("reset_before"),
            "answer lost": lambda: add("reset_after"),
            "late": lambda: add("late", seconds=LATE_SECONDS / 2),
            "no connection": lambda: self._sandbox.stop(),
            "all named": lambda: add("bad_request", style="key"),
            "first named": lambda: add("bad_request", style="first"),
            "named by line": lambda: add("bad_request", style="line"),
            "none named": lambda: add("bad_request", style="html"),
            "HUGE": lambda: add("too_large", max_rows=1),
            "WALLED": lambda: add("firewall", text="WALLED"),
            "CURSED": lambda: add("status", code=500, key="CURSED"),
            "omitted, not applied": lambda: add("omit_rows", rows=1),
        }
        switches[name]()

    def upload(self, rows: Sequence[Row], *, too_late: bool = False) -> Response:
        start_by = time.monotonic() - 1.0 if too_late else float("inf")
        self._pool.submit(Job("upload", start_by, KEY, [row.item for row in rows]))
        return self._results.get(timeout=PATIENCE_SECONDS)[1]

    def me(self) -> Response:
        self._pool.submit(Job("me"))
        return self._results.get(timeout=PATIENCE_SECONDS)[1]

    def applied(self) -> list[str]:
        return [row["key_value"] for row in self._sandbox.journal()["rows"]]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, what, PATIENCE_SECONDS)


class _Applied(Witness):
    """Keeps what took effect."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def applied(self, call: Call, rows: Sequence[int]) -> None:
        self.values += [call.items[place][KEY] for place in rows]


class SimulatedApi:
    """The simulation's pool and API."""

    def __init__(self) -> None:
        self._scheduler = Scheduler()
        self._process = Process(self._scheduler, "member", lambda: None)
        self._witness = _Applied()
        self._results = Results(self._process, lambda _: None, self._witness)
        self._kinds: dict[Tag, str] = {}
        self._faults = Faults(naming=("all",), max_processing=LATE_SECONDS)
        draw = random.Random(1)
        self._api = Api(self._scheduler, draw, self._kinds, self._faults, self._witness)
        self._pace = Pace()
        self._pool = SimApi(
            self._process, self._api, self._results, draw, self._pace, self._witness
        )

    def close(self) -> None:
        """Nothing runs."""

    def trouble(self, name: str) -> None:
        modes = {"unauthorized", "forbidden", "moved", "down"}
        faults = {"busy", "throttle", "garbage", "reset", "answer lost", "late"}
        if name in modes:
            self._api.mode = name
        elif name in faults:
            self._faults.shares = {name: 1.0}
        elif name == "throttle without a time":
            self._faults.shares = {"throttle": 1.0}
        elif name == "redirected":
            self._api.mode = "moved"
        elif name == "omitted, not applied":
            self._faults.shares = {"partial, not applied": 1.0}
        elif name == "no connection":
            self._pace.unsent = 1.0
        elif name in ("all named", "first named", "named by line", "none named"):
            self._faults.naming = (name.removesuffix(" named").removeprefix("named by "),)

    def upload(self, rows: Sequence[Row], *, too_late: bool = False) -> Response:
        for row in rows:
            number, offset, place = map(int, row.item["tag"].split("."))
            kind = {"HUGE": "huge", "WALLED": "forbidden", "CURSED": "cursed"}.get(str(row.value))
            if kind or str(row.value).startswith("UNKNOWN"):
                self._kinds[number, offset, place] = kind or "unknown"
        window = Window(KEY, list(rows), "full", 1)
        attempt = Attempt(window, 1, KEY, [row.item for row in rows])
        start_by = self._scheduler.now - 1.0 if too_late else float("inf")
        self._pool.send(attempt, lambda: start_by)
        return self._answer()

    def me(self) -> Response:
        self._pool.check_token()
        return self._answer()

    def _answer(self) -> Response:
        there = self._scheduler.run(
            lambda: bool(self._results._items), self._scheduler.now + PATIENCE_SECONDS
        )
        assert there, "a call brings something"
        result = self._results.get_nowait()
        assert isinstance(result, tuple)
        return result[1]

    def applied(self) -> list[str]:
        return self._witness.values

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        assert self._scheduler.run(condition, self._scheduler.now + PATIENCE_SECONDS), what
