"""What every librdkafka client of this process is given: address, security, and a voice for its errors."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from consumer.errors import ConfigError

log = logging.getLogger(__name__)

Client = TypeVar("Client")
#: A partition: its topic and number.
PartitionId = tuple[str, int]

#: The same trouble is told again after this many seconds.
TELL_AGAIN_SECONDS = 30.0

#: What a reading client asks of a broker at once, in bytes as they travel; a user may ask for more. All of an answer is
#: decompressed when it comes, to a hundred times its size perhaps, and only then the bound on what is fetched ahead is
#: looked at. A batch of the publisher's that is larger comes all the same, alone. (librdkafka raises the second one to
#: the third, which bounds nothing that is read.)
FETCH_SIZES = {
    "max.partition.fetch.bytes": "131072",
    "fetch.max.bytes": "131072",
    "message.max.bytes": "131072",
}

_CHECK_BROKER = "{}; check kafka.bootstrap_servers and that Kafka is up"
_ADVICE = {
    KafkaError._ALL_BROKERS_DOWN: _CHECK_BROKER.format("no broker can be reached"),
    KafkaError._TRANSPORT: _CHECK_BROKER.format("the connection to a broker failed"),
    KafkaError._RESOLVE: "a broker's name cannot be resolved; check kafka.bootstrap_servers",
    KafkaError._AUTHENTICATION: "the broker refused the log-in; check sasl.* in kafka.client",
    KafkaError._SSL: "the TLS handshake failed; check ssl.ca.location and security.protocol in kafka.client",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create the topic (scm-consumer check --create), or correct kafka.topics",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user the right to read the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give this user the right to use the group kafka.group_id",
}


def advice(error: KafkaError) -> str:
    """What a person can do about an error; empty if nothing is known of it."""
    return _ADVICE.get(error.code(), "")


_MECHANISMS = "set kafka.client.sasl.mechanism to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
#: What librdkafka says of properties that do not go together, and what to do.
_CURES = {
    "No provider for SASL mechanism": _MECHANISMS,
    "Unsupported SASL mechanism": _MECHANISMS,
    "ssl.ca.location failed": "give a PEM file with the CA certificates of the brokers",
    "ssl.certificate.location failed": "give a PEM file with this client's certificate",
    "ssl.key.location failed": "give a PEM file with the private key, and kafka.client.ssl.key.password if it has one",
    "not in PEM format": "give the text of a PEM file, with its BEGIN and END lines",
    "ssl.keystore.location": "give a PKCS#12 file, and kafka.client.ssl.keystore.password",
}


class Teller:
    """Says each kind of trouble once, and again only after a while: a broker that is down is not a line a second."""

    def __init__(self) -> None:
        self._told: dict[object, float] = {}

    def tell(self, key: object, text: str, level: int = logging.WARNING) -> None:
        """Log ``text`` unless trouble of this ``key`` was told in the last half minute."""
        now = time.monotonic()
        if now - self._told.get(key, -TELL_AGAIN_SECONDS) >= TELL_AGAIN_SECONDS:
            self._told[key] = now
            log.log(level, "%s", text)

    def error(self, error: KafkaError) -> None:
        """Log an error of the client in a line that says what to do."""
        code = error.code()
        if code == KafkaError._TRANSPORT:
            key: object = KafkaError._ALL_BROKERS_DOWN  # the same trouble, seen from one broker
        else:
            key = code
        text, known = f"Kafka: {error.str()}", advice(error)
        self.tell(key, f"{text}: {known}; trying on" if known else text)


class _Quiet(logging.Filter):
    """librdkafka's own lines repeat what error callbacks tell; they are for debugging."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno = logging.DEBUG
        record.levelname = "DEBUG"
        return logging.getLogger("consumer").isEnabledFor(logging.DEBUG)


_rdkafka_log = logging.getLogger("consumer.rdkafka")
_rdkafka_log.addFilter(_Quiet())


def create_client(kind: Callable[[dict[str, Any]], Client], config: dict[str, Any]) -> Client:
    """A client of this configuration; raises ConfigError, without any value, when librdkafka refuses it."""
    try:
        return kind(config)
    except (KafkaException, ValueError, TypeError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else type(error).__name__
        why = re.sub("^(consumer|producer|admin client): ", "", why.rpartition("Failed to create ")[2])
        cure = next((f"; {cure}" for words, cure in _CURES.items() if words in why), "")
        raise ConfigError([f"kafka.client: {why}{cure}"]) from None


def client_config(
    bootstrap_servers: str, properties: Mapping[str, str], on_error: Callable[[KafkaError], None], **more: Any
) -> dict[str, Any]:
    """The properties of a client: the user's, then what a promise of this program needs."""
    return {
        "client.id": "scm-consumer",
        **properties,
        "bootstrap.servers": bootstrap_servers,
        "logger": _rdkafka_log,
        "error_cb": on_error,
        **more,
    }
