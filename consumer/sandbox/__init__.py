"""A strict Scantrust SCM API for development and tests, on a real HTTP server, with faults to switch on.

It is a second opinion: written from the provider's guides alone, it shares no code with what it judges.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Self

from consumer.sandbox.api import PERMISSIONS
from consumer.sandbox.faults import Faults
from consumer.sandbox.kinds import FaultError
from consumer.sandbox.server import Server
from consumer.sandbox.store import Store, World

__all__ = ["FaultError", "Faults", "Sandbox"]


class Sandbox:
    """The sandbox, from Python: ``with Sandbox() as sandbox: ...sandbox.url...``.

    ``codes``: an explicit set of codes with their fields; without it a code exists when it begins with one of
    ``known_prefixes``, by default when it does not begin with UNKNOWN. ``products``: all products there are;
    by default every one that does not begin with UNKNOWN. ``accept_empty_units``: a key value other than an
    extended_id that selects no code is accepted and changes nothing, instead of a 400 as an unknown key (the
    guide's "key field not found").

    Its state outlives ``stop``: started again it listens on the same port, as after an outage. All methods
    are safe from any thread; ``token`` and its ``permissions`` may be assigned at any time.
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
        self.faults = Faults()
        self.store = Store(World(codes, known_prefixes, products, accept_empty_units))
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Root address of the API, without a slash at the end; final once started."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> Self:
        """Listen, and serve in the background. Raises OSError when the address cannot be used."""
        if self._server is None:
            self._server = Server(self.host, self.port, self)
            self.port = self._server.server_port
            self._thread = threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and end every connection; held calls end, late applications are dropped."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def load(self, codes: Mapping[str, Mapping[str, str]], *, only: bool = True) -> None:
        """Add known codes with their fields; ``only``: no other codes exist from now on."""
        with self.store.lock:
            self.store.codes.load(codes, only=only)

    def reset(self) -> None:
        """Back to the start: its first codes, an empty journal, no broken rules, no faults."""
        self.faults.clear()
        self.store.reset()

    def state(self) -> dict[str, Any]:
        """``{"codes": {extended_id: {field: value}}}``; a code may have no fields."""
        return self.store.state()

    def journal(self, after: int = 0, limit: int | None = None) -> dict[str, Any]:
        """``{"rows", "requests", "next", "last"}``: entries with ``seq`` above ``after``, at most ``limit``.

        A row has seq, request, data_key, key_value, fields (as sent, without the key), codes, at. A request
        has seq, request (its number in the order of arrival), method, path, status (None: no answer),
        data_key, rows, keys, applied, fault, bytes, at. ``at`` is in seconds since the epoch. Both share one
        sequence; a row is entered at the instant it is applied, a request when its answer is decided.
        """
        with self.store.lock:
            return self.store.journal.page(after, limit)

    def rules(self) -> dict[str, Any]:
        """``{"broken": {rule: {"count", "example"}}, "advice": {...}}``: what clients could have known."""
        with self.store.lock:
            return self.store.journal.rules()

    def stats(self) -> dict[str, Any]:
        """Requests by status, rows, concurrency, peak of requests in any one second, connections."""
        with self.store.lock:
            return self.store.journal.stats()
