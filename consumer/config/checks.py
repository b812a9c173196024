"""What types cannot say.

Combinations of settings that cannot work, and librdkafka's own properties.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from consumer.adapters.kafka.patterns import is_pattern, matching, read_differently
from consumer.adapters.kafka.property_rules import COOPERATIVE, REFUSED_CLIENT_PROPERTIES
from consumer.config.keys import CLIENT, toml_value
from consumer.config.masking import HIDDEN, masked_value
from consumer.config.settings import EpcisSettings, Settings

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NAMES = 'allowed are letters, digits, ".", "_" and "-", at most 249'
_BROKER = re.compile(
    r"((?P<scheme>[A-Za-z_]+)://)?([^\s:/,@\[\]]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d+))?"
)
_LISTEN = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d+)")
_READ_DIFFERENTLY = r"Kafka's clients and brokers do not read \d, [[:alpha:]] or a \ in brackets alike; write [0-9], [a-z]"
#: A file's name that is hardly one: what somebody writes who takes token_file for token.
_TOKEN_LIKE = re.compile(r"[A-Za-z0-9_=+-]{16,}|[^/\\]{40,}")
#: What this program reads itself, and librdkafka reads more loosely.
_MILLISECONDS = ("session.timeout.ms", "max.poll.interval.ms")
_STRATEGY = "partition.assignment.strategy"
_GROUP_PROPERTIES = (
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol.type",
    _STRATEGY,
)


#: The paths of the mistake that no token is set.
NO_TOKEN = ("api.token", "api.token_file")


class Problem(NamedTuple):
    """``text`` follows the name of the first of ``paths``.

    Not told while any of them is wrong in itself.
    """

    paths: tuple[str, ...]
    text: str


def impossible(settings: Settings) -> Iterator[Problem]:
    """Everything in the settings that cannot work, in the order of the sections."""
    for check in CHECKS:
        yield from check(settings)


def _wrong(path: str, value: object, message: str, *others: str) -> Problem:
    """A value, without secrets, and what is wrong with it."""
    value = masked_value(
        path.rpartition(".")[2] if not path.startswith(CLIENT) else path.removeprefix(f"{CLIENT}."),
        value,
    )
    return Problem((path, *others), f" = {toml_value(value)}: {message}")


# -- Kafka ---------------------------------------------------------------------------------------


def _brokers(settings: Settings) -> Iterator[Problem]:
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
            yield _wrong(
                path, servers, "allowed is host:port, comma-separated, such as localhost:9092"
            )
            return
        if (match["scheme"] or protocol).lower() != protocol:
            protocol_path = f"{CLIENT}.security.protocol"
            text = f"leave out {match['scheme']}://, and set {protocol_path} to what the brokers expect ({protocol} now)"
            yield _wrong(path, servers, text, protocol_path)
            return


def _topics(settings: Settings) -> Iterator[Problem]:
    written = {
        "dead_letter.topic": settings.dead_letter.topic,
        "receipts.topic": settings.receipts.topic,
    }
    if not written["receipts.topic"]:
        del written["receipts.topic"]  # none are written
    for path, name in written.items():
        if not _is_topic(name):
            yield _wrong(path, name, _NAMES)
    if len(set(written.values())) < len(written):
        text = "is dead_letter.topic, too; give the receipts a topic of another name"
        yield _wrong("receipts.topic", settings.receipts.topic, text, "dead_letter.topic")
    for topic, times in Counter(settings.kafka.topics).items():
        if times > 1:
            yield _wrong("kafka.topics", topic, "stands there twice: keep one")
        yield from _read_topic(topic, written)


def _read_topic(topic: str, written: dict[str, str]) -> Iterator[Problem]:
    """One name or pattern of ``kafka.topics``.

    ``written``: the topics that this program writes, by their keys.
    """
    matches = [topic]
    if is_pattern(topic):
        if read_differently(topic):
            yield _wrong("kafka.topics", topic, _READ_DIFFERENTLY)
            return
        try:
            matches = matching(topic, written.values())
        except re.error as error:
            yield _wrong(
                "kafka.topics", topic, f"not a valid pattern ({error}); mend it, or drop the ^"
            )
            return
        from consumer.adapters.kafka.properties import reads_pattern  # heavy: the client

        if not reads_pattern(topic):
            why = "librdkafka does not read this pattern; use POSIX extended syntax, without (?: and the like"
            yield _wrong("kafka.topics", topic, why)
    elif not _is_topic(topic):
        yield _wrong("kafka.topics", topic, f"{_NAMES}; a name that begins with ^ is a pattern")
    for path, name in written.items():
        if name in matches:
            what = "dead letters" if path == "dead_letter.topic" else "receipts"
            text = f'matches {path} "{name}": the {what} would be read again; give them a topic of another name'
            yield _wrong("kafka.topics", topic, text, path)


def _is_topic(name: str) -> bool:
    return bool(_TOPIC.fullmatch(name)) and name not in (".", "..")


def _properties(settings: Settings) -> Iterator[Problem]:
    """Each librdkafka property for itself."""
    properties = settings.kafka.client
    if not properties:
        return
    from consumer.adapters.kafka.properties import complaint  # heavy: the client

    for name, value in properties.items():
        path = f"{CLIENT}.{name}"
        # librdkafka takes the topic's properties with this prefix, too.
        refused = REFUSED_CLIENT_PROPERTIES.get(name) or REFUSED_CLIENT_PROPERTIES.get(
            name.removeprefix("topic.")
        )
        if refused is not None:
            yield Problem((path,), f": not to be set: {refused}; remove it")
        elif name in _MILLISECONDS and not re.fullmatch("[0-9]{1,9}", value):
            yield _wrong(path, value, "allowed is a whole number of milliseconds")
        elif (problem := complaint(name, value)) is not None:
            yield (
                Problem((path,), problem.unknown)
                if problem.unknown
                else _wrong(path, value, problem.bad_value)
            )
        elif name.endswith((".location", ".file")) and not (".ca." in name and _is_no_file(value)):
            yield from _unreadable(path, value)


def _is_no_file(ca_location: str) -> bool:
    """librdkafka also takes a folder, or the word for the system's usual places."""
    return ca_location == "probe" or Path(ca_location).is_dir()


def _security(settings: Settings) -> Iterator[Problem]:
    """Properties without effect.

    A log-in that would never be sent, a certificate that would never be looked at.
    """
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


def _group(settings: Settings) -> Iterator[Problem]:
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
        yield _wrong(
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
        yield _wrong(f"{CLIENT}.{first}", properties[first], text, f"{CLIENT}.{other}")


# -- addresses and tokens ------------------------------------------------------------------------


def _split(url: str) -> SplitResult | None:
    """The parts of an http address; None when it is none that a call could be made to."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return (
        parts
        if usable
        and not re.search(r"[\s\x00-\x1f]", url)
        and not parts.query
        and not parts.fragment
        else None
    )


def _registry(settings: Settings) -> Iterator[Problem]:
    registry = settings.schema_registry
    path, user, password = (
        "schema_registry.url",
        registry.user,
        registry.password.get_secret_value(),
    )
    if "@" in registry.url:
        yield Problem(
            (path,), ": no user or password belongs there; set schema_registry.user and .password"
        )
    elif registry.url and _split(registry.url) is None:
        yield _wrong(
            path,
            registry.url,
            "allowed is http://host:port or https://host, such as http://localhost:8081",
        )
    if user and not password:
        yield _wrong(
            "schema_registry.user",
            user,
            "has no password; set schema_registry.password",
            "schema_registry.password",
        )
    if password and not user:
        yield Problem(
            ("schema_registry.password", "schema_registry.user"),
            " is set; set schema_registry.user, too",
        )


def _address(settings: Settings) -> Iterator[Problem]:
    api, path = settings.api, "api.base_url"
    if "@" in api.base_url:
        yield Problem((path,), ": no user or password belongs there; set api.token")
        return
    url = _split(api.base_url)
    if url is None:
        yield _wrong(
            path, api.base_url, "allowed is https://host, or http:// to this machine (the sandbox)"
        )
    elif "/api/v2" in url.path:
        yield _wrong(path, api.base_url, f"give the root of the API, without {url.path}")
    elif url.scheme == "http" and not api.allow_plain_http and not _loopback(url.hostname or ""):
        message = "http:// would send the token in the clear; use https://, or set api.allow_plain_http = true"
        yield _wrong(path, api.base_url, message, "api.allow_plain_http")


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", host))


def _token(settings: Settings) -> Iterator[Problem]:
    token, file, path = (
        settings.api.token.get_secret_value(),
        settings.api.token_file,
        "api.token_file",
    )
    if not token and not file:
        where = (
            "in scm-consumer.toml (begin with: scm-consumer config example) or as SCM_API__TOKEN"
        )
        yield Problem(NO_TOKEN, f": not set, and neither is {path}; set one of them, {where}")
    elif not file:
        yield from _unusable_token("api.token", token, lambda: token)
    else:  # it is taken even if a token is set
        yield from _unreadable(path, file)
        yield from _unusable_token(
            path, file, lambda: Path(file).read_bytes()[:65536].decode("utf-8-sig", "replace")
        )
    if settings.api.ca_file:
        yield from _unreadable("api.ca_file", settings.api.ca_file)


def _unusable_token(path: str, value: str, read: Callable[[], str]) -> Iterator[Problem]:
    from consumer.adapters.scantrust.token import checked

    try:
        checked(read())
    except OSError:
        return  # told already
    except ValueError as error:
        yield _wrong(path, value, f"{error}; put the token there, and nothing else")


def _unreadable(path: str, file: str) -> Iterator[Problem]:
    try:
        Path(file).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not the name of a file"
        advice = "give a file that is there and that this user may read"
        if path == "api.token_file" and _TOKEN_LIKE.fullmatch(file):
            yield Problem(
                (path,),
                f" = {HIDDEN}: cannot be read ({why}); a token itself goes to api.token; else {advice}",
            )
        else:
            yield _wrong(path, file, f"cannot be read ({why}); {advice}")


def _proxy(settings: Settings) -> Iterator[Problem]:
    proxy = settings.api.proxy
    if proxy:
        url = _split(proxy if "://" in proxy else f"http://{proxy}")
        if url is None or url.path not in ("", "/"):
            allowed = "allowed is http://host:port or http://user:password@host:port, with / and @ in them as %2F and %40"
            yield _wrong("api.proxy", proxy, allowed)


# -- the rest ------------------------------------------------------------------------------------


def _retry(settings: Settings) -> Iterator[Problem]:
    base, cap = settings.retry.base_seconds, settings.retry.cap_seconds
    if base > cap:
        yield _wrong(
            "retry.base_seconds",
            base,
            f"allowed is at most retry.cap_seconds ({cap:g})",
            "retry.cap_seconds",
        )


def _ops(settings: Settings) -> Iterator[Problem]:
    listen = settings.ops.listen
    match = _LISTEN.fullmatch(listen)
    if listen and (match is None or int(match["port"]) > 65535):
        allowed = "allowed is host:port, such as 127.0.0.1:9464 (port 0: any free one), or empty for nowhere"
        yield _wrong("ops.listen", listen, allowed)


def _epcis(settings: Settings) -> Iterator[Problem]:
    """Each rule for itself; and units that rules speak of, and nobody knows."""
    epcis = settings.epcis
    if epcis == EpcisSettings():
        return
    from consumer.formats import epcis_rules  # heavy: the formats

    kinds: dict[str, Callable[[str], tuple[object, ...]]] = {
        "codes": epcis_rules.code_rule,
        "unit_codes": epcis_rules.unit_code,
        "steps": epcis_rules.step,
        "products": epcis_rules.product,
        "markets": epcis_rules.market,
    }
    for name, read in kinds.items():
        seen: set[object] = set()
        for text in getattr(epcis, name):
            try:
                rule = read(text)
            except ValueError as error:
                yield _wrong(f"epcis.{name}", text, str(error))
                continue
            left = (
                rule if name == "codes" else rule[0]
            )  # of one field there may be several patterns
            if left in seen:
                yield _wrong(f"epcis.{name}", text, "there is a rule for it already: keep one")
            seen.add(left)
            if name == "unit_codes" and left not in settings.events.logistic_units:
                units = ", ".join(settings.events.logistic_units) or "empty"
                text_ = f"{left} is no logistic unit; events.logistic_units is {units}"
                yield _wrong("epcis.unit_codes", text, text_, "events.logistic_units")


CHECKS = (
    _brokers, _topics, _properties, _security, _group, _registry, _epcis, _address, _token, _proxy, _retry, _ops,
)  # fmt: skip
