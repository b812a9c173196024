"""Read EPCIS 2.0 in JSON: ObjectEvents and AggregationEvents, single or in a document.

An event names codes and units (EPCs) and tells what happened: action, business step, disposition.
By the rules of ``epcis_rules`` that sets fields: one row for each code or unit. What is not certain
is refused, never guessed: the API would accept a row for the wrong code or with a wrong meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent
from consumer.core.rows.maker import MAX_ROWS
from consumer.core.rows.validation import kind_of, quoted
from consumer.formats.epcis_event import EpcisEventReader
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.epcis_rules import EpcisRules

#: Values of ``type`` in EPCIS; only the first three are read.
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

#: Makes events of the members of a JSON object.
ReadMembers = Callable[[Members], Event]


def epcis_reader(rules: EpcisRules) -> ReadMembers:
    """Return the function that reads the members of an EPCIS event or document.

    It raises InvalidEvent (``invalid_event``).
    """

    def read(members: Members) -> Event:
        if members.get("type") == "EPCISDocument":
            return _document(members, rules)
        _refuse_too_many([members])
        return EpcisEventReader(members, rules).event()

    return read


def _document(members: Members, rules: EpcisRules) -> EventBatch:
    """Read each event of a document; an invalid one does not spoil the others."""
    parts: list[Event | InvalidEvent] = []
    events = _events_of(members)
    _refuse_too_many(events)
    for number, event in enumerate(events, 1):
        called = ""
        if len(events) > 1:
            name = event.get("eventID") if type(event) is dict else None
            named = f" ({quoted(name)})" if type(name) is str else ""
            called = f"event {number} of {len(events)}{named}: "
        try:
            parts.append(EpcisEventReader(event, rules).event(called))
        except InvalidEvent as bad:
            parts.append(InvalidEvent(bad.reason, called + bad.message, bad.field))
    only = events[0] if len(events) == 1 else None
    event_id = only.get("eventID") if type(only) is dict else None
    return EventBatch(
        {},
        event_id=event_id if type(event_id) is str and event_id else None,
        parts=tuple(parts),
    )


def _refuse_too_many(events: list[Any]) -> None:
    """Refuse what would make too many rows before any work is done for it.

    Each event makes a row at least; so may each name in it.
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
        raise invalid(f"it makes more than {MAX_ROWS:,} rows; publish it in parts")


def _events_of(document: Members) -> list[Any]:
    body = document.get("epcisBody")
    if type(body) is not dict:
        raise invalid(f'"epcisBody" must be an object, not {kind_of(body)}', "epcisBody")
    name = "eventList" if body.get("eventList") is not None else "event"
    events = body.get(name)
    if type(events) is dict:
        events = [events]
    if type(events) is not list or not events:
        found = "an empty list" if events == [] else kind_of(events)
        raise invalid(
            f'"epcisBody" must have a list of events, its "eventList"; it is {found}', "eventList"
        )
    return events
