"""Settings as they are shown: whole, and without a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.config.masking import masked
from consumer.config.settings import Settings


def test_secrets_are_hidden_where_they_are_set_and_empty_where_they_are_not() -> None:
    shown = masked(Settings.model_validate({"api": {"token": "s3cret"}}))
    assert shown["api"]["token"] == "(hidden)"
    assert shown["schema_registry"]["password"] == ""


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
    ],
)
def test_librdkafka_secrets_are_hidden_by_their_name(name: str) -> None:
    assert masked(Settings.model_validate({"kafka": {"client": {name: "s3cret"}}}))["kafka"][
        "client"
    ] == {name: "(hidden)"}


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("api", "proxy", "http://me:s3cret@proxy:3128", "http://(hidden)@proxy:3128"),
        ("api", "proxy", "me:s3cret@proxy:3128", "(hidden)@proxy:3128"),
        ("schema_registry", "url", "https://me:s3/cr@et@registry", "https://(hidden)@registry"),
        ("kafka", "bootstrap_servers", "me:s3cret@a:1,me:s3cret@b:1", "(hidden)@b:1"),
        ("api", "base_url", "https://api/?token=s3cret", "https://api/?(hidden)"),
        (
            "kafka",
            "client",
            {"https.proxy": "http://me:s3cret@p"},
            {"https.proxy": "http://(hidden)@p"},
        ),
        ("kafka", "group_id", "line@plant", "line@plant"),
        ("api", "ca_file", "/etc/ca@plant.pem", "/etc/ca@plant.pem"),
    ],
)
def test_user_and_password_of_an_address_are_hidden(
    section: str, key: str, value: Any, expected: Any
) -> None:
    assert masked(Settings.model_validate({section: {key: value}}))[section][key] == expected


def test_what_is_shown_is_json_and_holds_every_setting() -> None:
    shown = masked(Settings())
    assert json.loads(json.dumps(shown)) == shown
    assert {name: set(keys) for name, keys in shown.items()} == {
        name: set(getattr(Settings(), name).model_dump()) for name in Settings.model_fields
    }
