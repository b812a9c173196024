"""From the client's messages to records and rows.

Decode, make rows, keep what a dead letter needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any

from consumer.core.model import Event, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker, refused_row
from consumer.formats import NeedsSchema

#: What a record takes besides its value, key and headers, until it is settled: the client's
#: message, the record, a row. Measured: 870 bytes for an event of one field, and 160 of these while
#: its row is not made.
RECORD_BYTES = 1000
#: What a header takes besides its name and value. Measured: 170 bytes once the client has made it
#: readable.
HEADER_BYTES = 200
#: What is counted for headers that the client cannot give: as much as a broker's usual bound on a
#: record.
UNREADABLE_HEADERS = 1_000_000


class PendingRecords:
    """The records of one partition whose rows cannot be made yet, from the first such on."""

    __slots__ = ("records", "schema_id", "since")

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.schema_id: int | None = (
            None  #: the schema that the first record waits for; None: it waits for room
        )
        self.since = 0.0  #: since when it waits for a schema, on the owner's clock


class Intake:
    """Turns what was read into what the core takes in.

    Whoever reads goes by ``waiting``: a partition in it need not be read on. What is read all the
    same is kept behind the rest, so that nothing is passed. ``ask``: asks for a schema by its id,
    without waiting; None: there is no schema registry.

    A record of a few bytes a row can make thousands of rows, and hundreds of such records can be
    read at once. So rows are made while there is room for them; the record that takes the last of
    it is taken in whole.
    """

    def __init__(
        self,
        decode: Callable[[bytes], Event],
        maker: RowMaker,
        ask: Callable[[int], None] | None = None,
    ) -> None:
        self._decode = decode
        self._maker = maker
        self._ask = ask
        self._asked: set[int] = set()
        self.waiting: dict[
            Partition, PendingRecords
        ] = {}  #: partitions whose next record waits for a schema, or for room

    def take(
        self, partition: Partition, messages: Sequence[Any], now: float, room: float = inf
    ) -> tuple[list[Record], list[Row], int]:
        """The records and rows of one partition's messages, in order, and the offset where reading
        goes on (I5, I6, I7).

        A tombstone (no value) is a record without rows: it is skipped; so is what was settled
        before. What cannot be read becomes one row that carries its rejection. What cannot be read
        yet is a record with one open row that is not there: ``retry`` gives its rows. ``room``: for
        so many rows.
        """
        records: list[Record] = []
        rows: list[Row] = []
        offset = partition.position - 1
        decode, make = self._decode, self._maker.rows
        stash = self.waiting.get(partition)
        if stash is None and room <= 0:
            stash = self.waiting[partition] = PendingRecords()
        # By the messages, not by the position: their partition's end may have been told with them,
        # and be beyond them.
        already_settled = (
            partition.already_settled
            if messages and messages[0].offset() < partition.already_settled.end
            else None
        )
        for message in messages:
            value = message.value()
            offset = message.offset()
            if already_settled is not None:
                partition.led(offset, message.leader_epoch())
                already_settled = partition.already_settled
            if value is None or (already_settled is not None and offset in already_settled):
                records.append(Record(partition, offset, None, 0, read_at=now))
                continue
            beside = _beside(message)
            record = Record(
                partition,
                offset,
                message,
                len(value) + beside,
                message.timestamp()[1],
                now,
                beside=beside,
            )
            records.append(record)
            if stash is None:
                try:
                    made = make(decode(value), record)
                except InvalidEvent as bad:
                    made = [refused_row(record, bad)]
                except NeedsSchema as needs:
                    stash = self.waiting[partition] = PendingRecords()
                    self._await(stash, needs.schema_id, now)
            if stash is None:
                count = record.open = len(made)
                rows += made
                if count > 1 and len(rows) >= room:
                    stash = self.waiting[partition] = PendingRecords()
            else:
                record.open = 1
                stash.records.append(record)
        if stash is not None and not stash.records:
            del self.waiting[partition]
        if messages:  # the last one's leader is the latest
            partition.led(offset, messages[-1].leader_epoch())
        return records, rows, offset + 1

    def answered(self, schema_id: int) -> None:
        """The look-up of a schema has ended: it may be asked for anew."""
        self._asked.discard(schema_id)

    def short_of_room(self) -> list[tuple[Partition, int]]:
        """The partitions whose next record waits for room alone, and how many records wait there."""
        return [
            (partition, len(stash.records))
            for partition, stash in self.waiting.items()
            if stash.schema_id is None
        ]

    def retry(
        self, partition: Partition, now: float, room: float = inf
    ) -> tuple[list[Record], list[Row]]:
        """Of a partition in ``waiting`` (I2).

        The records that can be decoded now, and their rows, in order.
        """
        stash = self.waiting[partition]
        records: list[Record] = []
        rows: list[Row] = []
        while stash.records:
            record = stash.records[0]
            if len(rows) >= room:
                stash.schema_id = None
                return records, rows
            try:
                made = self._maker.rows(self._decode(record.raw.value()), record)
            except InvalidEvent as bad:
                made = [refused_row(record, bad)]
            except NeedsSchema as needs:
                if (
                    needs.schema_id != stash.schema_id
                    or records
                    or needs.schema_id not in self._asked
                ):
                    self._await(stash, needs.schema_id, now)
                return records, rows
            record.open = len(made)
            rows += made
            records.append(record)
            stash.records.popleft()
        del self.waiting[partition]
        return records, rows

    def forget(self, partitions: Collection[Partition]) -> None:
        """These partitions go: nothing more of them is decoded."""
        for partition in partitions:
            self.waiting.pop(partition, None)

    def _await(self, stash: PendingRecords, schema_id: int, now: float) -> None:
        stash.schema_id = schema_id
        stash.since = now
        if schema_id not in self._asked and self._ask is not None:
            self._asked.add(schema_id)
            self._ask(schema_id)


def _beside(message: Any) -> int:
    """Bytes that a message takes besides its value, until its record is settled."""
    size = RECORD_BYTES + len(message.key() or b"")
    try:
        headers = message.headers()
    except (SystemError, UnicodeDecodeError, ValueError):
        return (
            size + UNREADABLE_HEADERS
        )  # a name that is not UTF-8: the client cannot give any of them
    for name, value in headers or ():
        size += HEADER_BYTES + len(name) + len(value or b"")
    return size
