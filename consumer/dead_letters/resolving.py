"""Resolve letters: markers in the dead-letter topic say that they need nothing more.

A marker stands in the partition of its letters. So retention never removes it before them. Its key
is one that no event has, so where the topic is compacted it replaces no letter; but compaction
removes records without a value after a while, and letters of one key, so the topic is not to be
compacted (``scm-consumer check`` looks). A marker names at most ``MOST`` letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from consumer.adapters.kafka.batch_writer import BatchWriter, ToWrite
from consumer.dead_letters.letter import BECAUSE, REPLAYED, RESOLVES, Header, resolves_text
from consumer.errors import UserError

#: Letters that one marker names, so that its header stays within about 20 KiB.
MOST = 1000
#: Markers that are written at once.
_BATCH = 100


def markers(
    topic: str, offsets: Iterable[tuple[int, int]], because: str, *, replayed: bool = False
) -> Iterator[ToWrite]:
    """Yield the markers that resolve letters, given as partition and offset, in order.

    ``replayed``: they were brought back.
    """
    more: list[Header] = [(REPLAYED, b"1")] if replayed else []
    for partition, of_partition in groupby(offsets, key=lambda pair: pair[0]):
        chunk: list[int] = []
        for _, offset in of_partition:
            chunk.append(offset)
            if len(chunk) >= MOST:
                yield _marker(topic, partition, chunk, because, more)
                chunk = []
        if chunk:
            yield _marker(topic, partition, chunk, because, more)


def write(writer: BatchWriter, records: Iterable[ToWrite]) -> int:
    """Write markers, and return how many. Raise UserError if not all of them were taken."""
    batch: list[ToWrite] = []
    count = 0
    for record in records:
        batch.append(record)
        if len(batch) >= _BATCH:
            count += _write(writer, batch)
            batch = []
    return count + _write(writer, batch)


def _write(writer: BatchWriter, batch: list[ToWrite]) -> int:
    for outcome in writer.write(batch):
        if outcome.refused:
            raise UserError(f"not all letters are resolved: {outcome.refused}")
    return len(batch)


def _marker(
    topic: str, partition: int, offsets: list[int], because: str, more: list[Header]
) -> ToWrite:
    named = resolves_text(topic, partition, offsets).encode()
    key = b"%s:%d-%d" % (RESOLVES.encode(), offsets[0], offsets[-1])
    why = because.encode("utf-8", "replace")
    return ToWrite(topic, partition, key, None, [(RESOLVES, named), (BECAUSE, why), *more])
