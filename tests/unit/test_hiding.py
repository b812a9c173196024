"""A secret is hidden in every form in which others write it; other text is left as it is."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest

from consumer.config.masking import hide_secrets
from consumer.config.settings import Settings
from consumer.hiding import HIDDEN, MOST_SECRETS, Hider

TOKEN = 'T0ken"<&>\\/é%41+x'


@pytest.mark.parametrize(
    "form",
    [
        TOKEN,
        json.dumps(TOKEN)[1:-1],
        json.dumps(TOKEN, ensure_ascii=False)[1:-1],
        html.escape(TOKEN),
        quote(TOKEN, safe=""),
    ],
)
def test_a_secret_is_hidden_as_it_is_and_as_it_is_quoted(form: str) -> None:
    hider = Hider()
    hider.add(TOKEN)
    assert hider.text(f"a {form} b") == f"a {HIDDEN} b"
    assert hider.body(f"a {form} b".encode()) == f"a {HIDDEN} b".encode()


def test_a_log_in_is_hidden_as_basic_authentication_sends_it() -> None:
    hider = Hider()
    hider.add_login("me", "pw")
    sent = base64.b64encode(b"me:pw").decode()
    assert hider.text(f"Authorization: Basic {sent}; pw") == f"Authorization: Basic {HIDDEN}; pw"


def test_a_secret_that_cannot_be_told_from_other_text_hides_nothing() -> None:
    hider = Hider()
    hider.add("", "token", "1234567")
    assert hider.text("the token 1234567") == "the token 1234567"


def test_a_secret_within_a_longer_one_leaves_nothing_of_that() -> None:
    hider = Hider()
    hider.add("password", "password-of-mine")
    assert hider.text("password-of-mine") == HIDDEN


def test_of_a_token_that_is_replaced_again_and_again_the_latest_are_kept() -> None:
    hider = Hider()
    for number in range(3 * MOST_SECRETS):
        hider.add(f"token-number-{number:04d}")
    assert hider.text("token-number-0299 token-number-0000") == f"{HIDDEN} token-number-0000"


def test_every_secret_of_the_settings_is_hidden() -> None:
    settings = Settings.model_validate(
        {
            "kafka": {
                "client": {
                    "sasl.password": "kafka-password",
                    "sasl.username": "kafka-username",
                    "https.proxy": "http://a:kafka-proxy-pw@p",
                }
            },
            "schema_registry": {"url": "http://r", "user": "reg", "password": "registry-password"},
            "api": {"token": "token-of-the-api", "proxy": "me:p%40ssw0rd%21@proxy:1"},
        }
    )
    hider = Hider()
    hide_secrets(settings, hider)
    basic = [
        base64.b64encode(pair).decode() for pair in (b"reg:registry-password", b"me:p@ssw0rd!")
    ]
    secrets = ["kafka-password", "kafka-proxy-pw", "registry-password", "token-of-the-api"]
    secrets += ["p%40ssw0rd%21", "p@ssw0rd!", *basic]
    for secret in secrets:
        assert secret not in hider.text(f"<{secret}>"), secret
    assert hider.text("kafka-username") == "kafka-username"
