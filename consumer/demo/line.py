"""The simulated packaging line: what it tells about each code, in the order in which it happens.

A code is commissioned, weighed, labelled for a market, and now and then corrected; a case is shipped. The
stations speak three formats. The record key is the code, or the case for a case and all its codes: so Kafka
keeps the order that matters.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

from confluent_kafka import Producer
from fastavro import parse_schema, schemaless_writer

from consumer.demo.evidence import Headers
from consumer.demo.factory import PRODUCTS, Code, Factory
from consumer.errors import UserError

#: A night shift in Shanghai: its date is a day ahead of UTC's.
START = datetime(2024, 5, 1, 16, 5, tzinfo=UTC)
LOCAL = timezone(timedelta(hours=8))
FLUSH_SECONDS = 30.0
MARKETS = ("cn", "de", "FR", "us", "region-asia", "")
CARRIERS = ("Blue Line", "Kühne Süd", "東方物流")

Encoder = Callable[["Happening"], bytes]


@dataclass(slots=True)
class Happening:
    """One thing that happened to a code or a case."""

    at: datetime
    key_value: str
    data: dict[str, Any]
    data_key: str = "extended_id"
    also: tuple[str, str] | None = None


@dataclass(slots=True)
class Message:
    """A record to publish."""

    at: datetime
    key: str | None
    value: bytes | None
    headers: Headers = ()


@dataclass
class Formats:
    """The three formats that the stations speak; ``schema`` is the shipped Avro schema."""

    schema: Any
    _number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.schema = parse_schema(self.schema)

    def envelope(self, event: Happening) -> bytes:
        """JSON with every member of the schema."""
        members = self._members(event) | {"occurred_at": event.at.isoformat()}
        return json.dumps(members, ensure_ascii=False, default=date.isoformat).encode()

    def flat(self, event: Happening) -> bytes:
        """JSON as the API's own upload item; only for the default data key."""
        return json.dumps({event.data_key: event.key_value} | event.data, default=date.isoformat).encode()

    def avro(self, event: Happening) -> bytes:
        """The bare Avro datum."""
        out = BytesIO()
        schemaless_writer(out, self.schema, self._members(event) | {"occurred_at": event.at})
        return out.getvalue()

    def _members(self, event: Happening) -> dict[str, Any]:
        self._number += 1
        also = dict(zip(("data_key", "key_value"), event.also, strict=True)) if event.also else None
        return {
            "event_id": f"evt-{self._number:06d}",
            "source": "line-3",
            "data_key": event.data_key,
            "key_value": event.key_value,
            "scm_data": event.data,
            "also_update": also,
        }


def shift(factory: Factory, formats: Formats, rng: random.Random) -> list[Message]:
    """Everything good that the line tells in one shift, in the order in which it happens."""
    messages: list[Message] = []
    for code in factory.codes:
        begin = START + timedelta(seconds=rng.uniform(0, 3600))
        messages += _life(code, begin, formats, rng)
    for case in factory.cases:
        begin = START + timedelta(seconds=rng.uniform(3600, 7200))
        also = ("serial_number", case) if case in factory.labelled_cases else None
        for _ in range(rng.choice((1, 1, 1, 2))):  # a shipping date that was corrected is a second event
            begin += timedelta(seconds=rng.uniform(60, 600))
            day = (begin + timedelta(days=rng.randrange(1, 30))).date()
            data = {"ship_date": day.isoformat(), "carrier": rng.choice(CARRIERS)}
            shipped = Happening(begin, case, data, "case_code", also)
            station = rng.choice((formats.envelope, formats.avro))
            messages.append(Message(begin, case, station(shipped)))
    return sorted(messages, key=lambda message: message.at)


def _life(code: Code, begin: datetime, formats: Formats, rng: random.Random) -> Iterable[Message]:
    """What happens to one code, the later the more likely to be left out."""
    key = code.case or code.extended_id
    at = begin

    def told(station: Encoder, data: dict[str, Any]) -> Message:
        nonlocal at
        at += timedelta(seconds=rng.uniform(30, 900))
        headers: Headers = (("station", station.__name__.encode()), ("batch", None)) if rng.random() < 0.1 else ()
        return Message(at, key, station(Happening(at, code.extended_id, data)), headers)

    station = rng.choice((formats.envelope, formats.avro))
    yield told(station, _commissioning(begin, rng, in_json=station == formats.envelope))
    if rng.random() < 0.8:
        weighed = {"weight_g": round(rng.uniform(48, 52), 1), "moisture": rng.choice((0.05, 2.5e-05))}
        yield told(station, weighed | {"sealed": True, "operator": None})
    if rng.random() < 0.7:
        yield told(formats.flat, _market(begin, rng))
    while rng.random() < 0.15:  # an update of what was told before
        yield told(formats.flat, _market(begin, rng))
    if rng.random() < 0.03:
        # stolen; told by the older name of activation_status
        yield told(formats.flat, {"status": 2, "blacklist_reason": 4})
    if rng.random() < 0.02:
        yield Message(at, key, None)  # a tombstone


def _commissioning(begin: datetime, rng: random.Random, *, in_json: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "activation_status": 1,
        "product": rng.choice(PRODUCTS),
        "production_date": begin.date(),
        "line": f"L{rng.randrange(1, 5)}",
    }
    if in_json and rng.random() < 0.3:  # a timestamp in a date field: its date at its own offset counts
        data["production_date"] = begin.astimezone(LOCAL).isoformat()
    if rng.random() < 0.05:
        data["status"] = "0"  # beside activation_status it says nothing
    return data


def _market(begin: datetime, rng: random.Random) -> dict[str, Any]:
    until = (begin + timedelta(days=rng.randrange(300, 900))).date()
    return {"intended_market": rng.choice(MARKETS), "after_sell_by": until, "lot": rng.randrange(10**20)}


def publish(bootstrap_servers: str, topic: str, messages: Iterable[Message]) -> int:
    """Publish in order; how many. Raises UserError when not all were acknowledged.

    The partitioner is the one of Java's producers, so that every producer puts a code on the same partition.
    """
    failures: list[str] = []
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random", "enable.idempotence": True}
    )
    count = 0
    for message in messages:
        producer.produce(
            topic,
            key=message.key,
            value=message.value,
            headers=list(message.headers),
            on_delivery=lambda error, _: failures.append(error.str()) if error else None,
        )
        producer.poll(0)
        count += 1
    unsent = producer.flush(FLUSH_SECONDS)
    if failures or unsent:
        why = failures[0] if failures else f"no answer within {FLUSH_SECONDS:g} s"
        raise UserError(f"the line could not publish {len(failures) + unsent} of {count} events: {why}")
    return count
