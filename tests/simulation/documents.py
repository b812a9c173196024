"""Documents of EPCIS: several events and codes, parents and children, faults among them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

from consumer.formats import EpcisRules
from tests.simulation.witness import Tag

#: A key that rows are about, or are put into: data key and value.
Key = tuple[str, str]

UNIT = "case_code"
#: What the settings of the simulated program say about EPCIS.
RULES = EpcisRules(
    (UNIT,),
    codes=(f"{UNIT} = u.+", "extended_id = .+"),
    steps=("inspecting = tag: {tag}, note: {note}", "packing = tag: {tag}", "storing ="),
)
#: How a rejection of a whole event among others names it.
_EVENT = re.compile(r"event (\d+) of \d+")


@dataclass(frozen=True)
class PublishedRow:
    """One row of a record: its key, and the units it is put into.

    ``invalid``: why it can never be sent; empty: it can. ``fields``: what it sets. ``event``: of
    which event of a document, from 1.
    """

    tag: Tag
    key: Key
    joins: tuple[Key, ...] = ()
    invalid: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    event: int = 1


def event_named(message: str) -> int:
    """Return the number of the event that a rejection is about: the only one, if it names none."""
    found = _EVENT.search(message)
    return int(found[1]) if found else 1


class DocumentWriter:
    """Makes documents about codes and units.

    ``faults``: the share of them with something that can never be sent.
    """

    def __init__(self, rng: random.Random, codes: int, shared: float, faults: float) -> None:
        self._rng = rng
        self._codes = codes
        self._shared = shared
        self._faults = faults

    def document(self, number: int, offset: int) -> tuple[dict[str, Any], list[PublishedRow]]:
        """Return the members of a document that is written there, and its rows in order."""
        rng = self._rng
        place = "s" if rng.random() < self._shared else str(number)
        count = rng.randint(1, 4)
        bad = rng.randint(1, count) if rng.random() < self._faults else 0
        rows: list[PublishedRow] = []
        events = [
            self._event((number, offset), place, at, rows, faulty=at == bad)
            for at in range(1, count + 1)
        ]
        if not rows:  # else it would be skipped by rule, but only once there is room to read it
            events.append(self._event((number, offset), place, count + 1, rows, faulty=True))
        return {"type": "EPCISDocument", "epcisBody": {"eventList": events}}, rows

    def _event(
        self, at: tuple[int, int], place: str, event: int, rows: list[PublishedRow], *, faulty: bool
    ) -> dict[str, Any]:
        rng = self._rng
        unit = f"u{place}-{rng.randrange(max(1, self._codes // 8))}"
        codes = [f"{place}-{rng.randrange(self._codes)}" for _ in range(rng.randint(1, 3))]
        fields = {"tag": f"{at[0]}.{at[1]}.{event}"}
        made: dict[str, Any] = {
            "eventTime": "2026-11-22T15:30:00Z",
            "eventTimeZoneOffset": "+00:00",
            **fields,
        }

        def row(key: Key, joins: tuple[Key, ...] = (), invalid: str = "") -> None:
            told = {} if invalid == "invalid_event" else dict(fields)
            rows.append(PublishedRow((*at, len(rows)), key, joins, invalid, told, event))

        if faulty and rng.random() < 0.5:  # the event as a whole
            row(("", ""), (), "invalid_event")
            made |= rng.choice(
                ({"bizStep": "unheard_of"}, {"bizStep": "inspecting", "quantityList": [1]})
            )
            return made | {"type": "ObjectEvent", "action": "OBSERVE", "epcList": codes}
        match (
            rng.choice(("codes", "codes", "pack", "pack", "unit", "nothing"))
            if not faulty
            else "codes"
        ):
            case "codes":
                fields["note"] = made["note"] = rng.choice(("a", "b", "\u00e9\u4e2d"))
                if faulty:
                    codes.insert(rng.randint(0, len(codes)), "  ")  # one code that is none
                made |= {
                    "type": "ObjectEvent",
                    "action": "OBSERVE",
                    "bizStep": "inspecting",
                    "epcList": codes,
                }
                for code in dict.fromkeys(codes):  # what is said twice in a row is said once
                    row(("extended_id", code), (), "" if code.strip() else "key_blank")
            case "pack":
                made |= {"type": "AggregationEvent", "action": "ADD", "bizStep": "packing"}
                made |= {"parentID": unit, "childEPCs": codes}
                fields[UNIT] = unit
                for code in dict.fromkeys(codes):
                    row(("extended_id", code), ((UNIT, unit),))
            case "unit":
                made |= {
                    "type": "AggregationEvent",
                    "action": "OBSERVE",
                    "bizStep": "inspecting",
                    "parentID": unit,
                }
                row((UNIT, unit))
            case "nothing":  # a step with nothing to set
                made |= {
                    "type": "ObjectEvent",
                    "action": "OBSERVE",
                    "bizStep": "storing",
                    "epcList": codes,
                }
        return made
