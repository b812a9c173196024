"""The lag as ``/status`` tells it: see docs/lag.md. +Inf and NaN are null in its JSON."""

from __future__ import annotations

import math

import msgspec


class AwaitingLag(msgspec.Struct, frozen=True):
    """A partition that is owned and not begun: it is not known yet where it begins."""

    topic: str
    partition: int
    lag: int | None
    lag_seconds: float | None


class LagStatus(msgspec.Struct, frozen=True):
    """The lag of this process, and the number of members that the whole group should have."""

    records: int | None = None  #: of all its partitions; None: not known of one
    seconds: float | None = None  #: of the partition that is furthest behind
    #: until what is behind now is settled; NaN: not known; +Inf: it grows, or does not move
    backlog_eta_seconds: float = math.nan
    growing: bool = False
    records_per_second: float = 0.0  #: settled in the last minute
    rows_per_second: float = 0.0
    desired_members: int | None = None  #: of the whole group; None: not known yet
    target_seconds: float = 0.0
    group_records: int | None = None  #: behind, of the whole group
    group_members: int | None = None
    #: of each topic; +Inf: for ever; NaN: not told
    retention_seconds: dict[str, float] = {}
    awaiting: list[AwaitingLag] = []
