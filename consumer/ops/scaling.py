"""Decide how many members the group's lag justifies: a pure rule, and its slow way down.

The rule for users stands in docs/lag.md. A scaler that follows record lag alone scales for records
that retention deleted, for offsets without records, for partitions that no member can read on, and
for an API that takes no more: none of these is need.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

#: A lower number is taken once no higher one was needed for so long.
FALL_SECONDS = 600.0
#: As long as no request has ended, one is taken to be as long as this.
ASSUMED_REQUEST_SECONDS = 0.5


class Need(msgspec.Struct, frozen=True):
    """The work of the whole group."""

    behind: int  #: records that are not settled, and that members can settle
    per_second: float  #: records that come
    partitions: int


class Capacity(msgspec.Struct, frozen=True):
    """The capacity of one member, and what the API takes of all."""

    concurrency: int
    rows_per_request: float
    request_seconds: float = ASSUMED_REQUEST_SECONDS
    rows_per_record: float = 1.0
    requests_per_second: float = 0.0  #: of the whole group; 0: no limit
    #: rows a second that it was measured to do under a backlog while requests were not the bound
    measured_rows: float | None = None

    @property
    def member_requests(self) -> float:
        """Return the requests a second that one member can make."""
        own = self.concurrency / max(self.request_seconds, 1e-3)
        if self.measured_rows is None:
            return own
        return min(own, self.measured_rows / max(1.0, self.rows_per_request))

    @property
    def fed(self) -> float:
        """Return how many members the request budget can feed."""
        if not self.requests_per_second:
            return math.inf
        return max(1, math.ceil(self.requests_per_second / max(self.member_requests, 1e-9)))


def members_for(need: Need, capacity: Capacity, target_seconds: float) -> int:
    """Return the least number of members that clears the lag in time and keeps up."""
    records = need.behind / target_seconds + need.per_second
    rows = records * capacity.rows_per_record
    one = capacity.member_requests * max(1.0, capacity.rows_per_request)
    most = min(max(1, need.partitions), capacity.fed)
    return int(max(1, min(math.ceil(rows / max(one, 1e-9)), most)))


class DesiredMembers:
    """The number that is told: it rises at once, and falls to the largest of ten minutes."""

    def __init__(self) -> None:
        self._told: int | None = None
        # Needed numbers and when, each larger than those behind it: the first is the largest.
        self._needed: deque[tuple[float, int]] = deque()

    @property
    def number(self) -> int | None:
        """Return the number of members; None: nothing is known yet."""
        return self._told

    def observe(self, now: float, needed: int, *, hold: bool, most: int | None = None) -> None:
        """Take in how many members are needed at a time.

        ``hold``: nothing changes now, as the group rebalances or the API takes nothing; what is
        needed at such a time does not count later, either. ``most``: the partitions, if they became
        fewer.
        """
        if hold:
            return
        while self._needed and self._needed[-1][1] <= needed:
            self._needed.pop()
        self._needed.append((now, needed))
        while self._needed[0][0] <= now - FALL_SECONDS:
            self._needed.popleft()
        self._told = self._needed[0][1]
        if most is not None:
            self._told = max(1, min(self._told, most))
