"""Unwrap CloudEvents in structured mode: a JSON object around an event, with its own id and time.

In binary mode the attributes are headers and the value is the event itself: nothing to do here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent
from consumer.core.rows.validation import kind_of
from consumer.formats.envelope import is_timestamp


def is_cloud_event(members: dict[str, Any]) -> bool:
    """Return whether an object is a CloudEvent with something in it."""
    return "specversion" in members and ("data" in members or "data_base64" in members)


def cloud_event(members: dict[str, Any], read: Callable[[dict[str, Any]], Event]) -> Event:
    """Return the event that ``read`` makes of the members in a CloudEvent.

    The CloudEvent's ``id`` and ``time`` stand in for those that the event does not have itself.
    Raise InvalidEvent: as ``read`` does, or ``invalid_event`` for a CloudEvent without an object.
    """
    data = members.get("data")
    if type(data) is not dict:
        found = '"data_base64"' if "data" not in members else f'"data" that is {kind_of(data)}'
        raise InvalidEvent(
            "invalid_event",
            f'a CloudEvent with {found}: an event is an object in its "data"',
            "data",
        )
    event = read(data)
    event_id, time = members.get("id"), members.get("time")
    event_id = event_id if type(event_id) is str and event_id else None
    time = time if is_timestamp(time) else None
    for one in _with_parts(event):
        one.event_id = one.event_id or event_id
        one.occurred_at = time if one.occurred_at is None else one.occurred_at
    return event


def _with_parts(event: Event) -> Iterator[Event]:
    yield event
    for part in event.parts if isinstance(event, EventBatch) else ():
        if isinstance(part, Event):
            yield from _with_parts(part)
