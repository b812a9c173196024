"""The history of a group as the broker keeps it: ``__consumer_offsets``, decoded by hand.

Formats: OffsetCommitKey/Value and GroupMetadataKey/Value of Kafka's group coordinator, and
ConsumerProtocolAssignment; for the ``consumer`` protocol ConsumerGroupMemberMetadata and
ConsumerGroupCurrentMemberAssignment. The coordinator writes those for each member by itself: each
such record is a generation here. The group reads one topic only, so the topic's id, by which they
name it, is not looked at.

A static member of the classic protocol that joins again gets a new member id, but the group keeps
the client id of the one before it. So whose it is tells the instance id, which is its slot's, and
the time: the newest life of the slot then.

The settled map in the commits' metadata is decoded here a second time, from its description alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from tests.chaos.evidence import CommitEntry, Generation, Life
from tests.support.kafka_witness import Kafka, Witnessed

TOPIC = "__consumer_offsets"


class _Reader:
    """Kafka's primitive types, big-endian, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        #: Lengths are varints, one more than they are; tagged fields end each structure.
        self.flexible = False

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


def history(
    kafka: Kafka, group: str, topic: str, lives: Sequence[Life] = ()
) -> tuple[list[CommitEntry], list[Generation]]:
    """Return every commit of the group for the topic and every generation, in the order
    of the log.
    """
    return decode(kafka.read_all(TOPIC, committed_only=False), group, topic, lives)


def decode(
    records: Iterable[Witnessed], group: str, topic: str, lives: Sequence[Life] = ()
) -> tuple[list[CommitEntry], list[Generation]]:
    """Decode records that were read; all that concerns one group is in one partition, in order."""
    commits: list[CommitEntry] = []
    generations: list[Generation] = []
    group_state = _ConsumerGroup()
    names: dict[str, str] = {}  # of static members, by member id
    for record in records:
        if record.key is None:
            continue
        key = _Reader(record.key)
        kind = key.number("h")
        if kind not in (0, 1, 2, 5, 8) or key.text() != group:
            continue
        at = record.timestamp / 1000
        if kind in (5, 8):
            group_state.take(kind, key.text(), record.value)
            if kind == 8:
                generations.append(group_state.generation(record.offset, at))
        elif record.value is None:
            continue
        elif kind == 2:
            generations.append(_generation(record, at, topic, lives, names))
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


def _generation(
    record: Witnessed, at: float, topic: str, lives: Sequence[Life], names: dict[str, str]
) -> Generation:
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
    ids: set[str] = set()
    for _ in range(members):
        member = value.text()
        ids.add(member)
        instance = value.text() if version >= 3 else ""
        client = value.text()
        if instance:
            client = names.setdefault(member, _life_of(instance, at, lives))
        value.text()  # host
        if version >= 1:
            value.number("i")  # rebalance time-out
        value.number("i")  # session time-out
        value.data()  # subscription
        for partition in _assigned(value.data(), topic):
            owners[partition] = (client, member)
        value.end()
    return Generation(record.offset, at, number, members, owners, frozenset(ids))


def _life_of(instance: str, at: float, lives: Sequence[Life]) -> str:
    """Return the newest life of a static member's slot at that time."""
    slot = int(instance.rpartition("-")[2])
    return max(
        (life for life in lives if life.slot == slot and life.began <= at),
        key=lambda life: life.began,
    ).name


class _ConsumerGroup:
    """A group of the ``consumer`` protocol, as its records tell it so far."""

    def __init__(self) -> None:
        self._clients: dict[str, str] = {}
        # the partitions of each; of one that is to give some up, those, too
        self._members: dict[str, list[int]] = {}
        self._epoch = 0

    def take(self, kind: int, member: str, data: bytes | None) -> None:
        """Take in a record about a member; without data, that it is none any more."""
        if data is None:
            if kind == 8:
                self._members.pop(member, None)
            return
        value = _Reader(data)
        if value.number("h") != 0:
            raise ValueError("a member's record is of another version")
        value.flexible = True
        if kind == 5:
            value.text()  # instance id
            value.text()  # rack
            self._clients[member] = value.text()
            return
        self._epoch = max(self._epoch, value.number("i"))
        value.number("i")  # the epoch before
        value.number("b")  # its state
        self._members[member] = [*self._partitions(value), *self._partitions(value)]

    def generation(self, place: int, at: float) -> Generation:
        """Return the group as it is now."""
        owners = {
            partition: (self._clients[member], member)
            for member, partitions in self._members.items()
            for partition in partitions
        }
        return Generation(
            place, at, self._epoch, len(self._members), owners, frozenset(self._members), "consumer"
        )

    @staticmethod
    def _partitions(value: _Reader) -> list[int]:
        found: list[int] = []
        for _ in range(value.length("i")):
            value.take(16)  # the topic's id
            found += [value.number("i") for _ in range(value.length("i"))]
            value.end()
        return found


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
