"""The sandbox's view of itself and its switches, over HTTP, without a token."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from consumer.sandbox import Sandbox, SandboxPace
from tests.support.sandbox_client import ME, UPLOAD, Client, rows, wait_until


def test_the_journal_has_every_applied_row_and_every_call_in_one_sequence(client: Client) -> None:
    client.upload({"extended_id": "A", "x": "1"}, {"extended_id": "B", "x": ""})
    client.upload({"extended_id": "UNKNOWN1", "x": "1"})
    client.me()
    journal = client.look("journal")
    assert [
        (row["seq"], row["request"], row["data_key"], row["key_value"], row["fields"])
        for row in journal["rows"]
    ] == [
        (1, 1, "extended_id", "A", {"x": "1"}),
        (2, 1, "extended_id", "B", {"x": ""}),
    ]
    asked = [
        (
            r["seq"],
            r["request"],
            r["method"],
            r["path"],
            r["status"],
            r["rows"],
            r["applied"],
            r["keys"],
            r["fault"],
        )
        for r in journal["requests"]
    ]
    assert asked == [
        (3, 1, "POST", UPLOAD, 200, 2, 2, ["A", "B"], None),
        (4, 2, "POST", UPLOAD, 400, 1, 0, ["UNKNOWN1"], None),
        (5, 3, "GET", ME, 200, 0, 0, [], None),
    ]
    assert journal["rows"][0]["at"] <= journal["rows"][1]["at"]
    assert (journal["next"], journal["last"]) == (5, 5)


def test_the_journal_is_read_in_pages_that_together_are_the_whole(client: Client) -> None:
    for _ in range(7):
        client.upload(*rows(10))
    seen: list[int] = []
    after = 0
    while True:
        page = client.look(f"journal?after={after}&limit=9")
        entries = page["rows"] + page["requests"]
        assert len(entries) <= 9
        seen += sorted(entry["seq"] for entry in entries)
        after = page["next"]
        if after == page["last"]:
            break
    assert seen == list(range(1, 7 * 11 + 1))
    assert client.look("journal?after=1000") == {
        "rows": [],
        "requests": [],
        "next": 1000,
        "last": 77,
    }


def test_rows_of_concurrent_uploads_of_one_key_are_numbered_in_the_order_in_which_they_took_effect(
    sandbox: Sandbox,
) -> None:
    def upload(worker: int) -> None:
        with Client(sandbox) as client:
            for turn in range(20):
                assert (
                    client.upload({"extended_id": "A", "x": f"{worker}-{turn}"}).status_code == 200
                )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(8)))
    applied = sandbox.journal()["rows"]
    assert len(applied) == 160
    assert [row["seq"] for row in applied] == sorted(row["seq"] for row in applied)
    assert sandbox.state()["codes"]["A"] == applied[-1]["fields"]
    for worker in range(8):
        mine = [
            row["fields"]["x"] for row in applied if row["fields"]["x"].startswith(f"{worker}-")
        ]
        assert mine == [f"{worker}-{turn}" for turn in range(20)]


def test_stats_count_calls_by_status_rows_and_the_peak_of_a_second(client: Client) -> None:
    client.upload(*rows(3))
    client.upload({"extended_id": "UNKNOWN", "x": "1"})
    client.me()
    stats = client.look("stats")
    assert stats["requests"] == {"200": 2, "400": 1}
    assert (stats["arrived"], stats["rows_received"], stats["rows_applied"]) == (3, 4, 3)
    assert (stats["in_progress"], stats["max_concurrent"]) == (0, 1)
    assert 1 <= stats["peak_per_second"] <= 3


def test_stats_show_how_many_calls_were_in_progress_at_once(sandbox: Sandbox) -> None:
    sandbox.faults.add("timeout_before", seconds=60)

    def call() -> None:
        with Client(sandbox) as client, pytest.raises(requests.ConnectionError):
            client.upload(*rows(1))

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sandbox.stats()["in_progress"] == 5, "five calls in progress")
    sandbox.stop()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert sandbox.stats()["max_concurrent"] == 5
    assert sandbox.stats()["in_progress"] == 0
    assert sandbox.state() == {"codes": {}}


def test_reset_brings_the_start_back() -> None:
    with Sandbox(codes={"A": {"x": "0"}}) as sandbox, Client(sandbox) as client:
        client.upload({"extended_id": "A", "x": "1"})
        client.post(b"no")
        client.call("POST", "/sandbox/codes", json={"codes": ["B"]})
        client.call("POST", "/sandbox/faults", json={"kind": "empty"})
        assert client.call("POST", "/sandbox/reset").status_code == 200
        assert client.look("state") == {"codes": {"A": {"x": "0"}}}
        assert client.look("journal") == {"rows": [], "requests": [], "next": 0, "last": 0}
        assert client.look("rules") == {"broken": {}, "advice": {}}
        assert client.look("faults") == []
        assert client.look("stats")["arrived"] == 0
        assert client.upload({"extended_id": "B", "x": "1"}).status_code == 400


def test_a_reset_during_a_call_leaves_the_new_figures_balanced(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("timeout_before", seconds=0.2, first=1)

    def call() -> None:
        with pytest.raises(requests.ConnectionError):
            client.upload(*rows(1))

    waiting = threading.Thread(target=call)
    waiting.start()
    wait_until(lambda: sandbox.stats()["in_progress"] == 1, "a call in progress")
    sandbox.reset()
    waiting.join(5)
    assert not waiting.is_alive()
    assert (sandbox.stats()["arrived"], sandbox.stats()["in_progress"]) == (0, 0)


@pytest.mark.parametrize(
    "codes",
    [["A", "B"], [{"extended_id": "A"}, "B"], {"A": {}, "B": {}}],
    ids=["ids", "objects", "fields by id"],
)
def test_codes_that_are_loaded_are_the_ones_that_exist(client: Client, codes: object) -> None:
    answer = client.call("POST", "/sandbox/codes", json={"codes": codes})
    assert (answer.status_code, answer.json()) == (200, {"loaded": 2})
    assert client.upload({"extended_id": "B", "x": "1"}).status_code == 200
    assert client.upload({"extended_id": "C", "x": "1"}).status_code == 400


def test_codes_can_be_added_to_what_exists_and_become_known_while_a_client_tries_again(
    client: Client,
) -> None:
    row = {"extended_id": "UNKNOWN1", "x": "1"}
    assert client.upload(row).status_code == 400
    loaded = {"codes": {"UNKNOWN1": {"serial_number": "7"}}, "only": False}
    assert client.call("POST", "/sandbox/codes", json=loaded).status_code == 200
    assert client.upload(row).status_code == 200
    assert client.upload({"extended_id": "ANY", "x": "1"}).status_code == 200
    assert (
        client.upload({"serial_number": "7", "x": "2"}, data_key="serial_number").status_code == 200
    )
    assert client.look("state")["codes"]["UNKNOWN1"] == {"serial_number": "7", "x": "2"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "codes", b"[", 400),
        ("POST", "codes", b"[]", 400),
        ("POST", "codes", b'{"codes": 1}', 400),
        ("POST", "codes", b'{"codes": [1]}', 400),
        ("POST", "codes", b'{"codes": [" "]}', 400),
        ("POST", "codes", b'{"codes": {"A": {"x": 1}}}', 400),
        ("POST", "codes", b'{"codes": [], "onyl": false}', 400),
        ("POST", "faults", b"{}", 400),
        ("POST", "faults", b"no", 400),
        ("DELETE", "faults/77", b"", 400),
        ("PUT", "faults", b"", 405),
        ("PUT", "state", b"", 405),
        ("GET", "journal?after=-1", b"", 400),
        ("GET", "journal?limit=x", b"", 400),
        ("GET", "nothing", b"", 404),
        ("GET", "state/more", b"", 404),
        ("POST", "nothing", b"", 404),
    ],
)
def test_a_wrong_call_to_the_sandbox_itself_says_what_is_wrong(
    client: Client, method: str, path: str, body: bytes, status: int
) -> None:
    answer = client.call(method, f"/sandbox/{path}", data=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_calls_to_the_sandbox_itself_are_neither_counted_nor_struck(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("status", code=500, path="any")
    for name in ("state", "journal", "rules", "stats", "faults"):
        assert (
            client.call("GET", f"/sandbox/{name}", headers={"Authorization": ""}).status_code == 200
        )
    assert sandbox.stats()["arrived"] == 0


def test_after_a_stop_it_starts_again_on_its_port_with_what_it_knew(sandbox: Sandbox) -> None:
    with Client(sandbox) as client:
        client.upload(*rows(1))
        address = sandbox.url
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            client.upload(*rows(1))
        sandbox.start()
        assert sandbox.url == address
        assert client.upload(*rows(2)).status_code == 200
    assert len(sandbox.state()["codes"]) == 2


def test_a_stop_ends_connections_that_are_only_open() -> None:
    before = set(threading.enumerate())
    sandbox = Sandbox().start()
    with Client(sandbox) as client:
        assert client.me().status_code == 200
        assert set(threading.enumerate()) > before
        sandbox.stop()
        wait_until(lambda: set(threading.enumerate()) <= before, "no thread is left")
    sandbox.stop()


def test_fifty_thousand_rows_stay_cheap_to_apply_and_to_read(
    sandbox: Sandbox, client: Client
) -> None:
    """The bound is generous for a busy machine; work that grows with the square still breaks it."""
    begun = time.monotonic()
    for first in range(0, 50_000, 100):
        batch = [
            {"extended_id": f"C{number}", "case_code": f"K{number % 500}"}
            for number in range(first, first + 100)
        ]
        assert client.upload(*batch).status_code == 200
    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["next"] < pages[-1]["last"]:
        pages.append(client.look(f"journal?after={pages[-1]['next'] if pages else 0}"))
    assert len(pages) == 6
    assert sum(len(page["rows"]) for page in pages) == 50_000
    sandbox.pace = SandboxPace(sync_codes=10_000)
    units = [{"case_code": f"K{number}", "x": "1"} for number in range(100)]
    assert client.upload(*units, data_key="case_code").json()["codes_affected"] == 10_000
    assert time.monotonic() - begun < 30


def test_a_client_that_dies_while_sending_has_applied_nothing_and_is_in_the_journal(
    sandbox: Sandbox,
) -> None:
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nAuthorization: UAT sandbox-token\r\nContent-Length: 500\r\n\r\n"
    )
    with socket.create_connection((sandbox.host, sandbox.port), timeout=5) as connection:
        connection.sendall(head.encode() + b'{"items": [{"extended_id": "A", "x": "1"}]}')
    wait_until(lambda: bool(sandbox.journal()["requests"]), "the call is in the journal")
    (request,) = sandbox.journal()["requests"]
    assert (request["status"], request["fault"], request["rows"], request["applied"]) == (
        None,
        None,
        0,
        0,
    )
    wait_until(lambda: sandbox.stats()["in_progress"] == 0, "the call has left")
    assert sandbox.state() == {"codes": {}}


def test_a_body_without_a_length_is_refused(sandbox: Sandbox, client: Client) -> None:
    answer = client.call("POST", UPLOAD, data=iter([b"{}"]))
    assert answer.status_code == 411
    assert sandbox.state() == {"codes": {}}
