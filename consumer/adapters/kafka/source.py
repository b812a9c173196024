"""Reading partitions as a member of a group, and committing what is settled.

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
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.adapters.kafka.client import PartitionId, create_client, told
from consumer.adapters.kafka.ends import partitions_of
from consumer.adapters.kafka.patterns import for_the_broker
from consumer.adapters.kafka.property_rules import COOPERATIVE
from consumer.adapters.kafka.reader import Reader, ReadFrom
from consumer.core.offsets.partition import Commit, Partition
from consumer.core.offsets.settled_map import content, numbered
from consumer.errors import ConfigError, UserError
from consumer.loop.ports import Listener

log = logging.getLogger(__name__)

#: How long a commit that is waited for (revocation, stop) may take; librdkafka itself knows no
#: bound.
COMMIT_WAIT_SECONDS = 5.0
#: A commit without an answer for so long holds back no other.
COMMIT_LOST_SECONDS = 10.0
#: When a connection is back, what the client sends once more it sends within this time
#: (``retry.backoff.max.ms``).
SENT_AGAIN_SECONDS = 1.0
#: Time between two looks for a commit, and between two tries to join as a static member that is not
#: released yet.
LOOK_AGAIN_SECONDS = 0.02
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
    """A callback of the client, out of which nothing is raised: the next poll does that instead.

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
        self._committing_since = 0.0
        self._assigning = False  # inside the callback of an assignment
        self._numbered = 0  # commits that would have been the same as one that is not answered
        self._committing: deque[dict[PartitionId, Commit]] = deque()  # in the order they were sent
        more: dict[str, Any] = {"group.protocol": group_protocol, "on_commit": self._on_commit}
        if group_protocol == "classic":
            more[_STRATEGY] = reading.properties.get(_STRATEGY, COOPERATIVE)
        self._eager = more.get(_STRATEGY, COOPERATIVE) != COOPERATIVE
        if instance_id:
            more["group.instance.id"] = instance_id
        super().__init__(listener, reading, **more)

    def subscribe(self) -> None:
        """Join the group; raises ConfigError for a pattern that the client cannot read."""
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
        """What has arrived, as every reader."""
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
        self._outside_since, self._teller.last = math.inf, ""
        if not assigned:
            self._listener.on_assigned([])
            return
        self._assigning = True
        try:
            if self._listener.stopping:
                self._read_too([])  # nothing is assigned: the process is about to end
            else:
                self._listener.on_assigned(
                    self._assign([(tp.topic, tp.partition) for tp in assigned])
                )
        except KafkaException as error:  # it must not cross librdkafka; ``poll`` raises
            self._fatal = UserError(
                f"Kafka: what the group assigned cannot be read: {error.args[0].str()}"
            )
        finally:
            self._assigning = False

    def _begun(self, partitions: list[Partition]) -> None:
        super()._begun(partitions)
        self._counted_in, self._count_at = _NOT_ALL, 0.0  # its share of the requests has changed

    def _count_again(self) -> None:
        """Count the partitions anew if the group has rebalanced without telling this member, as
        nothing changed for it.

        Partitions that are added to a topic cause a rebalance.
        """
        self._count_at = time.monotonic() + COUNT_SECONDS
        if self._counted_in is None or self._consumer.consumer_group_metadata() == self._counted_in:
            return
        try:
            self._counted(partitions_of(self._consumer, self._topics, COUNT_WAIT_SECONDS)[0])
        except KafkaException as error:
            self._count_at = time.monotonic() + COUNT_PAUSE_SECONDS
            self._teller.tell(
                "count",
                f"Kafka: the partitions of kafka.topics cannot be counted ({error.args[0].str()}): this member's share "
                "of api.requests_per_second is not known, so it takes what it took before, or little; trying on",
            )
            self._listener.on_counted({})

    def _counted(self, keys: list[PartitionId]) -> None:
        self._listener.on_counted(Counter(topic for topic, _ in keys))
        if not self._thrown_out():
            self._lost -= set(keys)  # the group has them, whoever it is
        # A broker may not know yet of a partition that the group has assigned already: then it is
        # counted again.
        known = self._owned.keys() <= set(keys)
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
        reads = [TopicPartition(*key) for key in keys if key in self._reads]
        self._gone(revoked, lost=lost)
        if not self._eager and len(reads) < len(keys):
            # The client would refuse to give up what it was never told to read.
            self._consumer.incremental_unassign(reads)

    def _tell_lasting(self) -> None:
        super()._tell_lasting()
        # A member whose topics it may not read any more goes on being one, and is given nothing.
        if not self._subscribed or self._owned or not (self._thrown_out() or self._lost):
            self._outside_since = math.inf
            return
        now = time.monotonic()
        self._outside_since = min(self._outside_since, now)
        if now - self._outside_since >= OUTSIDE_SECONDS:
            self._teller.tell("outside", f"Kafka: {self._outside()}; trying on")

    def _outside(self) -> str:
        seconds = time.monotonic() - self._outside_since
        text = f"this member has had no part in the group {self._group} for {seconds:.0f} s"
        if self._teller.last:
            return f"{text}; the client last told: {self._teller.last}"
        return (
            f"{text}, and the brokers do not say why: the group may have no coordinator (can the topic "
            "__consumer_offsets be made and led? see the brokers' log), or no topic of kafka.topics is there for this "
            "user, or the group waits for a member; scm-consumer check tells more"
        )

    @property
    def lasting(self) -> list[tuple[float, str]]:
        """Return what keeps this process from reading, as of every reader."""
        outside = [(self._outside_since, self._outside())] if self._outside_since < math.inf else []
        return super().lasting + outside

    def _thrown_out(self) -> bool:
        """Whether the client knows that it is no member any more.

        It calls that a revocation if one was under way.
        """
        # As librdkafka writes it: a mark, the generation, names. A client that is closed has none.
        metadata = self._consumer.consumer_group_metadata() or b""
        generation = int.from_bytes(metadata[len(_MARK) :][:4], sys.byteorder, signed=True)
        return self._consumer.memberid() is None or (metadata.startswith(_MARK) and generation < 0)

    def _read_too(self, starts: list[TopicPartition]) -> None:
        if not self._eager:
            super()._read_too(starts)
        elif self._assigning:
            self._consumer.assign(starts)
        else:
            self._read_all_anew({(tp.topic, tp.partition): tp.offset for tp in starts})

    def _read_anew(self, key: PartitionId, start: int) -> None:
        if not self._eager:
            super()._read_anew(key, start)
            return
        self._read_all_anew({key: start})

    def _read_all_anew(self, changed: dict[PartitionId, int]) -> None:
        # The others go on where the client stands: what it has handed out is not all taken in yet.
        others = [TopicPartition(*key) for key in self._reads if key not in changed]
        places = {
            (tp.topic, tp.partition): tp.offset for tp in self._consumer.position(others)
        } | changed
        for key in self._reads:
            if places[key] < 0:  # nothing was handed out yet
                places[key] = self._owned[key].position
        self._consumer.assign([TopicPartition(*key, offset) for key, offset in places.items()])
        self._apply_pause(self._reads)

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
        text = f"Kafka: the static member kafka.instance_id = {self._instance_id} is still in the group"
        why = "another process uses this id, or one that was killed did, and its session has not ended yet"
        self._teller.tell("instance", f"{text}: {why}; trying on")
        self._leave()

    def _leave(self) -> None:
        """Close the client, elsewhere: with no broker to answer that takes as long as a session.

        It is to be another client's turn: the group refuses this static member for as long as it
        knows one before it.
        """
        if self._leaving is not None:
            return  # it was told twice
        self._committing.clear()
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
    #
    # All calls of the client are made by the owner's thread: the library holds calls of other
    # threads back while the owner is in a callback, and would then commit what is no longer owned.

    @property
    def committing(self) -> bool:
        """Whether a commit is in flight; there is one at a time, but for those of a revocation.

        One that is not answered for long does not count any more: the client may have forgotten it
        with its group.
        """
        return (
            bool(self._committing)
            and time.monotonic() - self._committing_since < COMMIT_LOST_SECONDS
        )

    def commit(self, commits: list[Commit]) -> None:
        """Send a commit; ``on_committed`` tells how it ended."""
        self._send(commits)

    def _send(self, commits: list[Commit]) -> dict[PartitionId, Commit]:
        """Send a commit; what it says."""
        self._committing_since = time.monotonic()
        sent = _by_partition(commits)
        if any(_content(sent) == _content(other) for other in self._committing):
            # The earlier one may never be answered: the answer to this one must not be taken for
            # its.
            self._numbered += 1
            commits = [_another(commit, self._numbered) for commit in commits]
            sent = _by_partition(commits)
        self._committing.append(sent)
        offsets = [
            TopicPartition(c.partition.topic, c.partition.number, c.offset, c.metadata)
            for c in commits
        ]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._committing.pop()
            self._listener.on_committed(commits, told(error.args[0]))
        return sent

    @_inside
    def _on_commit(self, error: KafkaError | None, answered: list[TopicPartition]) -> None:
        # The client gives back what was sent, metadata included; no two that are not answered are
        # the same.
        answer = {(tp.topic, tp.partition): _said(tp) for tp in answered}
        sent_before = [_content(sent) for sent in self._committing]
        taken = [tp for tp in answered if error is None and tp.error is None]
        if answer not in sent_before:
            self._group_has(taken, {})
            return
        for _ in range(sent_before.index(answer)):
            self._committing.popleft()  # this one has overtaken it
        sent = self._committing.popleft()
        self._group_has(taken, sent)
        failed: dict[KafkaError | None, list[Commit]] = {}
        for tp in answered:
            failed.setdefault(error or tp.error, []).append(sent[(tp.topic, tp.partition)])
        for why, commits in failed.items():
            too_large = why is not None and why.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
            self._listener.on_committed(
                commits, None if why is None else told(why), too_large=too_large
            )

    def _group_has(self, taken: list[TopicPartition], sent: dict[PartitionId, Commit]) -> None:
        """What the group has is what it took last, also where the owned partition did not say it.

        It takes a commit after a later one: the client sends one that was on its way when a
        connection broke once more, a while after the connection is back. And it takes one of an
        epoch before this one's, when the partition went and came back meanwhile.
        """
        for tp in taken:
            key = (tp.topic, tp.partition)
            partition = self._owned.get(key)
            if partition is not None and (key not in sent or sent[key].partition is not partition):
                partition.committed, partition.metadata = _said(tp)

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        """Commit and wait until the group has it, at most five seconds, as on revocation.

        Whether it has.
        """
        if not commits:
            return True
        now = time.monotonic()
        # Each that is on its way for so long may be sent once more, and put the group back: then
        # this one is, too.
        again = len(self._committing) if now - self._committing_since > SENT_AGAIN_SECONDS else 0
        sure_at = now + SENT_AGAIN_SECONDS if again else now
        wanted = self._send(commits)
        until = now + COMMIT_WAIT_SECONDS
        while time.monotonic() < until and not self._listener.leaves_at_once:
            # In steps, so that a second signal is seen between them. The answer comes after the
            # commit's own, on the same connection; the commit's callback is not served while this
            # one runs.
            try:
                found = self._consumer.committed(
                    [TopicPartition(*key) for key in wanted], timeout=0.5
                )
            except KafkaException:
                found = []
            if found and all(tp.error is None for tp in found):
                if all(_has(tp, wanted[(tp.topic, tp.partition)]) for tp in found):
                    if time.monotonic() >= sure_at:
                        return True
                elif again:
                    again -= 1
                    wanted = self._send(commits)
                else:
                    return False  # it was refused: this member was thrown out
            time.sleep(LOOK_AGAIN_SECONDS)
        return False


def _by_partition(commits: list[Commit]) -> dict[PartitionId, Commit]:
    return {(commit.partition.topic, commit.partition.number): commit for commit in commits}


def _content(sent: dict[PartitionId, Commit]) -> dict[PartitionId, tuple[int, str]]:
    """What a commit says, by which its answer is known."""
    return {key: (commit.offset, commit.metadata) for key, commit in sent.items()}


def _another(commit: Commit, number: int) -> Commit:
    """The same commit in other words."""
    metadata = numbered(commit.metadata, commit.partition.number, commit.offset, number)
    return msgspec.structs.replace(commit, metadata=metadata)


def _has(committed: TopicPartition, wanted: Commit) -> bool:
    """Whether the group has this commit, whatever its number."""
    offset, metadata = _said(committed)
    return offset == wanted.offset and content(metadata) == content(wanted.metadata)


def _said(tp: TopicPartition) -> tuple[int, str]:
    """Offset and metadata of a commit; librdkafka gives the end of the text along."""
    return tp.offset, (tp.metadata or "").rstrip("\0")
