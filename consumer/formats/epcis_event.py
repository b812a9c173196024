"""From one EPCIS event to what it sets for each code and unit that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent
from consumer.core.rows.validation import kind_of, quoted
from consumer.formats.cbv import DISPOSITIONS, STEPS, disposition_word, is_misspelt_step, step_word
from consumer.formats.epcis_fields import EpcisFields
from consumer.formats.epcis_members import Members, event_time, invalid, list_member, text_member
from consumer.formats.epcis_rules import EpcisRules, EpcMeaning, Template

#: Steps about the identifier itself, not about what is in a unit.
_OF_THE_CODE_ITSELF = frozenset({"commissioning", "decommissioning"})
#: The step that an ObjectEvent without one stands for, by its action: objects begin to exist, or
#: end (EPCIS 2.0, 7.4.1).
_STEP_OF = {"ADD": "commissioning", "DELETE": "decommissioning"}
#: Steps that contradict the action: objects that begin to exist do not end by it (CBV 2.0, 7.1).
_CONTRADICTIONS = {
    "ADD": frozenset({"decommissioning", "destroying"}),
    "DELETE": frozenset({"commissioning"}),
}
#: Likewise where the action says whether children go into the parent or leave it.
_CONTRADICTIONS_OF_PACKING = {
    "ADD": frozenset(
        {"unpacking", "unloading", "disassembling", "removing", "decommissioning", "destroying"}
    ),
    "DELETE": frozenset({"packing", "loading", "assembling", "installing", "commissioning"}),
}


class EpcisEventReader:
    """One ObjectEvent or AggregationEvent, checked at construction.

    Raises InvalidEvent (``invalid_event``) for any other, and for what could be misunderstood.
    ``prefixes``: what the ``@context`` around the event says that prefixes of names stand for.
    """

    def __init__(self, members: Any, rules: EpcisRules, prefixes: Mapping[str, str]) -> None:
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
        self._step = self._word_of_step()
        for name in ("quantityList", "childQuantityList"):
            if members.get(name):
                raise invalid(
                    f"{quoted(name)} counts things without naming their codes: publish those alone",
                    name,
                )
        self._fields = EpcisFields(members, rules, date, self._dispositions(), prefixes)
        self._unit: Members = {}  # the unit that all go into, or leave
        #: The thing that each value of a field stands for, of all that the event names.
        self.things: dict[tuple[str, str], str] = {}

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

    def _word_of_step(self) -> str | None:
        name = text_member(self._members, "bizStep")
        step = None if name is None else step_word(name)
        if step in DISPOSITIONS and step not in STEPS:
            raise invalid(f'the "bizStep" is {quoted(step)}, which is a disposition', "bizStep")
        return step

    def _dispositions(self) -> list[str]:
        """Return the words of what the event says that its objects are from then on."""
        name = text_member(self._members, "disposition")
        persistent = self._members.get("persistentDisposition")
        lasting: list[str] = []
        if persistent is not None:
            if type(persistent) is not dict:
                raise invalid(
                    f'"persistentDisposition" must be an object, not {kind_of(persistent)}',
                    "persistentDisposition",
                )
            lasting = list_member(persistent, "set")
            for ended in list_member(persistent, "unset"):
                if self._rules.steps.get(self._disposition(ended, "persistentDisposition")):
                    raise invalid(
                        f'"persistentDisposition" takes {quoted(ended)} back, but what that has '
                        "set cannot be undone: publish an event that sets what is right",
                        "persistentDisposition",
                    )
        words = [] if name is None else [self._disposition(name, "disposition")]
        return words + [self._disposition(one, "persistentDisposition") for one in lasting]

    def _disposition(self, name: str, member: str) -> str:
        word = disposition_word(name)
        if word in DISPOSITIONS or (word in self._rules.steps and word not in STEPS):
            return word
        raise invalid(
            f"the disposition {quoted(name)} is none of the CBV, and no rule of epcis.steps tells "
            'what it sets: mend it, or add one there (with nothing behind the "=", it sets '
            "nothing)",
            member,
        )

    def _events(self) -> Iterator[Event]:
        if self._kind == "ObjectEvent":
            epcs = list_member(self._members, "epcList")
            step = self._step or _STEP_OF.get(self._action)
            self._refuse_contradiction(step, _CONTRADICTIONS)
            return self._observed(epcs, "epcList", step)
        self._refuse_contradiction(self._step, _CONTRADICTIONS_OF_PACKING)
        if self._action == "OBSERVE":
            # The unit's content stays as it is, so what happens to the unit happens to all of it.
            parent = text_member(self._members, "parentID")
            if parent is not None:
                return self._observed([parent], "parentID", self._step)
            children = list_member(self._members, "childEPCs")
            return self._observed(children, "childEPCs", self._step)
        return self._packed()

    def _refuse_contradiction(
        self, step: str | None, contradictions: Mapping[str, frozenset[str]]
    ) -> None:
        if step in contradictions.get(self._action, ()):
            raise invalid(
                f'the "action" {self._action} contradicts the step {step}: which of them is meant?',
                "action",
            )

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
            if step in _OF_THE_CODE_ITSELF and field in self._rules.units:
                yield from self._of_the_label(templates, meaning, field)
            else:
                own = self._rules.unit_codes.get(field)
                fields = self._fields.of_gtin(templates, meaning.gtin)
                yield self._event(fields, field, meaning.value, own)

    def _of_the_label(
        self, templates: dict[str, Template], meaning: EpcMeaning, unit: str
    ) -> Iterator[Event]:
        """Return what a step sets that is about the label of a unit, not about what is in it.

        What the dispositions say (stolen, destroyed) holds for all that is in the unit, too.
        """
        own = self._rules.unit_codes.get(unit)
        if own is not None:
            fields = self._fields.of_gtin(templates, meaning.gtin)
            yield self._event(fields, own, meaning.value, None)
        if self._fields.of_dispositions:
            fields = self._fields.of_gtin(self._fields.of_dispositions, meaning.gtin)
            yield self._event(fields, unit, meaning.value, None)

    def _no_rule(self, step: str | None) -> Exception:
        of_step = "" if step is None else f" of the step {quoted(step)}"
        more = ""
        if self._action == "OBSERVE" and self._kind == "AggregationEvent":
            more = "; only ADD and DELETE change what is packed"
        return invalid(
            f"no rule of epcis.steps tells what this event{of_step} sets: add one there "
            f'(with nothing behind the "=", such events are skipped){more}',
            "bizStep",
        )

    def _packed(self) -> Iterator[Event]:
        step = self._step
        if step is not None and step not in self._rules.steps and is_misspelt_step(step):
            raise self._no_rule(step)
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
            meaning = self._rules.code(epc)
        except ValueError as error:
            raise invalid(f"{quoted(epc)}: {error}", member) from None
        levels, value, _, thing = meaning
        for level in levels:
            first = self.things.setdefault((level, value), thing)
            if first != thing:
                raise two_things(first, thing, level, value, member)
        return meaning

    def _event(self, fields: Members, data_key: str, value: str, own: str | None) -> Event:
        also = None if own is None else (own, value)
        return Event(fields, data_key, value, self._event_id, self._occurred_at, also)


def two_things(
    one: str, other: str, field: str, value: str, member: str | None = None
) -> InvalidEvent:
    """Return the error of two things that have one value of a field: the API knows one of them."""
    return invalid(
        f"{quoted(one)} and {quoted(other)} are two things, but both are the {field} "
        f"{quoted(value)}: tell them apart in epcis.codes",
        member,
    )
