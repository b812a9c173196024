"""Make a record of each line, by the rules that the consumer applies to it later.

A line that the consumer would dead-letter raises InvalidEvent, with the reason of the dead letter.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.core.rows.validation import MAX_VALUE, quoted
from consumer.errors import UserError
from consumer.formats.cloudevents import is_cloud_event
from consumer.formats.encode import Encoder, encoder
from consumer.formats.epcis import epcis_reader
from consumer.formats.epcis_rules import EpcisRules
from consumer.formats.epcis_xml import xml_decoder
from consumer.formats.jsonformat import json_decoder, read_object
from consumer.formats.scan import ScanDecoder
from consumer.formats.scan_rules import Origin
from consumer.publish.damage import damage

#: The rows of a check belong to no partition.
_RECORD = Record(Partition("events", 0, 0, None), 0, None, 0)


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

    def rules(self) -> RowMaker:
        """Return the consumer's rules."""
        return RowMaker(self.data_key, self.date_fields)

    def encode(self) -> Encoder:
        """Return the encoder: from the members of an event to the bytes of a record."""
        return encoder(self.format, self.configured_key)


def _event_ids() -> str:
    """Return the prefix of this run's event ids; the line's number follows."""
    return f"{secrets.token_hex(8)}-"


class _Clock:
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


def _order_key(row: Row, order_by: str) -> str:
    key = row.item.get(order_by)
    if not key:
        message = f"{quoted(order_by)} is missing or empty, which is to be the record's key (--key)"
        raise InvalidEvent("key_missing", message, order_by)
    return key


def _first_row(rows: list[Row]) -> Row:
    """Return the row that gives a record its key. Raise InvalidEvent if any row is refused."""
    for row in rows:
        if row.rejection is not None:
            raise InvalidEvent(row.rejection.reason, row.rejection.message, row.rejection.field)
    if not rows:
        raise InvalidEvent(
            "invalid_event",
            "by the rules of epcis.steps it sets nothing: the consumer would skip it",
        )
    return rows[0]


def _no_epcis(form: str) -> str:
    return (
        f"an event of EPCIS, of which none is made in the format {form}; "
        'publish it with events.format = "epcis" or "auto"'
    )


class TableEvents:
    """Makes an event of each line of a table with these columns.

    The fields of empty cells are not sent; with ``empty_erases`` they are, and erase. ``padded``:
    called with each line whose key has white space at an end. Raises UserError if ``order_by`` is
    no column.
    """

    def __init__(
        self, making: Making, names: list[str], padded: Callable[[int], None], *, empty_erases: bool
    ) -> None:
        for name in making.constants:
            if name in names:
                raise UserError(f"--set names {quoted(name)}, which is a column of the table")
        names = [*names, *making.constants]
        self._constants = list(making.constants.values())
        if making.order_by and making.order_by not in names:
            raise UserError(
                f"the header has no column {quoted(making.order_by)}, "
                "which is to be the record's key (--key)"
            )
        self._at = names.index(making.data_key)
        self._padded = padded
        self._names = (making.data_key, *(name for name in names if name != making.data_key))
        self._source, self._order_by = making.source, making.order_by
        self._rows = making.rules().rows
        self._encode = making.encode()
        self._ids = _event_ids()
        self._now = _Clock()
        self._empty_erases = empty_erases

    def make(self, line: int, cells: list[str]) -> tuple[str, bytes]:
        """Return the record's key and value; ``cells`` is used up. Raise InvalidEvent."""
        if self._at:
            cells.insert(0, cells.pop(self._at))
        if (damaged := damage(self._names, cells)) is not None:
            raise damaged
        cells += self._constants
        data_key, value = self._names[0], cells[0]
        # The table has counted the cells; a second count takes 4 % of the whole time.
        item = dict(zip(self._names, cells))  # noqa: B905
        if "" in cells and not self._empty_erases:
            item = {data_key: value, **{name: cell for name, cell in item.items() if cell}}
        row = self._rows(Event(item, plain=max(map(len, cells)) <= MAX_VALUE), _RECORD)[0]
        if row.rejection is not None:
            raise InvalidEvent(row.rejection.reason, row.rejection.message, row.rejection.field)
        fields = row.item
        key = _order_key(row, self._order_by) if self._order_by else value
        if value != value.strip():
            self._padded(line)
        del fields[data_key]
        members = {
            "event_id": f"{self._ids}{line}",
            "occurred_at": self._now(),
            "source": self._source,
            "data_key": data_key,
            "key_value": value,
            "scm_data": fields,
        }
        return key, self._encode(members)


class JsonEvents:
    """Makes an event of each line of JSON: an envelope, flat, EPCIS, or a CloudEvent around one.

    A line that is an event of the configured format is published as it stands, byte for byte.
    Another one is converted, unless it is EPCIS. ``padded``: called with each line whose key has
    white space at an end.
    """

    def __init__(self, making: Making, padded: Callable[[int], None]) -> None:
        self._making = making
        self._padded = padded
        self._decode = json_decoder(epcis_reader(making.epcis))
        self._rows = making.rules().rows
        self._encode = making.encode()
        self._ids = _event_ids()
        self._now = _Clock()
        self._as_is = {"auto": (True, False), "json": (False,), "flat": (True,)}.get(
            making.format, ()
        )
        self._same_key = making.data_key == making.configured_key

    def make(self, line: int, text: bytes) -> tuple[str, bytes]:
        """Return the record's key and value. Raise InvalidEvent."""
        event = self._decode(text)
        is_batch = isinstance(event, EventBatch)
        if is_batch and self._making.format not in ("epcis", "auto"):
            raise InvalidEvent("invalid_event", _no_epcis(self._making.format))
        row = _first_row(self._rows(event, _RECORD))
        order_by = self._making.order_by
        key = _order_key(row, order_by) if order_by else str(row.value)
        if row.value is not None and row.value != row.value.strip():
            self._padded(line)
        if is_batch or self._stands(event, text):
            return key, text
        return key, self._encode(self._members(line, row, event, text))

    def _stands(self, event: Event, text: bytes) -> bool:
        """Return whether the consumer reads the same event from the line as it stands."""
        flat = event.key_value is None
        if flat not in self._as_is or not (self._same_key or event.data_key is not None):
            return False
        # A flat event may be one in a CloudEvent, which the format flat does not know.
        return self._making.format != "flat" or event.plain or read_object(text) == event.fields

    def _members(self, line: int, row: Row, event: Event, text: bytes) -> dict[str, Any]:
        """Return the members for another format: those of the line, with the fields to be sent."""
        also = event.also_update
        return {
            "event_id": event.event_id or f"{self._ids}{line}",
            "occurred_at": event.occurred_at or self._now(),
            "source": _source_in(text, event) or self._making.source,
            "data_key": row.data_key,
            "key_value": row.value,
            "scm_data": {name: value for name, value in row.item.items() if name != row.data_key},
            "also_update": None if also is None else {"data_key": also[0], "key_value": also[1]},
        }


def _source_in(text: bytes, event: Event) -> str | None:
    """Return the source that a line names: the event's own, else that of a CloudEvent around it."""
    around = read_object(text)
    inner = around
    if "scm_data" not in around and is_cloud_event(around):
        inner = around["data"]
        if event.key_value is None:
            inner = {}  # its members are fields
    elif event.key_value is None:
        return None
    for members in (inner, around):
        source = members.get("source")
        if type(source) is str and source:
            return source
    return None


class XmlEvents:
    """Makes a record of each event of a file of EPCIS XML: its document, byte for byte.

    ``padded``: called with each event whose key has white space at an end. Raises UserError if the
    consumer would read another format.
    """

    def __init__(self, making: Making, padded: Callable[[int], None]) -> None:
        if making.format not in ("epcis", "auto"):
            raise UserError(_no_epcis(making.format))
        self._order_by = making.order_by
        self._padded = padded
        self._decode = xml_decoder(making.epcis)
        self._rows = making.rules().rows

    def make(self, number: int, document: bytes) -> tuple[str, bytes]:
        """Return the record's key and value. Raise InvalidEvent."""
        row = _first_row(self._rows(self._decode(document), _RECORD))
        key = _order_key(row, self._order_by) if self._order_by else str(row.value)
        if row.value is not None and row.value != row.value.strip():
            self._padded(number)
        return key, document


class ScanEvents:
    """Makes a record of each line of scans: the line, byte for byte."""

    def __init__(self, making: Making, decode: ScanDecoder) -> None:
        self._order_by = making.order_by
        self._topic = making.topic
        self._decode = decode
        self._rows = making.rules().rows

    def make(self, _: int, text: bytes) -> tuple[str, bytes]:
        """Return the record's key and value. Raise InvalidEvent."""
        origin = Origin(self._topic, int(time.time() * 1000))
        event = self._decode(text, origin)
        if not self._order_by:
            # The record will have the code as its key, of which a field may be made.
            event = self._decode(text, origin._replace(key=str(event.key_value).encode()))
        row = _first_row(self._rows(event, _RECORD))
        return (_order_key(row, self._order_by) if self._order_by else str(row.value)), text
