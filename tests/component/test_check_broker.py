"""``check`` names a Kafka that is not there, and its parts do not wait for each other."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.config.settings import Settings
from consumer.errors import ConfigError
from consumer.preflight import kafka, parallel
from consumer.preflight.cluster import Cluster
from consumer.preflight.result import Check, CheckState, ok
from tests.component.wire import Peer, Wire, free_port, make_certificate
from tests.support.kafka_mock import open_mock

NEVER = 60.0


def broker_check(servers: str, **properties: str) -> Check:
    cluster = Cluster(
        servers, {name.replace("_", "."): value for name, value in properties.items()}
    )
    first, *rest = kafka.checks(Settings(), cluster, create=True)
    assert first.name == "broker"
    if first.state == CheckState.FAILED:
        assert [check.name for check in rest] == [
            "topics",
            "dead letters",
            "rights",
            "group",
            "retention",
        ]
        assert {(check.state, check.text) for check in rest} == {
            (CheckState.SKIPPED, "needs the broker")
        }
    return first


@pytest.mark.alone
def test_no_broker_fails_soon_and_says_that_nobody_listens() -> None:
    began = time.monotonic()
    check = broker_check(f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    assert check.state == CheckState.FAILED
    assert "Connection refused" in check.text
    assert "kafka.bootstrap_servers" in check.advice
    assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    "server", ["kafka.invalid:9092", "kafka.invalid", "PLAINTEXT://kafka.invalid:9092"]
)
def test_a_name_that_cannot_be_resolved_is_told_as_such(server: str) -> None:
    check = broker_check(server)
    assert (check.state, "name of kafka.invalid:9092 cannot be resolved" in check.text) == (
        CheckState.FAILED,
        True,
    )
    assert "DNS" in check.advice


def test_a_port_that_takes_connections_and_says_nothing_is_no_answer() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.hold()

    with Wire(script) as wire:
        check = broker_check(f"127.0.0.1:{wire.port}")
    assert (check.state, "no answer" in check.text) == (CheckState.FAILED, True)
    assert "firewall" in check.advice


def test_a_web_server_is_known_by_its_answer() -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.hold()

    with Wire(script) as wire:
        check = broker_check(f"127.0.0.1:{wire.port}")
    assert (check.state, "web server" in check.text) == (CheckState.FAILED, True)


def _closes(peer: Peer, wire: Wire) -> None:
    peer.sock.recv(4000)


def _closes_at_once(peer: Peer, wire: Wire) -> None:
    pass


def _resets(peer: Peer, wire: Wire) -> None:
    peer.sock.recv(1)
    peer.reset()


def _answers_in_text(peer: Peer, wire: Wire) -> None:
    peer.sock.recv(4000)
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("script", [_closes, _closes_at_once, _resets, _answers_in_text])
def test_a_port_without_tls_is_told_however_it_ends_the_handshake(
    script: Callable[[Peer, Wire], None],
) -> None:
    with Wire(script) as wire:
        check = broker_check(f"127.0.0.1:{wire.port}", security_protocol="ssl")
    assert (check.state, "does not speak TLS" in check.text) == (CheckState.FAILED, True), check
    assert "kafka.client.security.protocol to PLAINTEXT" in check.advice


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Make handshakes and then hear nothing; how they end is the client's affair."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)

    def serve() -> None:
        while not stop.is_set():
            try:
                raw, _ = listener.accept()
            except OSError:
                continue
            try:
                raw.settimeout(2.0)
                with context.wrap_socket(raw, server_side=True) as sock:
                    sock.recv(1)
            except OSError:
                raw.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        thread.join()
        listener.close()


def test_a_certificate_for_another_name_asks_for_that_name(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "other", "DNS:kafka.example.com")
    with tls_server(certificate.server()) as port:
        check = broker_check(
            f"127.0.0.1:{port}", security_protocol="ssl", ssl_ca_location=str(certificate.pem)
        )
    assert check.state == CheckState.FAILED
    assert "certificate" in check.text
    assert "advertised.listeners" in check.advice


def test_a_broker_that_asks_for_a_client_certificate_gets_the_setting_named(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "broker", "IP:127.0.0.1")
    context = certificate.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate.pem)
    with tls_server(context) as port:
        check = broker_check(
            f"127.0.0.1:{port}", security_protocol="ssl", ssl_ca_location=str(certificate.pem)
        )
    assert (check.state, "client certificate" in check.text) == (CheckState.FAILED, True), check
    assert "ssl.certificate.location" in check.advice


def test_properties_that_no_client_can_be_made_of_are_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"ssl\.ca\.location"):
        Cluster("127.0.0.1:1", {"security.protocol": "ssl", "ssl.ca.location": "/nowhere"})


def test_the_demos_embedded_kafka_is_told_at_once_to_be_no_whole_one() -> None:
    with open_mock("") as embedded:
        check = broker_check(embedded.bootstrap)
    assert (check.state, "no controller" in check.text) == (CheckState.FAILED, True)


def test_what_waits_at_the_interpreters_end_does_not_keep_the_process(tmp_path: Path) -> None:
    """Such as a client whose calls to brokers that had just gone were not ended yet."""
    nobody = f"127.0.0.1:{free_port()}"
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'[kafka]\nbootstrap_servers = "{nobody}"\n[api]\nbase_url = "http://{nobody}"\n'
        'token = "t"\n'
    )
    waiting = "import atexit, threading; atexit.register(threading.Event().wait, 120)"
    command = [
        sys.executable,
        "-c",
        f"{waiting}; from consumer.cli import main; main()",
        "-c",
        str(settings),
        "check",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert re.search(r"^\d FAILED", done.stdout.splitlines()[-1])


# -- running beside each other -------------------------------------------------------------------


def part(*names: str, after: Callable[[], object] = lambda: None) -> Callable[[], Iterator[Check]]:
    def checks() -> Iterator[Check]:
        after()
        for name in names:
            yield ok(name, "")

    return checks


def test_parts_are_told_in_their_order_whichever_ends_first() -> None:
    last_done = threading.Event()
    parts = {
        "first": part("a", "b", after=lambda: last_done.wait(NEVER)),
        "last": part("c", after=last_done.set),
    }
    assert [check.name for check in parallel.run(parts, NEVER)] == ["a", "b", "c"]


def test_a_part_that_does_not_end_fails_under_its_name_and_holds_up_nobody() -> None:
    end = threading.Event()
    found = list(
        parallel.run({"slow": part("a", after=lambda: end.wait(NEVER)), "quick": part("b")}, 0.5)
    )
    end.set()
    assert [(check.name, check.state) for check in found] == [
        ("slow", CheckState.FAILED),
        ("b", CheckState.OK),
    ]
    assert "within 0.5 s" in found[0].text


def test_a_fault_in_a_part_is_a_failure_and_not_silence() -> None:
    def broken() -> object:
        raise RuntimeError("secret text")

    found = list(parallel.run({"broken": part("a", after=broken), "good": part("b")}, NEVER))
    assert [(check.name, check.state) for check in found] == [
        ("broken", CheckState.FAILED),
        ("b", CheckState.OK),
    ]
    assert "RuntimeError" in found[0].text
    assert "secret" not in found[0].text
