"""Read partitions as a member of a group, and commit what is settled.

The start offset of a partition is looked up inside the assignment callback, once, and given
explicitly; one that is not answered for then is looked up on elsewhere, and the others begin.

A group of the classic protocol is cooperative, as it comes, or eager: with the strategies range and
roundrobin all members give up everything at each rebalance, are then given all they own in one
list, and may not change that piece by piece.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.adapters.kafka.client import PartitionId, create_client
from consumer.adapters.kafka.ends import partitions_of
from consumer.adapters.kafka.group_commits import GroupCommits
from consumer.adapters.kafka.patterns import for_the_broker
from consumer.adapters.kafka.property_rules import COOPERATIVE
from consumer.adapters.kafka.reader import Reader, ReadFrom
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.errors import ConfigError, UserError
from consumer.loop.ports import Listener

log = logging.getLogger(__name__)

#: Time between two tries to join as a static member that is not released yet.
JOIN_AGAIN_SECONDS = 1.0
_MARK = b"CGMDv2:"
_STRATEGY = "partition.assignment.strategy"
_FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
_NOT_RELEASED = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()
#: How often it is looked at whether the group has rebalanced: the number of its topics' partitions
#: may have changed.
COUNT_SECONDS = 1.0
#: How long counting may hold up the loop, and how long it is left alone when no broker has
#: answered.
COUNT_WAIT_SECONDS = 3.0
COUNT_PAUSE_SECONDS = 10.0
#: How long a member may be without its group before it is said; a rebalance takes a while.
OUTSIDE_SECONDS = 30.0
#: Stands for the group's metadata when not all partitions could be counted: it equals none.
_NOT_ALL = object()


def _inside(callback: Callable[[Source, Any, Any], None]) -> Callable[[Source, Any, Any], None]:
    """Make a callback of the client out of which nothing is raised: the next poll does that.

    An exception that crosses the client comes out in the call that served the callback, which may
    be a close, and up to Python 3.11 as a SystemError that does not tell what it was.
    """

    def guarded(self: Source, who: Any, what: Any) -> None:
        if threading.current_thread() is self._leaving:
            return  # of a client that is being left: what it was given was given up before
        try:
            callback(self, who, what)
        except Exception as error:
            log.exception("%s", callback.__name__.strip("_"))
            self._fault(error)

    return guarded


class Source(Reader):
    """One member of the group."""

    def __init__(
        self,
        listener: Listener,
        reading: ReadFrom,
        *,
        group_protocol: str = "classic",
        instance_id: str = "",
    ) -> None:
        self._group_protocol = group_protocol
        self._instance_id = instance_id
        self._closing = False
        self._join_again_at = 0.0  # not before then
        self._leaving: threading.Thread | None = None  # closes the client that could not join
        self._not_joined: object = (
            None  # the group's metadata before it has answered; None: nothing to compare with
        )
        self._subscribed = False
        self._outside_since = math.inf  # since when this member is not in the group
        self._counted_in: object = None  # the group's metadata when the partitions were counted
        self._count_at = 0.0
        more: dict[str, Any] = {"group.protocol": group_protocol, "on_commit": self._on_commit}
        if group_protocol == "classic":
            more[_STRATEGY] = reading.properties.get(_STRATEGY, COOPERATIVE)
        eager = more.get(_STRATEGY, COOPERATIVE) != COOPERATIVE
        if instance_id:
            more["group.instance.id"] = instance_id
        super().__init__(listener, reading, eager=eager, **more)
        self._commits = GroupCommits(lambda: self._consumer, self._assignment.owned, listener)

    def subscribe(self) -> None:
        """Join the group; raise ConfigError for a pattern that the client cannot read."""
        self._subscribed = True
        self._outside_since = min(self._outside_since, time.monotonic())
        topics = (
            for_the_broker(self._topics) if self._group_protocol == "consumer" else self._topics
        )
        try:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise ConfigError([f"kafka.topics = {self._topics}: {error.args[0].str()}"]) from None
        if self._group_protocol == "consumer":
            self._not_joined = self._consumer.consumer_group_metadata()

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Return what has arrived, as every reader."""
        if self._leaving is not None:
            if time.monotonic() < self._join_again_at or self._leaving.is_alive():
                return []
            self._join_again()
        if (
            self._not_joined is not None
            and self._consumer.consumer_group_metadata() != self._not_joined
        ):
            # With this protocol, no callback tells of an empty assignment; but the member's epoch
            # changes.
            self._not_joined = None
            self._listener.on_joined()
        batches = super().poll(count)
        if time.monotonic() >= self._count_at:
            self._count_again()
        return batches

    # -- assignment ------------------------------------------------------------------------------

    @_inside
    def _on_assign(self, _: Consumer, assigned: list[TopicPartition]) -> None:
        # They are counted when the callback is over: after list_topics inside one, the next one
        # ends the process.
        self._counted_in, self._count_at = _NOT_ALL, 0.0
        self._outside_since, self._throttled.last = math.inf, ""
        self._brokers.answered()
        if not assigned:
            self._listener.on_assigned([])
            return
        self._assignment.in_callback = True
        try:
            if self._listener.stopping:
                self._assignment.read_too({})  # nothing is assigned: the process is about to end
            else:
                self._listener.on_assigned(
                    self._assign([(tp.topic, tp.partition) for tp in assigned])
                )
        except KafkaException as error:  # it must not cross librdkafka; ``poll`` raises
            self._fatal = UserError(
                f"Kafka: what the group assigned cannot be read: {error.args[0].str()}"
            )
        finally:
            self._assignment.in_callback = False

    def _begun(self, partitions: list[Partition]) -> None:
        super()._begun(partitions)
        self._counted_in, self._count_at = _NOT_ALL, 0.0  # its share of the requests has changed

    def _count_again(self) -> None:
        """Count the partitions anew if the group has rebalanced, though nothing changed here.

        Partitions that are added to a topic cause a rebalance.
        """
        self._count_at = time.monotonic() + COUNT_SECONDS
        if self._counted_in is None or self._consumer.consumer_group_metadata() == self._counted_in:
            return
        try:
            self._counted(partitions_of(self._consumer, self._topics, COUNT_WAIT_SECONDS)[0])
        except KafkaException as error:
            self._count_at = time.monotonic() + COUNT_PAUSE_SECONDS
            self._throttled.log_once(
                "count",
                f"Kafka: the partitions of kafka.topics cannot be counted ({error.args[0].str()}): "
                "this member's share of api.requests_per_second is not known, "
                "so it takes what it took before, or little; trying on",
            )
            self._listener.on_counted({})

    def _counted(self, keys: list[PartitionId]) -> None:
        self._listener.on_counted(Counter(topic for topic, _ in keys))
        if not self._thrown_out():
            self._refusals.lost -= set(keys)  # the group has them, whoever it is
        # A broker may not know yet of a partition that the group has assigned already: then it is
        # counted again.
        known = self._assignment.owned.keys() <= set(keys)
        self._counted_in = self._consumer.consumer_group_metadata() if known else _NOT_ALL

    @_inside
    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        # A client that is closing must not be asked: it may be past answering.
        self._give_up(revoked, lost=not self._closing and self._thrown_out())

    @_inside
    def _on_lost(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        self._give_up(revoked, lost=True)

    def _give_up(self, revoked: list[TopicPartition], *, lost: bool) -> None:
        keys = [(tp.topic, tp.partition) for tp in revoked]
        reads = [TopicPartition(*key) for key in keys if key in self._assignment.reads]
        self._gone(revoked, lost=lost)
        if not self._assignment.eager and len(reads) < len(keys):
            # The client would refuse to give up what it was never told to read.
            self._consumer.incremental_unassign(reads)

    def _log_lasting(self) -> None:
        super()._log_lasting()
        # A member whose topics it may not read any more goes on being one, and is given nothing.
        if (
            not self._subscribed
            or self._assignment.owned
            or not (self._thrown_out() or self._refusals.lost)
        ):
            self._outside_since = math.inf
            return
        now = time.monotonic()
        self._outside_since = min(self._outside_since, now)
        if now - self._outside_since >= OUTSIDE_SECONDS:
            self._throttled.log_once("outside", f"Kafka: {self._outside()}; trying on")

    def _outside(self) -> str:
        seconds = time.monotonic() - self._outside_since
        text = f"this member has had no part in the group {self._group} for {seconds:.0f} s"
        if self._throttled.last:
            return f"{text}; the client last told: {self._throttled.last}"
        return (
            f"{text}, and the brokers do not say why: the group may have no coordinator "
            "(can the topic __consumer_offsets be made and led? see the brokers' log), "
            "or no topic of kafka.topics is there for this user, or the group waits for a member; "
            "scm-consumer check tells more"
        )

    @property
    def lasting(self) -> list[tuple[float, str]]:
        """Return what keeps this process from reading, as of every reader."""
        outside = [(self._outside_since, self._outside())] if self._outside_since < math.inf else []
        return super().lasting + outside

    def _thrown_out(self) -> bool:
        """Return whether the client knows that it is no member any more.

        It calls that a revocation if one was under way.
        """
        # As librdkafka writes it: a mark, the generation, names. A client that is closed has none.
        metadata = self._consumer.consumer_group_metadata() or b""
        generation = int.from_bytes(metadata[len(_MARK) :][:4], sys.byteorder, signed=True)
        return self._consumer.memberid() is None or (metadata.startswith(_MARK) and generation < 0)

    def _ended(self, error: KafkaError) -> None:
        if _FENCED in error.str():
            why = f"another process uses kafka.instance_id = {self._instance_id}"
            self._fatal = UserError(
                f"Kafka: {error.str()}: {why}; give each process an id of its own"
            )
            return
        if _NOT_RELEASED not in error.str():
            super()._ended(error)
            return
        text = (
            f"Kafka: the static member kafka.instance_id = {self._instance_id} "
            "is still in the group"
        )
        why = (
            "another process uses this id, or one that was killed did, "
            "and its session has not ended yet"
        )
        self._throttled.log_once("instance", f"{text}: {why}; trying on")
        self._leave()

    def _leave(self) -> None:
        """Close the client, elsewhere: with no broker to answer, that takes as long as a session.

        It is to be another client's turn: the group refuses this static member for as long as it
        knows one before it.
        """
        if self._leaving is not None:
            return  # it was told twice
        self._commits.forget()
        self._counted_in = self._not_joined = None
        self._leaving = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        self._join_again_at = time.monotonic() + JOIN_AGAIN_SECONDS
        self._leaving.start()

    def _join_again(self) -> None:
        self._leaving = None
        self._consumer = create_client(Consumer, self._config)
        self.subscribe()

    def close(self, timeout: float) -> bool:
        """Leave the group, as every reader."""
        self._closing = True
        if self._leaving is None:
            return super().close(timeout)
        self._seeking.close()
        return self._wait_for(self._leaving, timeout)

    # -- committing ------------------------------------------------------------------------------

    @property
    def committing(self) -> bool:
        """Return whether a commit is in flight."""
        return self._commits.in_flight

    def commit(self, commits: list[Commit]) -> None:
        """Send a commit; ``on_committed`` tells how it ended."""
        self._commits.send(commits)

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        """Commit and wait until the group has it, as on revocation; return whether it has (I7)."""
        return self._commits.send_and_wait(commits)

    @_inside
    def _on_commit(self, error: KafkaError | None, answered: list[TopicPartition]) -> None:
        if error is None:
            self._brokers.answered()
        self._commits.on_answer(error, answered)
