"""Check the settings of Kafka: brokers, topics, and librdkafka's own properties."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from consumer.adapters.kafka.patterns import is_pattern, matching, read_differently
from consumer.adapters.kafka.property_rules import COOPERATIVE, REFUSED_CLIENT_PROPERTIES
from consumer.config.keys import CLIENT
from consumer.config.problem import Problem, unreadable, wrong
from consumer.config.settings import Settings

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NAMES = 'allowed are letters, digits, ".", "_" and "-", at most 249'
_BROKER = re.compile(
    r"((?P<scheme>[A-Za-z_]+)://)?([^\s:/,@\[\]]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d+))?"
)
_READ_DIFFERENTLY = (
    r"Kafka's clients and brokers do not read \d, [[:alpha:]] or a \ in brackets alike; "
    "write [0-9], [a-z]"
)
#: Properties that this program reads itself, more strictly than librdkafka does.
_MILLISECONDS = ("session.timeout.ms", "max.poll.interval.ms")
_STRATEGY = "partition.assignment.strategy"
_GROUP_PROPERTIES = (
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol.type",
    _STRATEGY,
)


def check_brokers(settings: Settings) -> Iterator[Problem]:
    """Check the addresses of the brokers."""
    path, servers = "kafka.bootstrap_servers", settings.kafka.bootstrap_servers
    protocol = settings.kafka.client.get("security.protocol", "plaintext").lower()
    for broker in servers.split(","):
        match = _BROKER.fullmatch(broker.strip())
        port = int(match["port"] or 9092) if match else 0
        if (
            not match
            or not 0 < port < 65536
            or (match["scheme"] or "").lower() in ("http", "https")
        ):
            yield wrong(
                path, servers, "allowed is host:port, comma-separated, such as localhost:9092"
            )
            return
        if (match["scheme"] or protocol).lower() != protocol:
            protocol_path = f"{CLIENT}.security.protocol"
            text = (
                f"leave out {match['scheme']}://, and set {protocol_path} to what the brokers "
                f"expect ({protocol} now)"
            )
            yield wrong(path, servers, text, protocol_path)
            return


def check_topics(settings: Settings) -> Iterator[Problem]:
    """Check the topics that are read and written, and that none is both."""
    written = {
        "dead_letter.topic": settings.dead_letter.topic,
        "receipts.topic": settings.receipts.topic,
    }
    if not written["receipts.topic"]:
        del written["receipts.topic"]  # none are written
    for path, name in written.items():
        if not _is_topic(name):
            yield wrong(path, name, _NAMES)
    if len(set(written.values())) < len(written):
        text = "is dead_letter.topic, too; give the receipts a topic of another name"
        yield wrong("receipts.topic", settings.receipts.topic, text, "dead_letter.topic")
    for topic, times in Counter(settings.kafka.topics).items():
        if times > 1:
            yield wrong("kafka.topics", topic, "stands there twice: keep one")
        yield from _read_topic(topic, written)


def _read_topic(topic: str, written: dict[str, str]) -> Iterator[Problem]:
    """Check one name or pattern of ``kafka.topics``.

    ``written``: the topics that this program writes, by the key that names them.
    """
    matches = [topic]
    if is_pattern(topic):
        if read_differently(topic):
            yield wrong("kafka.topics", topic, _READ_DIFFERENTLY)
            return
        try:
            matches = matching(topic, written.values())
        except re.error as error:
            yield wrong(
                "kafka.topics", topic, f"not a valid pattern ({error}); mend it, or drop the ^"
            )
            return
        from consumer.adapters.kafka.properties import reads_pattern  # heavy: the client

        if not reads_pattern(topic):
            why = (
                "librdkafka does not read this pattern; "
                "use POSIX extended syntax, without (?: and the like"
            )
            yield wrong("kafka.topics", topic, why)
    elif not _is_topic(topic):
        yield wrong("kafka.topics", topic, f"{_NAMES}; a name that begins with ^ is a pattern")
    for path, name in written.items():
        if name in matches:
            what = "dead letters" if path == "dead_letter.topic" else "receipts"
            text = (
                f'matches {path} "{name}": the {what} would be read again; '
                "give them a topic of another name"
            )
            yield wrong("kafka.topics", topic, text, path)


def _is_topic(name: str) -> bool:
    return bool(_TOPIC.fullmatch(name)) and name not in (".", "..")


def check_properties(settings: Settings) -> Iterator[Problem]:
    """Check each librdkafka property by itself."""
    properties = settings.kafka.client
    if not properties:
        return
    from consumer.adapters.kafka.properties import complaint  # heavy: the client

    for name, value in properties.items():
        path = f"{CLIENT}.{name}"
        # librdkafka also takes the properties of topics with this prefix.
        refused = REFUSED_CLIENT_PROPERTIES.get(name) or REFUSED_CLIENT_PROPERTIES.get(
            name.removeprefix("topic.")
        )
        if refused is not None:
            yield Problem((path,), f": not to be set: {refused}; remove it")
        elif name in _MILLISECONDS and not re.fullmatch("[0-9]{1,9}", value):
            yield wrong(path, value, "allowed is a whole number of milliseconds")
        elif (problem := complaint(name, value)) is not None:
            yield (
                Problem((path,), problem.unknown)
                if problem.unknown
                else wrong(path, value, problem.bad_value)
            )
        elif name.endswith((".location", ".file")) and not (".ca." in name and _is_no_file(value)):
            yield from unreadable(path, value)


def _is_no_file(ca_location: str) -> bool:
    """Return whether librdkafka takes the value for a folder, or for the system's usual places."""
    return ca_location == "probe" or Path(ca_location).is_dir()


def check_security(settings: Settings) -> Iterator[Problem]:
    """Refuse properties without effect: a log-in never sent, a certificate never looked at."""
    properties = settings.kafka.client
    path = f"{CLIENT}.security.protocol"
    protocol = properties.get("security.protocol", "plaintext").lower()
    if protocol == "plaintext":
        sasl = any(name.startswith("sasl.") for name in properties)
        for family, right in (
            ("sasl.", "sasl_ssl or sasl_plaintext"),
            ("ssl.", "sasl_ssl" if sasl else "ssl"),
        ):
            idle = next((name for name in properties if name.startswith(family)), None)
            if idle is not None:
                text = f": has no effect while {path} is plaintext; set that to {right}"
                yield Problem((f"{CLIENT}.{idle}", path), text)


def check_group(settings: Settings) -> Iterator[Problem]:
    """Check what members of one group must agree on, and the times of the session."""
    properties = settings.kafka.client
    if settings.kafka.group_protocol == "consumer":
        for name in _GROUP_PROPERTIES:
            if name in properties:
                text = ': the brokers set it when kafka.group_protocol is "consumer"; remove it'
                yield Problem((f"{CLIENT}.{name}", "kafka.group_protocol"), text)
        return
    strategy = properties.get(_STRATEGY, COOPERATIVE)
    names = set(strategy.split(","))
    if names != {COOPERATIVE} and not names <= {"range", "roundrobin"}:
        yield wrong(
            f"{CLIENT}.{_STRATEGY}",
            strategy,
            f"allowed is {COOPERATIVE}, range, roundrobin or range,roundrobin",
        )
    session, poll = _MILLISECONDS
    values = [properties.get(session, "45000"), properties.get(poll, "300000")]
    if all(re.fullmatch("[0-9]+", value) for value in values) and int(values[0]) >= int(values[1]):
        first, other, word = (
            (session, poll, "less") if session in properties else (poll, session, "more")
        )
        limit = values[1] if first == session else values[0]
        text = f"allowed is {word} than {CLIENT}.{other} ({limit})"
        yield wrong(f"{CLIENT}.{first}", properties[first], text, f"{CLIENT}.{other}")
