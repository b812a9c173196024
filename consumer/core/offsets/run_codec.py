"""Runs of settled positions as bytes: run lengths, then a bitmap, divided where that is shortest.

Numbers are unsigned LEB128. The data begins with how many runs are told by their lengths. A run is
two numbers: how many positions are unsettled, and how many behind them are settled; the first
begins at a base. In the bitmap, the lowest bit of the first byte is the position behind the last of
those runs; 1 is settled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: Half-open ranges of positions, ascending, apart from each other.
Runs = list[tuple[int, int]]


def write_runs(base: int, runs: Runs) -> bytes:
    """Return runs behind a base as bytes, as few as can be; there is at least one run."""
    end = runs[-1][1]
    best, number = end - base, 0  # bits
    cost = 0
    at = base
    for index, (start, stop) in enumerate(runs, 1):
        cost += 8 * (_size(start - at) + _size(stop - start))
        at = stop
        if cost + end - at < best:
            best, number = cost + end - at, index
    data = bytearray()
    _put(data, number)
    at = base
    for start, stop in runs[:number]:
        _put(data, start - at)
        _put(data, stop - start)
        at = stop
    bits = 0
    for start, stop in runs[number:]:
        bits |= ((1 << (stop - start)) - 1) << (start - at)
    return bytes(data) + bits.to_bytes((end - at + 7) // 8, "little")


def read_runs(data: bytes, base: int) -> Iterator[tuple[int, int]]:
    """Yield the runs behind a base; raise ValueError if the data breaks off."""
    numbers = _numbers(data)
    count, place = next(numbers)
    at = base
    for _ in range(count):
        unsettled, _ = next(numbers)
        settled, place = next(numbers)
        yield at + unsettled, at + unsettled + settled
        at += unsettled + settled
    bits = bin(int.from_bytes(data[place:], "little"))[:1:-1]  # the lowest first
    for ones in re.finditer("1+", bits):
        yield at + ones.start(), at + ones.end()


def _numbers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the numbers at the beginning of ``data``, each with the place behind it.

    Raise ValueError where they break off.
    """
    number = shift = 0
    for place, byte in enumerate(data, 1):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number, place
            number = shift = 0
    raise ValueError("cut off")


def _put(data: bytearray, number: int) -> None:
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)


def _size(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)


def most_bytes(unsettled: Sequence[int], end: int) -> int:
    """Return the bytes that the data takes at most, whichever of the unsettled positions settle.

    ``end``: behind the last. Positions that are read later add a bit each.
    """
    if not unsettled:
        return 0
    # Each position before the division can stand alone: a byte for it, and a number for the run
    # behind it.
    each = 1 + _size(end - unsettled[0])
    divided = min(
        each * number + (end - position) // 8 for number, position in enumerate(unsettled)
    )
    return min(divided, each * len(unsettled)) + 1 + _size(len(unsettled))
