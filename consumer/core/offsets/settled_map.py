"""The settled map: selective acknowledgement beyond the committed offset, in a commit's metadata.

A commit names one offset, the committable one. What is settled beyond it would be read and sent
again after a restart; the map says what is already settled. It is worth nothing unless it is
certain, so it names the partition and the offset it belongs to and carries a checksum. A map that
stands at another offset (tools that replicate or reset offsets carry the metadata along), of
another version, or damaged is no map at all.

A map is about the log that was read, and an offset alone does not name one: a topic that was
deleted and made anew has the same name and offsets, and so has a copy in another cluster. So a
commit also names the log it is of (``Origin``), as far as the brokers tell; and when the group
began the topic, so that it is known of a partition without a commit whether it was there then.

When a replica that lagged becomes the leader, even the same log has other records at the old
offsets: these are of a later leader epoch. So a commit names the epoch of the latest leader of
which a record was read. A record of a later one is not what the map names, and nor is anything
behind it.

Text, ASCII, one line: ``v2 PARTITION BASE TOPIC CLUSTER BEGAN DATA CHECKSUM``, parted by single
spaces; a dash where nothing is known, or nothing beyond the offset is settled. TOPIC is the topic's
id, CLUSTER a checksum of the cluster's, with a slash and the leader's epoch behind it, if that is
known; BEGAN is milliseconds since 1970, a slash, and how many partitions the topic had. Without an
origin, it is ``v1 PARTITION BASE DATA CHECKSUM``. A number may stand before DATA, which only makes
a commit another one than an earlier one that says the same (``numbered``).

DATA is base64 without padding of the runs behind BASE (``run_codec``). What has been stuck for
long, few positions far apart, costs a run each, and what is at work now, where nearly every second
position may be settled, costs a bit each.

Positions that hold no record (control records, compaction) count as settled, so that they part no
runs.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from consumer.core.offsets.run_codec import Runs, read_runs, write_runs

#: Without an origin, and with one.
VERSION, VERSION_WITH_ORIGIN = "v1", "v2"
#: The most that a map takes beside its data: version, partition, base, origin, checksum, spaces.
HEADER = 121
UNKNOWN = "-"
#: Before every epoch, so that epochs can be compared without a question; it is never written.
NO_EPOCH = -1


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
    """Return how an origin names a cluster, whose id may be of any length and kind."""
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
        """Return the position behind the last settled one; 0 for an empty map."""
        return self._ends[-1] if self._ends else 0

    def beyond(self, position: int) -> Runs:
        """Return what is settled from this position on."""
        index = bisect_right(self._ends, position)
        runs = list(zip(self._starts[index:], self._ends[index:], strict=True))
        if runs and runs[0][0] < position:
            runs[0] = (position, runs[0][1])
        return runs

    def until(self, end: int) -> SettledMap:
        """Return the map without what lies at this position and behind it."""
        return SettledMap(
            (start, min(after, end)) for start, after in self.beyond(0) if start < end
        )

    @property
    def count(self) -> int:
        """Return how many positions are settled."""
        return sum(self._ends) - sum(self._starts)


NOTHING = SettledMap()


def encode(partition: int, base: int, runs: Runs, room: int, origin: Origin = NOWHERE) -> str:
    """Return the map of a commit at ``base``, in at most ``room`` characters (I7).

    It is empty if there is no room, or nothing beyond it is settled and nothing is known of its
    origin. ``runs`` lie behind ``base``. Those that find no room, the last ones, are left out: they
    will be sent again.
    """
    assert not runs or runs[0][0] >= base, "a run before the offset that is committed"
    text = _text(partition, base, runs, origin)
    while len(text) > room:
        if not runs:
            return ""
        runs = runs[: len(runs) * room // len(text)]
        text = _text(partition, base, runs, origin)
    return text


def numbered(text: str, partition: int, base: int, number: int) -> str:
    """Return a commit's metadata with a number in it: no other commit has the same metadata."""
    *origin, data = content(text)
    whole = " ".join([VERSION_WITH_ORIGIN, str(partition), str(base), *origin, str(number), data])
    return f"{whole} {zlib.crc32(whole.encode()):08x}"


def content(text: str) -> list[str]:
    """Return what metadata says beside its place and its number.

    That is three words for the origin, and the data.
    """
    parts = text.split(" ")
    if parts[0] == VERSION_WITH_ORIGIN and len(parts) >= 8:
        return [*parts[3:6], parts[-2]]
    data = parts[3] if parts[0] == VERSION and len(parts) == 5 else text or UNKNOWN
    return [UNKNOWN, UNKNOWN, UNKNOWN, data]


def decode(text: str, partition: int, base: int) -> SettledMap:
    """Return the map in the metadata of a commit of ``partition`` at ``base`` (I1).

    Raise MapError if it cannot be trusted. Whether it is of the log that is there now is for the
    caller to find out, by its origin.
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
        return SettledMap(read_runs(data, base))
    except (binascii.Error, ValueError) as error:
        raise MapError("it is damaged") from error


def origin_of(text: str) -> Origin:
    """Return the origin that metadata names, at whatever offset it stands; NOWHERE: it has none."""
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
    """Return the words of a map of this program; raise MapError if it is not as it was written."""
    parts = text.split(" ")
    if len(parts) not in {VERSION: (5,), VERSION_WITH_ORIGIN: (8, 9)}.get(parts[0], ()):
        raise MapError("it is not of this program, or of another version of it")
    whole, _, checksum = text.rpartition(" ")
    if f"{zlib.crc32(whole.encode()):08x}" != checksum:
        raise MapError("it is damaged")
    return parts


def characters(data: int) -> int:
    """Return the characters of a map with so many bytes of data."""
    return HEADER + (data * 4 + 2) // 3


def _text(partition: int, base: int, runs: Runs, origin: Origin) -> str:
    if not runs and origin == NOWHERE:
        return ""
    data = base64.b64encode(write_runs(base, runs)).decode().rstrip("=") if runs else UNKNOWN
    if origin == NOWHERE:
        text = f"{VERSION} {partition} {base} {data}"
    else:
        began = UNKNOWN if origin.began is None else f"{origin.began.at}/{origin.began.partitions}"
        cluster = origin.cluster if origin.epoch == NO_EPOCH else f"{origin.cluster}/{origin.epoch}"
        text = (
            f"{VERSION_WITH_ORIGIN} {partition} {base} {origin.topic_id} {cluster} {began} {data}"
        )
    return f"{text} {zlib.crc32(text.encode()):08x}"
