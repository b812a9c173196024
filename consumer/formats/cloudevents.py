"""Unwrap CloudEvents in structured mode: a JSON object around an event, with its own id and time.

The event is an object, or EPCIS XML as text or in base64. In binary mode the attributes are headers
and the value is the event itself: nothing to do here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Any

from consumer.core.model import Event, EventBatch, InvalidEvent
from consumer.core.rows.validation import kind_of
from consumer.formats.envelope import Decoder, is_timestamp
from consumer.formats.safe_xml import is_xml

#: The first line of XML, which says of text in which encoding it once was.
_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml\s[^>]*\?>")


def is_cloud_event(members: dict[str, Any]) -> bool:
    """Return whether an object is a CloudEvent with something in it."""
    return "specversion" in members and ("data" in members or "data_base64" in members)


def cloud_event(
    members: dict[str, Any],
    read: Callable[[dict[str, Any]], Event],
    decode_xml: Decoder | None = None,
) -> Event:
    """Return the event that ``read`` makes of the members in a CloudEvent, ``decode_xml`` of XML.

    The CloudEvent's ``id`` and ``time`` stand in for those that the event does not have itself.
    Raise InvalidEvent: as these do, or ``invalid_event`` for a CloudEvent with anything else in it.
    """
    data = members.get("data")
    if data is not None and members.get("data_base64") is not None:
        raise _refused('both "data" and "data_base64"')
    if type(data) is dict:
        event = read(data)
    else:
        raw = _xml_in(members)
        if raw is None or decode_xml is None:
            raise _refused(
                '"data_base64"' if "data" not in members else f'"data" that is {kind_of(data)}'
            )
        event = decode_xml(raw)
    event_id, time = members.get("id"), members.get("time")
    event_id = event_id if type(event_id) is str and event_id else None
    time = time if is_timestamp(time) else None
    _stand_in(event, event_id, time)
    return event


def _stand_in(event: Event, event_id: str | None, time: str | None) -> None:
    event.event_id = event.event_id or event_id
    event.occurred_at = time if event.occurred_at is None else event.occurred_at
    for part in event.parts if isinstance(event, EventBatch) else ():
        if isinstance(part, Event):
            _stand_in(part, event_id, time)


def _refused(found: str) -> InvalidEvent:
    return InvalidEvent(
        "invalid_event",
        f'a CloudEvent with {found}: an event is an object in its "data", or XML of EPCIS',
        "data",
    )


def _xml_in(members: dict[str, Any]) -> bytes | None:
    """Return the XML that a CloudEvent holds as text or in base64; None: it holds none."""
    data, encoded = members.get("data"), members.get("data_base64")
    if type(data) is str:
        raw = _DECLARATION.sub("", data, count=1).encode()
    elif type(encoded) is str:
        try:
            raw = binascii.a2b_base64(encoded, strict_mode=True)
        except ValueError:
            return None
    else:
        return None
    return raw if is_xml(raw) else None
