"""The simulated packaging line: what it tells about each code, in the order in which it happens.

A code is commissioned, weighed, labelled for a market, and now and then corrected; a case is
shipped. The stations speak three formats. The record key is the code, or the case for a case and
all its codes: so Kafka keeps the order that matters.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_writer

from consumer.demo.evidence import Headers
from consumer.demo.factory import PRODUCTS, Factory, FactoryCode

#: A night shift in Shanghai: its date is a day ahead of UTC's.
START = datetime(2024, 5, 1, 16, 5, tzinfo=UTC)
LOCAL = timezone(timedelta(hours=8))
MARKETS = ("cn", "de", "FR", "us", "region-asia", "")
CARRIERS = ("Blue Line", "Kühne Süd", "東方物流")

#: Where on the line events come from, in the order in which a packet passes them.
STATIONS = (CODER, SCALE, LABELLER, GATE, DOCK, HANDHELD) = (
    "coder",
    "scale",
    "labeller",
    "gate",
    "dock",
    "handheld",
)
#: Characters of a code that are enough for a person.
SHOWN = 6

Encoder = Callable[["LineEvent"], bytes]


@dataclass(slots=True)
class LineEvent:
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
    station: str = HANDHELD
    about: str = "a misread"  #: what happened, in a few words for a person


@dataclass
class Formats:
    """The three formats that the stations speak; ``schema`` is the shipped Avro schema."""

    schema: Any
    _number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.schema = parse_schema(self.schema)

    def envelope(self, event: LineEvent) -> bytes:
        """Return JSON with every member of the schema."""
        members = self._members(event) | {"occurred_at": event.at.isoformat()}
        return json.dumps(members, ensure_ascii=False, default=date.isoformat).encode()

    def flat(self, event: LineEvent) -> bytes:
        """Return JSON as the API's own upload item; only for the default data key."""
        return json.dumps(
            {event.data_key: event.key_value} | event.data, default=date.isoformat
        ).encode()

    def avro(self, event: LineEvent) -> bytes:
        """Return the bare Avro datum."""
        out = BytesIO()
        schemaless_writer(out, self.schema, self._members(event) | {"occurred_at": event.at})
        return out.getvalue()

    def _members(self, event: LineEvent) -> dict[str, Any]:
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
    """Yield everything good that the line tells in one shift, in the order in which it happens."""
    messages: list[Message] = []
    for code in factory.codes:
        begin = START + timedelta(seconds=rng.uniform(0, 3600))
        messages += _life(code, begin, formats, rng)
    for case in factory.cases:
        begin = START + timedelta(seconds=rng.uniform(3600, 7200))
        also = ("serial_number", case) if case in factory.labelled_cases else None
        for _ in range(
            rng.choice((1, 1, 1, 2))
        ):  # a shipping date that was corrected is a second event
            begin += timedelta(seconds=rng.uniform(60, 600))
            day = (begin + timedelta(days=rng.randrange(1, 30))).date()
            data = {"ship_date": day.isoformat(), "carrier": rng.choice(CARRIERS)}
            shipped = LineEvent(begin, case, data, "case_code", also)
            encode = rng.choice((formats.envelope, formats.avro))
            about = f"{case} ships {data['ship_date']}"
            messages.append(Message(begin, case, encode(shipped), station=DOCK, about=about))
    return sorted(messages, key=lambda message: message.at)


def _life(
    code: FactoryCode, begin: datetime, formats: Formats, rng: random.Random
) -> Iterable[Message]:
    """Yield what happens to one code, the later the more likely to be left out."""
    key = code.case or code.extended_id
    at = begin

    def told(station: str, encode: Encoder, data: dict[str, Any], about: str) -> Message:
        nonlocal at
        at += timedelta(seconds=rng.uniform(30, 900))
        headers: Headers = (
            (("station", station.encode()), ("batch", None)) if rng.random() < 0.1 else ()
        )
        value = encode(LineEvent(at, code.extended_id, data))
        return Message(at, key, value, headers, station, f"{code.extended_id[:SHOWN]}.. {about}")

    def labelled() -> Message:
        data = _market(begin, rng)
        return told(LABELLER, formats.flat, data, f"for {data['intended_market'] or 'no market'}")

    encode = rng.choice((formats.envelope, formats.avro))
    data = _commissioning(begin, rng, in_json=encode == formats.envelope)
    yield told(CODER, encode, data, f"is {data['product']}")
    if rng.random() < 0.8:
        weighed = {
            "weight_g": round(rng.uniform(48, 52), 1),
            "moisture": rng.choice((0.05, 2.5e-05)),
        }
        data = weighed | {"sealed": True, "operator": None}
        yield told(SCALE, encode, data, f"weighs {weighed['weight_g']} g")
    if rng.random() < 0.7:
        yield labelled()
    while rng.random() < 0.15:  # an update of what was told before
        yield labelled()
    if rng.random() < 0.03:
        # stolen; told by the older name of activation_status
        yield told(GATE, formats.flat, {"status": 2, "blacklist_reason": 4}, "is blacklisted")
    if rng.random() < 0.02:
        yield Message(at, key, None, station=GATE, about=f"{code.extended_id[:SHOWN]}.. tombstone")


def _commissioning(begin: datetime, rng: random.Random, *, in_json: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "activation_status": 1,
        "product": rng.choice(PRODUCTS),
        "production_date": begin.date(),
        "line": f"L{rng.randrange(1, 5)}",
    }
    # a timestamp in a date field: its date at its own offset counts
    if in_json and rng.random() < 0.3:
        data["production_date"] = begin.astimezone(LOCAL).isoformat()
    if rng.random() < 0.05:
        data["status"] = "0"  # beside activation_status it says nothing
    return data


def _market(begin: datetime, rng: random.Random) -> dict[str, Any]:
    until = (begin + timedelta(days=rng.randrange(300, 900))).date()
    return {
        "intended_market": rng.choice(MARKETS),
        "after_sell_by": until,
        "lot": rng.randrange(10**20),
    }
