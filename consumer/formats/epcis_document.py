"""Gather the events of an EPCIS document, one after the other, as the parts of one record.

Each is read for itself: one that is refused costs the others nothing. What only the whole document
can tell comes at its end: how many events there are, and whether two of them name two things that
the API would take for one.
"""

from __future__ import annotations

from collections.abc import Mapping

from consumer.core.model import Event, EventBatch, InvalidEvent
from consumer.core.rows.maker import MAX_ROWS
from consumer.core.rows.validation import quoted
from consumer.formats.epcis_event import EpcisEventReader, two_things
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.epcis_rules import EpcisRules

#: Members with names of things. Each of those may make a row.
_NAMES = ("epcList", "childEPCs")


class _Part:
    """One event of the document: what it asks for, or why it is refused."""

    def __init__(self, event_id: str | None, read: EventBatch | InvalidEvent) -> None:
        self.event_id = event_id
        self.read = read
        self.things: dict[tuple[str, str], str] = {}


class EpcisDocument:
    """Takes the events of a document in their order.

    ``prefixes``: what the document's ``@context`` says that prefixes of names stand for.
    """

    def __init__(self, rules: EpcisRules, prefixes: Mapping[str, str]) -> None:
        self._rules = rules
        self._prefixes = prefixes
        self._parts: list[_Part] = []
        self._names = 0

    def count(self, names: int) -> None:
        """Count names before any work is done for them.

        Raise InvalidEvent if they would make too many rows.
        """
        self._names += names
        if self._names > MAX_ROWS or len(self._parts) > MAX_ROWS:
            raise too_many()

    def add(self, event: object) -> None:
        """Read one more event: its members, or the InvalidEvent that says what is wrong with it."""
        event_id = event.get("eventID") if isinstance(event, dict) else None
        part = _Part(event_id if type(event_id) is str else None, EventBatch({}))
        self._parts.append(part)
        self.count(0)
        try:
            if isinstance(event, InvalidEvent):
                raise event
            prefixes = self._prefixes
            if isinstance(event, dict) and "@context" in event:
                prefixes = {**prefixes, **prefixes_of(event)}
            reader = EpcisEventReader(event, self._rules, prefixes)
            part.read = reader.event()
            part.things = reader.things
        except InvalidEvent as bad:
            part.read = bad

    def whole(self) -> EventBatch:
        """Return the record with all that was added."""
        self._refuse_two_things_of_one_name()
        parts: list[Event | InvalidEvent] = []
        for number, part in enumerate(self._parts, 1):
            called = ""
            if len(self._parts) > 1:
                named = "" if part.event_id is None else f" ({quoted(part.event_id)})"
                called = f"event {number} of {len(self._parts)}{named}: "
            read = part.read
            if isinstance(read, InvalidEvent):
                parts.append(InvalidEvent(read.reason, called + read.message, read.field))
            else:
                read.called = called
                parts.append(read)
        event_id = self._parts[0].event_id if len(self._parts) == 1 else None
        return EventBatch({}, event_id=event_id or None, parts=tuple(parts))

    def _refuse_two_things_of_one_name(self) -> None:
        """Refuse every event that names one of two things with one value: neither is certain."""
        if len(self._parts) < 2:
            return
        first: dict[tuple[str, str], str] = {}
        several: dict[tuple[str, str], str] = {}
        for part in self._parts:
            several |= {
                place: thing
                for place, thing in part.things.items()
                if first.setdefault(place, thing) != thing
            }
        for part in self._parts:
            for place in several.keys() & part.things.keys():
                part.read = two_things(first[place], several[place], *place, member="epcList")
                break


def names_in(event: object) -> int:
    """Return how many things an event's lists name."""
    lists = [event.get(name) for name in _NAMES] if isinstance(event, dict) else []
    return sum(len(names) for names in lists if type(names) is list)


def too_many() -> InvalidEvent:
    """Return the error of a record that would make too many rows."""
    return invalid(f"it makes more than {MAX_ROWS:,} rows; publish it in parts")


def prefixes_of(members: Members) -> dict[str, str]:
    """Return what the ``@context`` of an event or a document says that prefixes stand for."""
    context = members.get("@context")
    return {
        name: meaning.rstrip(":#")
        for entry in (context if type(context) is list else [context])
        if type(entry) is dict
        for name, meaning in entry.items()
        if type(meaning) is str
    }
