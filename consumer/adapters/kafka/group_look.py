"""Look at a whole group from outside: its partitions' logs, its commits, who is in it.

One look costs a request a broker for each question, however many partitions there are. It joins no
group, creates no topic, and reads no record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import msgspec
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from consumer.adapters.kafka.client import PartitionId, create_client, message_of
from consumer.adapters.kafka.offsets import LookUpError, committed_of
from consumer.adapters.kafka.patterns import is_pattern, matching
from consumer.core.offsets.settled_map import MapError, decode

#: A look is given up after so long.
LOOK_SECONDS = 5.0
#: Settings of topics, and which topics a pattern matches, are asked for this often.
RETENTION_EVERY_SECONDS = 300.0
MATCH_EVERY_SECONDS = 60.0
#: The retention of a topic that deletes nothing, and of one whose settings are not told.
FOR_EVER, NOT_TOLD = math.inf, math.nan

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the library's own lack
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_REBALANCING = (
    ConsumerGroupState.PREPARING_REBALANCING,
    ConsumerGroupState.COMPLETING_REBALANCING,
)
_GONE = (KafkaError.GROUP_ID_NOT_FOUND,)


class LogExtent(msgspec.Struct, frozen=True, gc=False):
    """Where a log begins and ends, for a reader of committed records."""

    begin: int
    end: int


class GroupCommit(msgspec.Struct, frozen=True, gc=False):
    """The offset that a group has committed, and how many records beyond it are settled."""

    offset: int
    settled_beyond: int = 0


class GroupMember(msgspec.Struct, frozen=True):
    """A member as the brokers know it."""

    client_id: str
    host: str
    instance_id: str
    partitions: list[PartitionId]


class GroupLook(msgspec.Struct, frozen=True):
    """A group at one moment; what was not told is not there."""

    at: float  #: of the looker's clock
    partitions: list[PartitionId]  #: all of the group's topics
    logs: dict[PartitionId, LogExtent]
    commits: dict[PartitionId, GroupCommit]
    state: str  #: as Kafka calls it; "unknown": not told
    rebalancing: bool
    members: list[GroupMember]
    retention: dict[str, float]  #: seconds by topic; +Inf: for ever; NaN: not told


class GroupLooker:
    """Looks at one group with a client of its own, which is made with the first look.

    ``consumer``: returns another one of that group, which never joins. It is asked for the commits:
    to ask an admin client ends the process (librdkafka 2.16) while the group's coordinator
    is only being elected (confluentinc/librdkafka issue 5040).
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        group_id: str,
        topics: Sequence[str],
        consumer: Callable[[], Consumer],
    ) -> None:
        self._config = dict(config)
        self._group = group_id
        self._topics = topics
        self._consumer = consumer
        self._admin: AdminClient | None = None
        self._matched: dict[str, int] = {}  # topics of patterns, with their partitions
        self._match_at = -math.inf
        self._retention: dict[str, float] = {}
        self._retention_at = -math.inf

    def look(self, also: Collection[PartitionId] = ()) -> GroupLook:
        """Look; raise LookUpError when Kafka does not answer.

        ``also``: partitions to look at though no topic of the settings has them now.
        """
        admin = self._client()
        admin.poll(0)  # the client's own callbacks: they would pile up
        at = time.monotonic()
        until = at + LOOK_SECONDS
        found = self._partitions(admin, until)
        partitions = sorted(found | set(also))
        asked = [TopicPartition(*key) for key in partitions]
        left = max(0.1, until - time.monotonic())
        committed_only = {
            "isolation_level": IsolationLevel.READ_COMMITTED,
            "request_timeout": left,
        }
        begins = admin.list_offsets(dict.fromkeys(asked, _EARLIEST), **committed_only)
        ends = admin.list_offsets(dict.fromkeys(asked, _LATEST), **committed_only)
        group = admin.describe_consumer_groups([self._group], request_timeout=left)[self._group]
        retention = self._ask_retention(admin, {topic for topic, _ in partitions}, at, left)
        logs = _extents(_results(begins, until), _results(ends, until))
        if asked and not logs:
            raise LookUpError(_why([*ends.values()], until))
        state, rebalancing, members = _group(group, until)
        problems: dict[PartitionId, str] = {}
        left = max(0.1, until - time.monotonic())
        commits = committed_of(self._consumer(), partitions, left, problems)
        self._take_retention(retention, until)
        return GroupLook(
            at,
            partitions,
            logs,
            {key: _commit(key, *commit) for key, commit in commits.items()},
            state,
            rebalancing,
            members,
            dict(self._retention),
        )

    # -- topics ----------------------------------------------------------------------------------

    def _partitions(self, admin: AdminClient, until: float) -> set[PartitionId]:
        patterns = [topic for topic in self._topics if is_pattern(topic)]
        names = sorted(set(self._topics) - set(patterns))
        now = time.monotonic()
        if patterns and now - self._match_at >= MATCH_EVERY_SECONDS:
            try:
                every = admin.list_topics(timeout=max(0.1, until - now)).topics
            except KafkaException as error:
                raise LookUpError(message_of(error.args[0])) from None
            matched = {name for pattern in patterns for name in matching(pattern, every)}
            self._matched = {name: len(every[name].partitions) for name in matched}
            self._match_at = now
        keys = {(name, number) for name, count in self._matched.items() for number in range(count)}
        if not names:
            return keys
        # Not by a request for metadata: that may create a topic which is not there.
        futures = admin.describe_topics(
            TopicCollection(names), request_timeout=max(0.1, until - now)
        )
        described = _results(futures, until)
        if not described:
            raise LookUpError(_why([*futures.values()], until))
        for name, topic in described.items():
            keys |= {(name, partition.id) for partition in topic.partitions}
        return keys

    # -- retention -------------------------------------------------------------------------------

    def _ask_retention(
        self, admin: AdminClient, topics: set[str], now: float, seconds: float
    ) -> dict[ConfigResource, Future[Any]]:
        due = now - self._retention_at >= RETENTION_EVERY_SECONDS
        if not topics or (not due and topics <= self._retention.keys()):
            return {}
        self._retention_at = now
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in sorted(topics)]
        asked: dict[ConfigResource, Future[Any]] = admin.describe_configs(
            resources, request_timeout=seconds
        )
        return asked

    def _take_retention(self, asked: dict[ConfigResource, Future[Any]], until: float) -> None:
        if asked:
            told = _results(asked, until)
            self._retention = {
                resource.name: _retention(told[resource]) if resource in told else NOT_TOLD
                for resource in asked
            }

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = create_client(AdminClient, self._config)
        return self._admin


def _retention(config: Mapping[str, Any]) -> float:
    def value(name: str) -> str:
        entry = config.get(name)
        return "" if entry is None or entry.value is None else str(entry.value)

    if "delete" not in (value("cleanup.policy") or "delete"):
        return FOR_EVER
    try:
        kept = int(value("retention.ms"))
    except ValueError:
        return NOT_TOLD
    return FOR_EVER if kept < 0 else kept / 1000


def _extents(
    begins: Mapping[TopicPartition, Any], ends: Mapping[TopicPartition, Any]
) -> dict[PartitionId, LogExtent]:
    lows = {(tp.topic, tp.partition): result.offset for tp, result in begins.items()}
    highs = {(tp.topic, tp.partition): result.offset for tp, result in ends.items()}
    return {
        key: LogExtent(min(lows[key], highs[key]), highs[key])
        for key in lows.keys() & highs.keys()
        if lows[key] >= 0 and highs[key] >= 0
    }


def _commit(key: PartitionId, offset: int, metadata: str) -> GroupCommit:
    try:
        beyond = decode(metadata, key[1], offset).count if metadata else 0
    except MapError:
        beyond = 0  # as for the consumer: what cannot be trusted is no map
    return GroupCommit(offset, beyond)


def _group(future: Future[Any], until: float) -> tuple[str, bool, list[GroupMember]]:
    try:
        found = _result(future, until)
    except KafkaException as error:
        gone = error.args[0].code() in _GONE
        return ("dead" if gone else "unknown"), False, []
    members = [
        GroupMember(
            member.client_id,
            member.host.lstrip("/"),
            member.group_instance_id or "",
            sorted((tp.topic, tp.partition) for tp in _assigned(member)),
        )
        for member in found.members
    ]
    return found.state.name.lower(), found.state in _REBALANCING, members


def _assigned(member: Any) -> Iterable[TopicPartition]:
    assignment = member.assignment
    return [] if assignment is None else assignment.topic_partitions


def _results(futures: Mapping[Any, Future[Any]], until: float) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, future in futures.items():
        try:
            found[key] = _result(future, until)
        except KafkaException:
            continue
    return found


def _result(future: Future[Any], until: float) -> Any:
    try:
        return future.result(max(0.0, until + 1.0 - time.monotonic()))
    except FutureTimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None


def _why(futures: Sequence[Future[Any]], until: float) -> str:
    for future in futures:
        try:
            _result(future, until)
        except KafkaException as error:
            return message_of(error.args[0])
    return "it tells nothing"
