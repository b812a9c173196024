"""Who owned which partition when, and what was committed of it: the group's history, made easy to ask."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.chaos.evidence import CommitEntry, Generation

#: How long a member that is cut off may take to give itself up.
SESSION_SECONDS = 6.0


class Epoch(NamedTuple):
    """A partition in the hands of one member, from one assignment to the next."""

    place: int  #: of its generation in the log
    begin: float
    life: str
    member: str


class Ownership:
    """The epochs of every partition, and the commits between them."""

    def __init__(
        self,
        generations: Sequence[Generation],
        commits: Sequence[CommitEntry],
        away: Callable[[str, float, float], bool] = lambda _life, _begin, _end: False,
    ) -> None:
        """``away``: whether a life was suspended or cut off from Kafka at some time between two."""
        self._epochs: dict[int, list[Epoch]] = defaultdict(list)
        owners: dict[int, tuple[str, str]] = {}
        before = 0.0
        for generation in generations:
            for partition, owner in generation.owners.items():
                # A member that was away may have taken it for lost, though the group had not: it begins anew.
                if owners.get(partition) != owner or away(owner[0], before - SESSION_SECONDS, generation.at):
                    self._epochs[partition].append(Epoch(generation.place, generation.at, *owner))
            owners, before = dict(generation.owners), generation.at
        self._commits: dict[int, list[CommitEntry]] = defaultdict(list)
        for commit in commits:
            self._commits[commit.partition].append(commit)
        self.commits = commits

    def epoch(self, partition: int, life: str, at: float) -> Epoch | None:
        """The epoch in which this life could send rows of the partition at that time."""
        return next((e for e in reversed(self._epochs[partition]) if e.life == life and e.begin <= at), None)

    def newest(self, partition: int, at: float) -> Epoch | None:
        """Whose the partition was at that time, as far as the group's coordinator is concerned."""
        epochs = self._epochs[partition]
        index = bisect_right(epochs, at, key=lambda epoch: epoch.begin)
        return epochs[index - 1] if index else None

    def closed(self, partition: int, epoch: Epoch) -> float:
        """When the next epoch of the partition began; for ever, if there was none."""
        return next((e.begin for e in self._epochs[partition] if e.place > epoch.place), float("inf"))

    def base(self, partition: int, epoch: Epoch) -> CommitEntry | None:
        """The commit that stood when the epoch began."""
        commits = self._commits[partition]
        index = bisect_right(commits, epoch.place, key=lambda commit: commit.place)
        return commits[index - 1] if index else None

    def last_built_of(self, member: str, before: float) -> float:
        """When the newest commit that this member got through until then was built, at the earliest; 0 for never.

        That is when the one before it was acknowledged, as one is under way at a time. It may be under way for long: a
        broker answers the requests of a connection in their order, so while the group rebalances a commit waits behind
        the member's own joining, which waits for the other members. A commit holds all that is due of all the
        partitions that a member owns. (That of a revocation holds less, and may go while another is under way; and
        the client sends one again if the connection broke. Then this may be later than it should be, which finds fault
        with what is right, and never the reverse.)
        """
        latest = 0.0
        for commit in reversed(self.commits):
            if commit.at > before:
                continue
            owner = self.newest(commit.partition, commit.at)
            if owner is None or owner.member != member:
                continue
            if latest and commit.at < latest:
                return commit.at
            latest = commit.at
        return 0.0
