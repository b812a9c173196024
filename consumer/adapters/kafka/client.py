"""Make the librdkafka clients of this process: address, security, and their errors in the log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from consumer.errors import ConfigError
from consumer.hiding import known

log = logging.getLogger(__name__)

Client = TypeVar("Client")
#: A partition: its topic and number.
PartitionId = tuple[str, int]

#: The same trouble is logged again after this many seconds.
LOG_AGAIN_SECONDS = 30.0

#: What a reading client asks of a broker at once, in bytes as they travel; a user may ask for more.
#: All of a response is decompressed when it comes, to many times its size, and only then the bounds
#: on what is fetched ahead are looked at. A publisher's batch that is larger comes all the same.
FETCH_SIZES = {"max.partition.fetch.bytes": "524288", "fetch.max.bytes": "524288"}
#: librdkafka raises what is fetched at once to this; for a reading client it bounds nothing else.
FETCH_LEAST = 1000

_CHECK_BROKER = "{}; check kafka.bootstrap_servers and that Kafka is up"
_ADVICE = {
    KafkaError._ALL_BROKERS_DOWN: _CHECK_BROKER.format("no broker can be reached"),
    KafkaError._TRANSPORT: _CHECK_BROKER.format("the connection to a broker failed"),
    KafkaError._RESOLVE: (
        "a broker's name cannot be resolved; check kafka.bootstrap_servers and this machine's DNS"
    ),
    KafkaError._AUTHENTICATION: "the broker refused the log-in; check sasl.* in kafka.client",
    KafkaError._SSL: (
        "the TLS handshake failed; check ssl.ca.location and security.protocol in kafka.client"
    ),
    KafkaError.UNKNOWN_TOPIC_OR_PART: (
        "create the topic (scm-consumer check --create), or correct kafka.topics"
    ),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user the right to read the topic",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "the members that are in the group share its partitions in another way: "
        "give all of them the same partition.assignment.strategy in kafka.client "
        "and the same kafka.group_protocol (to change it, stop all of them first), "
        "or this consumer a kafka.group_id of its own"
    ),
    KafkaError.GROUP_AUTHORIZATION_FAILED: (
        "give this user the right to use the group kafka.group_id"
    ),
}


#: The client's name of a broker that another one told it of: with its number, where one of
#: kafka.bootstrap_servers has none.
_ADVERTISED = re.compile(r"(?P<address>[^\s/]+:\d+)/\d+: ")
_CHECK_ADVERTISED = (
    "{} is the address that the brokers give for one of them (advertised.listeners), "
    "and {}; correct it there, or have it reached from this machine"
)
_UNREACHED = {
    KafkaError._RESOLVE: "its name cannot be resolved here",
    KafkaError._TRANSPORT: (
        "the connection to it failed: it is down, or cannot be reached from here"
    ),
}


def advice(error: KafkaError) -> str:
    """Return what a person can do about an error; empty if nothing is known of it."""
    code = error.code()
    if code in _UNREACHED and (broker := _ADVERTISED.search(error.str())):
        return _CHECK_ADVERTISED.format(broker["address"], _UNREACHED[code])
    return _ADVICE.get(code, "")


_MECHANISMS = (
    "set kafka.client.sasl.mechanism to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
)
#: What librdkafka says of properties that do not go together, and what to do.
_CURES = {
    "No provider for SASL mechanism": _MECHANISMS,
    "Unsupported SASL mechanism": _MECHANISMS,
    "ssl.ca.location failed": "give a PEM file with the CA certificates of the brokers",
    "ssl.certificate.location failed": "give a PEM file with this client's certificate",
    "ssl.key.location failed": (
        "give a PEM file with the private key, and kafka.client.ssl.key.password if it has one"
    ),
    "not in PEM format": "give the text of a PEM file, with its BEGIN and END lines",
    "ssl.keystore.location": "give a PKCS#12 file, and kafka.client.ssl.keystore.password",
}


def message_of(error: KafkaError) -> str:
    """Return an error in words, with what to do about it where that is known."""
    cure, said = advice(error), known.text(error.str())
    return f"{said}: {cure}" if cure else said


class ThrottledLog:
    """Logs each kind of trouble once, and again only after a while.

    A broker that is down is not a line a second.
    """

    def __init__(self) -> None:
        self._logged_at: dict[object, float] = {}
        #: The client's last error in words; whoever has seen that it is over takes it away.
        self.last = ""

    def log_once(self, key: object, text: str, level: int = logging.WARNING) -> None:
        """Log ``text`` unless trouble of this ``key`` was logged in the last half minute."""
        now = time.monotonic()
        if now - self._logged_at.get(key, -LOG_AGAIN_SECONDS) >= LOG_AGAIN_SECONDS:
            self._logged_at[key] = now
            log.log(level, "%s", text)

    def error(self, error: KafkaError) -> None:
        """Log an error of the client in a line that says what to do."""
        code = error.code()
        if code == KafkaError._TRANSPORT:
            key: object = KafkaError._ALL_BROKERS_DOWN  # the same trouble, seen from one broker
        else:
            key = code
        text = f"Kafka: {message_of(error)}"
        self.last = message_of(error)
        self.log_once(key, f"{text}; trying on" if advice(error) else text)


class _Quiet(logging.Filter):
    """Makes librdkafka's own lines debugging's: they repeat what error callbacks tell."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno = logging.DEBUG
        record.levelname = "DEBUG"
        return logging.getLogger("consumer").isEnabledFor(logging.DEBUG)


_rdkafka_log = logging.getLogger("consumer.rdkafka")
_rdkafka_log.addFilter(_Quiet())


def create_client(kind: Callable[[dict[str, Any]], Client], config: dict[str, Any]) -> Client:
    """Make a client of this configuration.

    Raise ConfigError, without any value, when librdkafka refuses it.
    """
    try:
        return kind(config)
    except (KafkaException, ValueError, TypeError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else type(error).__name__
        why = re.sub(
            "^(consumer|producer|admin client): ", "", why.rpartition("Failed to create ")[2]
        )
        cure = next((f"; {cure}" for words, cure in _CURES.items() if words in why), "")
        raise ConfigError([f"kafka.client: {why}{cure}"]) from None


def client_config(
    bootstrap_servers: str,
    properties: Mapping[str, str],
    on_error: Callable[[KafkaError], None],
    **more: Any,
) -> dict[str, Any]:
    """Return the properties of a client: the user's, then what this program's promises need."""
    return {
        "client.id": "scm-consumer",
        **properties,
        "bootstrap.servers": bootstrap_servers,
        "logger": _rdkafka_log,
        "error_cb": on_error,
        **more,
    }
