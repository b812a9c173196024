"""The fields that an EPCIS event sets: the templates of ``epcis.steps``, filled from the event."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from consumer.core.rows.validation import kind_of, quoted
from consumer.core.rows.values import text_of
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.epcis_rules import EpcisRules, Template, word_of

_LAST_PART = re.compile(r"[^:/#]*\Z")


class EpcisFields:
    """Fills the templates of one event. Codes of one GTIN share the result.

    ``date``: the event's date, at its own offset.
    """

    def __init__(
        self, members: Members, rules: EpcisRules, date: str, disposition: str | None
    ) -> None:
        self._members = members
        self._rules = rules
        self._date = date
        self._disposition = disposition
        self._by_name: dict[str, Any] | None = None
        self._by_gtin: dict[str | None, Members] = {}

    def templates(self, step: str | None) -> dict[str, Template] | None:
        """Return the templates of the step and the disposition; None if neither has a rule.

        Where both set a field, the disposition's template holds.
        """
        steps, disposition = self._rules.steps, self._disposition
        found = [steps[word] for word in (step, disposition) if word is not None and word in steps]
        if not found:
            return None
        return {name: template for fields in found for name, template in fields.items()}

    def of_gtin(self, templates: dict[str, Template], gtin: str | None) -> Members:
        """Return the fields of a code of this GTIN, without those the event tells nothing for."""
        if gtin not in self._by_gtin:
            filled = {name: self._filled(template, gtin) for name, template in templates.items()}
            known = {name: value for name, value in filled.items() if value is not None}
            self._by_gtin[gtin] = known
        return self._by_gtin[gtin]

    def shared(self) -> Members:
        """Return the fields that every code got, with the same value whatever its GTIN."""
        first, *others = self._by_gtin.values() or ({},)
        return {
            name: value
            for name, value in first.items()
            if all(name in other and other[name] == value for other in others)
        }

    def _filled(self, template: Template, gtin: str | None) -> Any:
        if not template.names:
            return template.text
        values = {name: self._value(name, gtin) for name in template.names}
        if None in values.values():
            return None
        if template.text == f"{{{template.names[0]}}}":
            return values[template.names[0]]
        return "".join(
            part if position % 2 == 0 else _as_text(part, values[part])
            for position, part in enumerate(re.split(r"\{([^{}]+)\}", template.text))
        )

    def _value(self, name: str, gtin: str | None) -> Any:
        if name == "date":
            return self._date
        if name == "gtin":
            return gtin
        try:
            if name == "product":
                return self._rules.product(gtin)
            if name == "market":
                return self._rules.market(list(self._destinations()))
        except ValueError as error:
            raise invalid(str(error)) from None
        return self._member(name)

    def _destinations(self) -> Iterator[str]:
        destinations = self._members.get("destinationList")
        for one in destinations if type(destinations) is list else ():
            name = one.get("destination") if type(one) is dict else None
            if type(name) is not str:
                raise invalid(
                    '"destinationList" must be a list of objects with a "destination"',
                    "destinationList",
                )
            yield name

    def _member(self, name: str) -> Any:
        """Return the member of this name: in ``ilmd`` or beside it, whatever its namespace."""
        if self._by_name is None:
            ilmd = self._members.get("ilmd")
            members = list(ilmd.items() if type(ilmd) is dict else ()) + list(self._members.items())
            self._by_name = {}
            for long, value in members:
                found = _LAST_PART.search(long)
                self._by_name.setdefault(found[0] if found else long, value)
        value = self._by_name.get(name)
        if type(value) is dict and type(value.get("id")) is str:
            return value["id"]  # a place, such as readPoint
        if type(value) is str:
            return word_of(value)
        if value is None or isinstance(value, (bool, int, float, Decimal)):
            return value
        raise invalid(f"{quoted(name)} is {kind_of(value)}, which no field can be set to", name)


def _as_text(name: str, value: Any) -> str:
    return value if type(value) is str else text_of(name, value)
