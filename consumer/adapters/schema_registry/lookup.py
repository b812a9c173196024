"""Look schemas up by id on a thread of its own, each until it is answered, so that nobody waits.

A look-up ends with the schema, or with a word on why there is none. A registry that cannot be
reached, or answers anything else, is no end: it is asked again, with back-off.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from consumer.adapters.schema_registry.client import (
    Reference,
    RegisteredSchema,
    RegistryClient,
    RegistryError,
    explain,
)

log = logging.getLogger(__name__)

#: Pause before the next attempt while the registry is away: doubling, from the first to the second.
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 5.0
#: An outage is logged in a line at most this often.
LOG_AGAIN_SECONDS = 30.0
#: Schemas that one schema may refer to, directly or not.
MAX_REFERENCES = 200


_NO_GUIDS = (
    "or it cannot look up a schema by its GUID; let the serializer write the schema's id before "
    "the value (Confluent's PrefixSchemaIdSerializer)"
)


class Found(NamedTuple):
    """A schema: its type (``AVRO``, ``JSON``, ``PROTOBUF``), its text, and the texts of those it
    refers to, deepest first.
    """

    kind: str
    text: str
    references: list[str]


class _NoSchemaError(Exception):
    """The registry has no such schema, or it is of no use: its message says why."""


class SchemaLookup:
    """Asks for schemas, each until it is answered; ``ask`` never waits.

    ``answered`` gets the id, and the schema or why there is none; it is called on this object's
    thread, which begins with the first look-up. ``url`` is only for messages.
    """

    def __init__(
        self, client: RegistryClient, url: str, answered: Callable[[int | str, Found | str], None]
    ) -> None:
        self._client = client
        self._url = url
        self._answered = answered
        self._ids: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._logged_at: float | None = None

    def ask(self, schema_id: int | str) -> None:
        """Ask for a schema; call it from one thread."""
        self._ids.put(schema_id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="schema-registry", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self._ids.put(0)  # wakes it
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        waiting: deque[int | str] = deque()
        pause = FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            if not waiting:
                waiting.append(self._ids.get())
                continue
            schema_id = waiting.popleft()
            answer = self._look_up(schema_id)
            if answer is not None:
                pause = FIRST_PAUSE_SECONDS
                self._answered(schema_id, answer)
                continue
            # One that the registry stumbles over must not keep the others waiting.
            waiting.append(schema_id)
            while not self._ids.empty():
                waiting.appendleft(self._ids.get())
            self._closed.wait(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
        self._client.close()

    def _look_up(self, schema_id: int | str) -> Found | str | None:
        """Return the answer; None: there is none now."""
        try:
            found: Found | str = self._fetch(schema_id)
        except _NoSchemaError as error:
            found = str(error)
        except Exception as error:  # whatever the library raises: none of it may end the consumer
            if not self._closed.is_set():
                self._log(explain(error, self._url), schema_id)
            return None
        if self._logged_at is not None:
            self._logged_at = None
            log.warning("the schema registry at %s answers again", self._url)
        return found

    def _fetch(self, schema_id: int | str) -> Found:
        missing = f"schema {schema_id} is not in the registry at {self._url}"
        try:
            schema = self._get(lambda: self._client.schema(schema_id), missing)
        except RegistryError as error:
            # A registry without that call answers as a wrong address would.
            if isinstance(schema_id, str) and error.status in (404, 405):
                raise _NoSchemaError(f"{missing}, {_NO_GUIDS}") from error
            raise
        texts: dict[Reference, str] = {}
        self._follow(schema_id, schema, texts, set())
        return Found(schema.kind, schema.text, list(texts.values()))

    def _follow(
        self,
        schema_id: int | str,
        schema: RegisteredSchema,
        texts: dict[Reference, str],
        seen: set[Reference],
    ) -> None:
        """Fetch what a schema refers to, each after what it refers to itself."""
        for reference in schema.references:
            if reference in seen:
                continue
            seen.add(reference)
            if len(seen) > MAX_REFERENCES:
                raise _NoSchemaError(
                    f"schema {schema_id} refers to more than {MAX_REFERENCES} others"
                )
            found = self._get_version(schema_id, reference)
            self._follow(schema_id, found, texts, seen)
            texts[reference] = found.text

    def _get_version(self, schema_id: int | str, reference: Reference) -> RegisteredSchema:
        missing = (
            f"schema {schema_id} refers to {reference.subject} version {reference.version}, "
            f"which is not in the registry at {self._url}"
        )
        return self._get(lambda: self._client.version(reference), missing)

    def _get(self, call: Callable[[], RegisteredSchema], missing: str) -> RegisteredSchema:
        try:
            return call()
        except RegistryError as error:
            if error.not_there:
                raise _NoSchemaError(missing) from error
            raise

    def _log(self, problem: str, schema_id: int | str) -> None:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_AGAIN_SECONDS:
            self._logged_at = now
            text, data = "%s; records of schema %s wait, trying on", {"schema_id": schema_id}
            log.warning(text, problem, schema_id, extra={"data": data})
