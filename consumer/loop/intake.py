"""Make records and rows of the client's messages; keep those that cannot be decoded yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any

from consumer.core.model import Event, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker, refused_row
from consumer.formats import SCHEMA_HEADERS, NeedsSchema, Origin, ScanDecoder, SchemaId, framed

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
        #: The schema that the first record waits for; None: it waits for room.
        self.schema_id: SchemaId | None = None
        self.since = 0.0  #: since when it waits for a schema, on the owner's clock


class Intake:
    """Turns what was read into what the core takes in.

    Whoever reads goes by ``waiting``: a partition in it need not be read on. What is read all the
    same is queued behind what waits, so that nothing is passed. ``look_up``: begins to look a
    schema up by its id, without waiting; None: there is no schema registry.

    A record of a few bytes a row can make thousands of rows, and hundreds of such records can be
    read at once. So rows are made while there is room for them; the record that takes the last of
    it is taken in whole.
    """

    def __init__(
        self,
        decode: Callable[[bytes], Event],
        maker: RowMaker,
        look_up: Callable[[SchemaId], None] | None = None,
    ) -> None:
        self._decode = decode
        self._scans = decode if isinstance(decode, ScanDecoder) else None
        self._maker = maker
        self._look_up = look_up
        self._looking_up: set[SchemaId] = set()
        #: Partitions whose next record waits for a schema, or for room.
        self.waiting: dict[Partition, PendingRecords] = {}

    def take(
        self, partition: Partition, messages: Sequence[Any], now: float, room: float = inf
    ) -> tuple[list[Record], list[Row], int]:
        """Return records and rows of a partition's messages, and where to read on (I5, I6, I7).

        They are in order. A tombstone (no value) is a record without rows: it is skipped; so is
        what was settled before. What cannot be read becomes one row that carries its rejection.
        What cannot be read yet is a record with one open row that is not there: ``retry`` gives its
        rows. ``room``: for so many rows.
        """
        records: list[Record] = []
        rows: list[Row] = []
        offset = partition.position - 1
        decode, make, plain = self._decode, self._maker.rows, self._scans is None
        pending = self.waiting.get(partition)
        if pending is None and room <= 0:
            pending = self.waiting[partition] = PendingRecords()
        # By the messages, not by the position: the partition's end may have come with them, and be
        # beyond them.
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
            # Its rows hold in text what the value holds in bytes.
            beside, header = _beside(message)
            beside += len(value)
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
            if pending is None:
                try:
                    event = decode(value) if plain and header is None else self._event(message)
                    made = make(event, record)
                except InvalidEvent as bad:
                    made = [refused_row(record, bad)]
                except NeedsSchema as needs:
                    pending = self.waiting[partition] = PendingRecords()
                    self._await(pending, needs.schema_id, now)
            if pending is None:
                count = record.open = len(made)
                rows += made
                if count > 1 and len(rows) >= room:
                    pending = self.waiting[partition] = PendingRecords()
            else:
                record.open = 1
                pending.records.append(record)
        if pending is not None and not pending.records:
            del self.waiting[partition]
        if messages:  # the last one's leader is the latest
            partition.led(offset, messages[-1].leader_epoch())
        return records, rows, offset + 1

    def on_looked_up(self, schema_id: SchemaId) -> None:
        """Take in that the look-up of a schema has ended: it may be looked up anew."""
        self._looking_up.discard(schema_id)

    def awaits_schema(self, partition: Partition) -> bool:
        """Return whether the partition's next record waits for a schema, and not for room."""
        pending = self.waiting.get(partition)
        return pending is not None and pending.schema_id is not None

    def short_of_room(self) -> list[tuple[Partition, int]]:
        """Return the partitions whose next record waits for room alone, and how many wait there."""
        return [
            (partition, len(pending.records))
            for partition, pending in self.waiting.items()
            if pending.schema_id is None
        ]

    def retry(
        self, partition: Partition, now: float, room: float = inf
    ) -> tuple[list[Record], list[Row]]:
        """Return what of a partition in ``waiting`` can be decoded now: records and rows (I2).

        They are in order.
        """
        pending = self.waiting[partition]
        records: list[Record] = []
        rows: list[Row] = []
        while pending.records:
            record = pending.records[0]
            if len(rows) >= room:
                pending.schema_id = None
                return records, rows
            try:
                made = self._maker.rows(self._event(record.raw), record)
            except InvalidEvent as bad:
                made = [refused_row(record, bad)]
            except NeedsSchema as needs:
                if (
                    needs.schema_id != pending.schema_id
                    or records
                    or needs.schema_id not in self._looking_up
                ):
                    self._await(pending, needs.schema_id, now)
                return records, rows
            record.open = len(made)
            rows += made
            records.append(record)
            pending.records.popleft()
        del self.waiting[partition]
        return records, rows

    def forget(self, partitions: Collection[Partition]) -> None:
        """Decode nothing more of these partitions, which go."""
        for partition in partitions:
            self.waiting.pop(partition, None)

    def _event(self, message: Any) -> Event:
        if self._scans is not None:
            return self._scans(message.value(), _origin(message))
        value, header = message.value(), _beside(message)[1]
        return self._decode(value if header is None else self._framed(value, header))

    def _framed(self, value: bytes, header: tuple[str, bytes | None]) -> bytes:
        return framed(value, *header, has_registry=self._look_up is not None)

    def _await(self, pending: PendingRecords, schema_id: SchemaId, now: float) -> None:
        pending.schema_id = schema_id
        pending.since = now
        if schema_id not in self._looking_up and self._look_up is not None:
            self._looking_up.add(schema_id)
            self._look_up(schema_id)


def _origin(message: Any) -> Origin:
    """Return where a record comes from."""
    kind, milliseconds = message.timestamp()
    try:
        headers = tuple(message.headers() or ())
    except (SystemError, UnicodeDecodeError, ValueError):
        headers = ()  # a name that is not UTF-8: the client cannot give any of them
    # Kind 0: it has no time.
    timestamp = milliseconds if kind and milliseconds >= 0 else None
    return Origin(message.topic(), timestamp, message.key(), headers)


def _beside(message: Any) -> tuple[int, tuple[str, bytes | None] | None]:
    """Return the bytes that a message takes besides its value, until its record is settled.

    And the header that names the value's schema, if there is one: the last.
    """
    size = RECORD_BYTES + len(message.key() or b"")
    found = None
    try:
        headers = message.headers()
    except (SystemError, UnicodeDecodeError, ValueError):
        # A name that is not UTF-8: the client cannot give any of them.
        return size + UNREADABLE_HEADERS, None
    for name, value in headers or ():
        size += HEADER_BYTES + len(name) + len(value or b"")
        if name in SCHEMA_HEADERS:
            found = (name, value)
    return size, found
