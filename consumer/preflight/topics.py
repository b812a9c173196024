"""Check that the topics are there and each partition can be used; make missing ones on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka.admin import TopicDescription
from confluent_kafka.cimpl import NewTopic

from consumer.adapters.kafka.patterns import is_pattern, matching
from consumer.preflight.cluster import Cluster, plural
from consumer.preflight.result import Check, failed, ok

EVENTS, DEAD_LETTERS, RECEIPTS = "topics", "dead letters", "receipts"

#: Partitions of an events topic that is made here: as many members can share the work. To add some
#: later would break the order of codes.
NEW_PARTITIONS = 6
#: Copies of a new topic, if there are as many brokers; min.insync.replicas stays the broker's.
NEW_REPLICAS = 3
#: How long events are kept in a topic that is made here, in ms: a week.
NEW_RETENTION_MS = 7 * 24 * 3600 * 1000
#: Room for the headers that a dead letter has and its record had not, in bytes, generously.
DEAD_LETTER_ROOM = 65_536
#: Configuration of a topic whose records are kept until a person deletes them.
KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
#: How long a new topic may take until each partition has a leader.
LEADERS_SECONDS = 5.0


class TopicChecks:
    """The checks of the topics in the settings.

    ``events``, ``dead_letters`` and ``receipts`` are the topics that ``check_*`` found.
    """

    def __init__(
        self,
        cluster: Cluster,
        wanted: Sequence[str],
        dead_letters: str,
        receipts: str,
        *,
        create: bool,
    ) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._dead_letters_name = dead_letters
        self._receipts_name = receipts
        self._create = create
        self.events: dict[str, TopicDescription] = {}
        self.dead_letters: TopicDescription | None = None
        self.receipts: TopicDescription | None = None

    def check_events(self) -> list[Check]:
        """Return a check for each name or pattern of ``kafka.topics``."""
        checks = []
        for wanted in self._wanted:
            if not is_pattern(wanted):
                checks.append(self._event_topic(wanted))
            elif names := matching(wanted, self._cluster.topic_names):
                checks.append(self._matched(wanted, names))
            else:
                there = f"{wanted}: no topic matches; {self._there()}"
                checks.append(
                    failed(EVENTS, there, "correct kafka.topics, or create a topic that matches")
                )
        return checks

    def check_dead_letters(self) -> Check:
        """Check the dead-letter topic."""
        name, setting = self._dead_letters_name, "dead_letter.topic"
        check, self.dead_letters = self._written(
            DEAD_LETTERS, name, setting, "rejected rows", self._dead_letter_config
        )
        return check

    def check_receipts(self) -> list[Check]:
        """Check the receipts topic, if receipts are to be written."""
        if not self._receipts_name:
            return []
        name, setting = self._receipts_name, "receipts.topic"
        check, self.receipts = self._written(RECEIPTS, name, setting, "receipts", KEPT.copy)
        return [check]

    def _written(
        self, check: str, name: str, setting: str, what: str, config: Callable[[], dict[str, str]]
    ) -> tuple[Check, TopicDescription | None]:
        """Check a topic that the consumer writes, made on demand with this configuration."""
        found = self._describe([name])[name]
        made = ""
        if _missing(found) and self._create:
            problem = self._make(name, self._dead_letter_partitions(), config())
            if problem is not None:
                return self._not_made(check, name, problem), None
            kept = "dead letters" if check == DEAD_LETTERS else what
            made = f", made now; {kept} are kept until you delete them"
            found = self._describe([name])[name]
        if isinstance(found, TopicDescription):
            return self._usable(check, name, found, made), found
        if _missing(found):
            text = f"{name}: not there, so {what} have nowhere to go"
            return failed(
                check, text, f"create it: scm-consumer check --create; or correct {setting}"
            ), None
        return self._denied(check, name, found, "Write"), None

    def _event_topic(self, name: str) -> Check:
        found = self._describe([name])[name]
        made = ""
        if _missing(found) and self._create:
            config = {"cleanup.policy": "delete", "retention.ms": str(NEW_RETENTION_MS)}
            problem = self._make(name, NEW_PARTITIONS, config)
            if problem is not None:
                return self._not_made(EVENTS, name, problem)
            made = ", made now; events are kept for 7 days"
            found = self._describe([name])[name]
        if isinstance(found, TopicDescription):
            self.events[name] = found
            return self._usable(EVENTS, name, found, made)
        if _missing(found):
            text = f"{name}: not there; {self._there()}"
            return failed(
                EVENTS, text, "create it: scm-consumer check --create; or correct kafka.topics"
            )
        return self._denied(EVENTS, name, found, "Read")

    def _matched(self, pattern: str, names: list[str]) -> Check:
        described = self._describe(names)
        for name, found in described.items():
            if isinstance(found, TopicDescription):
                self.events[name] = found
                check = self._usable(EVENTS, name, found, "")
            else:
                check = self._denied(EVENTS, name, found, "Read")
            if check.advice:
                return check
        return ok(EVENTS, f"{pattern}: matches {plural(len(names), 'topic')} ({_some(names)})")

    def _usable(self, check: str, name: str, found: TopicDescription, made: str) -> Check:
        leaderless = [partition.id for partition in found.partitions if partition.leader is None]
        if leaderless:
            count = plural(len(leaderless), "partition")
            text = f"{name}: {count} without a leader ({_some(leaderless)})"
            return failed(check, text, "bring the broker back that holds them")
        unreachable = [
            partition.id for partition in found.partitions if not self._cluster.is_led(partition)
        ]
        if unreachable:
            count = plural(len(unreachable), "partition")
            text = f"{name}: {count} led by a broker that cannot be reached ({_some(unreachable)})"
            return failed(
                check,
                text,
                "wait until Kafka has chosen another leader, or do what the broker's line says",
            )
        copies = min(len(partition.replicas) for partition in found.partitions)
        return ok(
            check, f"{name}: {plural(len(found.partitions), 'partition')}, {_copies(copies)}{made}"
        )

    def _denied(self, check: str, name: str, error: KafkaError, operation: str) -> Check:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            text = f"{name}: this user may not see it, or it is not there"
            return failed(check, text, allow(self._cluster, operation, f"--topic {name}"))
        return failed(check, f"{name}: {error.str()}", "look at the broker's log")

    def _not_made(self, check: str, name: str, error: KafkaError) -> Check:
        if error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ):
            advice = f"have Kafka's administrator create {name}"
        else:
            advice = "create it by hand as your cluster demands"
        return failed(check, f"{name}: not there, and cannot be made ({error.str()})", advice)

    def _there(self) -> str:
        names = [name for name in self._cluster.topic_names if not name.startswith("__")]
        return f"this user sees {_some(names)}" if names else "this user sees no topic at all"

    def _describe(self, names: list[str]) -> dict[str, TopicDescription | KafkaError]:
        def start(**wait: float) -> dict[str, Future[Any]]:
            return self._cluster.admin.describe_topics(
                TopicCollection(names), include_authorized_operations=True, **wait
            )

        return self._cluster.call(start)

    def _make(self, name: str, partitions: int, config: dict[str, str]) -> KafkaError | None:
        """Create a topic and wait until each partition has a leader. Return the error, if any."""
        copies = min(NEW_REPLICAS, len(self._cluster.brokers))
        new = NewTopic(name, partitions, copies, config=config)
        (result,) = self._cluster.call(
            lambda **wait: self._cluster.admin.create_topics([new], **wait)
        ).values()
        if isinstance(result, KafkaError) and result.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            return result
        until = time.monotonic() + LEADERS_SECONDS
        while time.monotonic() < until:
            found = self._describe([name])[name]
            if isinstance(found, TopicDescription) and all(
                p.leader is not None for p in found.partitions
            ):
                break
            time.sleep(0.05)  # before the next look-up
        return None

    def _dead_letter_partitions(self) -> int:
        return max(
            (len(found.partitions) for found in self.events.values()), default=NEW_PARTITIONS
        )

    def _dead_letter_config(self) -> dict[str, str]:
        """Return the topic's settings.

        Nothing is deleted by time or size: a dead letter is the only trace of a rejected row.
        """
        config = KEPT.copy()
        limits = [
            int(settings["max.message.bytes"])
            for settings in self._cluster.topic_configs(list(self.events)).values()
            if not isinstance(settings, KafkaError) and "max.message.bytes" in settings
        ]
        if limits:
            config["max.message.bytes"] = str(max(limits) + DEAD_LETTER_ROOM)
        return config


def allow(cluster: Cluster, operation: str, resource: str) -> str:
    """Return the command that gives a right, for whoever administers the cluster."""
    return (
        f"have Kafka's administrator run: kafka-acls --bootstrap-server {cluster.servers} --add "
        f"--allow-principal User:{cluster.user} --operation {operation} {resource}"
    )


def _missing(found: object) -> bool:
    return isinstance(found, KafkaError) and found.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def _copies(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def _some(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
