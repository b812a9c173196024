"""Mistakes on a packaging line: bad rows, for every reason that a dead letter can have."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from consumer.demo.factory import Factory
from consumer.demo.line import START, Formats, LineEvent, Message

#: How often each mistake happens; the ones that only the API can see, more often.
TIMES = 2
TIMES_AT_API = 12


def mistakes(factory: Factory, formats: Formats, rng: random.Random) -> list[Message]:
    """Yield records that end in the dead-letter topic, at any time of the shift."""
    made: list[Message] = []

    def somewhen() -> datetime:
        return START + timedelta(seconds=rng.uniform(0, 7200))

    for _ in range(TIMES):
        made += [
            Message(somewhen(), rng.choice(factory.codes).extended_id, value)
            for value in _unreadable(formats, rng)
        ]
        for encode, data in _bad_fields(formats):
            code = rng.choice(factory.codes)
            at = somewhen()
            value = encode(LineEvent(at, code.extended_id, data))
            made.append(Message(at, code.case or code.extended_id, value))
        for key in ("", "   ", "\u3000\u2003"):
            at = somewhen()
            made.append(Message(at, None, formats.envelope(LineEvent(at, key, {"line": "L1"}))))
    for number in range(TIMES_AT_API):
        code = rng.choice(factory.codes)
        at = somewhen()
        stranger = f"NOT-OURS-{rng.randrange(10**8):08d}"
        row = {
            "activation_status": 1,
            "product": "NO-SUCH-TEA",
            "production_date": at.date(),
            "line": "L1",
        }
        made += [
            Message(
                at,
                code.case or code.extended_id,
                formats.avro(LineEvent(at, code.extended_id, row)),
            ),
            Message(at, stranger, formats.flat(LineEvent(at, stranger, {"lot": number}))),
            Message(
                at,
                stranger,
                formats.avro(LineEvent(at, stranger, {"carrier": "none"}, "case_code")),
            ),
        ]
    return made


def _unreadable(formats: Formats, rng: random.Random) -> Iterator[bytes]:
    """Return values from which no row can be made."""
    at = START
    good = LineEvent(at, "SOME-CODE-1", {"line": "L1"})
    yield bytes([0xFF, 0xFE]) + rng.randbytes(40)  # undecodable: another program's bytes
    yield formats.avro(good)[:-4]  # undecodable: cut off
    yield formats.flat(good)[:-1]  # undecodable: a JSON object without its end
    yield "{'line': 'Größe'}".encode("latin-1")  # undecodable: not UTF-8
    yield b"[1, 2, 3]"  # invalid_event: JSON, but no object
    # invalid_event: the key of an envelope is text
    yield b'{"key_value": 5, "scm_data": {"line": "L1"}}'
    # invalid_event: a list
    yield formats.flat(LineEvent(at, "SOME-CODE-1", {"line": ["L1", "L2"]}))
    yield formats.flat(LineEvent(at, "SOME-CODE-1", {"weight_g": float("nan")}))  # invalid_event
    yield formats.avro(LineEvent(at, "SOME-CODE-1", {"weight_g": float("inf")}))  # invalid_event
    # invalid_event
    yield formats.envelope(LineEvent(at, "C-1", {"line": "L1"}, "case_code", ("case_code", "C-1")))
    yield b'{"intended_market": "cn"}'  # key_missing
    yield b'{"scm_data": {"line": "L1"}}'  # key_missing


def _bad_fields(formats: Formats) -> Iterator[tuple[Callable[[LineEvent], bytes], dict[str, Any]]]:
    """Return rows that break one of the API's rules, each with the format it is told in."""
    yield formats.envelope, {"carrier": "x" * 51}  # value_too_long
    yield formats.avro, {"lot": "長" * 51}  # value_too_long
    yield formats.flat, {"date_consumed": "2024-05-02"}  # forbidden_field
    yield formats.flat, {"activation_status": 3}  # invalid_value, as all that follow
    yield formats.avro, {"status": "active"}
    yield formats.envelope, {"product": ""}
    yield formats.flat, {"activation_status": 2, "blacklist_reason": 11}
    yield formats.flat, {"after_sell_by": "2024-02-30"}
    yield formats.envelope, {"production_date": "01/12/2016"}
    yield formats.envelope, {"extended_id": "ANOTHER-CODE", "line": "L1"}  # key_conflict
    yield formats.envelope, {}  # no_fields
    yield formats.avro, {"operator": None}  # no_fields
    yield formats.flat, {}  # no_fields
