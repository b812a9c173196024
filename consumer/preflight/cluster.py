"""Kafka as the checks ask it: one administrator's client, every call bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartitionInfo
from confluent_kafka.admin import AdminClient, ConfigResource

from consumer.adapters.kafka.client import client_config, create_client
from consumer.preflight.causes import Causes, explained
from consumer.preflight.result import Check, failed, ok, warning

#: How long each try to connect waits; between them the client's callbacks are served, which tell
#: the cause.
CONNECT_SECONDS = (1.0, 2.0, 4.0)
#: How long the answer to anything else may take.
ANSWER_SECONDS = 4.0
#: How often the brokers are asked for their controller while the one that they name is down.
CONTROLLER_LOOKS = 10
#: Asked again: the group's coordinator has only just been chosen.
_SOON = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
#: An answer all the same: the broker was reached.
_NOT_TOLD = (
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.INVALID_REQUEST,
)

_START_IT = "start that broker if it is down, else make its advertised.listeners an address that this machine reaches"

Key = TypeVar("Key")
Configs = Mapping[str, str]


class Cluster:
    """The brokers; ConfigError for properties that the client refuses. ``connect`` comes first."""

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self.servers = bootstrap_servers
        self.properties = properties
        self._causes = Causes()
        config = client_config(
            bootstrap_servers, properties, self._causes.error, logger=self._causes.logger
        )
        self.admin = create_client(AdminClient, config)
        self.topic_names: list[str] = []  #: all that this user may see
        self.brokers: dict[int, str] = {}  #: id: host:port
        self.unreachable: set[int] = set()  #: ids of brokers that do not answer, while others do
        #: of each broker; KafkaError: this user may not read it
        self.broker_configs: dict[int, Configs | KafkaError] = {}

    @property
    def user(self) -> str:
        """Who rights are to be given to, as far as it is known here."""
        return self.properties.get("sasl.username", "") or "..."

    def connect(self) -> Check:
        """Reach one broker, then each by the address that it gives itself."""
        for seconds in CONNECT_SECONDS:
            try:
                found = self.admin.list_topics(timeout=seconds)
            except KafkaException:
                self.admin.poll(0)  # the callbacks
                if self._causes.all_down:
                    break
            else:
                self.topic_names = sorted(found.topics)
                self.brokers = {number: f"{b.host}:{b.port}" for number, b in found.brokers.items()}
                if found.controller_id not in self.brokers:
                    text = f"{self.servers} answers, but its cluster has no controller that could tell of topics"
                    advice = "look at the cluster's log, check again in a minute; a demo's embedded Kafka never has one"
                    return failed("broker", text, advice)
                return self._reach_each()
        cause = self._causes.worst()
        if cause is not None and not self._is_bootstrap(cause[0]):
            return self._hidden(cause[0])  # it answered once, and led there
        return failed("broker", *explained(self._causes, self.properties, self.servers))

    def _is_bootstrap(self, peer: str) -> bool:
        servers = [server.strip().rpartition("/")[2] for server in self.servers.split(",")]
        return peer in servers or peer.removesuffix(":9092") in servers

    def _reach_each(self) -> Check:
        numbers = {
            ConfigResource(ConfigResource.Type.BROKER, str(number)): number
            for number in self.brokers
        }

        def start(**wait: float) -> dict[ConfigResource, Future[Any]]:
            # A call each: it goes to the broker that it is about.
            return {
                one: future
                for one in numbers
                for future in self.admin.describe_configs([one], **wait).values()
            }

        answers = self.ask(start)
        self.broker_configs = {
            numbers[resource]: _configs(answer) for resource, answer in answers.items()
        }
        self.admin.poll(0)
        silent = [
            number
            for number, answer in self.broker_configs.items()
            if isinstance(answer, KafkaError) and answer.code() not in _NOT_TOLD
        ]
        if silent:
            return (
                self._hidden(self.brokers[silent[0]])
                if len(silent) == len(answers)
                else self._some_down(silent)
            )
        protocol = self.properties.get("security.protocol", "plaintext").upper()
        how = {
            "PLAINTEXT": "no TLS, no log-in",
            "SSL": "TLS",
            "SASL_PLAINTEXT": "no TLS",
            "SASL_SSL": "TLS",
        }
        log_in = f", logged in as {self.user}" if "SASL" in protocol else ""
        count = len(self.brokers)
        return ok(
            "broker",
            f"{self.servers}: {plural(count, 'broker')}, {how.get(protocol, protocol)}{log_in}",
        )

    def _some_down(self, silent: list[int]) -> Check:
        """A broker that is down is an ordinary day; whether it matters is up to the topics."""
        self.unreachable = set(silent)
        address = self.brokers[silent[0]]
        text, _ = explained(self._causes, self.properties, address, address)
        told = f"{self.servers}: {len(silent)} of {plural(len(self.brokers), 'broker')} cannot be reached: {text}"
        return warning("broker", told, _START_IT)

    def _hidden(self, address: str) -> Check:
        text, _ = explained(self._causes, self.properties, address, address)
        return failed(
            "broker",
            f"{self.servers} answers, but gives out the address {address}, and {text}",
            _START_IT,
        )

    def ask(self, start: Callable[..., Mapping[Key, Future[Any]]]) -> dict[Key, Any]:
        """Ask through ``start(request_timeout=...)``; the answer, or a KafkaError, of each key."""
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            self._find_controller()
            left = max(0.1, until - time.monotonic())
            answers = {
                key: _outcome(future, left) for key, future in start(request_timeout=left).items()
            }
            soon = any(isinstance(a, KafkaError) and a.code() in _SOON for a in answers.values())
            if not soon or time.monotonic() >= until:
                return answers
            time.sleep(0.1)  # between two looks

    def _find_controller(self) -> None:
        """Some calls go to the controller, as which each answer names another broker.

        Not one that is down, please.
        """
        for _ in range(CONTROLLER_LOOKS if self.unreachable else 0):
            with suppress(KafkaException):
                if (
                    self.admin.list_topics(timeout=CONNECT_SECONDS[0]).controller_id
                    not in self.unreachable
                ):
                    return

    def is_led(self, partition: TopicPartitionInfo) -> bool:
        """Whether a partition has a leader that answers."""
        return partition.leader is not None and partition.leader.id not in self.unreachable

    def topic_configs(self, topics: list[str]) -> dict[str, Configs | KafkaError]:
        """The settings of topics, those of the broker included where a topic has none of its own."""
        if not topics:
            return {}
        resources = {ConfigResource(ConfigResource.Type.TOPIC, topic): topic for topic in topics}
        answers = self.ask(lambda **wait: self.admin.describe_configs(list(resources), **wait))
        return {resources[resource]: _configs(answer) for resource, answer in answers.items()}


def _outcome(future: Future[Any], seconds: float) -> Any:
    try:
        return future.result(seconds + 1.0)
    except KafkaException as error:
        return error.args[0]
    except FutureTimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)


def _configs(answer: Any) -> Configs | KafkaError:
    if isinstance(answer, KafkaError):
        return answer
    return {name: entry.value for name, entry in answer.items() if entry.value is not None}


def plural(count: int, noun: str) -> str:
    """``1 topic``, ``2 topics``, ``1,000 topics``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
