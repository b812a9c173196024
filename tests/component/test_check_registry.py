"""``check`` on the schema registry."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from consumer.config.settings import SchemaRegistrySettings
from consumer.preflight.registry import RegistryCheck
from consumer.preflight.result import Check, CheckState
from tests.component.wire import Wire, answer, free_port, saying

JSON = "Content-Type: application/vnd.schemaregistry.v1+json"
NO_SUCH_SCHEMA = answer(
    "404 Not Found", b'{"error_code": 40403, "message": "Schema 1 not found"}', JSON
)
SCHEMA = answer("200 OK", b'{"schema": "\\"string\\""}', JSON)


def checked(url: str, user: str = "", password: str = "") -> Check:
    (check,) = RegistryCheck(
        SchemaRegistrySettings(url=url, user=user, password=SecretStr(password))
    ).checks()
    return check


def test_none_configured_is_said() -> None:
    check = checked("")
    assert (check.state, check.text[:15]) == (CheckState.OK, "none configured")


@pytest.mark.parametrize("data", [NO_SUCH_SCHEMA, SCHEMA])
def test_a_registry_that_knows_the_id_or_not_is_there(data: bytes) -> None:
    with Wire(saying(data)) as wire:
        check = checked(wire.url, "reader", "hunter2-secret")
    assert check.state == CheckState.OK, check
    assert "reader" in check.text
    (request,) = wire.requests
    assert request.line.startswith("GET /schemas/ids/1")
    assert request.headers["authorization"].startswith("Basic ")
    assert "hunter2" not in str(check)


def test_a_registry_that_is_down_fails_and_names_the_setting() -> None:
    check = checked(f"http://127.0.0.1:{free_port()}")
    assert check.state == CheckState.FAILED
    assert "Connection refused" in check.text
    assert "schema_registry.url" in check.advice


@pytest.mark.parametrize(
    ("data", "words", "setting"),
    [
        (
            answer("401 Unauthorized", b'{"error_code": 401, "message": "no"}', JSON),
            "401",
            "schema_registry.password",
        ),
        (answer("404 Not Found", b"<html>nothing</html>"), "404", "schema_registry.url"),
        (answer("200 OK", b"<html>It works!</html>"), "no schema registry", "schema_registry.url"),
        (answer("500 Oops", b'{"error_code": 50001, "message": "no"}', JSON), "500", "log"),
    ],
)
def test_every_other_answer_fails_with_what_to_do(data: bytes, words: str, setting: str) -> None:
    with Wire(saying(data)) as wire:
        check = checked(wire.url, "reader", "hunter2-secret")
    assert check.state == CheckState.FAILED
    assert words in check.text
    assert setting in check.advice
    assert "hunter2" not in str(check)
