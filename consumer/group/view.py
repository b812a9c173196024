"""Show a group's report as text for a person, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from consumer.group.report import GroupReport, MemberReport, PartitionReport
from consumer.ops.scaling import ASSUMED_REQUEST_SECONDS

#: Partitions of a member that are listed.
MOST_LISTED = 6
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def as_json(report: GroupReport) -> str:
    """Return one JSON object; what is not known, or infinite, is null."""
    return orjson.dumps(msgspec.to_builtins(report), option=orjson.OPT_INDENT_2).decode()


def as_text(report: GroupReport) -> str:
    """Return lines: the group, its members, its partitions."""
    lines = [_summary(report), _desired(report)]
    if report.members:
        rows = [_member(member) for member in report.members]
        lines += ["", *_table(("MEMBER", "HOST", "PARTITIONS"), rows)]
    if report.partitions:
        head = ("PARTITION", "COMMITTED", "END", "BEHIND", "OLDEST", "SETTLED BEYOND", "MEMBER")
        lines += ["", *_table(head, [_partition(p) for p in report.partitions])]
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """Return a duration with its two largest units, as ``2 h 3 min``."""
    if seconds is None:
        return "not known"
    left = int(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


def _summary(report: GroupReport) -> str:
    count = len(report.members)
    who = f"{count} member{'' if count == 1 else 's'}" if count else "nobody in it now"
    behind = "how far it is behind is not known"
    if report.records == 0:
        behind = "nothing behind"
    elif report.records is not None:
        behind = f"{report.records:,} records behind"
    if report.records != 0 and report.seconds is not None:
        behind += f", the oldest {duration(report.seconds)} old"
    return f"{report.group}: {report.state}, {who}; {behind}"


def _desired(report: GroupReport) -> str:
    target, assumed = duration(report.target_seconds), f"{ASSUMED_REQUEST_SECONDS:g} s"
    return (
        f"desired members: {report.desired_members}, to clear that within {target} "
        f"(taking {assumed} for a request; a running member measures it)"
    )


def _member(member: MemberReport) -> tuple[str, ...]:
    listed = ", ".join(member.partitions[:MOST_LISTED]) or "none"
    if len(member.partitions) > MOST_LISTED:
        listed += f" and {len(member.partitions) - MOST_LISTED} more"
    name = f"{member.client_id} ({member.instance_id})" if member.instance_id else member.client_id
    return name, member.host, listed


def _partition(partition: PartitionReport) -> tuple[str, ...]:
    committed = _number(partition.committed)
    if partition.out_of_range:
        committed += " (gone)"
    return (
        f"{partition.topic}[{partition.partition}]",
        committed,
        _number(partition.end),
        _number(partition.lag),
        duration(partition.lag_seconds) if partition.lag != 0 else "-",
        _number(partition.settled_beyond),
        partition.member or "nobody",
    )


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
