"""Call Kafka for the checks: one admin client, every call bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
    TopicPartitionInfo,
)
from confluent_kafka.admin import AdminClient, ConfigResource

from consumer.adapters.kafka.client import client_config, create_client
from consumer.preflight.causes import Causes, explained
from consumer.preflight.result import Check, failed, ok, warning

#: How long each try to connect waits. Between them the client's callbacks, which have the cause,
#: are served.
CONNECT_SECONDS = (1.0, 2.0, 4.0)
#: How long the response to any other call may take.
ANSWER_SECONDS = 4.0
#: Requests for the controller while the brokers name one that is down.
CONTROLLER_TRIES = 10
#: Errors after which the call is repeated: the group's coordinator has only just been elected.
_RETRIABLE = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
#: Errors that show that the broker was reached.
_REACHED = (
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.INVALID_REQUEST,
)

_START_IT = (
    "start that broker if it is down, "
    "else make its advertised.listeners an address that this machine reaches"
)

Key = TypeVar("Key")
Configs = Mapping[str, str]


class Cluster:
    """The brokers; call ``connect`` first. Raises ConfigError for properties the client refuses."""

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
        """Return the user that rights are to be given to; dots if it is not known here."""
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
                    return failed(
                        "broker",
                        f"{self.servers} answers, but its cluster has no controller that could "
                        "tell of topics",
                        "look at the cluster's log, check again in a minute; a demo's embedded "
                        "Kafka never has one",
                    )
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
            # One call each: it goes to the broker that it is about.
            return {
                one: future
                for one in numbers
                for future in self.admin.describe_configs([one], **wait).values()
            }

        results = self.call(start)
        self.broker_configs = {
            numbers[resource]: _configs(result) for resource, result in results.items()
        }
        self.admin.poll(0)
        unreached = [
            number
            for number, result in self.broker_configs.items()
            if isinstance(result, KafkaError) and result.code() not in _REACHED
        ]
        if unreached:
            if len(unreached) == len(results):
                return self._hidden(self.brokers[unreached[0]])
            return self._some_down(unreached)
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

    def _some_down(self, numbers: list[int]) -> Check:
        """Warn only: a broker that is down is an ordinary day, and matters if a topic needs it."""
        self.unreachable = set(numbers)
        address = self.brokers[numbers[0]]
        text, _ = explained(self._causes, self.properties, address, address)
        of_all = f"{len(numbers)} of {plural(len(self.brokers), 'broker')}"
        return warning("broker", f"{self.servers}: {of_all} cannot be reached: {text}", _START_IT)

    def _hidden(self, address: str) -> Check:
        text, _ = explained(self._causes, self.properties, address, address)
        return failed(
            "broker",
            f"{self.servers} answers, but gives out the address {address}, and {text}",
            _START_IT,
        )

    def call(self, start: Callable[..., Mapping[Key, Future[Any]]]) -> dict[Key, Any]:
        """Call ``start(request_timeout=...)``. Return the result, or a KafkaError, of each key."""
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            self._find_controller()
            left = max(0.1, until - time.monotonic())
            results = {
                key: _outcome(future, left) for key, future in start(request_timeout=left).items()
            }
            retriable = any(
                isinstance(result, KafkaError) and result.code() in _RETRIABLE
                for result in results.values()
            )
            if not retriable or time.monotonic() >= until:
                return results
            time.sleep(0.1)  # before the next try

    def committed(
        self, group_id: str, keys: list[TopicPartition]
    ) -> list[TopicPartition] | KafkaError:
        """Return what a group has committed, by a client that never joins it.

        The admin client's call for it ends the process while the group's coordinator is only being
        elected (librdkafka's issue 5040).
        """
        config = client_config(
            self.servers,
            self.properties,
            self._causes.error,
            logger=self._causes.logger,
            **{"group.id": group_id, "enable.auto.commit": False},
        )
        client = create_client(Consumer, config)
        try:
            found = client.committed(keys, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            failure: KafkaError = error.args[0]
            return failure
        finally:
            client.close()
        return next((tp.error for tp in found if tp.error is not None), found)

    def _find_controller(self) -> None:
        """Make the client know a controller that is up.

        Some calls go to the controller, and each response may name another broker as it.
        """
        for _ in range(CONTROLLER_TRIES if self.unreachable else 0):
            with suppress(KafkaException):
                if (
                    self.admin.list_topics(timeout=CONNECT_SECONDS[0]).controller_id
                    not in self.unreachable
                ):
                    return

    def is_led(self, partition: TopicPartitionInfo) -> bool:
        """Return whether a partition has a leader that can be reached."""
        return partition.leader is not None and partition.leader.id not in self.unreachable

    def topic_configs(self, topics: list[str]) -> dict[str, Configs | KafkaError]:
        """Return the settings of topics, with the broker's where a topic has none of its own."""
        if not topics:
            return {}
        resources = {ConfigResource(ConfigResource.Type.TOPIC, topic): topic for topic in topics}
        results = self.call(lambda **wait: self.admin.describe_configs(list(resources), **wait))
        return {resources[resource]: _configs(result) for resource, result in results.items()}


def _outcome(future: Future[Any], seconds: float) -> Any:
    try:
        return future.result(seconds + 1.0)
    except KafkaException as error:
        return error.args[0]
    except FutureTimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)


def _configs(result: Any) -> Configs | KafkaError:
    if isinstance(result, KafkaError):
        return result
    return {name: entry.value for name, entry in result.items() if entry.value is not None}


def plural(count: int, noun: str) -> str:
    """Return ``1 topic``, ``2 topics``, ``1,000 topics``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
