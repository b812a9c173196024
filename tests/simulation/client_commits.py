"""Commits of a simulated client as its owner sees them: under way, taken, and compared."""

from __future__ import annotations

from collections import deque

import msgspec

from consumer.core.offsets.commits import Commit
from consumer.core.offsets.settled_map import content, numbered
from consumer.loop.ports import Listener
from tests.simulation.client_connection import SENT_AGAIN, CommitConnection, Sent
from tests.simulation.client_membership import Membership
from tests.simulation.client_reading import Reading
from tests.simulation.client_state import ClientPart, ClientState

#: As the real source's, seconds: the longest wait for a commit inside a callback, one look-up's
#: share of it, how often it is looked at whether the group has it, and after how long a commit
#: without an answer holds back no other.
COMMIT_WAIT = 5.0
COMMITTED_WAIT = 0.5
LOOK_AGAIN = 0.02
COMMIT_LOST = 10.0


class Commits(ClientPart):
    """Sends commits, and takes in how they ended."""

    def __init__(
        self,
        client: ClientState,
        listener: Listener,
        reading: Reading,
        membership: Membership,
        connection: CommitConnection,
    ) -> None:
        super().__init__(client)
        self._listener = listener
        self._reading = reading
        self._membership = membership
        self._connection = connection
        self._committing: deque[Sent] = deque()
        self._committing_since = 0.0
        self._numbered = 0

    @property
    def committing(self) -> bool:
        """Return whether a commit is under way, and not taken for lost."""
        return bool(self._committing) and self._scheduler.now - self._committing_since < COMMIT_LOST

    def send(self, commits: list[Commit]) -> Sent:
        """Send commits, one behind the other over one connection."""
        now = self._scheduler.now
        if any(
            {c.partition.number: (c.offset, c.metadata) for c in commits} == sent.says
            for sent in self._committing
        ):
            self._numbered += 1
            commits = [
                msgspec.structs.replace(
                    c, metadata=numbered(c.metadata, c.partition.number, c.offset, self._numbered)
                )
                for c in commits
            ]
        topics = {c.partition.number: self._reading.topic_of(c.partition.number) for c in commits}
        sent = self._connection.send(commits, topics)
        self._committing_since = now
        self._committing.append(sent)
        return sent

    def send_and_wait(self, commits: list[Commit]) -> bool:
        """Commit, and ask until the group has it, five seconds at most; return whether it has."""
        now = self._scheduler.now
        # Each that is on its way for so long may be sent once more, and put the group back: then
        # this one is, too.
        again = len(self._committing) if now - self._committing_since > SENT_AGAIN else 0
        sure_at = now + SENT_AGAIN if again else now
        sent = self._send_last(commits)
        self._process.step("last committed")
        until = self._scheduler.now + COMMIT_WAIT
        while self._scheduler.now < until and not self._listener.leaves_at_once:
            self._process.sleep(self._client.latency())
            # What the group has is asked on the connection that commits go over.
            waits = self._group.joining(self._membership.member) or self._connection.behind
            if not self._client.reachable or waits or not sent.arrived:
                self._process.sleep(COMMITTED_WAIT if not self._client.reachable else 0.05)
                continue
            has = self._broker.committed
            if all(_has(has.get(c.partition.number), c) for c in commits):
                if self._scheduler.now >= sure_at:
                    self._process.step("has committed")
                    return True
                self._process.sleep(LOOK_AGAIN)
            elif again:
                again -= 1
                sent = self._send_last(commits)
            else:
                return False
        return False

    def _send_last(self, commits: list[Commit]) -> Sent:
        self._witness.committing(
            self._process, [(c.partition, c.offset, c.metadata) for c in commits]
        )
        return self.send(commits)

    def on_answer(self, answered: Sent, errors: list[str | None]) -> None:
        if self._watch is not None and not any(errors):
            self._watch.confirmed(self._process, answered.at)
        told = [sent.says for sent in self._committing]
        place = told.index(answered.says) if answered.says in told else -1
        taken = [
            commit for commit, error in zip(answered.commits, errors, strict=True) if error is None
        ]
        if place < 0:
            self._group_has(taken, [])
        else:
            for _ in range(place):
                self._committing.popleft()  # this one has overtaken it
            sent = self._committing.popleft()
            self._group_has(taken, sent.commits)
            failed: dict[str | None, list[Commit]] = {}
            for commit, error in zip(sent.commits, errors, strict=True):
                failed.setdefault(error, []).append(commit)
            for why, commits in failed.items():
                self._listener.on_committed(
                    commits, why, too_large=why == "OFFSET_METADATA_TOO_LARGE"
                )
        self._compare(answered, errors)

    def _group_has(self, taken: list[Commit], sent: list[Commit]) -> None:
        """Keep what the group took last, also where the owned partition did not say it."""
        for commit in taken:
            partition = self._reading.owned.get(commit.partition.number)
            if partition is not None and not any(other.partition is partition for other in sent):
                partition.committed, partition.metadata = commit.offset, commit.metadata

    def _compare(self, answered: Sent, errors: list[str | None]) -> None:
        """Compare what the program takes for committed with the group's, when nothing is on its
        way.
        """
        if (
            self._watch is None
            or any(errors)
            or self._connection.unanswered
            or not self._client.reachable
        ):
            return
        if any(what == "answer" for what, _ in self._client.ops):
            return
        for commit in answered.commits:
            number = commit.partition.number
            partition = self._reading.owned.get(number)
            if number in self._broker.deleted or number not in self._reading.fetches:
                continue
            same = self._reading.fetches[number].topic_id == self._broker.logs[number].topic_id
            if (
                same
                and partition is commit.partition
                and self._group.owner(number) == self._membership.member
            ):
                has = self._broker.committed.get(number)
                self._watch.believes(
                    self._process, number, (partition.committed, partition.metadata), has
                )


def _has(committed: tuple[int, str] | None, wanted: Commit) -> bool:
    """Return whether the group has this commit, whatever its number."""
    return committed is not None and (committed[0], content(committed[1])) == (
        wanted.offset,
        content(wanted.metadata),
    )
