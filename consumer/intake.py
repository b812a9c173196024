"""From the client's messages to records and rows: decode, make rows, keep what a dead letter needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from consumer.core.model import BadEvent, Event, Record, Rejection, Row
from consumer.core.offsets import Partition
from consumer.core.rows import RowMaker
from consumer.core.settled_map import NOTHING
from consumer.formats import NeedsSchema


class Stash:
    """The records of one partition from the first on that cannot be decoded before its schema was looked up."""

    __slots__ = ("records", "schema_id", "since")

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.schema_id = -1  #: the schema that the first record waits for
        self.since = 0.0  #: how long for, on the owner's clock


class Intake:
    """Turns what was read into what the core takes in.

    Whoever reads goes by ``waiting``: a partition in it need not be read on. What is read all the same is kept behind
    the rest, so that nothing is passed. ``ask``: asks for a schema by its id, without waiting; None: there is no
    schema registry.
    """

    def __init__(
        self, decode: Callable[[bytes], Event], maker: RowMaker, ask: Callable[[int], None] | None = None
    ) -> None:
        self._decode = decode
        self._maker = maker
        self._ask = ask
        self._asked: set[int] = set()
        self.waiting: dict[Partition, Stash] = {}  #: partitions whose next record waits for a schema

    def take(self, partition: Partition, messages: Sequence[Any], now: float) -> tuple[list[Record], list[Row], int]:
        """The records and rows of one partition's messages, in order, and the offset where reading goes on.

        A tombstone (no value) is a record without rows: it is skipped; so is what was settled before. What cannot be
        read becomes one row that carries its rejection. What cannot be read yet is a record with one open row that is
        not there: ``retry`` gives its rows.
        """
        records: list[Record] = []
        rows: list[Row] = []
        offset = partition.position - 1
        decode, make = self._decode, self._maker.rows
        stash = self.waiting.get(partition)
        # Not by the position: the end of the partition may be told together with its last records, and moves it.
        skips = partition.skips if messages and messages[0].offset() < partition.skips.end else NOTHING
        for message in messages:
            value = message.value()
            offset = message.offset()
            if value is None or (skips and offset in skips):
                records.append(Record(partition, offset, None, 0))
                continue
            record = Record(partition, offset, message, len(value), message.timestamp()[1])
            records.append(record)
            made: list[Row] = []
            if stash is None:
                try:
                    made = make(decode(value), record)
                except BadEvent as bad:
                    made = [_refused(record, bad)]
                except NeedsSchema as needs:
                    stash = self.waiting[partition] = Stash()
                    self._await(stash, needs.schema_id, now)
            if stash is None:
                record.open = len(made)
                rows += made
            else:
                record.open = 1
                stash.records.append(record)
        return records, rows, offset + 1

    def answered(self, schema_id: int) -> None:
        """The look-up of a schema has ended: it may be asked for anew."""
        self._asked.discard(schema_id)

    def retry(self, partition: Partition, now: float) -> tuple[int, list[Row]]:
        """Of a partition in ``waiting``: how many more records can be decoded now, and their rows, in order."""
        stash = self.waiting[partition]
        rows: list[Row] = []
        count = 0
        while stash.records:
            record = stash.records[0]
            try:
                made = self._maker.rows(self._decode(record.raw.value()), record)
            except BadEvent as bad:
                made = [_refused(record, bad)]
            except NeedsSchema as needs:
                if count or needs.schema_id not in self._asked:
                    self._await(stash, needs.schema_id, now)
                return count, rows
            record.open = len(made)
            rows += made
            stash.records.popleft()
            count += 1
        del self.waiting[partition]
        return count, rows

    def forget(self, partitions: Collection[Partition]) -> None:
        """These partitions go: nothing more of them is decoded."""
        for partition in partitions:
            self.waiting.pop(partition, None)

    def _await(self, stash: Stash, schema_id: int, now: float) -> None:
        stash.schema_id = schema_id
        stash.since = now
        if schema_id not in self._asked and self._ask is not None:
            self._asked.add(schema_id)
            self._ask(schema_id)


def _refused(record: Record, bad: BadEvent) -> Row:
    stage = "decode" if bad.reason == "undecodable" else "validate"
    why = Rejection(bad.reason, bad.message, bad.field, stage)
    return Row(record, None, None, {}, (), 0, rejection=why)
