"""Provide what makers of records share: parameters, ids, the time, the check of keys."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consumer.core.model import InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.core.rows.validation import quoted
from consumer.formats.encode import Encoder, encoder
from consumer.formats.epcis_rules import EpcisRules
from consumer.formats.scan import ScanDecoder
from consumer.publish.damage import refuse_invisible
from consumer.publish.header import Wanted

#: The rows of a check belong to no partition.
RECORD = Record(Partition("events", 0, 0, None), 0, None, 0)


@dataclass(frozen=True, slots=True)
class Making:
    """The parameters of the events that are made."""

    format: str
    configured_key: str  #: the data key that the consumer takes for events that name none
    data_key: str  #: the data key of lines that name none
    date_fields: Collection[str]
    source: str  #: the events' member ``source``
    order_by: str = ""  #: the field that is the record's key; empty: the code itself
    epcis: EpcisRules = field(default_factory=EpcisRules)  #: what names of EPCIS mean
    scans: ScanDecoder | None = None  #: reads scans; None: another format is published
    topic: str = ""  #: where to; fields of scans go by it
    known: Collection[str] = ()  #: fields that mean something to the consumer
    constants: Mapping[str, str] = field(default_factory=dict)  #: fields of every line of a table

    def wanted(self) -> Wanted:
        """Return what the header of a table must have."""
        return Wanted(self.data_key, self.order_by, self.known, self.date_fields, self.constants)

    def rules(self) -> RowMaker:
        """Return the consumer's rules."""
        return RowMaker(self.data_key, self.date_fields)

    def encode(self) -> Encoder:
        """Return the encoder: from the members of an event to the bytes of a record."""
        return encoder(self.format, self.configured_key)


def event_ids() -> str:
    """Return the prefix of this run's event ids; the line's number follows."""
    return f"{secrets.token_hex(8)}-"


class Clock:
    """The time as RFC 3339 text, up to a tenth of a second old.

    To format it for each event would take half as long again as the event.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._text = ""

    def __call__(self) -> str:
        now = time.time()
        if now >= self._until:
            self._until = now + 0.1
            self._text = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        return self._text


def order_key(row: Row, order_by: str) -> str:
    key = row.item.get(order_by)
    if not key:
        message = f"{quoted(order_by)} is missing or empty, which is to be the record's key (--key)"
        raise InvalidEvent("key_missing", message, order_by)
    return key


def first_row(rows: list[Row]) -> Row:
    """Return the row that gives a record its key. Raise InvalidEvent if any row is refused."""
    for row in rows:
        if row.rejection is not None:
            raise InvalidEvent(row.rejection.reason, row.rejection.message, row.rejection.field)
        if row.value and row.data_key:
            refuse_invisible(row.value, row.data_key)
    if not rows:
        raise InvalidEvent(
            "invalid_event",
            "by the rules of epcis.steps it sets nothing: the consumer would skip it",
        )
    return rows[0]
