"""Explain why a broker cannot be used, from librdkafka's error callback and its log.

Its calls only time out. The cause of a refused log-in or certificate comes through the error
callback; that of a connection closed at once (the wrong security.protocol) only as a log line.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError

from consumer.preflight.tls import refusal

_rdkafka_log = logging.getLogger("consumer.rdkafka")

#: The client puts around a cause whose connection it was (and who logs it), and when it happened.
_WHO = re.compile(
    r"(?:FAIL \[\S+\] \[thrd:\S*\]: )?(?:(?:\w+)://)?(?P<peer>\S+:\d+)/\w+: (?P<what>.*)", re.DOTALL
)
_WHEN = re.compile(r" \(after \d+ms in state (?P<state>\w+).*\)$")
#: "HTTP" and a TLS alert, read as the length of a response.
_HTTP_LENGTH, _TLS_LENGTHS = "1213486160", re.compile(r"Invalid response size 3[56]\d{7}")

#: Kinds of causes, the surest first: that one is shown when there are several.
_CODES = (
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._BAD_MSG,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._FAIL,  # known from the log alone
)


class _LogLines(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record.getMessage())


class Causes:
    """The causes from the error callback (``error``) and from ``logger``, which is the client's."""

    def __init__(self) -> None:
        self.all_down = False
        self.logger = logging.Logger("rdkafka")
        self.logger.addHandler(_LogLines(self._log_line))
        self._found: dict[tuple[str, int], tuple[str, str]] = {}  # (peer, code): what, state

    def error(self, error: KafkaError) -> None:
        """Keep an error of the client."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_down = True
        else:
            self._keep(error.code(), error.str())

    def _log_line(self, text: str) -> None:
        _rdkafka_log.debug("%s", text)
        if text.startswith("FAIL "):
            self._keep(KafkaError._FAIL, text)

    def worst(self, peer: str = "") -> tuple[str, int, str, str] | None:
        """Return the surest cause, of this peer (host:port) or of any.

        That is: peer, code, the client's words, the connection's state.
        """
        found = [
            (where, code) for where, code in self._found if peer in ("", where) and code in _CODES
        ]
        if not found:
            return None
        where, code = min(found, key=lambda key: _CODES.index(key[1]))
        return where, code, *self._found[where, code]

    def _keep(self, code: int, text: str) -> None:
        state = ""
        if when := _WHEN.search(text):
            text, state = text[: when.start()], when["state"]
        if who := _WHO.fullmatch(text):
            self._found[who["peer"], code] = who["what"], state


def explained(
    causes: Causes, properties: Mapping[str, str], servers: str, peer: str = ""
) -> tuple[str, str]:
    """Return what is wrong with the connection to ``servers`` (or one ``peer``), and what to do."""
    found = causes.worst(peer)
    if found is None:
        return (
            f"{peer or servers} gives no answer",
            "check kafka.bootstrap_servers, the network and its firewalls, and that Kafka is up",
        )
    where, code, what, state = found
    protocol = properties.get("security.protocol", "plaintext").upper()
    if code == KafkaError._AUTHENTICATION:
        return _log_in(where, what, properties)
    if "certificate verify failed" in what:
        return _certificate(where, properties)
    if "certificate required" in what or ("handshake failure" in what and "alert" in what):
        return (
            f"{where} asks for a client certificate",
            "set kafka.client.ssl.certificate.location and kafka.client.ssl.key.location",
        )
    if _HTTP_LENGTH in what:
        return (
            f"{where} answers as a web server does, not as Kafka",
            "correct host and port in kafka.bootstrap_servers",
        )
    if "wrong version number" in what or ("Disconnected" in what and state == "SSL_HANDSHAKE"):
        return (
            f"{where} does not speak TLS, but security.protocol is {protocol}",
            "use the broker's TLS port in kafka.bootstrap_servers, or set "
            f"kafka.client.security.protocol to {protocol.replace('SSL', 'PLAINTEXT')}",
        )
    if "Disconnected" in what or _TLS_LENGTHS.search(what):
        return _closed(where, state, protocol, properties)
    if code == KafkaError._RESOLVE:
        return (
            f"the name of {where} cannot be resolved",
            "check kafka.bootstrap_servers and this machine's DNS",
        )
    reason = what.rpartition("failed: ")[2][:200]
    return (
        f"no connection to {where} ({reason})",
        "check kafka.bootstrap_servers, the network, and that Kafka is up",
    )


def _log_in(where: str, what: str, properties: Mapping[str, str]) -> tuple[str, str]:
    if "Unsupported SASL mechanism" in what:
        known = what.rpartition("supported mechanisms: ")[2] or "others"
        return (
            f"{where} does not take this kind of log-in",
            f"set kafka.client.sasl.mechanism to {known}",
        )
    if "current SASL state" in what:
        return (
            f"{where} takes no log-in, but sasl.* is configured",
            "use the port of the broker's SASL listener, or leave SASL out of "
            "kafka.client.security.protocol",
        )
    user = properties.get("sasl.username", "")
    # In the usual case the broker's own words are long and tell nothing more.
    reason = (
        ""
        if "invalid credentials" in what
        else f" ({what.rpartition('error: ')[2].rpartition('failed: ')[2][:200]})"
    )
    return (
        f"{where} refuses the log-in{f' of {user}' if user else ''}{reason}",
        "correct kafka.client.sasl.username and kafka.client.sasl.password "
        "(or SCM_KAFKA__CLIENT__SASL_PASSWORD)",
    )


def _certificate(where: str, properties: Mapping[str, str]) -> tuple[str, str]:
    reason, advice = refusal(where, properties)
    return f"the certificate of {where} is refused ({reason})", advice


def _closed(
    where: str, state: str, protocol: str, properties: Mapping[str, str]
) -> tuple[str, str]:
    """Explain a broker that hangs up without a word: it expected something else."""
    text = (
        f"{where} closes the connection at once: "
        f"security.protocol {protocol} is not what it expects"
    )
    if "SSL" in protocol and "SASL" not in protocol:
        return text, "set kafka.client.security.protocol to SASL_SSL, and kafka.client.sasl.*"
    if state == "APIVERSION_QUERY" and "SSL" not in protocol:
        expected = (
            "SASL_SSL"
            if "SASL" in protocol or "sasl.username" in properties
            else "SSL (or SASL_SSL with a log-in)"
        )
        return (
            text,
            f"set kafka.client.security.protocol to {expected}, "
            "or use the broker's port without TLS",
        )
    return (
        text,
        "ask for the listener's security protocol, and set kafka.client.security.protocol, "
        "sasl.* and ssl.* to it",
    )
