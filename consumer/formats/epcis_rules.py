"""Compile the rules of the settings' section ``epcis``: what EPCIS names mean here.

Every rule is one text, ``NAME = WHAT IT MEANS``. Each function reads one. For a text that is no
such rule it raises ValueError, with what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from consumer.formats import gs1
from consumer.formats.cbv import word_of

#: Longer names are refused: no EPC is as long, and the cost of matching a pattern grows with it.
MAX_EPC = 500

_GTIN = re.compile(r"\d{8}|\d{12,14}", re.ASCII)
_PLACE = re.compile(r"\{([^{}]+)\}")


class CodeRule(NamedTuple):
    """EPCs that match ``pattern`` as a whole are values of a field.

    The value is what the groups match, joined; without groups it is the whole name. Units whose
    names look alike may be of one of several ``levels``, from the inside to the outside.
    """

    levels: tuple[str, ...]
    pattern: re.Pattern[str]


class Template(NamedTuple):
    """A field's value: ``text`` in which ``{name}`` stands for a value of the event."""

    text: str
    names: tuple[str, ...]


class EpcMeaning(NamedTuple):
    """The field and value that an EPC stands for, and its GTIN where it has one."""

    levels: tuple[str, ...]  #: the field; of a unit that may be of several levels, all of them
    value: str
    gtin: str | None
    thing: str  #: its name in the form that rules are matched with: of two things never the same


def canonical(epc: str) -> str:
    """Return an EPC in the form that rules are matched with.

    That is ``01/GTIN/21/SERIAL`` for a trade item of GS1 (``01/GTIN`` without a serial), and
    ``00/SSCC`` for a logistic unit. Both are read from a URN and from a Digital Link of any domain.
    Anything else stays as it is, but for a URL's scheme and host, which become lower case. Raise
    ValueError for a name that breaks a rule of GS1.
    """
    name = gs1.read_name(epc)
    return gs1.plain_url(epc) if name is None else name.canonical


# -- reading the rules ---------------------------------------------------------------------------


def _pair(text: str, left: str, right: str) -> tuple[str, str]:
    name, equals, meaning = (part.strip() for part in text.partition("="))
    if not name or not equals:
        raise ValueError(f"allowed is {left} = {right}")
    return name, meaning


def code_rule(text: str) -> CodeRule:
    """Read ``extended_id = 01/GTIN/21/(.+)``, or ``case_code|pallet_code = 00/(.+)``.

    Of two levels the inner one stands first.
    """
    fields, pattern = _pair(text, "FIELD", "PATTERN")
    levels = tuple(field.strip() for field in fields.split("|"))
    if not pattern or not all(levels) or len(set(levels)) < len(levels):
        raise ValueError("allowed is FIELD = PATTERN, or INNER|OUTER = PATTERN")
    try:
        return CodeRule(levels, re.compile(pattern, re.ASCII))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a valid pattern ({error}); mend it") from None


def unit_code(text: str) -> tuple[str, str]:
    """Read a rule such as ``case_code = serial_number``."""
    unit, field = _pair(text, "UNIT", "DATA KEY")
    if not field or field == unit:
        raise ValueError("name the data key of the unit's own code: allowed is UNIT = DATA KEY")
    return unit, field


def step(text: str) -> tuple[str, dict[str, Template]]:
    """Read a rule such as ``shipping = ship_date: {date}, intended_market: {market}``.

    With nothing behind the =, the step sets nothing.
    """
    word, meaning = _pair(text, "STEP", "FIELD: VALUE, FIELD: VALUE")
    return word_of(word), templates(meaning, "STEP")


def templates(meaning: str, left: str) -> dict[str, Template]:
    """Read ``FIELD: VALUE, FIELD: VALUE``; ``left``: what stands in front of the = in messages."""
    fields: dict[str, Template] = {}
    for part in meaning.split(",") if meaning else ():
        field, colon, value = (piece.strip() for piece in part.partition(":"))
        if not field or not colon:
            raise ValueError(f"allowed is {left} = FIELD: VALUE, FIELD: VALUE")
        if field in fields:
            raise ValueError(f"sets {field} twice: keep one")
        if set("{}").intersection(_PLACE.sub("", value)):
            raise ValueError(
                "a { or } without its other half; allowed is text with names as in {date}"
            )
        fields[field] = Template(value, tuple(_PLACE.findall(value)))
    return fields


def product(text: str) -> tuple[str, str]:
    """Read a rule such as ``09506000134352 = prod_1``."""
    gtin, name = _pair(text, "GTIN", "PRODUCT")
    if not _GTIN.fullmatch(gtin) or not name:
        raise ValueError(
            "allowed is GTIN = PRODUCT: 8, 12, 13 or 14 digits, and a product's ID or SKU"
        )
    return gtin.zfill(14), name


def market(text: str) -> tuple[str, str]:
    """Read a rule such as ``urn:epc:id:sgln:9506000.00001. = cn``."""
    begin, name = _pair(text, "DESTINATION", "MARKET")
    if not name:
        raise ValueError(
            "allowed is DESTINATION = MARKET: how the destination's URI begins, and a country or "
            "region"
        )
    return begin, name


class EpcisRules:
    """All rules of the settings. Raises ValueError for a text that is no rule.

    Without rules, every EPC is refused. ``units``: the fields that are logistic units.
    """

    def __init__(
        self,
        units: Collection[str] = (),
        *,
        codes: Collection[str] = (),
        unit_codes: Collection[str] = (),
        steps: Collection[str] = (),
        products: Collection[str] = (),
        markets: Collection[str] = (),
    ) -> None:
        self.units = frozenset(units)
        self._codes = [code_rule(text) for text in codes]
        self.unit_codes = dict(map(unit_code, unit_codes))
        self.steps = dict(map(step, steps))
        self._products = dict(map(product, products))
        self._markets = [market(text) for text in markets]

    def code(self, epc: str) -> EpcMeaning:
        """Return what an EPC stands for. Raise ValueError, saying why, if no rule fits."""
        if len(epc) > MAX_EPC:
            raise ValueError(f"more than {MAX_EPC} characters")
        # Ids of one's own are the most: they have no colon, as every URI has.
        read = gs1.read_name(epc) if ":" in epc else None
        name = read.canonical if read is not None else gs1.plain_url(epc) if ":" in epc else epc
        gtin = read.value if read is not None and read.key == "01" else None
        for levels, pattern in self._codes:
            found = pattern.fullmatch(name)
            if found is not None:
                value = "".join(group or "" for group in found.groups()) if pattern.groups else name
                return EpcMeaning(levels, value, gtin, name)
        known = "" if name == epc else f" (as {name})"
        looks = gs1.hint(name)
        raise ValueError(
            f"no rule of epcis.codes fits it{known}: say there which field it is a value of"
            + (f"; {looks}" if looks else "")
        )

    def product(self, gtin: str | None) -> str | None:
        """Return the product of a GTIN; None if no product is to be set.

        Raise ValueError if the GTIN should be listed and is not.
        """
        if gtin is None or not self._products:
            return None
        if gtin not in self._products:
            raise ValueError(f"GTIN {gtin} is not in epcis.products: add it there")
        return self._products[gtin]

    def market(self, destinations: Collection[str]) -> str | None:
        """Return the market of the destinations; None if none is to be set.

        A destination's market is that of the first rule that fits it. Raise ValueError if a rule
        should fit and none does, or if destinations lie in two markets.
        """
        if not destinations or not self._markets:
            return None
        found = {
            next((name for begin, name in self._markets if destination.startswith(begin)), None)
            for destination in destinations
        } - {None}
        if not found:
            raise ValueError("no rule of epcis.markets fits a destination: add it there")
        if len(found) > 1:
            both = " and ".join(sorted(filter(None, found)))
            raise ValueError(f"its destinations lie in two markets by epcis.markets: {both}")
        return found.pop()
