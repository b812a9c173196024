"""From the client's messages to records and rows: decode, make rows, keep what a dead letter needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from consumer.core.model import BadEvent, Event, Record, Rejection, Row
from consumer.core.offsets import Partition
from consumer.core.rows import RowMaker


class Intake:
    """Turns what was read into what the core takes in."""

    def __init__(self, decode: Callable[[bytes], Event], maker: RowMaker) -> None:
        self._decode = decode
        self._maker = maker

    def take(self, partition: Partition, messages: Sequence[Any]) -> tuple[list[Record], list[Row], int]:
        """The records and rows of one partition's messages, in order, and the offset where reading goes on.

        A tombstone (no value) is a record without rows: it is skipped. What cannot be read becomes one row that
        carries its rejection.
        """
        records: list[Record] = []
        rows: list[Row] = []
        decode, make = self._decode, self._maker.rows
        offset = partition.position - 1
        for message in messages:
            value = message.value()
            offset = message.offset()
            if value is None:
                records.append(Record(partition, offset, None, 0))
                continue
            record = Record(partition, offset, message, len(value))
            records.append(record)
            try:
                event = decode(value)
                made = make(event, record)
            except BadEvent as bad:
                stage = "decode" if bad.reason == "undecodable" else "validate"
                why = Rejection(bad.reason, bad.message, bad.field, stage)
                made = [Row(record, None, None, {}, (), 0, rejection=why)]
            record.open = len(made)
            rows += made
        return records, rows, offset + 1
