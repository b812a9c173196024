"""A member of a group as these tests drive it.

The listener of a source, that writes down everything it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.errors import UserError
from consumer.loop.ports import RecordSource

#: How long anything may take, by the clock of the site, seconds.
PATIENCE_SECONDS = 30.0


class Answer(NamedTuple):
    """The end of a commit."""

    commits: list[Commit]
    error: str | None
    too_large: bool

    @property
    def offsets(self) -> dict[int, int]:
        """The offset of each of its partitions."""
        return {commit.partition.number: commit.offset for commit in self.commits}


class Member:
    """One member's source as its owner sees it; ``step`` is a turn of its owner."""

    source: RecordSource

    def __init__(self) -> None:
        self.count = 500  #: records of a poll
        self.joined = False  #: the group has answered, without an assignment
        self.idle = False  #: it polls no more, as a process that hangs
        self.stopping = False
        self.leaves_at_once = False
        self.owned: dict[int, Partition] = {}
        self.came: list[Partition] = []  #: every partition that was assigned, in order
        self.went: list[
            tuple[list[int], bool]
        ] = []  #: partitions that were revoked, and whether they were lost
        self.answers: list[Answer] = []
        self.batches: list[tuple[Partition, list[int]]] = []  #: offsets, as they were given
        self.values: dict[
            int, list[bytes]
        ] = {}  #: by partition, in the order in which they were given
        self.failed: UserError | None = None
        self.counted = 0  #: how often it was told how many partitions there are
        self.polling = False
        self.while_revoking: Callable[[], None] = lambda: None

    def step(self) -> None:
        """Poll once, and write down what came."""
        if self.idle or self.failed is not None:
            return
        self.polling = True
        try:
            batches = self.source.poll(self.count)
        except UserError as error:
            self.failed = error
            return
        finally:
            self.polling = False
        for partition, messages in batches:
            self._take(partition, messages)

    def _take(self, partition: Partition, messages: list[Any]) -> None:
        if not messages:
            return
        offsets = [message.offset() for message in messages]
        self.batches.append((partition, offsets))
        self.values.setdefault(partition.number, []).extend(message.value() for message in messages)
        partition.position = max(partition.position, offsets[-1] + 1)

    def offsets(self, number: int) -> list[int]:
        """The offsets given of a partition, in the order in which they were."""
        return [
            offset
            for partition, offsets in self.batches
            if partition.number == number
            for offset in offsets
        ]

    # -- what the source tells -------------------------------------------------------------------

    def on_assigned(self, partitions: list[Partition]) -> None:
        assert self.polling, "an assignment is told outside of a poll"
        for partition in partitions:
            self.owned[partition.number] = partition
            self.came.append(partition)

    def on_begun(self, partitions: list[Partition]) -> None:
        self.on_assigned(partitions)

    def on_counted(self, counts: Mapping[str, int]) -> None:
        """Ignore the counts: they matter to the pace only."""
        self.counted += 1

    def on_joined(self) -> None:
        self.joined = True

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        self.went.append(([partition.number for partition in partitions], lost))
        if not lost:
            self.while_revoking()
        for partition in partitions:
            self.owned.pop(partition.number, None)

    def on_committed(
        self, commits: list[Commit], error: str | None, *, too_large: bool = False
    ) -> None:
        assert self.polling, "the answer to a commit is told outside of a poll"
        self.answers.append(Answer(commits, error, too_large))

    def on_waiting(self) -> None:
        """Nothing watches this loop."""


class Site(Protocol):
    """A topic with some partitions, a group that reads it, and a clock: real or simulated."""

    partitions: int

    def publish(self, number: int, *values: bytes) -> None:
        """Write records to a partition."""

    def leave_gap(self, number: int) -> None:
        """Let the next offsets of a partition hold no record that a consumer sees."""

    def end(self, number: int) -> int:
        """Where a partition ends, what holds no record included."""

    def commit_before(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        """Commit for the group, which has no member yet: offset and metadata by partition."""

    def committed(self) -> dict[int, tuple[int, str]]:
        """Return the group's commits: offset and metadata by partition."""

    def member(
        self,
        *,
        start_from: str = "earliest",
        instance: str = "",
        max_poll: float = 300.0,
        protocol: str = "classic",
    ) -> Member:
        """A new member, that has subscribed.

        ``max_poll``: seconds that it may go without a poll.
        """

    def trim(self, number: int, begin: int) -> None:
        """Let retention remove what lies before an offset."""

    def delete_topic(self) -> None:
        """Delete the topic, and wait until it is gone."""

    def make_anew(self) -> None:
        """Make the topic again."""

    def do(self, member: Member, act: Callable[[RecordSource], object]) -> None:
        """Have something done on the thread of a member's owner, between two turns of it."""

    def members(self) -> list[int]:
        """Return how many partitions the coordinator has given each of its members, in
        order of size.
        """

    def throw_out(self, member: Member) -> None:
        """Let the coordinator put a member out of the group, as when its session has expired."""

    def pass_inside(self, seconds: float) -> None:
        """Inside a member's callback: let time pass, in which the other members turn."""

    def turn_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let all members turn until something holds.

        AssertionError with ``what`` when it takes too long.
        """

    def turn_for(self, seconds: float) -> None:
        """Let all members turn for so long."""
