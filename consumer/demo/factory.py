"""The factory before the line starts: a work order of codes, cases that hold them, and products.

Codes stand in their cases already. So an update of a case reaches the same codes whenever it is
sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from consumer.demo.evidence import FactoryWorld
from consumer.formats.schemas import read_schema

PRODUCTS = ("GREEN-TEA-100", "GREEN-TEA-250", "OOLONG-100", "JASMINE-50")
DATE_FIELDS = ("production_date",)
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True, slots=True)
class FactoryCode:
    """A code on a packet: its id, and the case it lies in (None: sold loose)."""

    extended_id: str
    case: str | None


@dataclass(frozen=True, slots=True)
class Factory:
    """All codes of the work order.

    The label on some cases is itself a code, found by its serial number.
    """

    codes: list[FactoryCode]
    cases: list[str]
    labelled_cases: list[str]

    def world(self) -> FactoryWorld:
        """Return what the API knows, and how the events are to be read."""
        known: dict[str, dict[str, str]] = {
            code.extended_id: {"case_code": code.case} if code.case else {} for code in self.codes
        }
        known |= {f"LABEL{case}": {"serial_number": case} for case in self.labelled_cases}
        return FactoryWorld(
            known, PRODUCTS, read_schema("scm_event.avsc"), "extended_id", DATE_FIELDS
        )


def build(rng: random.Random, cases: int, per_case: int, loose: int) -> Factory:
    """Return a factory of that size; every third case carries a label."""
    names = [f"C-{number:06d}" for number in rng.sample(range(1_000_000), cases)]
    places = [case for case in names for _ in range(per_case)] + [None] * loose
    ids: dict[str, None] = {}
    while len(ids) < len(places):
        ids["".join(rng.choices(_ALPHABET, k=16))] = None
    return Factory(
        [FactoryCode(*pair) for pair in zip(ids, places, strict=True)], names, names[::3]
    )
