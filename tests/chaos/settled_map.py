"""A second reader of the settled map in a commit's metadata, from its description alone."""

from __future__ import annotations

import base64
import functools
import zlib
from collections.abc import Iterable

from tests.chaos.evidence import CommitEntry


@functools.lru_cache(maxsize=4096)
def settled_beyond(commit: CommitEntry) -> list[tuple[int, int]]:
    """Return what the commit's settled map names, as half-open ranges.

    There are none for a map that cannot be trusted. It is ``v1 PARTITION BASE DATA CHECKSUM``, or
    ``v2`` with three words about the log before DATA, which may be ``-``. DATA is base64 of LEB128
    numbers (a count of runs; for each its unsettled, then its settled positions), and of a bitmap
    from there on, lowest bit first.
    """
    parts = commit.metadata.split(" ")
    whole = commit.metadata.rpartition(" ")[0]
    if (
        (parts[0], len(parts)) not in (("v1", 5), ("v2", 8), ("v2", 9))
        or parts[1:3] != [str(commit.partition), str(commit.offset)]
        or int(parts[-1], 16) != zlib.crc32(whole.encode())
        or parts[-2] == "-"
    ):
        return []
    data = base64.b64decode(parts[-2] + "==")
    at = commit.offset
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    found: list[tuple[int, int]] = []
    for _ in range(number()):
        at += number()
        length = number()
        found.append((at, at + length))
        at += length
    for byte in data[place:]:
        for bit in range(8):
            if byte >> bit & 1:
                found.append((at, at + 1))
            at += 1
    return found


@functools.lru_cache(maxsize=4096)
def settled_set(commit: CommitEntry) -> frozenset[int]:
    """Return what the map names as single offsets."""
    if not commit.metadata:
        return frozenset()
    return frozenset(
        offset for begin, end in settled_beyond(commit) for offset in range(begin, end)
    )


def names(commit: CommitEntry, offset: int) -> bool:
    """Return whether this commit says that the record at ``offset`` is settled."""
    return offset < commit.offset or offset in settled_set(commit)


def newly_named(before: CommitEntry | None, commit: CommitEntry) -> Iterable[int]:
    """Return the offsets that this commit says are settled, and the one before it did not."""
    if before is None:
        return {*range(commit.offset), *settled_set(commit)}
    return {*range(before.offset, commit.offset), *settled_set(commit)} - settled_set(before)
