"""The decoder of the configured format, with the schema registry that it may need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from consumer.adapters.schema_registry.client import RegistryClient
from consumer.adapters.schema_registry.lookup import Found, SchemaLookup
from consumer.config.settings import Settings
from consumer.formats import Decoder, EpcisRules, SchemaId, Schemas, decoder


class EventDecoding(NamedTuple):
    """The decoder of events, and the look-up of schemas that it may need."""

    decode: Decoder
    lookup: SchemaLookup | None  #: None: no schema registry is configured


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
    if not registry.url:
        return EventDecoding(decoder(events.format, rules=epcis), None)
    schemas = Schemas(time.monotonic)

    def take_in(schema_id: SchemaId, answer: Found | str) -> None:
        if isinstance(answer, Found):
            schemas.learn(schema_id, *answer)
        else:
            schemas.refuse(schema_id, answer)
        on_looked_up(schema_id)

    client = RegistryClient(registry.url, registry.user, registry.password.get_secret_value())
    lookup = SchemaLookup(
        client,
        registry.url,
        lambda schema_id, answer: hand_over(lambda: take_in(schema_id, answer)),
    )
    return EventDecoding(decoder(events.format, schemas, epcis), lookup)
