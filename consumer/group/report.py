"""Read a group's members, commits and lag from Kafka; join nothing, commit nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.ends import PATIENCE_SECONDS
from consumer.adapters.kafka.group_look import GroupLook, GroupMember
from consumer.adapters.kafka.heads import Head
from consumer.adapters.kafka.lag_watch import LagWatch, Seen, watch_of
from consumer.adapters.kafka.offsets import LookUpError
from consumer.adapters.kafka.reader import ReadFrom
from consumer.config.settings import Settings
from consumer.errors import UserError
from consumer.ops.group_need import GroupNeed
from consumer.ops.lag import Now, start_of, unbegun_lag
from consumer.ops.scaling import Capacity, members_for

#: Between the two looks that tell how much comes.
BETWEEN_SECONDS = 1.0
AGAIN_SECONDS = 0.5


class PartitionReport(msgspec.Struct, frozen=True):
    """One partition; offsets of the next record. None: not known, or there is none."""

    topic: str
    partition: int
    begin: int | None
    end: int | None
    committed: int | None
    lag: int | None
    lag_seconds: float | None  #: age of the oldest record that is not settled
    settled_beyond: int  #: records beyond the committed offset that are settled
    out_of_range: bool  #: the log does not hold the committed offset
    member: str  #: client id and host; empty: nobody has it


class MemberReport(msgspec.Struct, frozen=True):
    """One member."""

    client_id: str
    instance_id: str
    host: str
    partitions: list[str]


class GroupReport(msgspec.Struct, frozen=True):
    """A group as Kafka tells it."""

    group: str
    state: str
    members: list[MemberReport]
    partitions: list[PartitionReport]
    records: int | None  #: behind, of all partitions
    seconds: float | None  #: of the partition that is furthest behind
    records_per_second: float  #: that come
    desired_members: int
    target_seconds: float
    retention_seconds: dict[str, float]


def read(settings: Settings) -> GroupReport:
    """Return the report; raise UserError when Kafka does not answer in half a minute."""
    kafka = settings.kafka
    reading = ReadFrom(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group_id,
        topics=kafka.topics,
        start_from=kafka.start_from,
        on_out_of_range=kafka.on_out_of_range,
        properties=kafka.client,
    )
    watch = watch_of(reading)
    try:
        need = GroupNeed(kafka.start_from, kafka.on_out_of_range)
        first = _look(watch, settings)
        need.take(first.look)
        watch.want(dict.fromkeys(first.look.partitions))
        time.sleep(max(0.0, first.look.at + BETWEEN_SECONDS - time.monotonic()))
        seen = _look(watch, settings)
        return report(settings, seen, need.take(seen.look).per_second, time.time())
    finally:
        watch.let_go()


def _look(watch: LagWatch, settings: Settings) -> Seen:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return watch.look()
        except LookUpError as error:
            if time.monotonic() >= until:
                where = settings.kafka.bootstrap_servers
                raise UserError(
                    f"Kafka at {where} does not tell the group {settings.kafka.group_id}: {error}"
                ) from None
            time.sleep(AGAIN_SECONDS)  # before the next try


def report(settings: Settings, seen: Seen, per_second: float, wall: float) -> GroupReport:
    """Return what is told of a look; ``wall``: the time now, seconds since the epoch."""
    look, kafka = seen.look, settings.kafka
    now = Now(look.at, wall)
    owners = {key: member for member in look.members for key in member.partitions}
    partitions = [
        _partition(key, look, seen.heads, owners.get(key), now, kafka.start_from)
        for key in look.partitions
    ]
    need = GroupNeed(kafka.start_from, kafka.on_out_of_range).take(look)
    capacity = Capacity(
        settings.api.concurrency,
        settings.windows.max_rows,
        requests_per_second=settings.api.requests_per_second,
    )
    need = msgspec.structs.replace(need, per_second=per_second)
    lags = [partition.lag for partition in partitions if partition.lag is not None]
    ages = [p.lag_seconds for p in partitions if p.lag_seconds is not None]
    return GroupReport(
        kafka.group_id,
        look.state,
        [_member(member) for member in look.members],
        partitions,
        sum(lags) if len(lags) == len(partitions) else None,
        max(ages, default=0.0) if len(ages) == len(partitions) else None,
        round(per_second, 3),
        members_for(need, capacity, settings.ops.target_lag_seconds),
        settings.ops.target_lag_seconds,
        dict(look.retention),
    )


def _partition(
    key: PartitionId,
    look: GroupLook,
    heads: Mapping[PartitionId, Head],
    owner: GroupMember | None,
    now: Now,
    start_from: str,
) -> PartitionReport:
    extent, commit = look.logs.get(key), look.commits.get(key)
    committed = None if commit is None else commit.offset
    beyond = 0 if commit is None else commit.settled_beyond
    lag, seconds = unbegun_lag(committed, extent, heads.get(key), now)
    if committed is None and start_from == "latest":
        lag, seconds = 0, 0.0  # it begins with what is published from then on
    outside = (
        extent is not None
        and committed is not None
        and start_of(committed, extent, stopped=True) != committed
    )
    if lag is not None and not outside:
        lag = max(0, lag - beyond)
    return PartitionReport(
        *key,
        begin=None if extent is None else extent.begin,
        end=None if extent is None else extent.end,
        committed=committed,
        lag=lag,
        lag_seconds=None if seconds is None else round(seconds, 3),
        settled_beyond=beyond,
        out_of_range=outside,
        member="" if owner is None else f"{owner.client_id}@{owner.host}",
    )


def _member(member: GroupMember) -> MemberReport:
    names = [f"{topic}[{number}]" for topic, number in member.partitions]
    return MemberReport(member.client_id, member.instance_id, member.host, names)
