"""Who owned which partition when, and what was committed of it: the group's history, made easy to ask."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from tests.chaos.evidence import CommitEntry, Generation


class Epoch(NamedTuple):
    """A partition in the hands of one member, from one assignment to the next."""

    place: int  #: of its generation in the log
    begin: float
    life: str
    member: str


class Ownership:
    """The epochs of every partition, and the commits between them."""

    def __init__(self, generations: Sequence[Generation], commits: Sequence[CommitEntry]) -> None:
        self._epochs: dict[int, list[Epoch]] = defaultdict(list)
        owners: dict[int, tuple[str, str]] = {}
        for generation in generations:
            for partition, owner in generation.owners.items():
                if owners.get(partition) != owner:
                    self._epochs[partition].append(Epoch(generation.place, generation.at, *owner))
            owners = dict(generation.owners)
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

    def base(self, partition: int, epoch: Epoch) -> CommitEntry | None:
        """The commit that stood when the epoch began."""
        commits = self._commits[partition]
        index = bisect_right(commits, epoch.place, key=lambda commit: commit.place)
        return commits[index - 1] if index else None

    def last_commit_of(self, member: str, before: float) -> float:
        """When the newest commit of anything that this member owned was acknowledged, until then; 0 for never.

        A commit holds all that is due of all the partitions that a member owns.
        """
        for commit in reversed(self.commits):
            if commit.at <= before:
                owner = self.newest(commit.partition, commit.at)
                if owner is not None and owner.member == member:
                    return commit.at
        return 0.0
