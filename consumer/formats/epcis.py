"""EPCIS 2.0 in JSON: ObjectEvents and AggregationEvents, single or in a document, by the rules of
``epcis_rules``.

An event names codes and units (EPCs), tells what happened (action, business step, disposition), and
thereby which fields are set: one row for each code or unit. What cannot be told for certain is
refused, never guessed: a row for the wrong code or with the wrong meaning would be accepted by the
API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent
from consumer.core.rows.maker import MAX_ROWS
from consumer.core.rows.validation import kind_of, quoted
from consumer.core.rows.values import text_of
from consumer.formats.epcis_rules import Code, EpcisRules, Template, word_of

#: What ``type`` is in EPCIS; only the first three are read.
TYPES = frozenset(
    {
        "EPCISDocument",
        "ObjectEvent",
        "AggregationEvent",
        "TransactionEvent",
        "TransformationEvent",
        "AssociationEvent",
        "EPCISQueryDocument",
    }
)
#: The members that name codes and units; messages about them may quote those.
EPC_MEMBERS = frozenset({"epcList", "parentID", "childEPCs"})
#: Steps about the identifier itself, not about what is in a unit.
_OF_THE_CODE_ITSELF = frozenset({"commissioning", "decommissioning"})
#: What an ObjectEvent without a business step says by its action: objects begin to exist, or end
#: (EPCIS 2.0, 7.4.1).
_STEP_OF = {"ADD": "commissioning", "DELETE": "decommissioning"}
#: Actions that contradict the step.
_CONTRADICTIONS = {"ADD": ("decommissioning", "destroying"), "DELETE": ("commissioning",)}

_OFFSET = re.compile(r"([+-])([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_LAST_PART = re.compile(r"[^:/#]*\Z")

Members = dict[str, Any]
#: Makes events of the members of a JSON object.
ReadMembers = Callable[[Members], Event]


def epcis_reader(rules: EpcisRules) -> ReadMembers:
    """What reads the members of an EPCIS event or document.

    It raises BadEvent (``invalid_event``).
    """

    def read(members: Members) -> Event:
        if members.get("type") != "EPCISDocument":
            _refuse_too_many([members])
            return _EventReader(members, rules).event()
        parts: list[Event | InvalidEvent] = []
        events = _events_of(members)
        _refuse_too_many(events)
        for number, event in enumerate(events, 1):
            called = ""
            if len(events) > 1:
                name = event.get("eventID") if type(event) is dict else None
                said = f" ({quoted(name)})" if type(name) is str else ""
                called = f"event {number} of {len(events)}{said}: "
            try:
                parts.append(_EventReader(event, rules).event(called))
            except InvalidEvent as bad:
                parts.append(InvalidEvent(bad.reason, called + bad.message, bad.field))
        only = events[0] if len(events) == 1 else None
        return _several(tuple(parts), only.get("eventID") if type(only) is dict else None)

    return read


def _refuse_too_many(events: list[Any]) -> None:
    """Refuse what would make too many rows before any work is done for it.

    Each name may make one, each event a row.
    """
    lists = [
        event.get(name)
        for event in events
        if type(event) is dict
        for name in ("epcList", "childEPCs")
    ]
    if (
        len(events) > MAX_ROWS
        or sum(len(names) for names in lists if type(names) is list) > MAX_ROWS
    ):
        raise _invalid(f"it makes more than {MAX_ROWS:,} rows; publish it in parts")


def _several(parts: tuple[Event | InvalidEvent, ...], event_id: Any) -> Event:
    return EventBatch(
        {}, event_id=event_id if type(event_id) is str and event_id else None, parts=parts
    )


def _events_of(document: Members) -> list[Any]:
    body = document.get("epcisBody")
    if type(body) is not dict:
        raise _invalid(f'"epcisBody" must be an object, not {kind_of(body)}', "epcisBody")
    name = "eventList" if body.get("eventList") is not None else "event"
    events = body.get(name)
    if type(events) is dict:
        events = [events]
    if type(events) is not list or not events:
        found = "an empty list" if events == [] else kind_of(events)
        raise _invalid(
            f'"epcisBody" must have a list of events, its "eventList"; it is {found}', "eventList"
        )
    return events


def _invalid(message: str, field: str | None = None) -> InvalidEvent:
    return InvalidEvent("invalid_event", message, field)


class _EventReader:
    """One event, taken apart."""

    def __init__(self, members: Any, rules: EpcisRules) -> None:
        if type(members) is not dict:
            raise _invalid(f"an event is an object, not {kind_of(members)}")
        self._members = members
        self._rules = rules
        kind = self._text("type")
        if kind not in ("ObjectEvent", "AggregationEvent"):
            found = "missing" if kind is None else quoted(kind)
            raise _invalid(
                f'the "type" is {found}: only ObjectEvent and AggregationEvent are read, alone or in an EPCISDocument; '
                "tell what happened to the codes by one of these",
                "type",
            )
        if members.get("errorDeclaration") is not None:
            raise _invalid(
                "an errorDeclaration takes an earlier event back, but what that has set cannot be undone: publish an "
                "event that sets what is right",
                "errorDeclaration",
            )
        self._kind = kind
        self._event_id = self._text("eventID") or None
        action = self._text("action")
        if action not in ("ADD", "OBSERVE", "DELETE"):
            found = "missing" if action is None else quoted(action)
            raise _invalid(
                f'the "action" is {found}; allowed are ADD, OBSERVE and DELETE', "action"
            )
        self._action = action
        self._occurred_at, self._date = self._moment()
        step, disposition = self._text("bizStep"), self._text("disposition")
        self._step = None if step is None else word_of(step)
        self._disposition = None if disposition is None else word_of(disposition)
        for name in ("quantityList", "childQuantityList"):
            if members.get(name):
                raise _invalid(
                    f"{quoted(name)} counts things without naming their codes: publish those alone",
                    name,
                )
        self._told: dict[str, Any] | None = None
        self._sets: dict[str | None, Members] = {}  # by GTIN
        self._unit: Members = {}  # the unit that all go into, or leave

    # -- members ---------------------------------------------------------------------------------

    def _text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is not None and type(value) is not str:
            raise _invalid(f"{quoted(name)} must be a string, not {kind_of(value)}", name)
        return value

    def _texts(self, name: str) -> list[str]:
        value = self._members.get(name)
        if value is None:
            return []
        if type(value) is not list:
            raise _invalid(f"{quoted(name)} must be a list, not {kind_of(value)}", name)
        for item in value:
            if type(item) is not str:
                raise _invalid(
                    f"{quoted(name)} must be a list of strings, one is {kind_of(item)}", name
                )
        return value

    def _moment(self) -> tuple[str, str]:
        """The time of the event, and its date at the event's own offset."""
        text, offset = self._text("eventTime"), self._text("eventTimeZoneOffset")
        try:  # a leap second is taken for the one before it
            time = datetime.fromisoformat((text or "").upper().replace(":60", ":59", 1))
        except ValueError:
            time = datetime.min
        if text is None or time.tzinfo is None:
            found = "missing" if text is None else quoted(text)
            message = f'"eventTime" is {found}; it must be a time with an offset, such as 2026-11-22T23:30:00+08:00'
            raise _invalid(message, "eventTime")
        if offset is not None and offset != "Z":
            found_offset = _OFFSET.fullmatch(offset)
            if found_offset is None:
                message = f'"eventTimeZoneOffset" is {quoted(offset)}; it must be such as +08:00'
                raise _invalid(message, "eventTimeZoneOffset")
            sign, hours, minutes = found_offset.groups()
            ahead = timedelta(hours=int(hours), minutes=int(minutes))
            try:
                time = time.astimezone(timezone(ahead if sign == "+" else -ahead))
            except OverflowError:
                raise _invalid(
                    f'"eventTime" is {quoted(text)}, out of range', "eventTime"
                ) from None
        return text, time.date().isoformat()

    def _code(self, epc: str, member: str) -> Code:
        try:
            return self._rules.code(epc)
        except ValueError as error:
            raise _invalid(f"{quoted(epc)}: {error}", member) from None

    # -- what is set -----------------------------------------------------------------------------

    def _templates(self, step: str | None) -> dict[str, Template] | None:
        """What step and disposition set, the disposition where both set a field.

        None: neither has a rule.
        """
        steps, disposition = self._rules.steps, self._disposition
        found = [steps[word] for word in (step, disposition) if word is not None and word in steps]
        return (
            {name: template for fields in found for name, template in fields.items()}
            if found
            else None
        )

    def _fields(self, templates: dict[str, Template], gtin: str | None) -> Members:
        """The fields that are set for a code of this GTIN.

        Those for which the event tells nothing are left out.
        """
        if gtin not in self._sets:
            filled = {name: self._filled(template, gtin) for name, template in templates.items()}
            self._sets[gtin] = {name: value for name, value in filled.items() if value is not None}
        return self._sets[gtin]

    def _filled(self, template: Template, gtin: str | None) -> Any:
        if not template.names:
            return template.text
        values = {name: self._value(name, gtin) for name in template.names}
        if None in values.values():
            return None
        if template.text == f"{{{template.names[0]}}}":
            return values[template.names[0]]
        text = template.text
        parts = re.split(r"\{([^{}]+)\}", text)
        return "".join(
            part if place % 2 == 0 else _as_text(part, values[part])
            for place, part in enumerate(parts)
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
            raise _invalid(str(error)) from None
        return self._member(name)

    def _destinations(self) -> Iterator[str]:
        places = self._members.get("destinationList")
        for place in places if type(places) is list else ():
            name = place.get("destination") if type(place) is dict else None
            if type(name) is not str:
                raise _invalid(
                    '"destinationList" must be a list of objects with a "destination"',
                    "destinationList",
                )
            yield name

    def _member(self, name: str) -> Any:
        """What the event tells by a name: in its ``ilmd`` or beside it, whatever the namespace."""
        if self._told is None:
            ilmd = self._members.get("ilmd")
            told = list(ilmd.items() if type(ilmd) is dict else ()) + list(self._members.items())
            self._told = {}
            for long, value in told:
                found = _LAST_PART.search(long)
                self._told.setdefault(found[0] if found else long, value)
        value = self._told.get(name)
        if type(value) is dict and type(value.get("id")) is str:
            return value["id"]  # a place
        if type(value) is str:
            return word_of(value)
        if value is None or isinstance(value, (bool, int, float, Decimal)):
            return value
        raise _invalid(f"{quoted(name)} is {kind_of(value)}, which no field can be set to", name)

    # -- rows ------------------------------------------------------------------------------------

    def event(self, called: str = "") -> EventBatch:
        """What is told of each code and unit.

        ``called``: how messages about the whole event begin.
        """
        parts = tuple(self._events())
        return EventBatch(self._shared(), event_id=self._event_id, parts=parts, called=called)

    def _shared(self) -> Members:
        """What is set for every code: of what follows from the GTIN, what is the same for each."""
        first, *others = self._sets.values() or ({},)
        same = {
            name: value
            for name, value in first.items()
            if all(name in o and o[name] == value for o in others)
        }
        return same | self._unit

    def _events(self) -> Iterator[Event]:
        """An event for each code and unit.

        None where the rules say that there is nothing to set.
        """
        if self._kind == "ObjectEvent":
            return self._observed(self._texts("epcList"), "epcList", self._step_of_object())
        if self._action == "OBSERVE":
            # Who is in the unit is not changed: what happens to the unit happens to all that are in
            # it.
            parent = self._text("parentID")
            if parent is not None:
                return self._observed([parent], "parentID", self._step)
            return self._observed(self._texts("childEPCs"), "childEPCs", self._step)
        return self._packed()

    def _step_of_object(self) -> str | None:
        step = self._step or _STEP_OF.get(self._action)
        if step in _CONTRADICTIONS.get(self._action, ()):
            message = (
                f'the "action" {self._action} contradicts the step {step}: which of them is meant?'
            )
            raise _invalid(message, "action")
        return step

    def _observed(self, epcs: list[str], member: str, step: str | None) -> Iterator[Event]:
        if not epcs:
            raise _invalid(
                f"{quoted(member)} is missing or empty: which codes the event is about", member
            )
        templates = self._templates(step)
        if templates is None:
            said = "" if step is None else f" of the step {quoted(step)}"
            more = (
                "; only ADD and DELETE change what is packed"
                if self._kind == "AggregationEvent"
                else ""
            )
            raise _invalid(
                f"no rule of epcis.steps tells what this event{said} sets: add one there "
                f'(with nothing behind the "=", such events are skipped){more}',
                "bizStep",
            )
        if not templates:
            return
        for epc in epcs:
            code = self._code(epc, member)
            # Of units that look alike the outer one; if it is another, no code has such a unit, and
            # the API says so.
            field = code.levels[-1]
            own = self._rules.unit_codes.get(field)
            fields = self._fields(templates, code.gtin)
            if step in _OF_THE_CODE_ITSELF and field in self._rules.units:
                if own is not None:
                    yield self._event(fields, own, code.value, None)
            else:
                yield self._event(fields, field, code.value, own)

    def _packed(self) -> Iterator[Event]:
        parent_epc, children = self._text("parentID"), self._texts("childEPCs")
        if parent_epc is None:
            raise _invalid('"parentID" is missing: which unit it is about', "parentID")
        if not children:
            message = (
                '"childEPCs" is missing or empty: name the children, each is updated for itself'
            )
            raise _invalid(message, "childEPCs")
        codes = [self._code(epc, "childEPCs") for epc in children]
        inside = {code.levels[0] for code in codes}
        parent = self._code(parent_epc, "parentID")
        outside = max(
            (parent.levels.index(level) + 1 for level in inside if level in parent.levels),
            default=0,
        )
        if outside == len(parent.levels):
            levels = " or ".join(parent.levels)
            message = f"{quoted(parent_epc)} is a {levels} by epcis.codes, and so is what goes into it: tell them apart there"
            raise _invalid(message, "parentID")
        field = parent.levels[outside]
        if field not in self._rules.units:
            message = f"{quoted(parent_epc)} is a {field} by epcis.codes, which is no unit (events.logistic_units)"
            raise _invalid(message, "parentID")
        unit = self._unit = {field: parent.value if self._action == "ADD" else ""}
        templates = self._templates(self._step) or {}
        for code in codes:
            own = self._rules.unit_codes.get(code.levels[0])
            yield self._event(
                self._fields(templates, code.gtin) | unit, code.levels[0], code.value, own
            )

    def _event(self, fields: Members, data_key: str, value: str, own: str | None) -> Event:
        also = None if own is None else (own, value)
        return Event(fields, data_key, value, self._event_id, self._occurred_at, also)


def _as_text(name: str, value: Any) -> str:
    return value if type(value) is str else text_of(name, value)
