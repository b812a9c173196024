"""Commits of a group's member: sent one at a time, and matched with their answers by content.

All calls of the client are made by the owner's thread: the library holds calls of other threads
back while the owner is in a callback, and would then commit what is no longer owned.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.adapters.kafka.client import PartitionId, message_of
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import content, numbered
from consumer.loop.ports import Listener

#: How long a commit that is waited for (revocation, stop) may take; librdkafka itself knows no
#: bound.
COMMIT_WAIT_SECONDS = 5.0
#: A commit without an answer for so long holds back no other.
COMMIT_LOST_SECONDS = 10.0
#: When a connection is back, what the client sends once more it sends within this time
#: (``retry.backoff.max.ms``).
SENT_AGAIN_SECONDS = 1.0
#: Time between two looks for a commit.
LOOK_AGAIN_SECONDS = 0.02


class GroupCommits:
    """The commits that were sent and are not answered yet.

    ``client`` gives the client as it is now; ``owned``: the partitions as they are now.
    """

    def __init__(
        self,
        client: Callable[[], Consumer],
        owned: Mapping[PartitionId, Partition],
        listener: Listener,
    ) -> None:
        self._client = client
        self._owned = owned
        self._listener = listener
        self._sent: deque[dict[PartitionId, Commit]] = deque()  # in the order they were sent
        self._sent_at = 0.0  # when the last was
        self._numbered = 0  # commits that would have been the same as one that is not answered

    @property
    def in_flight(self) -> bool:
        """Return whether one is; there is one at a time, but for those of a revocation.

        One that is not answered for long does not count any more: the client may have forgotten it
        with its group.
        """
        return bool(self._sent) and time.monotonic() - self._sent_at < COMMIT_LOST_SECONDS

    def forget(self) -> None:
        """Await no answer any more: the client is closed."""
        self._sent.clear()

    def send(self, commits: list[Commit]) -> dict[PartitionId, Commit]:
        """Send a commit; return what it says. ``on_committed`` tells how it ended."""
        self._sent_at = time.monotonic()
        sent = _by_partition(commits)
        if any(_content(sent) == _content(other) for other in self._sent):
            # The earlier one may never be answered: the answer to this one must not be taken for
            # its.
            self._numbered += 1
            commits = [_another(commit, self._numbered) for commit in commits]
            sent = _by_partition(commits)
        self._sent.append(sent)
        offsets = [
            TopicPartition(c.partition.topic, c.partition.number, c.offset, c.metadata)
            for c in commits
        ]
        try:
            self._client().commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._sent.pop()
            self._listener.on_committed(commits, message_of(error.args[0]))
        return sent

    def on_answer(self, error: KafkaError | None, answered: list[TopicPartition]) -> None:
        """Match an answer with its commit.

        The client gives back what was sent, metadata included; no two that are not answered are the
        same.
        """
        answer = {(tp.topic, tp.partition): _said(tp) for tp in answered}
        sent_before = [_content(sent) for sent in self._sent]
        taken = [tp for tp in answered if error is None and tp.error is None]
        if answer not in sent_before:
            self._group_has(taken, {})
            return
        for _ in range(sent_before.index(answer)):
            self._sent.popleft()  # this one has overtaken it
        sent = self._sent.popleft()
        self._group_has(taken, sent)
        failed: dict[KafkaError | None, list[Commit]] = {}
        for tp in answered:
            failed.setdefault(error or tp.error, []).append(sent[(tp.topic, tp.partition)])
        for why, commits in failed.items():
            too_large = why is not None and why.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
            self._listener.on_committed(
                commits, None if why is None else message_of(why), too_large=too_large
            )

    def _group_has(self, taken: list[TopicPartition], sent: dict[PartitionId, Commit]) -> None:
        """Note what the group took last, also where the owned partition did not say it.

        The group takes a commit after a later one: the client sends one that was on its way when a
        connection broke once more, a while after the connection is back. And it takes one of an
        epoch before this one's, when the partition went and came back meanwhile.
        """
        for tp in taken:
            key = (tp.topic, tp.partition)
            partition = self._owned.get(key)
            if partition is not None and (key not in sent or sent[key].partition is not partition):
                partition.committed, partition.metadata = _said(tp)

    def send_and_wait(self, commits: list[Commit]) -> bool:
        """Commit and wait until the group has it, at most five seconds; return whether it has."""
        if not commits:
            return True
        now = time.monotonic()
        # Each that is on its way for so long may be sent once more, and put the group back: then
        # this one is, too.
        again = len(self._sent) if now - self._sent_at > SENT_AGAIN_SECONDS else 0
        sure_at = now + SENT_AGAIN_SECONDS if again else now
        wanted = self.send(commits)
        until = now + COMMIT_WAIT_SECONDS
        while time.monotonic() < until and not self._listener.leaves_at_once:
            found = self._committed(wanted)
            if found and all(tp.error is None for tp in found):
                if all(_has(tp, wanted[(tp.topic, tp.partition)]) for tp in found):
                    if time.monotonic() >= sure_at:
                        return True
                elif again:
                    again -= 1
                    wanted = self.send(commits)
                else:
                    return False  # it was refused: this member was thrown out
            time.sleep(LOOK_AGAIN_SECONDS)
        return False

    def _committed(self, wanted: dict[PartitionId, Commit]) -> list[TopicPartition]:
        """Return what the group has; nothing if that is not answered in half a second.

        In steps, so that a second signal is seen between them. The answer comes after the commit's
        own, on the same connection; the commit's callback is not served while this one runs.
        """
        try:
            return self._client().committed([TopicPartition(*key) for key in wanted], timeout=0.5)
        except KafkaException:
            return []


def _by_partition(commits: list[Commit]) -> dict[PartitionId, Commit]:
    return {(commit.partition.topic, commit.partition.number): commit for commit in commits}


def _content(sent: dict[PartitionId, Commit]) -> dict[PartitionId, tuple[int, str]]:
    """Return what a commit says, by which its answer is known."""
    return {key: (commit.offset, commit.metadata) for key, commit in sent.items()}


def _another(commit: Commit, number: int) -> Commit:
    """Return the same commit in other words."""
    metadata = numbered(commit.metadata, commit.partition.number, commit.offset, number)
    return msgspec.structs.replace(commit, metadata=metadata)


def _has(committed: TopicPartition, wanted: Commit) -> bool:
    """Return whether the group has this commit, whatever its number."""
    offset, metadata = _said(committed)
    return offset == wanted.offset and content(metadata) == content(wanted.metadata)


def _said(tp: TopicPartition) -> tuple[int, str]:
    """Return offset and metadata of a commit; librdkafka gives the end of the text along."""
    return tp.offset, (tp.metadata or "").rstrip("\0")
