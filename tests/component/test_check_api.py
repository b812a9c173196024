"""``check`` on the API, the token, its permissions and the clock, each from one HTTP response."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from consumer.config.settings import ApiSettings
from consumer.errors import ConfigError
from consumer.preflight.api import ApiChecks
from consumer.preflight.permissions import NEEDED, missing
from consumer.preflight.result import Check, CheckState
from consumer.sandbox import Sandbox
from tests.component.wire import TOKEN, Wire, answer, free_port, make_certificate, saying

NOW = 1_700_000_000.0


def checked(url: str, token: str = TOKEN, **settings: Any) -> dict[str, Check]:
    """Return the checks by their names; each has exactly one."""
    checks = list(ApiChecks(ApiSettings(base_url=url, token=token, **settings)).checks())
    found = {check.name: check for check in checks}
    assert [*found] == [check.name for check in checks] == ["API", "token", "permissions", "clock"]
    assert token not in str(checks)
    return found


def states(found: dict[str, Check]) -> list[str]:
    return [str(check.state) for check in found.values()]


def test_an_api_that_is_there_with_a_good_token_is_all_well(sandbox: Sandbox) -> None:
    found = checked(sandbox.url, sandbox.token)
    assert states(found) == ["ok"] * 4
    assert "sandbox@example.com" in found["token"].text
    assert all(name in found["permissions"].text for name in NEEDED)


def test_nothing_is_uploaded(sandbox: Sandbox) -> None:
    checked(sandbox.url, sandbox.token)
    requests = [
        entry for entry in sandbox.journal()["requests"] if not entry["path"].startswith("/sandbox")
    ]
    assert [(entry["method"], entry["path"]) for entry in requests] == [("GET", "/api/v2/me/")]


def test_an_api_that_is_down_fails_and_the_rest_is_skipped() -> None:
    found = checked(f"http://127.0.0.1:{free_port()}")
    assert states(found) == ["FAILED", "skipped", "skipped", "skipped"]
    assert "Connection refused" in found["API"].text
    assert "api.base_url" in found["API"].advice


def test_a_name_that_cannot_be_resolved_is_told_as_such() -> None:
    api = checked("https://api.invalid")["API"]
    assert (api.state, "cannot be resolved" in api.text) == (CheckState.FAILED, True)
    assert "DNS" in api.advice


def test_a_certificate_of_an_unknown_ca_names_the_ca_file(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "unknown", "IP:127.0.0.1")
    with Wire(saying(answer()), certificate.server()) as wire:
        refused = checked(wire.url)["API"]
        accepted = checked(wire.url, ca_file=str(certificate.pem))["API"]
    assert (refused.state, accepted.state) == (CheckState.FAILED, CheckState.OK)
    assert "api.ca_file" in refused.advice


def test_a_wrong_token_fails_and_the_clock_is_compared_all_the_same(sandbox: Sandbox) -> None:
    found = checked(sandbox.url, "wrong-token-0123")
    assert states(found) == ["ok", "FAILED", "skipped", "ok"]
    assert "401: Invalid token" in found["token"].text
    assert "api.token" in found["token"].advice
    assert "portal" in found["token"].advice


def test_an_answer_that_repeats_the_token_is_not_shown() -> None:
    with Wire(
        saying(answer("401 Unauthorized", b'{"detail": "no such token: %s"}' % TOKEN.encode()))
    ) as wire:
        assert checked(wire.url)["token"].state == CheckState.FAILED


@pytest.mark.parametrize("lost", NEEDED)
def test_a_token_without_a_permission_fails_and_names_it(sandbox: Sandbox, lost: str) -> None:
    sandbox.permissions = [name for name in NEEDED if name != lost]
    permissions = checked(sandbox.url, sandbox.token)["permissions"]
    assert permissions.state == CheckState.FAILED
    assert permissions.text == f"the token has no {lost}"
    assert "portal" in permissions.advice


def test_permissions_that_the_api_does_not_tell_are_unknown_and_fail_nothing() -> None:
    with Wire(saying(answer(body=b'{"email": "a@example.com", "role": "admin"}'))) as wire:
        found = checked(wire.url)
    assert states(found)[1:3] == ["ok", "unknown"]
    assert "not told by this API" in found["permissions"].text


@pytest.mark.parametrize(
    ("status", "body", "states_then", "words"),
    [
        ("200 OK", b"<html>It works!</html>", ["FAILED", "skipped"], "not the Scantrust API"),
        ("404 Not Found", b"{}", ["FAILED", "skipped"], "not the Scantrust API (404)"),
        ("301 Moved", b"", ["FAILED", "skipped"], "not the Scantrust API (301)"),
        ("503 Service Unavailable", b"", ["FAILED", "skipped"], "fails (503)"),
        (
            "407 Proxy Authentication Required",
            b"",
            ["FAILED", "skipped"],
            "proxy asks for a log-in",
        ),
        ("429 Too Many", b'{"detail": "Request was throttled."}', ["ok", "unknown"], "throttles"),
        (
            "403 Forbidden",
            b'{"detail": "Not yours."}',
            ["ok", "FAILED"],
            "refused (403: Not yours)",
        ),
        ("403 Forbidden", b"<html>blocked</html>", ["ok", "FAILED"], "by a firewall or proxy"),
    ],
)
def test_every_other_answer_is_a_line_of_its_own(
    status: str, body: bytes, states_then: list[str], words: str
) -> None:
    with Wire(saying(answer(status, body))) as wire:
        found = checked(wire.url)
    assert states(found)[:2] == states_then
    assert found["permissions"].state == CheckState.SKIPPED
    trouble = next(
        check for check in found.values() if check.state not in (CheckState.OK, CheckState.SKIPPED)
    )
    assert words in trouble.text
    assert trouble.advice


def test_an_answer_that_does_not_come_ends_at_the_time_for_it(sandbox: Sandbox) -> None:
    sandbox.faults.add("latency", seconds=20, path="me")
    api = checked(sandbox.url, sandbox.token, timeout_seconds=0.5)["API"]
    assert api.state == CheckState.FAILED
    assert "within 0.5 s" in api.text
    assert api.advice


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (0.0, "ok", "agrees"),
        (-4.0, "ok", "agrees"),
        (60.0, "warning", "60 s ahead of"),
        (-60.0, "warning", "60 s behind"),
        (3600.0, "FAILED", "3,600 s ahead of"),
    ],
)
def test_a_clock_that_is_off_is_told_by_the_answers_date(
    ahead: float, state: str, words: str
) -> None:
    date = f"Date: {formatdate(NOW - 0.5, usegmt=True)}"
    with Wire(saying(answer("200 OK", b"{}", date))) as wire:
        checks = ApiChecks(
            ApiSettings(base_url=wire.url, token=TOKEN), now=lambda: NOW + ahead
        ).checks()
        clock = next(check for check in checks if check.name == "clock")
    assert (str(clock.state), words in clock.text) == (state, True), clock


@pytest.mark.parametrize("header", [[], ["Date: yesterday"]])
def test_an_answer_without_a_date_leaves_the_clock_unknown(header: list[str]) -> None:
    with Wire(saying(answer("200 OK", b"{}", *header))) as wire:
        assert checked(wire.url)["clock"].state == CheckState.UNKNOWN


def test_a_token_file_without_a_token_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigError, match="no token in it"):
        ApiChecks(ApiSettings(token_file=str(tmp_path / "token")))


@pytest.mark.parametrize(
    "document",
    [
        {"permissions": ["scm_bulk_edit", "product_view", "codes_view", "brand_create"]},
        {
            "user": {
                "permissions": [
                    {"codename": "scm_bulk_edit"},
                    {"codename": "codes_view"},
                    {"name": "product_view"},
                ]
            }
        },
        {
            "permissions": {
                "scm_bulk_edit": True,
                "scm_code_edit": False,
                "codes_view": True,
                "product_view": True,
            }
        },
        {
            "permissions": {
                "scm": ["scm_bulk_edit"],
                "codes": ["codes_view"],
                "products": ["product_view"],
            }
        },
        {"scope": "codes_view scm_bulk_edit,product_view"},
        {"user_permissions": ["scm.scm_bulk_edit", "codes:codes_view", "PRODUCT_VIEW"]},
        {
            "permissions": list(NEEDED),
            "uat": {"permissions": ["codes_view", "scm-bulk-edit", "product_view"]},
        },
    ],
)
def test_permissions_are_read_in_the_forms_they_may_come_in(document: dict[str, Any]) -> None:
    assert missing(document) == ["scm_code_edit"]


@pytest.mark.parametrize(
    "document",
    [{}, {"permissions": []}, {"permissions": ["read", "write"]}, {"permissions": None}, {"id": 7}],
)
def test_an_answer_in_other_words_tells_nothing_of_permissions(document: dict[str, Any]) -> None:
    assert missing(document) is None


def test_a_token_with_other_permissions_only_lacks_all_four() -> None:
    assert missing({"permissions": ["scans_download"]}) == list(NEEDED)
