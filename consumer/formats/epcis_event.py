"""From one EPCIS event to what it sets for each code and unit that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consumer.core.model import Event, EventBatch
from consumer.core.rows.validation import kind_of, quoted
from consumer.formats.epcis_fields import EpcisFields
from consumer.formats.epcis_members import Members, event_time, invalid, list_member, text_member
from consumer.formats.epcis_rules import EpcisRules, EpcMeaning, word_of

#: Steps about the identifier itself, not about what is in a unit.
_OF_THE_CODE_ITSELF = frozenset({"commissioning", "decommissioning"})
#: The step that an ObjectEvent without one stands for, by its action: objects begin to exist, or
#: end (EPCIS 2.0, 7.4.1).
_STEP_OF = {"ADD": "commissioning", "DELETE": "decommissioning"}
#: Steps that contradict the action.
_CONTRADICTIONS = {"ADD": ("decommissioning", "destroying"), "DELETE": ("commissioning",)}


class EpcisEventReader:
    """One ObjectEvent or AggregationEvent, checked at construction.

    Raises InvalidEvent (``invalid_event``) for any other, and for what could be misunderstood.
    """

    def __init__(self, members: Any, rules: EpcisRules) -> None:
        if type(members) is not dict:
            raise invalid(f"an event is an object, not {kind_of(members)}")
        self._members: Members = members
        self._rules = rules
        self._kind = self._readable_kind()
        self._event_id = text_member(members, "eventID") or None
        action = text_member(members, "action")
        if action not in ("ADD", "OBSERVE", "DELETE"):
            found = "missing" if action is None else quoted(action)
            raise invalid(f'the "action" is {found}; allowed are ADD, OBSERVE and DELETE', "action")
        self._action = action
        self._occurred_at, date = event_time(members)
        step, disposition = text_member(members, "bizStep"), text_member(members, "disposition")
        self._step = None if step is None else word_of(step)
        for name in ("quantityList", "childQuantityList"):
            if members.get(name):
                raise invalid(
                    f"{quoted(name)} counts things without naming their codes: publish those alone",
                    name,
                )
        word = None if disposition is None else word_of(disposition)
        self._fields = EpcisFields(members, rules, date, word)
        self._unit: Members = {}  # the unit that all go into, or leave

    def event(self, called: str = "") -> EventBatch:
        """Return an event for each code and unit; none where the rules set nothing.

        ``called``: the words that messages about the whole event begin with.
        """
        parts = tuple(self._events())
        shared = self._fields.shared() | self._unit
        return EventBatch(shared, event_id=self._event_id, parts=parts, called=called)

    def _readable_kind(self) -> str:
        kind = text_member(self._members, "type")
        if kind not in ("ObjectEvent", "AggregationEvent"):
            found = "missing" if kind is None else quoted(kind)
            raise invalid(
                f'the "type" is {found}: only ObjectEvent and AggregationEvent are read, alone or '
                "in an EPCISDocument; tell what happened to the codes by one of these",
                "type",
            )
        if self._members.get("errorDeclaration") is not None:
            raise invalid(
                "an errorDeclaration takes an earlier event back, but what that has set cannot be "
                "undone: publish an event that sets what is right",
                "errorDeclaration",
            )
        return kind

    def _events(self) -> Iterator[Event]:
        if self._kind == "ObjectEvent":
            epcs = list_member(self._members, "epcList")
            return self._observed(epcs, "epcList", self._step_of_object())
        if self._action == "OBSERVE":
            # The unit's content stays as it is, so what happens to the unit happens to all of it.
            parent = text_member(self._members, "parentID")
            if parent is not None:
                return self._observed([parent], "parentID", self._step)
            children = list_member(self._members, "childEPCs")
            return self._observed(children, "childEPCs", self._step)
        return self._packed()

    def _step_of_object(self) -> str | None:
        step = self._step or _STEP_OF.get(self._action)
        if step in _CONTRADICTIONS.get(self._action, ()):
            raise invalid(
                f'the "action" {self._action} contradicts the step {step}: which of them is meant?',
                "action",
            )
        return step

    def _observed(self, epcs: list[str], member: str, step: str | None) -> Iterator[Event]:
        if not epcs:
            raise invalid(
                f"{quoted(member)} is missing or empty: which codes the event is about", member
            )
        templates = self._fields.templates(step)
        if templates is None:
            raise self._no_rule(step)
        if not templates:
            return
        for epc in epcs:
            meaning = self._meaning(epc, member)
            # Of units that look alike the outer one; if it is another, no code has such a unit, and
            # the API says so.
            field = meaning.levels[-1]
            own = self._rules.unit_codes.get(field)
            fields = self._fields.of_gtin(templates, meaning.gtin)
            if step in _OF_THE_CODE_ITSELF and field in self._rules.units:
                if own is not None:
                    yield self._event(fields, own, meaning.value, None)
            else:
                yield self._event(fields, field, meaning.value, own)

    def _no_rule(self, step: str | None) -> Exception:
        of_step = "" if step is None else f" of the step {quoted(step)}"
        more = ""
        if self._kind == "AggregationEvent":
            more = "; only ADD and DELETE change what is packed"
        return invalid(
            f"no rule of epcis.steps tells what this event{of_step} sets: add one there "
            f'(with nothing behind the "=", such events are skipped){more}',
            "bizStep",
        )

    def _packed(self) -> Iterator[Event]:
        parent_epc = text_member(self._members, "parentID")
        children = list_member(self._members, "childEPCs")
        if parent_epc is None:
            raise invalid('"parentID" is missing: which unit it is about', "parentID")
        if not children:
            raise invalid(
                '"childEPCs" is missing or empty: name the children, each is updated for itself',
                "childEPCs",
            )
        meanings = [self._meaning(epc, "childEPCs") for epc in children]
        field, value = self._parent(parent_epc, {meaning.levels[0] for meaning in meanings})
        unit = self._unit = {field: value if self._action == "ADD" else ""}
        templates = self._fields.templates(self._step) or {}
        for meaning in meanings:
            inner = meaning.levels[0]
            own = self._rules.unit_codes.get(inner)
            fields = self._fields.of_gtin(templates, meaning.gtin) | unit
            yield self._event(fields, inner, meaning.value, own)

    def _parent(self, epc: str, inside: set[str]) -> tuple[str, str]:
        """Return the unit's field, one level above what is ``inside``, and its value."""
        parent = self._meaning(epc, "parentID")
        outside = max(
            (parent.levels.index(level) + 1 for level in inside if level in parent.levels),
            default=0,
        )
        if outside == len(parent.levels):
            levels = " or ".join(parent.levels)
            raise invalid(
                f"{quoted(epc)} is a {levels} by epcis.codes, and so is what goes into it: "
                "tell them apart there",
                "parentID",
            )
        field = parent.levels[outside]
        if field not in self._rules.units:
            raise invalid(
                f"{quoted(epc)} is a {field} by epcis.codes, which is no unit "
                "(events.logistic_units)",
                "parentID",
            )
        return field, parent.value

    def _meaning(self, epc: str, member: str) -> EpcMeaning:
        try:
            return self._rules.code(epc)
        except ValueError as error:
            raise invalid(f"{quoted(epc)}: {error}", member) from None

    def _event(self, fields: Members, data_key: str, value: str, own: str | None) -> Event:
        also = None if own is None else (own, value)
        return Event(fields, data_key, value, self._event_id, self._occurred_at, also)
