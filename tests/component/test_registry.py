"""Look schemas up over HTTP: what a registry says, and what goes wrong, byte by byte."""

from __future__ import annotations

import base64
import json
import logging
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.schema_registry import client as registry_client
from consumer.adapters.schema_registry import lookup
from consumer.adapters.schema_registry.client import RegistryClient, explain
from consumer.adapters.schema_registry.lookup import Found, SchemaLookup
from consumer.errors import ConfigError
from tests.component.wire import Peer, Wire, answer, free_port, make_certificate, saying, wait_until

AVRO = '{"type": "record", "name": "A", "fields": []}'
PASSWORD = "secret-of-the-registry"

Answers = queue.SimpleQueue[tuple[int | str, Found | str]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(lookup, "LAST_PAUSE_SECONDS", 0.05)


@contextmanager
def asking(
    client: RegistryClient, url: str = "http://registry"
) -> Iterator[tuple[SchemaLookup, Answers]]:
    answers: Answers = queue.SimpleQueue()
    asked = SchemaLookup(client, url, lambda schema_id, found: answers.put((schema_id, found)))
    try:
        yield asked, answers
    finally:
        asked.close()
        client.close()
    wait_until(
        lambda: not any(thread.name == "schema-registry" for thread in threading.enumerate())
    )


def schema_answer(text: str = AVRO, kind: str | None = None) -> bytes:
    body: dict[str, Any] = {"schema": text} | ({"schemaType": kind} if kind else {})
    return answer(body=json.dumps(body).encode())


def error_answer(status: str, code: int) -> bytes:
    return answer(status, json.dumps({"error_code": code, "message": "no"}).encode())


def ask_once(client: RegistryClient, schema_id: int | str) -> Found | str:
    with asking(client) as (asked, answers):
        asked.ask(schema_id)
        found_id, found = answers.get(timeout=5)
        assert found_id == schema_id
        return found


# -- what a registry says ------------------------------------------------------------------------


class Registered:
    """A registry of what a test has registered, behind a server; ids count from 1."""

    def __init__(self, wire: Wire) -> None:
        self.url = wire.url
        self.by_id: list[dict[str, Any]] = []
        self.versions: dict[str, dict[str, Any]] = {}

    def register(self, subject: str, text: str, *references: str, kind: str = "AVRO") -> int:
        """Register the first version of a subject; ``references``: to the first of others."""
        links = [{"name": name, "subject": name, "version": 1} for name in references]
        body = {"schema": text, "schemaType": kind, "references": links}
        self.by_id.append(body)
        self.versions[f"/subjects/{subject}/versions/1"] = body
        return len(self.by_id)

    def answer(self, path: str) -> bytes:
        """Answer a GET."""
        folder, _, name = path.rpartition("/")
        if folder == "/schemas/ids":
            found = self.by_id[int(name) - 1] if int(name) <= len(self.by_id) else None
        else:
            found = self.versions.get(path)
        if found is None:
            return error_answer("404 Not Found", 40403)
        return answer(body=json.dumps(found).encode())


@pytest.fixture
def registry() -> Iterator[Registered]:
    def script(peer: Peer, wire: Wire) -> None:
        while (request := wire.take(peer)) is not None:
            peer.send(found.answer(request.line.split()[1]))

    with Wire(script) as wire:
        found = Registered(wire)
        yield found


def ask_registered(registry: Registered, schema_id: int) -> Found | str:
    return ask_once(RegistryClient(registry.url), schema_id)


@pytest.mark.parametrize("kind", ["AVRO", "JSON", "PROTOBUF"])
def test_schema_is_found_with_its_type(registry: Registered, kind: str) -> None:
    schema_id = registry.register("s", "the text", kind=kind)
    assert ask_registered(registry, schema_id) == Found(kind, "the text", [])


def test_schema_that_names_no_type_is_avro() -> None:
    with Wire(saying(schema_answer())) as wire:
        assert ask_once(RegistryClient(wire.url), 5) == Found("AVRO", AVRO, [])
        assert wire.requests[0].line == "GET /schemas/ids/5 HTTP/1.1"


GUID = "89791762-2336-4186-9674-299b90a802e2"


def test_schema_is_found_by_its_guid() -> None:
    with Wire(saying(schema_answer())) as wire:
        assert ask_once(RegistryClient(wire.url), GUID) == Found("AVRO", AVRO, [])
        assert wire.requests[0].line == f"GET /schemas/guids/{GUID} HTTP/1.1"


@pytest.mark.parametrize(("status", "code"), [("404 Not Found", 404), ("405 No", 405)])
def test_registry_that_knows_no_guids_is_told_with_what_to_do(status: str, code: int) -> None:
    with Wire(saying(error_answer(status, code))) as wire:
        found = ask_once(RegistryClient(wire.url), GUID)
    assert isinstance(found, str)
    assert found.startswith(f"schema {GUID} is not in the registry")
    assert "PrefixSchemaIdSerializer" in found


def test_id_that_is_not_there_is_told_as_such(registry: Registered) -> None:
    assert ask_registered(registry, 12) == "schema 12 is not in the registry at http://registry"


def test_schemas_that_are_referred_to_come_deepest_first_and_once(registry: Registered) -> None:
    registry.register("deep", "text of deep")
    registry.register("left", "text of left", "deep")
    registry.register("right", "text of right", "deep", "left")
    schema_id = registry.register("top", "text of top", "right", "left")
    assert ask_registered(registry, schema_id) == Found(
        "AVRO", "text of top", ["text of deep", "text of left", "text of right"]
    )


def test_reference_that_is_not_there_is_told_by_its_name() -> None:
    body = {"schema": AVRO, "references": [{"name": "n", "subject": "places/site", "version": 3}]}

    def script(peer: Peer, wire: Wire) -> None:
        while (request := wire.take(peer)) is not None:
            if "/schemas/ids/" in request.line:
                peer.send(answer(body=json.dumps(body).encode()))
            else:
                peer.send(error_answer("404 Not Found", 40402))

    with Wire(script) as wire:
        found = ask_once(RegistryClient(wire.url), 5)
        assert found == (
            "schema 5 refers to places/site version 3, which is not in the registry at "
            "http://registry"
        )
        assert wire.requests[1].line == "GET /subjects/places%2Fsite/versions/3 HTTP/1.1"


def test_circle_of_references_ends(registry: Registered) -> None:
    registry.register("a", "a", "b")
    found = ask_registered(registry, registry.register("b", "b", "a"))
    assert isinstance(found, Found)
    assert sorted(found.references) == ["a", "b"]


def test_far_too_many_references_are_refused(
    registry: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "MAX_REFERENCES", 3)
    names = [f"s{number}" for number in range(4)]
    for name in names:
        registry.register(name, name)
    schema_id = registry.register("top", "top", *names)
    found = ask_registered(registry, schema_id)
    assert found == f"schema {schema_id} refers to more than 3 others"


def test_thread_begins_with_the_first_question(registry: Registered) -> None:
    def running() -> bool:
        return any(thread.name == "schema-registry" for thread in threading.enumerate())

    with asking(RegistryClient(registry.url)) as (asked, answers):
        assert not running()
        asked.ask(1)
        answers.get(timeout=5)
        assert running()


# -- what goes wrong -----------------------------------------------------------------------------

OUTAGES: dict[str, tuple[bytes, str]] = {
    "401": (
        error_answer("401 Unauthorized", 40101),
        "schema_registry.user and schema_registry.password",
    ),
    "403": (
        error_answer("403 Forbidden", 40301),
        "schema_registry.user and schema_registry.password",
    ),
    "404 of a wrong address, by a registry": (
        error_answer("404 Not Found", 404),
        "check schema_registry.url",
    ),
    "404 of a wrong address, by another server": (
        answer("404 Not Found", b"<html>"),
        "check schema_registry.url",
    ),
    "a redirect": (
        answer("302 Found", b"", "Location: http://127.0.0.1:1/"),
        "check schema_registry.url",
    ),
    "429": (answer("429 Too Many Requests", b""), "has trouble of its own"),
    "500": (error_answer("500 Internal Server Error", 50001), "has trouble of its own"),
    "503": (answer("503 Service Unavailable", b"<html>"), "has trouble of its own"),
    "200 of another server": (answer(body=b"<html>hello</html>"), "is no schema registry"),
    "200 with other JSON": (answer(body=b"[1]"), "is no schema registry"),
    "an answer that is broken off": (schema_answer()[:-5], "does not answer"),
}


@pytest.mark.parametrize("case", OUTAGES)
def test_outage_is_waited_for_and_told_with_what_to_do(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, advice = OUTAGES[case]

    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(bad if len(wire.requests) <= 3 else schema_answer())

    caplog.set_level(logging.WARNING, "consumer.adapters.schema_registry.lookup")
    with (
        Wire(script) as wire,
        asking(RegistryClient(wire.url, "me", PASSWORD), wire.url) as (asked, answers),
    ):
        asked.ask(5)
        assert answers.get(timeout=5) == (5, Found("AVRO", AVRO, []))
        assert len(wire.requests) == 4
    away, back = [record.getMessage() for record in caplog.records]
    assert advice in away
    assert wire.url in away
    assert "records of schema 5 wait" in away
    assert back == f"the schema registry at {wire.url} answers again"
    assert PASSWORD not in caplog.text
    assert base64.b64encode(f"me:{PASSWORD}".encode()).decode() not in caplog.text


def test_registry_that_is_started_late_is_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "consumer.adapters.schema_registry.lookup")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with asking(RegistryClient(url), url) as (asked, answers):
        asked.ask(5)
        wait_until(lambda: bool(caplog.records))
        assert (
            "does not answer ([Errno 111] Connection refused): check schema_registry.url"
            in caplog.text
        )
        with socket.create_server(("127.0.0.1", port)) as listener:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(schema_answer())
                assert answers.get(timeout=5)[0] == 5


def test_registry_that_says_nothing_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry_client, "CALL_SECONDS", 0.2)

    def script(peer: Peer, wire: Wire) -> None:
        if wire.take(peer) and len(wire.requests) == 1:
            peer.hold()
        peer.send(schema_answer())

    with Wire(script) as wire, asking(RegistryClient(wire.url), wire.url) as (asked, answers):
        asked.ask(5)
        assert answers.get(timeout=5)[0] == 5
    assert "does not answer (timed out)" in caplog.text


def test_outage_is_told_once_in_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "consumer.adapters.schema_registry.lookup")
    with (
        Wire(saying(error_answer("500 No", 1))) as wire,
        asking(RegistryClient(wire.url), wire.url) as (asked, _),
    ):
        asked.ask(5)
        asked.ask(6)
        wait_until(lambda: len(wire.requests) > 10)
    assert len(caplog.records) == 1


def test_attempts_are_spaced_out_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(lookup, "FIRST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(lookup, "LAST_PAUSE_SECONDS", 5.0)
    with (
        Wire(saying(error_answer("500 No", 1))) as wire,
        asking(RegistryClient(wire.url), wire.url) as (asked, _),
    ):
        monkeypatch.setattr(asked._closed, "wait", lambda seconds: pauses.append(seconds))
        asked.ask(5)
        wait_until(lambda: len(pauses) > 6)
    assert pauses[:6] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_schema_the_registry_stumbles_over_does_not_keep_others_waiting() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        while (request := wire.take(peer)) is not None:
            stumbles = len(wire.requests) <= 3 or request.line == "GET /schemas/ids/6 HTTP/1.1"
            peer.send(error_answer("500 No", 1) if stumbles else schema_answer())

    with Wire(script) as wire, asking(RegistryClient(wire.url), wire.url) as (asked, answers):
        asked.ask(5)
        asked.ask(6)
        asked.ask(7)
        assert {answers.get(timeout=5)[0], answers.get(timeout=5)[0]} == {5, 7}


def test_schema_that_was_not_there_is_looked_up_anew_when_it_is_asked_for_again(
    registry: Registered,
) -> None:
    with asking(RegistryClient(registry.url)) as (asked, answers):
        asked.ask(1)
        assert answers.get(timeout=5) == (1, "schema 1 is not in the registry at http://registry")
        registry.register("s", AVRO)
        asked.ask(1)
        assert answers.get(timeout=5) == (1, Found("AVRO", AVRO, []))


def test_client_keeps_nothing_itself() -> None:
    with (
        Wire(saying(schema_answer())) as wire,
        asking(RegistryClient(wire.url), wire.url) as (asked, answers),
    ):
        for _ in range(2):
            asked.ask(5)
            answers.get(timeout=5)
        assert len(wire.requests) == 2


# -- the connection ------------------------------------------------------------------------------


def test_log_in_is_sent_and_nothing_of_the_environment_interferes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login other password wrong\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    nobody = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Wire(saying(schema_answer())) as wire:
        assert isinstance(ask_once(RegistryClient(wire.url, "me", "a:b"), 5), Found)
        assert isinstance(ask_once(RegistryClient(wire.url), 5), Found)
        headers = [request.headers for request in wire.requests]
    assert headers[0]["authorization"] == "Basic " + base64.b64encode(b"me:a:b").decode()
    assert "authorization" not in headers[1]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "gopher://127.0.0.1:9"])
def test_proxy_of_a_kind_that_the_library_cannot_speak_to_is_passed_over_like_any(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Wire(saying(schema_answer())) as wire:
        assert isinstance(ask_once(RegistryClient(wire.url), 5), Found)


def test_certificate_is_verified(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = make_certificate(tmp_path_factory.mktemp("tls"), "registry", "IP:127.0.0.1")
    with Wire(saying(schema_answer()), made.server()) as wire:
        with asking(RegistryClient(wire.url), wire.url) as (asked, _):
            asked.ask(5)
            wait_until(lambda: "certificate verify failed" in caplog.text)
        assert not wire.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(made.pem))
        assert isinstance(ask_once(RegistryClient(wire.url), 5), Found)


def test_certificates_that_cannot_be_read_are_an_error_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        RegistryClient("https://registry")


def test_closing_ends_the_thread_during_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "FIRST_PAUSE_SECONDS", 60.0)
    url = f"http://127.0.0.1:{free_port()}"
    with asking(RegistryClient(url), url) as (asked, answers):
        asked.ask(5)
    assert answers.empty()


@pytest.mark.parametrize(
    "error", [OSError(), RuntimeError("two\nlines"), ValueError("x"), KeyError("x")]
)
def test_whatever_fails_is_told_in_one_line(error: Exception) -> None:
    told = explain(error, "http://registry")
    assert "\n" not in told
    assert "http://registry" in told
    assert "schema_registry.url" in told
