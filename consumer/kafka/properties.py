"""Whether librdkafka knows a property and takes its value: asked of the library itself."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer

#: The properties that are usually needed, and what they are for; names that are all but right are told these.
USUAL = {
    "security.protocol": "plaintext, ssl, sasl_plaintext or sasl_ssl",
    "sasl.mechanism": "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    "sasl.username": "the user of PLAIN and SCRAM",
    "sasl.password": "its password",
    "sasl.oauthbearer.method": "oidc: fetch tokens from an identity provider",
    "sasl.oauthbearer.token.endpoint.url": "where they are fetched",
    "sasl.oauthbearer.client.id": "the client's name there",
    "sasl.oauthbearer.client.secret": "its secret",
    "ssl.ca.location": "file with the CA certificates of the brokers (PEM)",
    "ssl.certificate.location": "file with this client's certificate, for mutual TLS (PEM)",
    "ssl.key.location": "file with its private key (PEM)",
    "ssl.key.password": "the key's password",
    "session.timeout.ms": "a member that is silent for so long is thrown out; not with group_protocol consumer",
    "max.poll.interval.ms": "a member whose loop stands still for so long leaves",
    "socket.keepalive.enable": "true: keep idle connections alive through firewalls",
    "client.id": "the name of this client in the brokers' logs",
    "client.rack": "read from the replica in this rack",
    "debug": "librdkafka's own log, shown at log level debug; such as broker,security,cgrp",
}

#: Put after the property that is asked about: librdkafka stops at the first that it does not take, so no client is
#: made, and its complaint is about this one only if the other was taken.
_SENTINEL = "scm.consumer.no.such.property"
_REFERENCE = "see librdkafka's CONFIGURATION.md"


class Complaint(NamedTuple):
    """Either the name is wrong, or the value; each text says what to do."""

    unknown: str = ""
    bad_value: str = ""


def complaint(name: str, value: str) -> Complaint | None:
    """What librdkafka has against a property; None for nothing. Never quotes the value."""
    if "_" in name or name == "logger":  # the names of callbacks and internals; no property that is text has a "_"
        return Complaint(unknown=": not a property that text can set; remove it")
    try:
        Producer({name: value, _SENTINEL: ""})
    except KafkaException as error:
        said = error.args[0].str().strip()
    except (TypeError, ValueError, AttributeError):  # the binding's own names, such as default.topic.config
        return Complaint(unknown=": not a property that text can set; remove it")
    if _SENTINEL in said:
        return None
    if said.startswith("No such configuration property"):
        near = get_close_matches(name, USUAL, 1)
        hint = f"did you mean {near[0]}?" if near else _REFERENCE
        return Complaint(unknown=f": librdkafka knows no such property; {hint}")
    if said.startswith("Java "):
        return Complaint(unknown=f": {said}")
    if "outside allowed range" in said:
        low, _, high = said.rpartition("range ")[2].partition("..")
        return Complaint(bad_value=f"allowed is a whole number from {low} to {high}")
    if said.startswith("Expected bool"):
        return Complaint(bad_value="allowed is true or false")
    if name == "security.protocol":
        return Complaint(bad_value=f"allowed is {USUAL[name]}")
    if said.startswith("Invalid value for"):
        return Complaint(bad_value="allowed is a whole number")
    return Complaint(bad_value=f"librdkafka does not take this value; {_REFERENCE}")


def reads_pattern(pattern: str) -> bool:
    """Whether librdkafka takes a topic pattern; it contacts nobody."""
    client = Consumer({"group.id": "scm-consumer"})
    try:
        client.subscribe([pattern])
    except KafkaException:
        return False
    finally:
        client.close()
    return True
