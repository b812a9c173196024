"""A strict Scantrust SCM API for development and tests: a real HTTP server, with faults to switch
on.

It is a second opinion: written from the provider's guides alone, it shares no code with what it
judges.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Self

from consumer.sandbox.api import PERMISSIONS, SandboxPace
from consumer.sandbox.faults import Faults
from consumer.sandbox.kinds import FaultError
from consumer.sandbox.server import Server
from consumer.sandbox.store import InitialState, Store

__all__ = ["FaultError", "Faults", "Sandbox", "SandboxPace"]


class Sandbox:
    """The sandbox, from Python: ``with Sandbox() as sandbox: ...sandbox.url...``.

    ``codes``: an explicit set of codes with their fields. Without it a code exists when it begins
    with one of ``known_prefixes``, by default when it does not begin with UNKNOWN. ``products``:
    all products there are; by default every one that does not begin with UNKNOWN.
    ``accept_empty_units``: a key value other than an extended_id that selects no code is accepted
    and changes nothing, instead of a 400 as an unknown key (the guide's "key field not found").

    ``pace`` says how long it takes. A synchronous call that selects very many codes is given up as
    the real API does (504 near 60 s, nothing applied); an asynchronous one may select any number.
    What the constraints of an asynchronous upload do not find is passed over in silence; a product
    that does not exist fails its task.

    Its state outlives ``stop``: started again it listens on the same port, as after an outage. All
    methods are safe from any thread; ``token``, its ``permissions`` and ``pace`` may be assigned at
    any time.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "sandbox-token",  # noqa: S107 - its default is public on purpose
        *,
        codes: Mapping[str, Mapping[str, str]] | None = None,
        known_prefixes: Collection[str] = (),
        products: Collection[str] | None = None,
        accept_empty_units: bool = False,
    ) -> None:
        self.host = host
        self.port = port  #: 0 until started: any free one
        self.token = token
        self.permissions: Collection[str] = PERMISSIONS
        self.pace = SandboxPace()
        self.faults = Faults()
        self.store = Store(InitialState(codes, known_prefixes, products, accept_empty_units))
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return the root address of the API, without a slash at the end; final once started."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> Self:
        """Listen, and serve in the background; raise OSError when the address cannot be used."""
        if self._server is None:
            self._server = Server(self.host, self.port, self)
            self.port = self._server.server_port
            self._thread = threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.02},
                name="sandbox",
                daemon=True,
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and end every connection.

        Held calls end, late applications are dropped.
        """
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def load(self, codes: Mapping[str, Mapping[str, str]], *, only: bool = True) -> None:
        """Add known codes with their fields; ``only``: no other codes exist from now on."""
        with self.store.lock:
            self.store.catch_up()
            self.store.codes.load(codes, only=only)

    def fill(
        self,
        field: str,
        units: Collection[str],
        codes: int,
        fields: Mapping[str, str] | None = None,
    ) -> int:
        """Put so many new codes into each unit, ``UNIT-1``, ``UNIT-2``, ...; return how many in
        all.

        ``field``: the logistic unit, such as ``pallet_code``. ``fields``: what else each code
        carries.
        """
        new = {
            f"{unit}-{number}": {**(fields or {}), field: unit}
            for unit in units
            for number in range(1, codes + 1)
        }
        with self.store.lock:
            self.store.catch_up()
            self.store.codes.load(new, only=self.store.codes.only)
            return len(self.store.codes.data)

    def reset(self) -> None:
        """Go back to the start: its first codes, an empty journal, no broken rules, no faults."""
        self.faults.clear()
        self.store.reset()

    def state(self) -> dict[str, Any]:
        """Return ``{"codes": {extended_id: {field: value}}}``; a code may have no fields."""
        return self.store.state()

    def journal(self, after: int = 0, limit: int | None = None) -> dict[str, Any]:
        """Return ``{"rows", "requests", "next", "last"}``.

        They are the entries with ``seq`` above ``after``, at most ``limit``. A row has seq,
        request, data_key, key_value, fields (as sent, without the key), codes, at, task. A request
        has seq, request (its number in the order of arrival), method, path, status (None: no
        answer), data_key, rows, keys, applied, fault, bytes, at, task. ``at`` is in seconds since
        the epoch.

        Both share one sequence. A row is entered at the instant it is applied, a request when its
        answer is decided. ``task`` is a task's id, or None. A row that a task applied has the
        number of the request that began it, numbers as text, and ``codes`` 0 where its value
        selected nothing.
        """
        with self.store.lock:
            self.store.catch_up()
            return self.store.journal.page(after, limit)

    def rules(self) -> dict[str, Any]:
        """Return what clients could have known: rules broken and advice not followed.

        ``{"broken": {rule: {"count", "example"}}, "advice": {...}}``
        """
        with self.store.lock:
            return self.store.journal.rules()

    def stats(self) -> dict[str, Any]:
        """Return requests by status, rows, tasks, concurrency, the peak of requests in any one
        second, and connections.
        """
        with self.store.lock:
            self.store.catch_up()
            return {**self.store.journal.stats(), "tasks": self.store.tasks.counts()}

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks in the order they were begun.

        Each has task_id, request, state (as a poll is told, None: 404), ended (what really is),
        data_key, keys, codes (how many it selected), and message (of a failed one).
        """
        with self.store.lock:
            self.store.catch_up()
            return self.store.tasks.listed(time.monotonic())
