"""The fields that an EPCIS event sets: the templates of ``epcis.steps``, filled from the event."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from consumer.core.rows.validation import kind_of, quoted
from consumer.core.rows.values import text_of
from consumer.formats.cbv import is_master_data, word_of
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.epcis_rules import EpcisRules, Template

#: Whose name a member has, from the one that counts first.
_OF_THE_CBV, _OF_THE_ILMD, _OF_THE_EVENT, _OF_ANOTHER = range(4)
_LAST_PART = re.compile(r"[^:/#]*\Z")


class EpcisFields:
    """Fills the templates of one event. Codes of one GTIN share the result.

    ``date``: the event's date, at its own offset. ``dispositions``: the words of the event's
    disposition and of its persistent ones. ``prefixes``: what its ``@context`` says that prefixes
    of names stand for. Raise InvalidEvent if the dispositions set one field to two values.
    """

    def __init__(
        self,
        members: Members,
        rules: EpcisRules,
        date: str,
        dispositions: Sequence[str],
        prefixes: Mapping[str, str],
    ) -> None:
        self._members = members
        self._rules = rules
        self._date = date
        self._prefixes = prefixes
        #: What the dispositions set, whatever the step; None: none of them has a rule.
        self.of_dispositions = self._merged(dispositions)
        self._by_name: dict[str, list[tuple[int, Any]]] | None = None
        self._filled_for: dict[tuple[bool, str | None], Members] = {}

    def _merged(self, dispositions: Sequence[str]) -> dict[str, Template] | None:
        found = [self._rules.steps[word] for word in dispositions if word in self._rules.steps]
        merged: dict[str, Template] = {}
        for fields in found:
            for name, template in fields.items():
                if merged.setdefault(name, template) != template:
                    words = " and ".join(dispositions)
                    raise invalid(
                        f"its dispositions {words} set {quoted(name)} to different values: "
                        "which of them is meant?",
                        "persistentDisposition",
                    )
        return merged if found else None

    def templates(self, step: str | None) -> dict[str, Template] | None:
        """Return the templates of the step and the dispositions; None if none has a rule.

        Where both set a field, the disposition's template holds.
        """
        of_step = None if step is None else self._rules.steps.get(step)
        if of_step is None:
            return self.of_dispositions
        return of_step | (self.of_dispositions or {})

    def of_gtin(self, templates: dict[str, Template], gtin: str | None) -> Members:
        """Return the fields of a code of this GTIN, without those the event tells nothing for."""
        place = (templates is self.of_dispositions, gtin)
        if place not in self._filled_for:
            filled = {name: self._filled(template, gtin) for name, template in templates.items()}
            known = {name: value for name, value in filled.items() if value is not None}
            self._filled_for[place] = known
        return self._filled_for[place]

    def shared(self) -> Members:
        """Return the fields that every code got, with the same value whatever its GTIN."""
        first, *others = self._filled_for.values() or ({},)
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
        """Return the member of this name, whatever its namespace; None: nothing is told.

        The first of these counts: master data of the CBV; a member of ``ilmd`` without a namespace;
        EPCIS's own member of the event; a name in any other namespace. An empty one tells nothing.
        """
        if self._by_name is None:
            self._by_name = self._ranked()
        ranked = self._by_name.get(name, ())
        first = min((rank for rank, _ in ranked), default=0)
        values = [_plain(name, value) for rank, value in ranked if rank == first]
        if any(value != values[0] for value in values):
            raise invalid(
                f"{quoted(name)} is told more than once, with different values: "
                "which of them is meant?",
                name,
            )
        value = values[0] if values else None
        return None if type(value) is str and not value.strip() else value

    def _ranked(self) -> dict[str, list[tuple[int, Any]]]:
        ilmd = self._members.get("ilmd")
        if type(ilmd) is not dict:
            if ilmd is not None:
                raise invalid(f'"ilmd" must be an object, not {kind_of(ilmd)}', "ilmd")
            ilmd = {}
        ranked: dict[str, list[tuple[int, Any]]] = {}
        for members, bare in ((ilmd, _OF_THE_ILMD), (self._members, _OF_THE_EVENT)):
            for long, value in members.items():
                if value is None:
                    continue
                found = _LAST_PART.search(long)
                name = found[0] if found else long
                rank = bare if name == long else _OF_ANOTHER
                if is_master_data(long, self._prefixes):
                    rank = _OF_THE_CBV
                ranked.setdefault(name, []).append((rank, value))
        return ranked


def _plain(name: str, value: Any) -> Any:
    """Return a member as a field can have it: of a place its id, of a name of the CBV its word."""
    if type(value) is dict and type(value.get("id")) is str:
        value = value["id"]
    if type(value) is str:
        return word_of(value)
    if isinstance(value, (bool, int, float, Decimal)):
        return value
    raise invalid(f"{quoted(name)} is {kind_of(value)}, which no field can be set to", name)


def _as_text(name: str, value: Any) -> str:
    return value if type(value) is str else text_of(name, value)
