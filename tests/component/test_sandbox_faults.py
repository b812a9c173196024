"""Every fault of the sandbox over HTTP: what the client sees, what was applied, the journal."""

from __future__ import annotations

import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from consumer.sandbox import FaultError, Sandbox
from consumer.sandbox.kinds import KINDS
from tests.support.sandbox_client import Client, StandingClock, rows, wait_until


def switch_on(client: Client, kind: str, **parameters: object) -> None:
    answer = client.call("POST", "/sandbox/faults", json={"kind": kind, **parameters})
    assert answer.status_code == 200, answer.text


def entry(sandbox: Sandbox) -> dict[str, Any]:
    """Return the one call in the journal; its response was decided, and may not have gone out."""
    wait_until(lambda: bool(sandbox.journal()["requests"]), "the call is in the journal")
    (request,) = sandbox.journal()["requests"]
    return dict(request)


def assert_struck(sandbox: Sandbox, kind: str, status: int | None, applied: int) -> None:
    request = entry(sandbox)
    assert (request["fault"], request["status"], request["applied"]) == (kind, status, applied)
    assert len(sandbox.state()["codes"]) == applied
    assert len(sandbox.journal()["rows"]) == applied


# answers instead of the API's


@pytest.mark.parametrize("form", ["seconds", "date", "body", "none"])
def test_throttling_tells_the_wait_in_the_wanted_form_only(
    sandbox: Sandbox, client: Client, form: str
) -> None:
    switch_on(client, "throttle", retry_after=7, form=form)
    answer = client.upload(*rows(2))
    assert answer.status_code == 429
    assert answer.json()["code"] == "throttled"
    header = answer.headers.get("Retry-After")
    if form == "seconds":
        assert header == "7"
    elif form == "date":
        assert header is not None
        wait = parsedate_to_datetime(header).timestamp() - time.time()
        assert 6 < wait <= 8
    else:
        assert header is None
    told = (
        "Request was throttled. Expected available in 7 seconds."
        if form == "body"
        else "Request was throttled."
    )
    assert answer.json()["detail"] == told
    assert_struck(sandbox, "throttle", 429, 0)


def test_throttling_for_one_second_is_told_in_the_singular(client: Client) -> None:
    switch_on(client, "throttle", retry_after=1, form="body")
    assert client.me().status_code == 200
    assert (
        client.upload(*rows(1)).json()["detail"]
        == "Request was throttled. Expected available in 1 second."
    )


def test_a_rate_limit_throttles_only_what_is_over_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StandingClock(monkeypatch)
    switch_on(client, "rate_limit", per_second=5, path="any")
    assert [client.me().status_code for _ in range(12)] == [200] * 5 + [429] * 7
    clock.now += 1.0
    assert client.me().status_code == 200


@pytest.mark.parametrize("code", [401, 403, 404, 405, 406, 408, 418, 500, 501, 502, 503, 504, 599])
def test_any_error_status_can_be_answered_with_nothing_applied(
    sandbox: Sandbox, client: Client, code: int
) -> None:
    switch_on(client, "status", code=code)
    answer = client.upload(*rows(2))
    assert (answer.status_code, answer.headers.get("Retry-After")) == (code, None)
    assert answer.headers["Content-Type"] == "text/html"
    assert_struck(sandbox, "status", code, 0)


@pytest.mark.parametrize("code", [503, 504])
def test_an_outage_can_say_when_it_ends(client: Client, code: int) -> None:
    switch_on(client, "status", code=code, retry_after=3)
    assert client.upload(*rows(1)).headers["Retry-After"] == "3"


def test_a_504_can_come_late_with_nothing_applied(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "status", code=504, seconds=0.3)
    begun = time.monotonic()
    assert client.upload(*rows(2)).status_code == 504
    assert time.monotonic() - begun >= 0.3
    assert_struck(sandbox, "status", 504, 0)


@pytest.mark.parametrize("code", [301, 302, 307])
def test_a_redirect_has_a_location(sandbox: Sandbox, client: Client, code: int) -> None:
    switch_on(client, "redirect", code=code, location="https://elsewhere.example/api/")
    answer = client.upload(*rows(1))
    assert (answer.status_code, answer.headers["Location"]) == (
        code,
        "https://elsewhere.example/api/",
    )
    assert_struck(sandbox, "redirect", code, 0)


def test_413_over_so_many_rows(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "too_large", max_rows=3)
    assert client.upload(*rows(4)).status_code == 413
    assert sandbox.state() == {"codes": {}}
    assert client.upload(*rows(3)).status_code == 200


def test_413_over_so_many_bytes(client: Client) -> None:
    switch_on(client, "too_large", max_bytes=200)
    assert client.upload(*rows(10)).status_code == 413
    assert client.upload(*rows(1)).status_code == 200


@pytest.mark.parametrize("code", [400, 403])
def test_a_firewall_refuses_in_html_what_contains_a_text(
    sandbox: Sandbox, client: Client, code: int
) -> None:
    switch_on(client, "firewall", text="<script", code=code)
    answer = client.upload({"extended_id": "A", "x": "<script>"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (code, "text/html")
    assert_struck(sandbox, "firewall", code, 0)
    assert client.upload({"extended_id": "A", "x": "harmless"}).status_code == 200


# connections that go wrong


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("timeout_before", 0), ("timeout_after", 2)],
)
def test_a_held_connection_ends_without_an_answer(
    sandbox: Sandbox, client: Client, kind: str, applied: int
) -> None:
    switch_on(client, kind, seconds=0.3)
    begun = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        client.upload(*rows(2))
    assert time.monotonic() - begun >= 0.3
    assert_struck(sandbox, kind, None, applied)


@pytest.mark.parametrize(("kind", "applied"), [("timeout_before", 0), ("timeout_after", 2)])
def test_a_client_that_gives_up_first_finds_applied_what_was_applied(
    sandbox: Sandbox, kind: str, applied: int
) -> None:
    sandbox.faults.add(kind, seconds=60)
    with Client(sandbox, timeout=0.2) as client, pytest.raises(requests.ReadTimeout):
        client.upload(*rows(2))
    assert_struck(sandbox, kind, None, applied)


@pytest.mark.parametrize(
    ("kind", "applied"), [("reset_before", 0), ("reset_after", 2), ("reset_midway", 2)]
)
def test_a_reset_reaches_the_client_as_a_reset(
    sandbox: Sandbox, client: Client, kind: str, applied: int
) -> None:
    switch_on(client, kind, first=1)
    with pytest.raises(requests.RequestException) as raised:
        client.upload(*rows(2))
    assert "Connection reset" in str(raised.value), raised.value
    assert_struck(sandbox, kind, 200 if kind == "reset_midway" else None, applied)
    assert client.upload(*rows(2)).status_code == 200


def test_a_connection_reset_before_the_body_is_read_applies_nothing(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "reset_unread", first=1)
    with pytest.raises(requests.ConnectionError):
        client.post(b" " * 20_000_000)
    assert_struck(sandbox, "reset_unread", None, 0)
    assert (entry(sandbox)["rows"], entry(sandbox)["bytes"]) == (0, 0)
    assert sandbox.rules()["broken"] == {}
    assert client.upload(*rows(1)).status_code == 200


def test_a_late_call_is_lost_at_once_and_applied_after_the_wait(
    sandbox: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    over = threading.Event()

    def pause(seconds: float) -> bool:
        waits.append(seconds)
        return over.wait(60)

    assert sandbox._server is not None
    monkeypatch.setattr(sandbox._server.api, "_pause", pause)
    switch_on(client, "late", seconds=7, first=1)
    with pytest.raises(requests.ConnectionError):
        client.upload({"extended_id": "A", "x": "old"})
    assert_struck(sandbox, "late", None, 0)
    assert client.upload({"extended_id": "A", "x": "new"}).status_code == 200
    over.set()
    wait_until(lambda: len(sandbox.journal()["rows"]) == 2, "the late call is applied")
    assert waits == [7]
    assert [(row["request"], row["fields"]["x"]) for row in sandbox.journal()["rows"]] == [
        (2, "new"),
        (1, "old"),
    ]
    assert sandbox.state()["codes"] == {"A": {"x": "old"}}


def test_a_late_call_is_judged_when_it_is_applied(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "late", seconds=0.6, first=2)
    with pytest.raises(requests.ConnectionError):
        client.upload({"extended_id": "UNKNOWN1", "x": "1"})
    with pytest.raises(requests.ConnectionError):
        client.upload({"extended_id": "UNKNOWN2", "x": "1"})
    sandbox.load({"UNKNOWN2": {}}, only=False)
    wait_until(
        lambda: sandbox.state()["codes"].get("UNKNOWN2") == {"x": "1"},
        "the code that is known now is updated",
    )
    assert [row["key_value"] for row in sandbox.journal()["rows"]] == ["UNKNOWN2"]


def test_a_late_call_from_before_a_reset_is_not_applied_after_it(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "late", seconds=0.2, key="BEFORE")
    with pytest.raises(requests.ConnectionError):
        client.upload({"extended_id": "BEFORE", "x": "1"})
    sandbox.reset()
    switch_on(client, "late", seconds=0.2, key="AFTER")
    with pytest.raises(requests.ConnectionError):
        client.upload({"extended_id": "AFTER", "x": "1"})
    wait_until(lambda: bool(sandbox.state()["codes"]), "the second late call is applied")
    assert list(sandbox.state()["codes"]) == ["AFTER"]


def test_a_trickled_answer_comes_byte_by_byte_and_whole(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "trickle", seconds=0.003)
    begun = time.monotonic()
    answer = client.upload(*rows(1), stream=True)
    headers_after = time.monotonic() - begun
    assert answer.json()["codes_affected"] == 1
    assert time.monotonic() - begun >= 0.003 * len(answer.content) > headers_after
    assert_struck(sandbox, "trickle", 200, 1)


def test_latency_delays_the_answer_and_joins_with_other_faults(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "latency", seconds=0.2, path="any")
    switch_on(client, "status", code=503)
    begun = time.monotonic()
    assert client.upload(*rows(1)).status_code == 503
    assert time.monotonic() - begun >= 0.2
    assert entry(sandbox)["fault"] == "latency+status"


# 400s


BAD = [
    {"extended_id": "A", "x": "1"},
    {"extended_id": "UNKNOWN1"},
    {"extended_id": "B"},
    {"extended_id": "UNKNOWN2"},
]
TOLD = {
    "all": [("2", "UNKNOWN1"), ("4", "UNKNOWN2")],
    "first": [("2", "UNKNOWN1")],
    "line": [("2", None), ("4", None)],
    "key": [(None, "UNKNOWN1"), (None, "UNKNOWN2")],
    "none": [(None, None)],
    "foreign": [("999", "not-in-this-request")],
}


@pytest.mark.parametrize("style", TOLD)
def test_a_400_names_the_bad_rows_in_the_wanted_style(
    sandbox: Sandbox, client: Client, style: str
) -> None:
    switch_on(client, "bad_request", style=style)
    answer = client.upload(*BAD)
    assert answer.status_code == 400
    assert [(e.get("line"), e.get("key_value")) for e in answer.json()["errors"]] == TOLD[style]
    assert_struck(sandbox, "bad_request", 400, 0)


def test_a_400_can_be_html(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "bad_request", style="html")
    answer = client.upload(*BAD)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/html")
    assert_struck(sandbox, "bad_request", 400, 0)


def test_a_400_can_have_applied_the_rows_before_the_first_bad_one(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "bad_request", partial=True)
    answer = client.upload(*BAD)
    assert [error["line"] for error in answer.json()["errors"]] == ["2", "4"]
    assert sandbox.state()["codes"] == {"A": {"x": "1"}}
    assert_struck(sandbox, "bad_request", 400, 1)


def test_the_style_of_400s_counts_only_400s(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "bad_request", style="none", first=1)
    assert client.upload(*rows(2)).status_code == 200
    assert "line" not in client.upload(*BAD).json()["errors"][0]
    assert client.upload(*BAD).json()["errors"][0]["line"] == "2"


# 200s


def test_a_200_can_leave_out_the_last_rows_which_are_not_applied(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "omit_rows", rows=2)
    answer = client.upload(*rows(5)).json()
    assert (list(answer["items"]), answer["codes_affected"]) == (["CODE0", "CODE1", "CODE2"], 3)
    assert_struck(sandbox, "omit_rows", 200, 3)


def test_a_200_can_leave_out_given_keys(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "omit_rows", keys=["CODE1", "CODE9"])
    assert list(client.upload(*rows(3)).json()["items"]) == ["CODE0", "CODE2"]
    assert_struck(sandbox, "omit_rows", 200, 2)


def test_fields_that_the_campaign_does_not_have_are_neither_stored_nor_listed(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "campaign_fields", fields=["market"])
    row = {
        "extended_id": "A",
        "market": "cn",
        "colour": "red",
        "activation_status": "1",
        "product": "p1",
    }
    answer = client.upload(row, {"extended_id": "B", "colour": "red"}).json()
    assert answer["items"] == {"A": ["market", "activation_status", "product"], "B": []}
    assert sandbox.state()["codes"] == {
        "A": {"market": "cn", "activation_status": "1", "product": "p1"},
        "B": {},
    }
    assert sandbox.journal()["rows"][0]["fields"]["colour"] == "red", (
        "the journal shows a row as it was sent"
    )


def test_a_200_can_list_only_what_got_another_value(client: Client) -> None:
    client.upload(
        {"extended_id": "A", "x": "1", "y": "1"}, {"extended_id": "B", "x": "1", "y": "1"}
    )
    switch_on(client, "only_changed")
    answer = client.upload(
        {"extended_id": "A", "x": "1", "y": "2"}, {"extended_id": "B", "x": "1", "y": "1"}
    ).json()
    assert (answer["items"], answer["codes_affected"]) == ({"A": ["y"]}, 2)


@pytest.mark.parametrize(("kind", "start"), [("garbage", b"<html>"), ("empty", b"")])
def test_a_200_can_be_no_json_though_the_rows_were_applied(
    sandbox: Sandbox, client: Client, kind: str, start: bytes
) -> None:
    switch_on(client, kind)
    answer = client.upload(*rows(2))
    assert answer.status_code == 200
    assert answer.content.startswith(start)
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert_struck(sandbox, kind, 200, 2)


def test_a_200_can_be_huge(sandbox: Sandbox, client: Client) -> None:
    switch_on(client, "huge", bytes=3_000_000)
    answer = client.upload(*rows(2))
    assert len(answer.content) == 3_000_000
    assert answer.json()["codes_affected"] == 2
    assert_struck(sandbox, "huge", 200, 2)


def test_a_fault_of_200s_does_not_touch_a_400_but_a_lost_answer_does(
    sandbox: Sandbox, client: Client
) -> None:
    switch_on(client, "garbage")
    assert client.upload(*BAD).status_code == 400
    switch_on(client, "reset_after")
    with pytest.raises(requests.ConnectionError):
        client.upload(*BAD)
    assert sandbox.state() == {"codes": {}}


# how often, and which requests


def statuses(client: Client, calls: int) -> str:
    return "".join("x" if client.upload(*rows(1)).status_code == 503 else "." for _ in range(calls))


def test_a_fault_strikes_the_first_n(client: Client) -> None:
    switch_on(client, "status", code=503, first=2)
    assert statuses(client, 6) == "xx...."


def test_a_fault_strikes_every_nth(client: Client) -> None:
    switch_on(client, "status", code=503, every=3)
    assert statuses(client, 7) == "..x..x."


def test_a_fault_strikes_with_a_probability_that_its_seed_repeats(
    sandbox: Sandbox, client: Client
) -> None:
    runs = []
    for seed in (1, 1, 2):
        sandbox.faults.clear()
        switch_on(client, "status", code=503, probability=0.5, seed=seed)
        runs.append(statuses(client, 40))
    assert runs[0] == runs[1] != runs[2]
    assert 8 < runs[0].count("x") < 32


def test_a_fault_strikes_until_it_is_cleared(client: Client) -> None:
    switch_on(client, "status", code=503)
    assert statuses(client, 3) == "xxx"
    assert client.call("DELETE", "/sandbox/faults").status_code == 200
    assert statuses(client, 2) == ".."


def test_one_fault_of_several_can_be_cleared_by_its_id(client: Client) -> None:
    wanted = [{"kind": "status", "code": 503}, {"kind": "status", "code": 500, "path": "me"}]
    first, second = client.call("POST", "/sandbox/faults", json=wanted).json()["ids"]
    client.call("DELETE", f"/sandbox/faults/{first}")
    assert [fault["id"] for fault in client.look("faults")] == [second]
    assert client.upload(*rows(1)).status_code == 200
    assert client.me().status_code == 500


def test_the_list_of_faults_tells_what_they_saw_and_struck(client: Client) -> None:
    switch_on(client, "status", code=503, every=2)
    statuses(client, 5)
    (listed,) = client.look("faults")
    assert listed == {
        "id": listed["id"],
        "kind": "status",
        "code": 503,
        "every": 2,
        "seen": 5,
        "fired": 2,
    }


@pytest.mark.parametrize(
    ("match", "struck"),
    [
        ({"key": "CODE1"}, "..xx"),
        ({"min_rows": 3}, "...x"),
        ({"min_bytes": 130}, "...x"),
        ({"text": '"CODE0"'}, ".xxx"),
        ({"key": "CODE0", "min_rows": 2}, "..xx"),
        ({"path": "me"}, "...."),
        ({"path": "any"}, "xxxx"),
        ({"path": "upload"}, "xxxx"),
    ],
)
def test_a_fault_strikes_only_requests_that_match(
    client: Client, match: dict[str, object], struck: str
) -> None:
    switch_on(client, "status", code=503, **match)
    uploads = [[{"extended_id": "Z", "market": "cn"}], rows(1), rows(2), rows(3)]
    seen = "".join("x" if client.upload(*upload).status_code == 503 else "." for upload in uploads)
    assert seen == struck


def test_a_fault_for_any_path_strikes_the_test_of_the_access_too(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("status", code=401, path="any")
    assert (client.me().status_code, client.upload(*rows(1)).status_code) == (401, 401)


def test_rules_broken_in_a_struck_request_are_remembered(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add("status", code=503)
    client.upload({"extended_id": " ", "x": "1"})
    assert set(sandbox.rules()["broken"]) == {"key_blank"}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "nonsense"}, "throttle"),
        ({"kind": "status"}, "needs code"),
        ({"kind": "status", "code": 200}, "400 to 599"),
        ({"kind": "status", "code": "abc"}, "whole number"),
        ({"kind": "redirect", "code": 500}, "300 to 399"),
        ({"kind": "redirect", "location": "/x\r\nSet-Cookie: y"}, "printable"),
        ({"kind": "too_large"}, "max_bytes or max_rows"),
        ({"kind": "firewall"}, "needs text"),
        ({"kind": "rate_limit"}, "needs per_second"),
        ({"kind": "campaign_fields"}, "needs fields"),
        ({"kind": "campaign_fields", "fields": [1]}, "list of texts"),
        ({"kind": "throttle", "form": "words"}, "one of seconds, date"),
        ({"kind": "throttle", "retry_after": -1}, "a number from 0"),
        ({"kind": "throttle", "retry_after": "nan"}, "a number from 0"),
        ({"kind": "throttle", "first": 0}, "at least 1"),
        ({"kind": "throttle", "first": True}, "whole number"),
        ({"kind": "throttle", "first": 1, "every": 2}, "only one of"),
        ({"kind": "throttle", "probability": 1.5}, "from 0 to 1"),
        ({"kind": "throttle", "seconds": 1}, "not a parameter"),
        ({"kind": "reset_unread", "key": "A"}, "not a parameter"),
        ({"kind": "bad_request", "partial": "perhaps"}, "true or false"),
        ({"kind": "throttle", "path": "everywhere"}, "upload, async, task, me, download, any"),
        ({"kind": "task_slow", "path": "upload"}, "not a parameter"),
        ({"kind": "task_lost", "answer": "complete"}, "one of 404, pending, running"),
    ],
)
def test_a_fault_that_is_described_wrongly_is_refused_and_none_is_switched_on(
    sandbox: Sandbox, client: Client, fault: dict[str, object], told: str
) -> None:
    answer = client.call("POST", "/sandbox/faults", json=[{"kind": "empty"}, fault])
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert client.look("faults") == []
    with pytest.raises(FaultError, match=r"fault"):
        sandbox.faults.add(**fault)  # type: ignore[arg-type]


def test_every_kind_of_fault_is_switched_on_by_some_test() -> None:
    """Notice a kind that is added without a test, here or beside it."""
    integration = Path(__file__).parents[1] / "integration"
    pages = (
        Path(__file__),
        Path(__file__).with_name("test_sandbox_async.py"),
        integration / "test_reconcile.py",
    )
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []
