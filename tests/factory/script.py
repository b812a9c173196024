"""The script of the day: items are commissioned, packed into cases and boxes, loaded, and shipped.

Cases are codes themselves (they carry a label), boxes are not. An order is what one packing station
works off: its pallets, their cases and items. Orders are worked off side by side, each in its own
order; it is the record's key.

Only what the contract gives an order to is repeated or corrected: an item's status by the item, a
shipping date by the pallet. What goes by another data key sets other fields.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

ITEMS_OF_A_CASE = 20
CASES_OF_A_PALLET = 10
PALLETS_OF_AN_ORDER = 2
#: Which items are blacklisted, and which pallets get another shipping date: one in so many.
BLACKLISTED_EVERY = 37
CORRECTED_EVERY = 3
#: What the reasons are called in EPCIS stands in ``encoders``.
STOLEN, DAMAGED = "4", "5"


@dataclass(frozen=True)
class Unit:
    """A logistic unit; ``kind`` is case, box or pallet."""

    kind: str
    name: str


@dataclass(frozen=True)
class Commissioned:
    """Codes are real from now on, and active."""

    items: tuple[str, ...]
    made_on: str
    sell_by: str


@dataclass(frozen=True)
class Packed:
    """Items go into a unit."""

    items: tuple[str, ...]
    into: Unit


@dataclass(frozen=True)
class Loaded:
    """A case or box goes onto a pallet."""

    unit: Unit
    pallet: Unit


@dataclass(frozen=True)
class Shipped:
    """All that is on a pallet goes away on a day."""

    pallet: Unit
    day: str


@dataclass(frozen=True)
class Blacklisted:
    """An item must not be sold."""

    item: str
    reason: str


What = Commissioned | Packed | Loaded | Shipped | Blacklisted


@dataclass(frozen=True)
class Happening:
    """One thing that happens, in an order."""

    order: str
    what: What


def day(items: int) -> list[Happening]:
    """Return so many items' day, the orders side by side."""
    rng = random.Random(1)
    per_order = ITEMS_OF_A_CASE * CASES_OF_A_PALLET * PALLETS_OF_AN_ORDER
    orders = [
        deque(_order(number, min(per_order, items - first), rng))
        for number, first in enumerate(range(0, items, per_order))
    ]
    mixed: list[Happening] = []
    while orders:
        station = rng.choice(orders)
        mixed.append(station.popleft())
        if not station:
            orders.remove(station)
    return mixed


def labels(happenings: list[Happening]) -> dict[str, str]:
    """Return the codes that cases carry: code → the case's name, which is its serial number."""
    units = {happening.what.into for happening in happenings if isinstance(happening.what, Packed)}
    return {f"LABEL-{unit.name}": unit.name for unit in units if unit.kind == "case"}


def _order(number: int, items: int, rng: random.Random) -> Iterator[Happening]:
    order = f"order-{number:04d}"
    made_on, sell_by = f"2026-11-{number % 28 + 1:02d}", f"2027-11-{number % 28 + 1:02d}"
    codes = [f"{number:04d}ITEM{item:08d}" for item in range(items)]
    per_pallet = ITEMS_OF_A_CASE * CASES_OF_A_PALLET
    for place, first in enumerate(range(0, items, per_pallet)):
        pallet = Unit("pallet", sscc(number * PALLETS_OF_AN_ORDER + place))
        for what in _pallet(pallet, codes[first : first + per_pallet], made_on, sell_by, rng):
            yield Happening(order, what)
        if (number + place) % CORRECTED_EVERY == 0:
            yield Happening(order, Shipped(pallet, "2026-12-02"))


def _pallet(
    pallet: Unit, codes: list[str], made_on: str, sell_by: str, rng: random.Random
) -> Iterator[What]:
    cases = [
        codes[first : first + ITEMS_OF_A_CASE] for first in range(0, len(codes), ITEMS_OF_A_CASE)
    ]
    units = []
    late: list[tuple[str, Unit]] = []
    for place, items in enumerate(cases):
        unit = Unit(
            "case" if place % 2 else "box", f"{pallet.name[:-1]}{place}{'C' if place % 2 else 'B'}"
        )
        units.append(unit)
        yield Commissioned(tuple(items), made_on, sell_by)
        # it is put in when its pallet is gone already
        missed = items[-1:] if place == 0 and len(items) > 1 else []
        late += [(item, unit) for item in missed]
        yield Packed(tuple(item for item in items if item not in missed), unit)
        if place and place % 3 == 0:
            yield from _blacklisted(codes[: place * ITEMS_OF_A_CASE], rng)
    for unit in units:
        yield Loaded(unit, pallet)
    yield Shipped(pallet, "2026-12-01")
    for item, unit in late:
        yield Packed((item,), unit)
    yield from _blacklisted(codes, rng)


def _blacklisted(codes: list[str], rng: random.Random) -> Iterator[Blacklisted]:
    for item in rng.sample(codes, len(codes) // BLACKLISTED_EVERY):
        yield Blacklisted(item, rng.choice([STOLEN, DAMAGED]))


def sscc(number: int) -> str:
    """Return an SSCC: 17 digits that begin with 1, and their check digit."""
    digits = f"19506000{number:09d}"
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"
