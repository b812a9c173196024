"""The decoder of the configured format, with the schema registry that it may need.

And the rows of single records, for the commands that look at them.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Message

from consumer.config.settings import Settings
from consumer.core.model import Event, InvalidEvent, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import (
    Decoder,
    EpcisRules,
    NeedsSchema,
    ScanDecoder,
    ScanRules,
    SchemaId,
    Schemas,
    decoder,
)
from consumer.loop.intake import Intake

if TYPE_CHECKING:
    from consumer.adapters.schema_registry.lookup import Found, SchemaLookup

#: How long the registry may take for a schema.
SCHEMA_SECONDS = 15.0


class EventDecoding(NamedTuple):
    """The decoder of events, and the look-up of schemas that it may need."""

    decode: Decoder
    lookup: SchemaLookup | None  #: None: no schema registry is configured


def scan_decoder(settings: Settings) -> ScanDecoder:
    """Return the decoder of scans."""
    return ScanDecoder(ScanRules(settings.events.data_key, **settings.scan.model_dump()))


def event_decoding(
    settings: Settings,
    hand_over: Callable[[Callable[[], None]], None],
    on_looked_up: Callable[[SchemaId], None],
) -> EventDecoding:
    """Return the decoder; once a schema was looked up, it knows it.

    ``hand_over`` has the thread that decodes do something; ``on_looked_up`` is called there with
    the id of a schema whose look-up has ended.
    """
    events, registry = settings.events, settings.schema_registry
    epcis = EpcisRules(events.logistic_units, **settings.epcis.model_dump())
    if events.format == "scan":
        return EventDecoding(scan_decoder(settings), None)
    if not registry.url:
        return EventDecoding(decoder(events.format, rules=epcis), None)
    # Here, as an HTTP client takes 6 MiB that not everybody needs.
    from consumer.adapters.schema_registry import lookup as looking
    from consumer.adapters.schema_registry.client import RegistryClient

    schemas = Schemas(time.monotonic)

    def take_in(schema_id: SchemaId, answer: Found | str) -> None:
        if isinstance(answer, looking.Found):
            schemas.learn(schema_id, *answer)
        else:
            schemas.refuse(schema_id, answer)
        on_looked_up(schema_id)

    client = RegistryClient(registry.url, registry.user, registry.password.get_secret_value())
    lookup = looking.SchemaLookup(
        client,
        registry.url,
        lambda schema_id, answer: hand_over(lambda: take_in(schema_id, answer)),
    )
    return EventDecoding(decoder(events.format, schemas, epcis), lookup)


class EventReader:
    """Decodes single values as the consumer would; waits for schemas."""

    def __init__(self, settings: Settings) -> None:
        self._looked_up: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._decode, self._lookup = event_decoding(settings, self._looked_up.put, lambda _: None)
        self._away: set[SchemaId] = set()  # schemas that the registry did not give

    def event(self, raw: bytes) -> Event | InvalidEvent:
        """Return the event of a value, or what is wrong with it."""
        asked = False
        while True:
            try:
                return self._decode(raw)
            except InvalidEvent as bad:
                return bad
            except NeedsSchema as needs:
                number = needs.schema_id
                if asked or number in self._away or not self._answered(number):
                    self._away.add(number)  # others of it do not wait for it, too
                    message = f"the schema registry does not give schema {number}"
                    return InvalidEvent("undecodable", message)
                asked = True

    def _answered(self, schema_id: SchemaId) -> bool:
        """Ask for a schema; return whether there was an answer in time."""
        if self._lookup is None:
            return False
        self._lookup.ask(schema_id)
        try:
            self._looked_up.get(timeout=SCHEMA_SECONDS)()
        except queue.Empty:
            return False
        return True

    def close(self) -> None:
        """Look no schema up any more."""
        if self._lookup is not None:
            self._lookup.close()


class RowReader:
    """Makes the rows of a record as the consumer would; waits for schemas.

    For commands that look at what is in a topic.
    """

    def __init__(self, settings: Settings) -> None:
        events = settings.events
        self._looked_up: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        decode, self._lookup = event_decoding(
            settings, self._looked_up.put, lambda schema_id: self._intake.on_looked_up(schema_id)
        )
        maker = RowMaker(
            events.data_key, date_fields=events.date_fields, logistic_units=events.logistic_units
        )
        self._intake = Intake(decode, maker, None if self._lookup is None else self._lookup.ask)

    def rows(self, message: Message) -> list[Row] | None:
        """Return its rows; None if the registry does not give a schema that it takes."""
        partition = Partition(
            message.topic() or "", message.partition() or 0, message.offset() or 0, None
        )
        _, rows, _ = self._intake.take(partition, [message], 0.0)
        while partition in self._intake.waiting:
            try:
                take_in = self._looked_up.get(timeout=SCHEMA_SECONDS)
            except queue.Empty:
                self._intake.forget([partition])
                return None
            take_in()
            rows = self._intake.retry(partition, 0.0)[1]
        return rows

    def close(self) -> None:
        """Look no schema up any more."""
        if self._lookup is not None:
            self._lookup.close()
