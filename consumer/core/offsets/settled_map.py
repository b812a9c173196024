"""The settled map: which positions beyond the committed offset are settled, written into the
commit's metadata.

A commit names one offset, the watermark. What is settled beyond it would be read and sent again
after a restart; the map says what to skip. It is worth nothing unless it is certain, so it names
the partition and the offset it belongs to and carries a checksum: a map that stands at another
offset (tools that replicate or reset offsets carry the metadata along), of another version, or
damaged is no map at all.

A map is about the log that was read, and an offset alone does not name one: a topic that was
deleted and made anew has the same name and offsets, and so has a copy in another cluster. So a
commit also names the log it is of (``Origin``), as far as the brokers tell; and when the group
began the topic, so that it is known of a partition without a commit whether it was there then. When
a copy that lagged takes over, even the same log has other records at the old offsets: these are of
a later leader, and a commit names the epoch of the latest leader of which a record was read. So a
record of a later one is not what the map names, and nor is anything behind it.

Text, ASCII, one line: ``v2 PARTITION BASE TOPIC CLUSTER BEGAN DATA CHECKSUM``, parted by single
spaces; a dash where nothing is known, or nothing beyond the offset is settled. TOPIC is the topic's
id, CLUSTER a checksum of the cluster's, with a slash and the leader's epoch behind it, if that is
known; BEGAN is milliseconds since 1970, a slash, and how many partitions the topic had. Without an
origin, it is ``v1 PARTITION BASE DATA CHECKSUM``. A number may stand before DATA, which only makes
a commit another one than an earlier one that says the same (``numbered``). DATA is base64 without
padding: a number of runs, the runs, and a bitmap of what lies behind them, whichever division is
shortest. Numbers are unsigned LEB128. A run is two of them: how many positions are unsettled, and
how many behind them are settled; the first begins at BASE. In the bitmap, the lowest bit of the
first byte is the position behind the last run; 1 is settled. So what has been stuck for long, few
positions far apart, costs a run each, and what is at work now, where nearly every second position
may be settled, costs a bit each.

Positions that hold no record (control records, compaction) count as settled, so that they part no
runs.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

#: Without an origin, and with one.
VERSION, VERSION_WITH_ORIGIN = "v1", "v2"
#: The most that a map takes beside its data: version, partition, base, origin, checksum, spaces.
HEADER = 121
UNKNOWN = "-"
NO_EPOCH = -1

#: Half-open ranges of positions, ascending, apart from each other.
Runs = list[tuple[int, int]]


class MapError(ValueError):
    """A text that is no map of this commit; the message says why."""


class Began(NamedTuple):
    """When the group began to read a topic, and how many partitions it had then."""

    at: int  #: milliseconds since 1970
    partitions: int


class Origin(NamedTuple):
    """Which log a commit is of, as far as it is known."""

    topic_id: str = UNKNOWN
    cluster: str = UNKNOWN  #: a checksum of the cluster's id
    began: Began | None = None
    epoch: int = NO_EPOCH  #: of the latest leader of which a record was read


NOWHERE = Origin()


def cluster_name(cluster_id: str | None) -> str:
    """How an origin names a cluster; ids may be of any length and kind."""
    return f"{zlib.crc32(cluster_id.encode()):08x}" if cluster_id else UNKNOWN


class SettledMap:
    """Positions that are settled, as half-open ranges; ``in`` asks for one."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in runs:
            self._starts.append(start)
            self._ends.append(end)

    def __contains__(self, position: int) -> bool:
        index = bisect_right(self._starts, position) - 1
        return index >= 0 and position < self._ends[index]

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def end(self) -> int:
        """Behind the last settled position; 0 for an empty map."""
        return self._ends[-1] if self._ends else 0

    def beyond(self, position: int) -> Runs:
        """What is settled from this position on."""
        index = bisect_right(self._ends, position)
        runs = list(zip(self._starts[index:], self._ends[index:], strict=True))
        if runs and runs[0][0] < position:
            runs[0] = (position, runs[0][1])
        return runs

    def until(self, end: int) -> SettledMap:
        """Without what lies at this position and behind it."""
        return SettledMap(
            (start, min(after, end)) for start, after in self.beyond(0) if start < end
        )

    @property
    def count(self) -> int:
        """How many positions are settled."""
        return sum(self._ends) - sum(self._starts)


NOTHING = SettledMap()


def encode(partition: int, base: int, runs: Runs, room: int, origin: Origin = NOWHERE) -> str:
    """The map of a commit at ``base``, in at most ``room`` characters (I7).

    Empty if there is no room, or nothing beyond it is settled and nothing is known of its origin.
    ``runs`` lie behind ``base``. Those that find no room, the last ones, are left out: they will be
    sent again.
    """
    text = _text(partition, base, runs, origin)
    while len(text) > room:
        if not runs:
            return ""
        runs = runs[: len(runs) * room // len(text)]
        text = _text(partition, base, runs, origin)
    return text


def numbered(text: str, partition: int, base: int, number: int) -> str:
    """Return the metadata of a commit with a number in it, so that its answer cannot be taken for
    an equal one's.
    """
    *origin, data = content(text)
    whole = " ".join([VERSION_WITH_ORIGIN, str(partition), str(base), *origin, str(number), data])
    return f"{whole} {zlib.crc32(whole.encode()):08x}"


def content(text: str) -> list[str]:
    """Return what metadata says beside its place and its number.

    Three words for the origin, and the data.
    """
    parts = text.split(" ")
    if parts[0] == VERSION_WITH_ORIGIN and len(parts) >= 8:
        return [*parts[3:6], parts[-2]]
    return [
        UNKNOWN,
        UNKNOWN,
        UNKNOWN,
        parts[3] if parts[0] == VERSION and len(parts) == 5 else text or UNKNOWN,
    ]


def decode(text: str, partition: int, base: int) -> SettledMap:
    """The map in the metadata of a commit of ``partition`` at ``base`` (I1).

    Raises MapError if it cannot be trusted.

    Whether it is of the log that is there now is for the caller to find out, by its origin.
    """
    if not text:
        return NOTHING
    parts = _parts(text)
    if parts[1:3] != [str(partition), str(base)]:
        raise MapError(f"it was made for partition {parts[1]} at offset {parts[2]}")
    if parts[-2] == UNKNOWN:
        return NOTHING
    try:
        data = base64.b64decode(parts[-2] + "=" * (-len(parts[-2]) % 4), validate=True)
        return SettledMap(_runs(data, base))
    except (binascii.Error, ValueError) as error:
        raise MapError("it is damaged") from error


def origin_of(text: str) -> Origin:
    """The origin that the metadata of a commit names, at whatever offset it stands.

    NOWHERE if it names none.
    """
    try:
        parts = _parts(text)
        if parts[0] != VERSION_WITH_ORIGIN:
            return NOWHERE
        at, _, partitions = parts[5].partition("/")
        cluster, _, epoch = parts[4].partition("/")
        began = Began(int(at), int(partitions)) if partitions else None
        return Origin(parts[3], cluster, began, int(epoch) if epoch else NO_EPOCH)
    except ValueError:
        return NOWHERE


def _parts(text: str) -> list[str]:
    """The words of a map of this program that is as it was written; raises MapError."""
    parts = text.split(" ")
    if len(parts) not in {VERSION: (5,), VERSION_WITH_ORIGIN: (8, 9)}.get(parts[0], ()):
        raise MapError("it is not of this program, or of another version of it")
    whole, _, checksum = text.rpartition(" ")
    if f"{zlib.crc32(whole.encode()):08x}" != checksum:
        raise MapError("it is damaged")
    return parts


def most_bytes(unsettled: Sequence[int], end: int) -> int:
    """Bytes of data that the map takes at most, whichever of the unsettled positions settle.

    ``end``: behind the last.

    Positions read later add a bit each.
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


def characters(data: int) -> int:
    """Characters of a map with so many bytes of data."""
    return HEADER + (data * 4 + 2) // 3


def _text(partition: int, base: int, runs: Runs, origin: Origin) -> str:
    if not runs and origin == NOWHERE:
        return ""
    data = base64.b64encode(_data(base, runs)).decode().rstrip("=") if runs else UNKNOWN
    if origin == NOWHERE:
        text = f"{VERSION} {partition} {base} {data}"
    else:
        began = UNKNOWN if origin.began is None else f"{origin.began.at}/{origin.began.partitions}"
        cluster = origin.cluster if origin.epoch == NO_EPOCH else f"{origin.cluster}/{origin.epoch}"
        text = (
            f"{VERSION_WITH_ORIGIN} {partition} {base} {origin.topic_id} {cluster} {began} {data}"
        )
    return f"{text} {zlib.crc32(text.encode()):08x}"


def _data(base: int, runs: Runs) -> bytes:
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


def _runs(data: bytes, base: int) -> Iterator[tuple[int, int]]:
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
    """The numbers at the beginning of ``data``, each with the place behind it.

    ValueError where they break off.
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
