"""A simulated Kafka cluster: partitions, committed offsets, the dead-letter topic, outages.

Who owns which partition is the group's affair (``group``). What a client makes of it is the affair
of ``source`` and ``adapters``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol

TOPIC = "scm.events"
#: Characters of metadata that a broker takes for a partition; more fails with
#: OFFSET_METADATA_TOO_LARGE.
MAX_METADATA = 4095


class Message:
    """A record as the client gives it."""

    __slots__ = ("_epoch", "_headers", "_key", "_number", "_offset", "_timestamp", "_value")

    def __init__(
        self,
        number: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        timestamp: int,
        epoch: int = 0,
    ) -> None:
        self._number = number
        self._offset = offset
        self._key = key
        self._value = value
        self._timestamp = timestamp
        self._epoch = epoch

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self._number

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None

    def leader_epoch(self) -> int:
        return self._epoch

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp

    def error(self) -> None:
        return None


class Log(Protocol):
    """One partition as the broker holds it.

    ``begin``: its first offset; ``end``: the next one that is written.
    """

    begin: int
    end: int
    topic: str
    topic_id: int
    unseen: bool

    def read(self, position: int, count: int) -> Sequence[Message]:
        """Return at most ``count`` records from a position on."""


class ListLog:
    """A log that is written as the simulation goes; offsets may have gaps, also at its end.

    ``stride``: 2 puts an offset without a record behind each record, as the marker of a
    transaction. The records of a partition's second life (its topic was made anew, or a lagging
    copy took over) then stand at odd offsets where those of the first stand at even ones: no two
    records of a run have one offset.
    """

    def __init__(
        self, number: int, begin: int = 0, *, stride: int = 1, topic: str = TOPIC, topic_id: int = 0
    ) -> None:
        self.number = number
        self.begin = begin
        self.end = begin
        self.stride = stride
        self.topic = topic
        self.topic_id = topic_id  #: another one after the topic was made anew
        self.unseen = False  #: it was cut, and no client has fetched from it since
        self.epoch = 0  #: its leader's
        self._offsets: list[int] = []
        self._messages: list[Message] = []

    def append(self, key: bytes | None, value: bytes | None, timestamp: int, gap: int = 0) -> int:
        """Write a record, ``gap`` offsets behind the end; return its offset."""
        offset = self.end + gap
        self._offsets.append(offset)
        self._messages.append(Message(self.number, offset, key, value, timestamp, self.epoch))
        self.end = offset + self.stride
        return offset

    def pass_over(self, count: int) -> None:
        """Leave the next offsets without a record: control records, or what compaction removed."""
        self.end += count * self.stride

    def trim(self, begin: int) -> None:
        """Remove what lies before an offset, as retention does."""
        first = bisect_left(self._offsets, begin)
        del self._offsets[:first], self._messages[:first]
        self.begin = begin

    def cut(self, end: int) -> None:
        """Let a copy that lags behind take over.

        What lies from an offset on is gone, and others take its place.
        """
        first = bisect_left(self._offsets, end)
        del self._offsets[first:], self._messages[first:]
        self.end = end + 1
        self.unseen = True
        self.epoch += 1

    def read(self, position: int, count: int) -> Sequence[Message]:
        first = bisect_left(self._offsets, position)
        return self._messages[first : first + count]


class LazyLog:
    """A log of very many records, each made when it is read."""

    def __init__(
        self, number: int, count: int, value: Callable[[int], bytes], timestamp: int
    ) -> None:
        self.number = number
        self.topic = TOPIC
        self.topic_id = 0
        self.unseen = False
        self.begin = 0
        self.end = count
        self._value = value
        self._timestamp = timestamp

    def read(self, position: int, count: int) -> Sequence[Message]:
        offsets = range(position, min(position + count, self.end))
        return [
            Message(self.number, offset, None, self._value(offset), self._timestamp)
            for offset in offsets
        ]


class Broker:
    """The cluster. While it is away nothing is read, committed, looked up or written."""

    def __init__(self, logs: Sequence[Log], *, max_metadata: int = MAX_METADATA) -> None:
        self.logs = list(logs)
        self.max_metadata = max_metadata
        self.away = False
        self.committed: dict[int, tuple[int, str]] = {}  #: by partition: offset, metadata
        #: By partition: the id of the topic that a commit was made for.
        self.committed_of: dict[int, int] = {}
        self.deleted: set[int] = set()  #: partitions whose topic is not there
        self.letters_writable = True
        #: Partition, offset, reason, row.
        self.letters: list[tuple[int, int, str, dict[str, str]]] = []

    def commit(self, number: int, offset: int, metadata: str) -> str | None:
        """Take a commit of one partition; return None, or why it is refused.

        Whose topic it was made for is not checked.
        """
        if number in self.deleted:
            return "UNKNOWN_TOPIC_OR_PART"
        if len(metadata) > self.max_metadata:
            return "OFFSET_METADATA_TOO_LARGE"
        self.committed[number] = (offset, metadata)
        return None

    def delete(self, number: int, *, forgets: bool) -> None:
        """Delete the topic of a partition.

        ``forgets``: also delete what the group has committed of it, as the real one does. Offsets
        that a person restored stand, and so does what a member commits when the topic was made
        anew.
        """
        self.deleted.add(number)
        if forgets:
            self.committed.pop(number, None)
            self.committed_of.pop(number, None)

    def make_anew(self, number: int, *, stride: int = 1) -> ListLog:
        """Make a topic again: another topic under the same name.

        With ``stride`` 2, all its offsets are odd.
        """
        old = self.logs[number]
        fresh = self.logs[number] = ListLog(
            number, stride=stride, topic=old.topic, topic_id=old.topic_id + 1
        )
        fresh.end = stride - 1
        self.deleted.discard(number)
        return fresh
