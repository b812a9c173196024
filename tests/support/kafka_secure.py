"""A real broker that asks for TLS, a password and rights: one more listener on a JvmBroker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.kafka_broker import JvmBroker, free_port

USER, PASSWORD = "alice", "alice-secret"
#: Of the key store; the broker alone reads it.
STORE_PASSWORD = "store-secret"


@dataclass(frozen=True)
class SecureBroker:
    """A broker with a plain listener, ``broker.bootstrap``, and a secure one, ``bootstrap``.

    At the plain one users may do everything. At the secure one USER logs in with PASSWORD
    (SCRAM-SHA-512) and may do nothing until an ACL allows it.
    """

    broker: JvmBroker
    bootstrap: str
    ca: Path  #: the broker's certificate, which is its own CA

    def client(self, **properties: str) -> dict[str, str]:
        """Return librdkafka's properties for the secure listener; those given win (``_`` for
        ``.``).
        """
        right = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self.ca),
        }
        return right | {name.replace("_", "."): value for name, value in properties.items()}


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Start one with certificates made in ``folder``; needs the openssl command beside Java."""
    ca, store = _key_store(folder)
    port, plain, controller = free_port(), free_port(), free_port()
    listener = "listener.name.sasl_ssl."
    module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    properties = {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{listener}scram-sha-512.sasl.jaas.config": module,
        f"{listener}ssl.keystore.type": "PKCS12",
        f"{listener}ssl.keystore.location": str(store),
        f"{listener}ssl.keystore.password": STORE_PASSWORD,
        f"{listener}ssl.key.password": STORE_PASSWORD,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    users = ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
    with closing(JvmBroker(properties, format_arguments=users)) as broker:
        broker.port = plain
        broker.start()
        yield SecureBroker(broker, f"127.0.0.1:{port}", ca)


def _key_store(folder: Path) -> tuple[Path, Path]:
    ca, key, store = folder / "broker.pem", folder / "broker.key", folder / "broker.p12"
    _openssl(
        *(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            str(key),
            "-out",
            str(ca),
        ),
        *("-subj", "/CN=broker", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    )
    _openssl(
        *("pkcs12", "-export", "-in", str(ca), "-inkey", str(key), "-out", str(store)),
        *("-passout", f"pass:{STORE_PASSWORD}"),
    )
    return ca, store


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
