"""The configured CA and proxy are the only ones that count, and errors name what to set."""

from __future__ import annotations

import base64
import logging
import shutil
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from consumer.adapters.scantrust import client
from consumer.core.uploading.response import Response
from consumer.errors import ConfigError
from consumer.hiding import Hider
from tests.component.wire import (
    ITEMS,
    TOKEN,
    Certificate,
    Peer,
    Wire,
    answer,
    client_to,
    free_port,
    make_certificate,
    saying,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def good(folder: Path) -> Certificate:
    return make_certificate(folder, "good", "IP:127.0.0.1,DNS:localhost")


@pytest.fixture(scope="module")
def other(folder: Path) -> Certificate:
    return make_certificate(folder, "other", "DNS:other.example")


def _never_sent(response: Response, *words: str) -> None:
    assert (response.status, response.sent) == (None, False)
    for word in words:
        assert word in response.error
    assert TOKEN not in response.error


def test_an_api_with_the_configured_ca_is_trusted(good: Certificate) -> None:
    with Wire(saying(answer()), good.server()) as wire:
        for host in ("127.0.0.1", "localhost"):
            with client_to(f"https://{host}:{wire.port}", ca_file=str(good.pem)) as client:
                assert client.upload("extended_id", ITEMS).status == 200


def test_an_api_with_another_ca_is_sent_nothing_and_the_error_names_the_setting(
    good: Certificate, other: Certificate
) -> None:
    for ca_file, advice in (
        ("", "set api.ca_file to"),
        (str(other.pem), f"add the CA that issued it to {other.pem}"),
    ):
        with (
            Wire(saying(answer()), good.server()) as wire,
            client_to(wire.url, ca_file=ca_file) as client,
        ):
            _never_sent(
                client.upload("extended_id", ITEMS),
                "certificate",
                f"127.0.0.1:{wire.port}",
                advice,
            )
            assert wire.requests == []


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_ca_certificates_of_the_environment_have_no_say(
    good: Certificate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(good.pem))
    with Wire(saying(answer()), good.server()) as wire, client_to(wire.url) as client:
        _never_sent(client.upload("extended_id", ITEMS), "set api.ca_file")


def test_a_certificate_for_another_name_is_refused_and_the_error_says_so(
    other: Certificate,
) -> None:
    with (
        Wire(saying(answer()), other.server()) as wire,
        client_to(wire.url, ca_file=str(other.pem)) as client,
    ):
        _never_sent(
            client.upload("extended_id", ITEMS),
            "set api.base_url to the name that the certificate is for",
        )
        assert wire.requests == []


def test_https_to_a_plain_port_is_sent_nothing_and_the_error_says_so() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Wire(script) as wire, client_to(f"https://127.0.0.1:{wire.port}") as client:
        _never_sent(
            client.upload("extended_id", ITEMS),
            "no TLS with",
            "the server there speaks none",
            "perhaps api.base_url must begin with http://",
        )


def test_a_connection_closed_in_the_handshake_was_sent_nothing() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.sock.recv(1)
        peer.reset()

    with Wire(script) as wire, client_to(f"https://127.0.0.1:{wire.port}") as client:
        _never_sent(client.upload("extended_id", ITEMS), f"127.0.0.1:{wire.port}")


def test_a_ca_file_that_is_no_ca_file_is_a_configuration_error(folder: Path) -> None:
    empty = folder / "empty.pem"
    empty.write_text("nothing")
    for file, words in (
        (empty, "no PEM certificate"),
        (folder / "absent.pem", r"cannot be read \(No such file"),
    ):
        with (
            pytest.raises(ConfigError, match=rf"api\.ca_file: .*{file.name}: {words}"),
            client_to("https://127.0.0.1:1", ca_file=str(file)),
        ):
            pass


# -- a CA that is replaced -----------------------------------------------------------------------


@pytest.mark.promise("I8")
def test_a_ca_file_that_is_replaced_counts_from_the_next_connection_on(
    good: Certificate, other: Certificate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(other.pem, file)
    caplog.set_level(logging.INFO)
    with (
        Wire(saying(answer()), good.server()) as wire,
        client_to(wire.url, ca_file=str(file)) as client,
    ):
        _never_sent(client.upload("extended_id", ITEMS), "is refused", "read again by itself")
        both = tmp_path / "new.pem"
        both.write_bytes(other.pem.read_bytes() + good.pem.read_bytes())
        both.replace(file)  # as whoever replaces secrets does it
        assert client.upload("extended_id", ITEMS).status == 200, (
            "I8: a CA that is there is not read"
        )
        assert client.upload("extended_id", ITEMS).status == 200
        assert wire.requests[0].headers["authorization"] == f"UAT {TOKEN}"
        shutil.copy(other.pem, file)
        client.close()
        _never_sent(
            client.upload("extended_id", ITEMS), "is refused"
        )  # a CA that was taken out is not trusted
    assert sum("read again, as it has changed" in record.message for record in caplog.records) == 2
    assert len(wire.requests) == 2


@pytest.mark.promise("I8")
@pytest.mark.parametrize("content", [None, b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nMII"])
def test_a_ca_file_that_cannot_be_used_leaves_what_was_good_last_and_is_told_once(
    good: Certificate, tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(good.pem, file)
    with (
        Wire(saying(answer("503 X", b"{}")), good.server()) as wire,
        client_to(wire.url, ca_file=str(file)) as client,
    ):
        assert client.me().status == 503
        file.unlink() if content is None else file.write_bytes(content)
        for _ in range(3):
            assert client.me().status == 503, (
                "I8: a file that is just being replaced ends all calls"
            )
        told = [record.message for record in caplog.records]
        assert len(told) == 1
        assert told[0].startswith(f"api.ca_file: {file}: ")
        assert told[0].endswith("the certificates that were read before stay in use")
        shutil.copy(good.pem, file)
        assert client.me().status == 503


@pytest.mark.promise("I8")
@pytest.mark.parametrize("api", ["http://api.invalid", "https://api.invalid"])
def test_the_ca_of_a_proxy_is_read_again_too(
    api: str, good: Certificate, other: Certificate, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(other.pem, file)
    with Wire(saying(answer("502 X", b"{}")), good.server()) as proxy:
        with client_to(api, proxy=proxy.url, ca_file=str(file)) as client:
            _never_sent(
                client.me(), f"the certificate of the proxy 127.0.0.1:{proxy.port} is refused"
            )
            assert not proxy.requests
            shutil.copy(good.pem, file)
            client.me()
        assert len(proxy.requests) == 1, "I8: a CA that is there is not read"


def test_interim_answers_of_a_proxy_are_not_its_answer(good: Certificate) -> None:
    with Wire(saying(answer()), good.server()) as api:

        def script(peer: Peer, wire: Wire) -> None:
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            _tunnelling(api.port)(peer, wire)

        with (
            Wire(script) as proxy,
            client_to(api.url, proxy=proxy.url, ca_file=str(good.pem)) as client,
        ):
            assert client.upload("extended_id", ITEMS).status == 200


def test_a_proxy_that_says_more_than_its_answer_opens_no_tunnel(good: Certificate) -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n" + answer())
        peer.hold()

    with (
        Wire(script) as proxy,
        client_to("https://api.invalid", proxy=proxy.url, ca_file=str(good.pem)) as client,
    ):
        _never_sent(client.upload("extended_id", ITEMS), "says more than was asked")


# -- proxies -------------------------------------------------------------------------------------


def _tunnelling(target_port: int) -> Callable[[Peer, Wire], None]:
    """Return a proxy's script: CONNECT, then bytes both ways."""

    def script(peer: Peer, wire: Wire) -> None:
        request = wire.take(peer)
        assert request is not None
        with socket.create_connection(("127.0.0.1", target_port)) as target:
            peer.send(b"HTTP/1.1 200 Connection established\r\nX-Proxy: y\r\n\r\n")
            back = threading.Thread(target=_pump, args=(target, peer.sock))
            back.start()
            _pump(peer.sock, target)
            back.join(5)

    return script


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_plain_http_goes_through_the_configured_proxy() -> None:
    with (
        Wire(saying(answer())) as proxy,
        client_to("http://api.invalid", proxy=proxy.url) as client,
    ):
        assert client.upload("extended_id", ITEMS).status == 200
        assert client.me().status == 200
    assert proxy.requests[0].line == "POST http://api.invalid/api/v2/scm/upload/ HTTP/1.1"
    assert proxy.requests[0].headers["authorization"] == f"UAT {TOKEN}"
    assert proxy.connections == 1


@pytest.mark.parametrize("proxy_over_tls", [False, True])
def test_https_goes_through_a_tunnel_and_the_proxy_never_sees_the_token(
    good: Certificate, proxy_over_tls: bool
) -> None:
    with Wire(saying(answer()), good.server()) as api:
        tls = good.server() if proxy_over_tls else None
        with Wire(_tunnelling(api.port), tls) as proxy:
            address = proxy.url.replace("://", "://user:pass-word@")
            with client_to(api.url, proxy=address, ca_file=str(good.pem)) as client:
                assert client.upload("extended_id", ITEMS).status == 200
                assert client.upload("extended_id", ITEMS).status == 200
        assert proxy.connections == api.connections == 1
        assert proxy.requests[0].line.startswith(f"CONNECT 127.0.0.1:{api.port} ")
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        assert "authorization" not in proxy.requests[0].headers
    assert "proxy-authorization" not in api.requests[0].headers


def test_a_proxy_that_refuses_the_tunnel_means_not_sent() -> None:
    with (
        Wire(saying(answer("407 Proxy Authentication Required", b""))) as proxy,
        client_to(
            "https://api.invalid", proxy=proxy.url.replace("://", "://user:pass-word@")
        ) as client,
    ):
        response = client.upload("extended_id", ITEMS)
    _never_sent(response, "407", f"the proxy 127.0.0.1:{proxy.port}", "api.proxy")
    assert "pass-word" not in response.error
    assert len(proxy.requests) == 1


def test_a_proxy_that_shows_its_log_in_behind_many_words_shows_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error's words are cut, and half of a secret would be known to nobody."""
    login = base64.b64encode(b"user:a-very-long-pass-word").decode()
    hider = Hider()
    hider.add_login("user", "a-very-long-pass-word")
    monkeypatch.setattr(client, "known", hider)
    with Wire(saying(answer())) as proxy:
        for words in range(150, 200):
            shown = f"407 {'.' * words} Basic {login}"
            proxy.script = saying(answer(shown, b""))
            with client_to(
                "https://api.invalid",
                proxy=proxy.url.replace("://", "://user:a-very-long-pass-word@"),
            ) as caller:
                response = caller.upload("extended_id", ITEMS)
            assert not response.sent
            assert login[:8] not in response.error, words


@pytest.mark.parametrize("api", ["http://api.invalid", "https://api.invalid"])
def test_a_proxy_that_is_not_there_means_not_sent(api: str) -> None:
    port = free_port()
    with client_to(api, proxy=f"user:pass-word@127.0.0.1:{port}") as client:
        response = client.upload("extended_id", ITEMS)
    _never_sent(response, f"the proxy 127.0.0.1:{port}", "Connection refused", "api.proxy")
    assert "pass-word" not in response.error


def test_a_proxy_that_trickles_its_answer_ends_at_the_time_for_connecting() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        wire.take(peer)
        peer.trickle(b"HTTP/1.1 200 Connection established\r\n\r\n")

    with (
        Wire(script) as proxy,
        client_to("https://api.invalid", proxy=proxy.url, connect_timeout=0.4) as client,
    ):
        response = client.upload("extended_id", ITEMS)
    _never_sent(response, "within 0.4 s", "api.proxy")
    assert 0.3 < response.seconds < 1.4


def test_a_proxy_of_another_kind_is_a_configuration_error_that_shows_no_password() -> None:
    with (
        pytest.raises(ConfigError, match=r"api\.proxy: not an address") as raised,
        client_to("https://api.invalid", proxy="socks5://user:pass-word@127.0.0.1:1080"),
    ):
        pass
    assert "pass-word" not in str(raised.value)
