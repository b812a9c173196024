"""Read EPCIS 2.0: ObjectEvents and AggregationEvents, single, in a document or a query's result.

An event names codes and units (EPCs) and tells what happened: action, business step, disposition.
By the rules of ``epcis_rules`` that sets fields: one row for each code or unit. What is not certain
is refused, never guessed: the API would accept a row for the wrong code or with a wrong meaning.

Here events are members of a JSON object. ``epcis_xml`` makes the same members of XML, so what they
mean is decided once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumer.core.model import Event, EventBatch
from consumer.core.rows.validation import kind_of
from consumer.formats.epcis_document import EpcisDocument, names_in, prefixes_of
from consumer.formats.epcis_event import EpcisEventReader
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.epcis_rules import EpcisRules

#: Values of ``type`` in EPCIS; only documents and the first two kinds of events are read.
TYPES = frozenset(
    {
        "EPCISDocument",
        "EPCISQueryDocument",
        "ObjectEvent",
        "AggregationEvent",
        "TransactionEvent",
        "TransformationEvent",
        "AssociationEvent",
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
        if members.get("type") in ("EPCISDocument", "EPCISQueryDocument"):
            return _document(members, rules)
        EpcisDocument(rules, {}).count(names_in(members))
        return EpcisEventReader(members, rules, prefixes_of(members)).event()

    return read


def _document(members: Members, rules: EpcisRules) -> EventBatch:
    """Read each event of a document; an invalid one does not spoil the others."""
    document = EpcisDocument(rules, prefixes_of(members))
    events = _events_of(members)
    document.count(max(len(events), sum(map(names_in, events))))
    for event in events:
        document.add(event)
    return document.whole()


def _events_of(document: Members) -> list[Any]:
    """Return the list of events; one of a query may be empty, as there may be nothing to tell."""
    body = _object(document, "epcisBody")
    is_query = document["type"] == "EPCISQueryDocument"
    if is_query:
        body = _object(_object(body, "queryResults"), "resultsBody")
    name = "eventList" if body.get("eventList") is not None else "event"
    events = body.get(name)
    if type(events) is dict:
        events = [events]
    if type(events) is not list or not (events or is_query):
        found = "an empty list" if events == [] else kind_of(events)
        holder = "resultsBody" if is_query else "epcisBody"
        raise invalid(
            f'"{holder}" must have a list of events, its "eventList"; it is {found}', "eventList"
        )
    return events


def _object(members: Members, name: str) -> Members:
    value = members.get(name)
    if type(value) is not dict:
        raise invalid(f'"{name}" must be an object, not {kind_of(value)}', name)
    return value
