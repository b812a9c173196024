"""Ask librdkafka itself whether it knows a property and takes its value."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer

from consumer.adapters.kafka.property_rules import USUAL

#: Put after the property that is asked about: librdkafka stops at the first that it does not take,
#: so no client is made, and its complaint is about this one only if the other was taken.
_SENTINEL = "scm.consumer.no.such.property"
_REFERENCE = "see librdkafka's CONFIGURATION.md"


class Complaint(NamedTuple):
    """Either the name is wrong, or the value; each text says what to do."""

    unknown: str = ""
    bad_value: str = ""


def complaint(name: str, value: str) -> Complaint | None:
    """Return what librdkafka has against a property; None: nothing. Never quote the value."""
    # The names of callbacks and internals; no property that is text has a "_".
    if "_" in name or name == "logger":
        return Complaint(unknown=": not a property that text can set; remove it")
    try:
        Producer({name: value, _SENTINEL: ""})
    except KafkaException as error:
        said = error.args[0].str().strip()
    except (TypeError, ValueError, AttributeError):
        # The binding's own names, such as default.topic.config.
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
    """Return whether librdkafka takes a topic pattern; contact nobody."""
    client = Consumer({"group.id": "scm-consumer"})
    try:
        client.subscribe([pattern])
    except KafkaException:
        return False
    finally:
        client.close()
    return True
