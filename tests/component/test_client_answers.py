"""The API's response, as the client hands it on."""

from __future__ import annotations

import email.utils
import gzip
import time
import tracemalloc
from pathlib import Path

import pytest

from consumer.adapters.scantrust.client import MAX_BODY
from consumer.adapters.scantrust.token import TokenSource
from consumer.errors import ConfigError
from tests.component.wire import (
    ITEMS,
    TOKEN,
    Peer,
    Wire,
    answer,
    client_to,
    closing_after,
    free_port,
    saying,
    upload_body,
)


def test_an_upload_is_one_post_with_the_rows_and_the_token() -> None:
    with (
        Wire(saying(answer(body=b'{"codes_affected": 2}'))) as wire,
        client_to(wire.url + "/") as client,
    ):
        response = client.upload("extended_id", ITEMS)
    (request,) = wire.requests
    assert request.line == "POST /api/v2/scm/upload/ HTTP/1.1"
    assert request.headers["authorization"] == f"UAT {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{wire.port}"
    assert request.body == upload_body()
    assert (response.status, response.document, response.sent, response.error) == (
        200,
        {"codes_affected": 2},
        True,
        "",
    )
    assert response.body == b'{"codes_affected": 2}'
    assert 0 < response.seconds < 5


def test_me_is_a_get_with_the_token_and_no_body() -> None:
    with Wire(saying(answer())) as wire, client_to(wire.url + "/prefix") as client:
        assert client.me().status == 200
    (request,) = wire.requests
    assert request.line == "GET /prefix/api/v2/me/ HTTP/1.1"
    assert request.headers["authorization"] == f"UAT {TOKEN}"
    assert request.body == b""


def test_calls_of_both_kinds_share_one_connection_and_each_carries_its_own_body() -> None:
    with Wire(saying(answer())) as wire, client_to(wire.url) as client:
        for rows in ([ITEMS[0]], ITEMS, [ITEMS[1]] * 50, [ITEMS[0]]):
            assert client.upload("extended_id", rows).status == 200
            assert client.me().status == 200
    assert wire.connections == 1
    assert [request.line.split()[0] for request in wire.requests] == ["POST", "GET"] * 4
    assert [request.body.count(b"intended") for request in wire.requests] == [
        1,
        0,
        2,
        0,
        50,
        0,
        1,
        0,
    ]


def test_a_token_that_changes_is_in_the_next_call(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    token = TokenSource("", str(file))
    with Wire(saying(answer())) as wire, client_to(wire.url, token) as client:
        client.me()
        file.write_text("second")
        token.refresh()
        client.upload("extended_id", ITEMS)
    assert [request.headers["authorization"] for request in wire.requests] == [
        "UAT first",
        "UAT second",
    ]


@pytest.mark.parametrize(
    "status", [200, 201, 400, 401, 403, 404, 405, 406, 408, 413, 429, 500, 502, 503, 504]
)
def test_any_status_is_handed_on_with_its_document_after_one_attempt(status: int) -> None:
    with (
        Wire(saying(answer(f"{status} X", b'{"errors": []}', "Retry-After: 0"))) as wire,
        client_to(wire.url) as client,
    ):
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.document, response.sent) == (status, {"errors": []}, True)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"[1, 2]", b'"text"', b"null", b'{"items":', b'{"a":"\xff"}']
)
def test_a_body_that_is_no_json_object_has_no_document(body: bytes) -> None:
    with Wire(saying(answer(body=body))) as wire, client_to(wire.url) as client:
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.body, response.document) == (200, body, None)


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "502 Bad Gateway"]
)
def test_an_answer_that_shows_the_request_does_not_show_the_token(status: str) -> None:
    """The response goes into logs, the status and dead letters."""
    body = b'{"detail": "blocked: Authorization: UAT ' + TOKEN.encode() + b'"}'
    with Wire(saying(answer(status, body))) as wire, client_to(wire.url) as client:
        for response in (client.upload("extended_id", ITEMS), client.task("t1")):
            assert response.document == {"detail": "blocked: Authorization: UAT (hidden)"}
            assert TOKEN.encode() not in response.body


def test_a_chunked_answer_is_read_whole_and_the_connection_kept() -> None:
    chunks = b'7\r\n{"items\r\n0C;x=y\r\n": {"A":[]}}\r\n0\r\nTrailer: x\r\n\r\n'
    with (
        Wire(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)) as wire,
        client_to(wire.url) as client,
    ):
        assert client.me().document == {"items": {"A": []}}
        assert client.me().document == {"items": {"A": []}}
    assert wire.connections == 1


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    with (
        Wire(closing_after(b'HTTP/1.0 200 OK\r\n\r\n{"items": {}}')) as wire,
        client_to(wire.url) as client,
    ):
        assert client.me().document == {"items": {}}
        assert client.me().document == {"items": {}}
    assert wire.connections == 2


def test_an_answer_before_the_whole_request_was_read_is_still_an_answer() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.sock.recv(1000)
        peer.send(answer("413 Too Large", b"{}", "Connection: close"))
        peer.hold()

    with Wire(script) as wire, client_to(wire.url) as client:
        assert client.upload("extended_id", ITEMS * 2).status == 413


def test_a_compressed_answer_is_uncompressed() -> None:
    body = gzip.compress(b'{"items": {}}')
    with (
        Wire(saying(answer("200 OK", body, "Content-Encoding: gzip"))) as wire,
        client_to(wire.url) as client,
    ):
        response = client.me()
    assert response.document == {"items": {}}
    assert wire.requests[0].headers["accept-encoding"] == "gzip"


def test_a_body_of_a_megabyte_is_whole_and_a_longer_one_is_cut_with_its_connection() -> None:
    for surplus in (0, 1, 5, 100_000):
        body = b'{"a":"' + b"x" * (MAX_BODY - 8 + surplus) + b'"}'
        with Wire(saying(answer(body=body))) as wire, client_to(wire.url) as client:
            first, second = client.me(), client.me()
        assert first.status == second.status == 200
        assert len(first.body) == len(second.body) == MAX_BODY
        assert (first.document is None) == bool(surplus)
        assert wire.connections == (2 if surplus else 1), (
            "what is left of a body must not be taken for the next answer"
        )


def test_an_endless_body_is_cut_and_the_call_is_over_at_once() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with Wire(script) as wire, client_to(wire.url) as client:
        response = client.me()
    assert (response.status, len(response.body), response.document) == (200, MAX_BODY, None)


def test_a_gzip_bomb_is_cut_without_being_unpacked() -> None:
    bomb = gzip.compress(b"x" * 200_000_000, 9)
    with (
        Wire(saying(answer("200 OK", bomb, "Content-Encoding: gzip"))) as wire,
        client_to(wire.url) as client,
    ):
        client.me()
        tracemalloc.start()
        try:
            response = client.me()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (response.status, len(response.body), response.document) == (200, MAX_BODY, None)
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "location", ["/elsewhere", "http://127.0.0.1:1/", "http://[", "", "//\x01"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int, location: str) -> None:
    with (
        Wire(saying(answer(f"{status} Moved", b"gone", f"Location: {location}"))) as wire,
        client_to(wire.url) as client,
    ):
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.body) == (status, b"gone")
    assert len(wire.requests) == wire.connections == 1


def test_cookies_are_not_kept() -> None:
    with (
        Wire(saying(answer("200 OK", b"{}", "Set-Cookie: session=1; Path=/"))) as wire,
        client_to(wire.url) as client,
    ):
        client.me()
        client.me()
    assert all("cookie" not in request.headers for request in wire.requests)
    assert len(wire.requests) == 2


def test_netrc_and_proxies_of_the_environment_have_no_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    for name in (
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Wire(saying(answer())) as wire, client_to(wire.url) as client:
        assert client.upload("extended_id", ITEMS).status == 200
    assert wire.requests[0].headers["authorization"] == f"UAT {TOKEN}"
    assert wire.requests[0].line.split()[1] == "/api/v2/scm/upload/"


def _http_date(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        (["Retry-After: 17"], b"{}", 17.0),
        (["Retry-After:  1.5 "], b"{}", 1.5),
        (["Retry-After: 12345678901"], b"{}", 12345678901.0),
        (["Retry-After: 0"], b'{"detail": "Expected available in 9 seconds."}', 0.0),
        (
            ["Date: Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After: Wed, 21 Oct 2015 07:28:30 GMT"],
            b"",
            30.0,
        ),
        (
            ["Date: Wed, 21 Oct 2015 07:28:30 GMT", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"],
            b"",
            0.0,
        ),
        (["Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"], b"", 0.0),
        ([], b'{"detail": "Request was throttled. Expected available in 42 seconds."}', 42.0),
        ([], b'{"detail": "Request was throttled. Expected available in 1 second."}', 1.0),
        (["Retry-After: soon"], b'{"detail": "Expected available in 7 seconds."}', 7.0),
        (["Retry-After: -5"], b"{}", None),
        (["Retry-After: inf"], b"{}", None),
        (["Retry-After: Wed, 99 Oct 2015 99:28:00 GMT"], b"{}", None),
        ([], b'{"detail": "busy"}', None),
    ],
)
def test_the_wait_that_the_api_asks_for_is_read(
    headers: list[str], body: bytes, seconds: float | None
) -> None:
    with (
        Wire(saying(answer("429 Slow Down", body, *headers))) as wire,
        client_to(wire.url) as client,
    ):
        response = client.upload("extended_id", ITEMS)
    assert (response.status, response.retry_after) == (429, seconds)


def test_a_date_to_wait_for_without_a_date_of_the_answer_counts_from_now() -> None:
    header = f"Retry-After: {_http_date(time.time() + 60)}"
    with Wire(saying(answer("503 Busy", b"", header))) as wire, client_to(wire.url) as client:
        wait = client.me().retry_after
    assert wait is not None
    assert 57 < wait <= 60


def test_a_success_asks_for_no_wait() -> None:
    body = b'{"items": {"available in 5 seconds": []}}'
    with (
        Wire(saying(answer("200 OK", body, "Retry-After: 9"))) as wire,
        client_to(wire.url) as client,
    ):
        assert client.me().retry_after is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "http://*",
        "http://host:port",
        "http://[",
    ],
)
def test_an_address_that_no_call_can_go_to_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.base_url: not an address"), client_to(url):
        pass
