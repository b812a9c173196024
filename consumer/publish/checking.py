"""Make a record of each line, by the rules that the consumer applies to it later.

A line that the consumer would dead-letter raises InvalidEvent, with the reason of the dead letter.
"""

from __future__ import annotations

import time
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent, Row
from consumer.errors import UserError
from consumer.formats.cloudevents import is_cloud_event
from consumer.formats.epcis import epcis_reader
from consumer.formats.epcis_xml import xml_decoder
from consumer.formats.jsonformat import json_decoder, read_object
from consumer.formats.scan import ScanDecoder
from consumer.formats.scan_rules import Origin
from consumer.publish.doubts import PADDED, Warn
from consumer.publish.making import RECORD, Clock, Making, event_ids, first_row, order_key


def _no_epcis(form: str) -> str:
    return (
        f"an event of EPCIS, of which none is made in the format {form}; "
        'publish it with events.format = "epcis" or "auto"'
    )


class JsonEvents:
    """Makes an event of each line of JSON: an envelope, flat, EPCIS, or a CloudEvent around one.

    A line that is an event of the configured format is published as it stands, byte for byte.
    Another one is converted, unless it is EPCIS. ``warn``: called with what is doubtful.
    """

    def __init__(self, making: Making, warn: Warn) -> None:
        self._making = making
        self._warn = warn
        self._decode = json_decoder(epcis_reader(making.epcis), xml_decoder(making.epcis))
        self._rows = making.rules().rows
        self._encode = making.encode()
        self._ids = event_ids()
        self._now = Clock()
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
        row = first_row(self._rows(event, RECORD))
        order_by = self._making.order_by
        key = order_key(row, order_by) if order_by else str(row.value)
        if row.value is not None and row.value != row.value.strip():
            self._warn(line, PADDED)
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

    ``warn``: called with what is doubtful. Raises UserError if the consumer would read another
    format.
    """

    def __init__(self, making: Making, warn: Warn) -> None:
        if making.format not in ("epcis", "auto"):
            raise UserError(_no_epcis(making.format))
        self._order_by = making.order_by
        self._warn = warn
        self._decode = xml_decoder(making.epcis)
        self._rows = making.rules().rows

    def make(self, number: int, document: bytes) -> tuple[str, bytes]:
        """Return the record's key and value. Raise InvalidEvent."""
        row = first_row(self._rows(self._decode(document), RECORD))
        key = order_key(row, self._order_by) if self._order_by else str(row.value)
        if row.value is not None and row.value != row.value.strip():
            self._warn(number, PADDED)
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
        row = first_row(self._rows(event, RECORD))
        return (order_key(row, self._order_by) if self._order_by else str(row.value)), text
