"""The schema registry: looks up schemas by id on a thread of its own, so that nobody waits for it.

A look-up ends with the schema, or with a word on why there is none. A registry that cannot be
reached, or answers anything else, is no end: it is asked again, with back-off, until it answers.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from consumer.errors import ConfigError

log = logging.getLogger(__name__)

#: Time for a connection and for each part of an answer.
CALL_SECONDS = 5.0
#: Pause before the next attempt while the registry is away: doubling, from the first to the second.
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 5.0
#: An outage is told in a line at most this often.
TELL_SECONDS = 30.0
#: Schemas that one schema may refer to, directly or not.
MAX_REFERENCES = 200

#: The registry's own codes for a schema, subject or version that is not there. Any other 404 is a
#: wrong address.
NOT_THERE = range(40400, 40500)


class Found(NamedTuple):
    """A schema: its type (``AVRO``, ``JSON``, ``PROTOBUF``), its text, and those it refers to,
    deepest first.
    """

    kind: str
    text: str
    references: list[str]


class _NoSchemaError(Exception):
    """The registry has no such schema, or it is of no use: its message says why."""


class Registry:
    """Asks for schemas, each until it is answered; ``ask`` never waits.

    ``answered`` gets the id, and the schema or why there is none; it is called on this object's
    thread, which begins with the first question. ``client``: a SchemaRegistryClient, see
    ``connect``. ``url`` is only for messages.
    """

    def __init__(self, client: Any, url: str, answered: Callable[[int, Found | str], None]) -> None:
        self._client = client
        self._url = url
        self._answered = answered
        self._questions: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._told_at: float | None = None

    def ask(self, schema_id: int) -> None:
        """Ask for a schema; call it from one thread."""
        self._questions.put(schema_id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="schema-registry", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self._questions.put(0)  # wakes it
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        waiting: deque[int] = deque()
        pause = FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            if not waiting:
                waiting.append(self._questions.get())
                continue
            schema_id = waiting.popleft()
            answer = self._look_up(schema_id)
            if answer is not None:
                pause = FIRST_PAUSE_SECONDS
                self._answered(schema_id, answer)
                continue
            waiting.append(
                schema_id
            )  # one that the registry stumbles over must not keep the others waiting
            while not self._questions.empty():
                waiting.appendleft(self._questions.get())
            self._closed.wait(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)

    def _look_up(self, schema_id: int) -> Found | str | None:
        """The answer; None: there is none now."""
        try:
            found: Found | str = self._fetch(schema_id)
        except _NoSchemaError as error:
            found = str(error)
        except Exception as error:  # whatever its libraries raise: none of it may end the consumer
            if not self._closed.is_set():
                self._tell(explain(error, self._url), schema_id)
            return None
        if self._told_at is not None:
            self._told_at = None
            log.warning("the schema registry at %s answers again", self._url)
        return found

    def _fetch(self, schema_id: int) -> Found:
        self._client.clear_caches()  # what is known is kept elsewhere, and bounded
        missing = f"schema {schema_id} is not in the registry at {self._url}"
        schema = self._get(partial(self._client.get_schema, schema_id), missing)
        texts: dict[tuple[str, int], str] = {}
        self._follow(schema_id, schema, texts, set())
        return Found(schema.schema_type or "AVRO", schema.schema_str, list(texts.values()))

    def _follow(
        self, schema_id: int, schema: Any, texts: dict[tuple[str, int], str], seen: set[Any]
    ) -> None:
        """Fetch what a schema refers to, each after what it refers to itself."""
        for reference in schema.references or ():
            place = (reference.subject, reference.version)
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > MAX_REFERENCES:
                raise _NoSchemaError(
                    f"schema {schema_id} refers to more than {MAX_REFERENCES} others"
                )
            missing = (
                f"schema {schema_id} refers to {reference.subject} version {reference.version}, "
                f"which is not in the registry at {self._url}"
            )
            found = self._get(partial(self._client.get_version, *place), missing).schema
            self._follow(schema_id, found, texts, seen)
            texts[place] = found.schema_str

    def _get(self, call: Callable[[], Any], missing: str) -> Any:
        try:
            return call()
        except Exception as error:
            if getattr(error, "error_code", None) in NOT_THERE:
                raise _NoSchemaError(missing) from error
            raise

    def _tell(self, problem: str, schema_id: int) -> None:
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            log.warning("%s; records of schema %s wait, trying on", problem, schema_id)


def connect(url: str, user: str = "", password: str = "") -> Any:
    """A SchemaRegistryClient that is asked once a call, waits a bounded time, and goes through no
    proxy.

    ConfigError for certificates that cannot be read. The library is loaded only here: it takes half
    a second.
    """
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.common._httpx_compat import httpx

    # With a proxy given, the library reads none from the environment, where one of a kind that it
    # has no parts for (SOCKS) would be an ImportError. It is given up with the session below.
    config: dict[str, Any] = {
        "url": url,
        "max.retries": 0,
        "timeout": CALL_SECONDS,
        "proxy": "http://127.0.0.1:9",
    }
    if user:
        config["basic.auth.user.info"] = f"{user}:{password}"
    try:
        client = SchemaRegistryClient(config)
    except OSError as error:
        problem = f"certificates cannot be read ({error}); check SSL_CERT_FILE and SSL_CERT_DIR in the environment"
        raise ConfigError([f"schema_registry.url = {url}: {problem}"]) from None
    # The library has no setting for it: a proxy named in the environment would see the password.
    rest = client._rest_client  # noqa: SLF001
    rest.session.close()
    rest.session = httpx.Client(
        verify=rest.verify, auth=rest.auth, timeout=CALL_SECONDS, trust_env=False
    )
    return client


def explain(error: Exception, url: str) -> str:
    """Why a call of the registry failed, and what to do about it, in one line; never a password."""
    status = _status(error)
    if isinstance(
        error, (ValueError, TypeError, KeyError, AttributeError)
    ):  # no JSON, or not a registry's
        return f"what answers at {url} is no schema registry: check schema_registry.url"
    if status is None:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        return (
            f"the schema registry at {url} does not answer ({reason}): "
            "check schema_registry.url, and that the registry is up"
        )
    if status in (401, 403):
        return (
            f"the schema registry at {url} refuses the log-in ({status}): "
            "check schema_registry.user and schema_registry.password"
        )
    if status == 429 or status >= 500:
        return (
            f"the schema registry at {url} answers {status}: it has trouble of its own; see its log"
        )
    return f"the schema registry at {url} answers {status}: is this its address? check schema_registry.url"


def _status(error: Exception) -> int | None:
    status = getattr(error, "http_status_code", None)
    return status if isinstance(status, int) else None
