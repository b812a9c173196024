"""The history of a group as the broker keeps it: ``__consumer_offsets``, read with kafka-python and decoded by hand.

Formats: OffsetCommitKey/Value and GroupMetadataKey/Value of Kafka's group coordinator, and ConsumerProtocolAssignment.
The settled map in the commits' metadata is decoded here a second time, from its description alone.
"""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from collections.abc import Iterable

from tests.chaos.evidence import CommitEntry, Generation
from tests.support.kafka_witness import Kafka, Witnessed

TOPIC = "__consumer_offsets"


class _Reader:
    """Kafka's primitive types, big-endian, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.flexible = False  #: lengths are varints, one more than they are; tagged fields end each structure

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self._data, self._at)
        self._at += struct.calcsize(f">{form}")
        return int(value)

    def take(self, length: int) -> bytes:
        found = self._data[self._at : self._at + length]
        if len(found) != length:
            raise ValueError("cut off")
        self._at += length
        return found

    def length(self, form: str) -> int:
        if not self.flexible:
            return self.number(form)
        value = shift = 0
        while (byte := self.number("B")) > 127:
            value |= (byte & 127) << shift
            shift += 7
        return (value | byte << shift) - 1

    def text(self) -> str:
        length = self.length("h")
        return "" if length < 0 else self.take(length).decode()

    def data(self) -> bytes:
        length = self.length("i")
        return b"" if length < 0 else self.take(length)

    def end(self) -> None:
        """Pass over the tagged fields at the end of a structure."""
        if self.flexible:
            for _ in range(self.length("i") + 1):
                self.length("i")
                self.take(self.length("i") + 1)


def history(kafka: Kafka, group: str, topic: str) -> tuple[list[CommitEntry], list[Generation]]:
    """Every commit of the group for the topic and every generation of the group, in the order of the log."""
    return decode(kafka.read_all(TOPIC, committed_only=False), group, topic)


def decode(records: Iterable[Witnessed], group: str, topic: str) -> tuple[list[CommitEntry], list[Generation]]:
    """The same, of records that were read. All that concerns one group is in one partition, so its order is total."""
    commits: list[CommitEntry] = []
    generations: list[Generation] = []
    for record in records:
        if record.key is None or record.value is None:
            continue
        key = _Reader(record.key)
        version = key.number("h")
        if version not in (0, 1, 2) or key.text() != group:
            continue
        at = record.timestamp / 1000
        if version == 2:
            generations.append(_generation(record, at, topic))
        elif key.text() == topic:
            commits.append(_commit(record, at, key.number("i")))
    return commits, generations


def _commit(record: Witnessed, at: float, partition: int) -> CommitEntry:
    value = _Reader(record.value or b"")
    version = _version(value, "a commit")
    offset = value.number("q")
    if version >= 3:
        value.number("i")  # leader epoch
    return CommitEntry(record.offset, at, partition, offset, value.text().rstrip("\0"))


def _generation(record: Witnessed, at: float, topic: str) -> Generation:
    value = _Reader(record.value or b"")
    version = _version(value, "group metadata")
    value.text()  # protocol type
    number = value.number("i")
    value.text()  # protocol
    value.text()  # leader
    if version >= 2:
        value.number("q")  # since when it is in this state
    members = value.length("i")
    owners: dict[int, tuple[str, str]] = {}
    for _ in range(members):
        member = value.text()
        if version >= 3:
            value.text()  # static id
        client = value.text()
        value.text()  # host
        if version >= 1:
            value.number("i")  # rebalance time-out
        value.number("i")  # session time-out
        value.data()  # subscription
        for partition in _assigned(value.data(), topic):
            owners[partition] = (client, member)
        value.end()
    return Generation(record.offset, at, number, members, owners)


def _version(value: _Reader, what: str) -> int:
    version = value.number("h")
    if not 0 <= version <= 4:
        raise ValueError(f"{what} of version {version}")
    value.flexible = version == 4
    return version


def _assigned(assignment: bytes, topic: str) -> list[int]:
    if not assignment:
        return []
    value = _Reader(assignment)
    value.number("h")
    found: list[int] = []
    for _ in range(value.number("i")):
        name = value.text()
        partitions = [value.number("i") for _ in range(value.number("i"))]
        if name == topic:
            found += partitions
    return found


@functools.lru_cache(maxsize=4096)
def settled_beyond(commit: CommitEntry) -> list[tuple[int, int]]:
    """What the commit's settled map names, as half-open ranges; nothing for a map that cannot be trusted.

    ``v1 PARTITION BASE DATA CHECKSUM``, or ``v2`` with three words about the log before DATA (``-``: none): base64 of
    LEB128 numbers (a count of runs; for each its unsettled, then its settled positions), and of a bitmap from there on,
    lowest bit first.
    """
    parts = commit.metadata.split(" ")
    whole = commit.metadata.rpartition(" ")[0]
    if (
        (parts[0], len(parts)) not in (("v1", 5), ("v2", 8))
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


def names(commit: CommitEntry, offset: int) -> bool:
    """Whether this commit says that the record at ``offset`` is settled."""
    if offset < commit.offset:
        return True
    return bool(commit.metadata) and any(begin <= offset < end for begin, end in settled_beyond(commit))
