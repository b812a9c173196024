"""The group's history: who owned which partition when, and what was committed of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.evidence import CommitEntry, Generation
from tests.chaos.settled_map import newly_named

#: How long a member that is cut off may take to give itself up: the session of each protocol.
SESSION_SECONDS = {"classic": 6.0, "consumer": 45.0}


class Epoch(NamedTuple):
    """A partition in the hands of one member, from one assignment to the next."""

    place: int  #: of its generation in the log
    begin: float
    life: str
    member: str


@dataclass
class Commit:
    """One commit of a member: what it says of each of its partitions, written down together."""

    place: int  #: of its first entry in the log
    at: float
    life: str
    member: str
    entries: dict[int, CommitEntry] = field(default_factory=dict)
    #: It was built at that time or later, as its content shows; 0: it shows nothing.
    built: float = 0.0
    #: it holds all that was due of all partitions of its member: it is not one of a hand-over
    whole: bool = True


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
        self._generations = generations
        owners: dict[int, tuple[str, str]] = {}
        before = 0.0
        for generation in generations:
            since = before - SESSION_SECONDS[generation.protocol]
            for partition, owner in generation.owners.items():
                # A member that was away may have taken it for lost, though the group had not: it
                # begins anew.
                if owners.get(partition) != owner or away(owner[0], since, generation.at):
                    self._epochs[partition].append(Epoch(generation.place, generation.at, *owner))
            owners, before = dict(generation.owners), generation.at
        self._entries: dict[int, list[CommitEntry]] = defaultdict(list)
        for entry in commits:
            self._entries[entry.partition].append(entry)
        self._commits: dict[str, list[Commit]] = defaultdict(list)  # by member
        for commit in self._together(commits):
            commit.whole = not self._may_be_of_a_handover(commit)
            self._commits[commit.member].append(commit)

    def epoch(self, partition: int, life: str, at: float) -> Epoch | None:
        """Return the epoch in which this life could send rows of the partition at that time."""
        return next(
            (e for e in reversed(self._epochs[partition]) if e.life == life and e.begin <= at), None
        )

    def end_of(self, partition: int, epoch: Epoch) -> float:
        """Return the place of the partition's next epoch, whoever has it; infinity: none."""
        later = (float(e.place) for e in self._epochs[partition] if e.place > epoch.place)
        return next(later, math.inf)

    def newest(self, partition: int, at: float) -> Epoch | None:
        """Return whose the partition was at that time, by the group's coordinator."""
        epochs = self._epochs[partition]
        index = bisect_right(epochs, at, key=lambda epoch: epoch.begin)
        return epochs[index - 1] if index else None

    def base(self, partition: int, place: int) -> CommitEntry | None:
        """Return the commit of the partition that stood at this place of the log."""
        entries = self._entries[partition]
        index = bisect_right(entries, place, key=lambda commit: commit.place)
        return entries[index - 1] if index else None

    def commits_of(self, member: str, after: int, before: float) -> list[Commit]:
        """Return what this member got through between two places of the log."""
        return [commit for commit in self._commits[member] if after < commit.place < before]

    def of_life(self, life: str) -> list[Commit]:
        """Return what this life got through, in order."""
        found = [
            commit
            for commits in self._commits.values()
            for commit in commits
            if commit.life == life
        ]
        return sorted(found, key=lambda commit: commit.place)

    def holds(self, commit: Commit, partition: int) -> bool:
        """Return whether the commit's member had the partition when it was written down."""
        holder = self._before(self._epochs[partition], commit.place)
        return holder is not None and holder.member == commit.member

    def entries(self, partition: int) -> list[CommitEntry]:
        """Return every commit of the partition, in order."""
        return self._entries[partition]

    def holder(self, entry: CommitEntry) -> Epoch | None:
        """Return in whose hands the partition was when that was written down."""
        return self._before(self._epochs[entry.partition], entry.place)

    def stayed(self, epoch: Epoch, until: int) -> bool:
        """Return whether its member was in the group, by the same id, up to that place
        of the log.
        """
        between = (g for g in self._generations if epoch.place <= g.place <= until)
        return all(g.ids is None or epoch.member in g.ids for g in between)

    def date(self, could: Callable[[int, int], float]) -> None:
        """Find out when each commit was built, at the earliest.

        It is known by what it names that the one before it did not. ``could(partition, offset)``:
        when a record can have been settled at the earliest; 0 if that is not known.
        """
        told: dict[int, CommitEntry] = {}
        for commit in sorted(
            (c for of in self._commits.values() for c in of), key=lambda commit: commit.place
        ):
            for partition, entry in commit.entries.items():
                for offset in newly_named(told.get(partition), entry):
                    commit.built = max(commit.built, could(partition, offset))
                told[partition] = entry

    def _together(self, commits: Sequence[CommitEntry]) -> Iterator[Commit]:
        """The entries of one commit follow each other, at one time, each of another partition."""
        open_: Commit | None = None
        last = -1
        for entry in commits:
            owner = self.holder(entry)
            if owner is None:
                continue
            if (
                open_ is None
                or (open_.at, open_.member) != (entry.at, owner.member)
                or entry.place != last + 1
                or entry.partition in open_.entries
            ):
                if open_ is not None:
                    yield open_
                open_ = Commit(entry.place, entry.at, owner.life, owner.member)
            open_.entries[entry.partition] = entry
            last = entry.place
        if open_ is not None:
            yield open_

    @staticmethod
    def _before(epochs: list[Epoch], place: int) -> Epoch | None:
        index = bisect_right(epochs, place, key=lambda epoch: epoch.place)
        return epochs[index - 1] if index else None

    def _may_be_of_a_handover(self, commit: Commit) -> bool:
        """Return whether all its partitions are given away next: it may hold nothing else then."""
        for generation in self._generations:
            if generation.place > commit.place:
                kept = [p for p, owner in generation.owners.items() if owner[1] == commit.member]
                if not commit.entries.keys() & set(kept):
                    return True
                if len(commit.entries.keys() & set(kept)) < len(commit.entries):
                    return False
                if generation.at > commit.at + SESSION_SECONDS[generation.protocol]:
                    return False
        return False
