"""The fields of log lines that name partitions: for machines, beside the line's words.

A line's fields are given as ``extra=``; in the JSON form they stand beside ``message``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consumer.core.offsets.partition import Partition


def at(topic: str, partition: int, **more: object) -> dict[str, Any]:
    """Return the fields of a line about one partition; ``more``: further fields."""
    return {"data": {"topic": topic, "partition": partition, **more}}


def of(partition: Partition, **more: object) -> dict[str, Any]:
    """Return the fields of a line about a partition that is owned; ``more``: further fields."""
    return at(partition.topic, partition.number, **more)


def of_all(partitions: Iterable[Partition], **more: object) -> dict[str, Any]:
    """Return the fields of a line about several: ``partitions``, numbers by topic."""
    numbers: dict[str, list[int]] = {}
    for partition in partitions:
        numbers.setdefault(partition.topic, []).append(partition.number)
    return {"data": {"partitions": {topic: sorted(n) for topic, n in numbers.items()}, **more}}
