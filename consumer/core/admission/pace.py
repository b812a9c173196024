"""Rate limit of a group by time slots: members share one rate without talking to each other.

The rate is the whole group's. A member that owns every partition simply spaces its requests. Where
several share them, time is cut into slots, as many a second as requests may start, and the slots go
to the partitions of all subscribed topics in turn: a member may start one request in each slot of a
partition that it owns. A partition has one owner, so no two members use a slot; what a member loses
in a rebalance nobody has until another gets it. A slot that is not used soon after it began lapses,
so idle members save up no burst.

So in any second the group starts at most (1 + LATE_SECONDS) * PACE_SHARE * rate requests. That is
less than the rate: the rest is for what the network does to their distances. Slots are counted by
the wall clock. Where the members' clocks differ, each still keeps its pace, and together they can
be over the rate by one request for each member.

As long as the group's partitions could not be counted, nobody knows who shares. Then a member takes
the slots that its partitions would have among ``UNKNOWN_OF``: too few, but together never more than
the rate, unless there are more partitions than that.

The API may allow less than the configured rate (others use the same token): a 429 that comes
although we kept our pace slows us down, and every accepted answer brings us back. Near the pace at
which the last 429 came that goes slowly, so that most of the time is spent just below what the API
allows.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from consumer.core.offsets.partition import Partition

#: Requests are paced this share of the rate, so that jitter on the way does not make eleven of ten
#: in a second.
PACE_SHARE = 0.95
#: A slot can be used for so long after it began: the loop's turn, and half of what PACE_SHARE
#: leaves, are longer.
LATE_SECONDS = 0.025
#: So many partitions the group is taken to have as long as they could not be counted.
UNKNOWN_OF = 100
#: What a 429 leaves of the pace, and the least that is left of it in the end.
SLOWED = 0.7
SLOWEST = 0.02
#: What an accepted answer adds: of the full pace; and, near the pace of the last 429, of the
#: present pace.
FASTER = 0.01
CAREFUL = 0.005
#: "Near" is from this share of the pace of the last 429 to as much above it.
NEAR = 0.1


def slot_positions(counts: Mapping[str, int], partitions: Iterable[Partition]) -> list[int]:
    """Return where these partitions stand among all, in an order that every member knows (budget).

    ``counts``: partitions of each topic that the group reads.
    """
    topics = sorted(counts)
    behind = dict(
        zip(topics, accumulate((counts[topic] for topic in topics), initial=0), strict=False)
    )
    return sorted(
        behind[p.topic] + p.number for p in partitions if p.number < counts.get(p.topic, 0)
    )


def assumed_slot_positions(partitions: Iterable[Partition]) -> tuple[list[int], int]:
    """Return where these partitions stand, and among how many, while they could not be counted.

    Partitions of one topic never share a position, whoever owns them.
    """
    numbers = {partition.number for partition in partitions}
    return sorted(numbers), max(UNKNOWN_OF, max(numbers, default=0) + 1)


class Pace:
    """The pace of this member; times in seconds of the owner's clock."""

    def __init__(self, rate: float) -> None:
        self._rate = rate  #: requests a second of the whole group; 0: no limit
        self._slots = rate * PACE_SHARE  # a second
        self._own: Sequence[int] = (0,)  # the places of the owned partitions among all, in order
        self._of = 1
        self._epoch = 0.0  # what the wall clock is ahead of the owner's
        self._next_at = 0.0  # alone: when the next request may start
        # sharing: which of the own slots may be used next, counted from the wall clock's zero
        self._next = 0.0
        self._speed = 1.0  # the share of the pace that the API seems to allow
        self._troubled = math.inf  # the speed at which the last 429 came
        self._slowed_at = -math.inf

    @property
    def budget(self) -> float | None:
        """Return the requests a second that this member may make now; None: no limit."""
        return None if self.share is None else self.share * self._speed

    @property
    def share(self) -> float | None:
        """Return this member's part of the group's rate, requests a second; None: no limit."""
        return self._rate * len(self._own) / self._of if self._rate else None

    @property
    def has_share(self) -> bool:
        """Return whether any request may start: not without a partition, where there is a rate."""
        return bool(self._own) or not self._rate

    def set_share(self, own: Sequence[int], of: int, wall_clock: float, now: float) -> None:
        """Take in that this member owns the partitions at these positions, of ``of`` in the group.

        Positions count from 0, in order. For one slot nothing starts: who had these positions
        before may just have used one.
        """
        if (own, of) == (self._own, self._of) or not self._rate or not of:
            return
        self._own, self._of, self._epoch = own, of, wall_clock - now
        self._next_at = max(self._next_at, now + 1.0 / self._slots)
        self._next = self._ordinal(math.ceil(wall_clock * self._slots) + 1) if own else 0.0

    def earliest_start(self, at: float) -> float:
        """Return the first time not before ``at`` at which a request may start.

        Infinity: not without a partition.
        """
        if not self._rate:
            return at
        if self._alone:
            return max(at, self._next_at)
        if not self._own:
            return math.inf
        return max(at, self._begin(self._from(at)))

    def unused(self, now: float) -> bool:
        """Return whether a request could have started since the last one did."""
        if not self._rate or self._alone:
            return self.earliest_start(now) <= now
        return bool(self._own) and self._begin(self._next) <= now

    def consume(self, now: float) -> None:
        """Use a slot: a request starts."""
        if not self.has_share or not self._rate:
            return
        if self._alone:
            self._next_at = max(self._next_at, now) + 1.0 / (self._slots * self._speed)
        else:
            self._next = self._from(now) + 1.0 / self._speed

    def slow_down(self, sent_at: float, now: float) -> bool:
        """Take in a 429 to a request that was sent at ``sent_at``; return whether it slows us down.

        Requests that were sent before the last slowing down say nothing about the pace since then.
        """
        if sent_at < self._slowed_at or not self._rate:
            return False
        self._slowed_at = now
        self._troubled = self._speed
        self._speed = max(SLOWEST, self._speed * SLOWED)
        return True

    def speed_up(self) -> None:
        """Take in that a request was accepted."""
        if self._speed < 1.0:
            near = abs(self._speed / self._troubled - 1.0) < NEAR
            self._speed = min(1.0, self._speed * (1.0 + CAREFUL) if near else self._speed + FASTER)

    # -- slots -----------------------------------------------------------------------------------
    #
    # Slot n of all begins n / self._slots seconds after the wall clock's zero, and belongs to the
    # partition at position n mod self._of. The own slots are numbered through ("ordinals"): only in
    # these can some be left out evenly.

    @property
    def _alone(self) -> bool:
        return len(self._own) == self._of

    def _from(self, at: float) -> float:
        """Return the ordinal from which on own slots may be used at a time; older ones lapsed."""
        first_valid = math.ceil((at + self._epoch - LATE_SECONDS) * self._slots)
        return max(self._next, self._ordinal(first_valid))

    def _ordinal(self, slot: int) -> float:
        """Return the ordinal of the first own slot that is not before a slot."""
        rounds, position = divmod(slot, self._of)
        return float(rounds * len(self._own) + bisect_left(self._own, position))

    def _begin(self, ordinal: float) -> float:
        """Return when the first own slot begins that is not before an ordinal."""
        rounds, which = divmod(math.ceil(ordinal), len(self._own))
        return (rounds * self._of + self._own[which]) / self._slots - self._epoch
