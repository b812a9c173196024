"""Refuse JSON in which an object names a member twice: two readers would read two events.

RFC 8259 (section 4) leaves it open which of them counts; RFC 7493 (I-JSON, 2.3) forbids it. The
decoder takes the last one without a word. What it kept has fewer members and texts than the bytes
then: colons or quotation marks in the bytes are counted, which is far cheaper than to look at every
name. Only where the counts are not as they should be, the names are looked at.
"""

from __future__ import annotations

import json
from typing import Any

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted

_MARK = b'"'


def quotation_marks(raw: bytes) -> int:
    """Return how many quotation marks delimit texts, or some more if that is not quickly told."""
    count = raw.count(_MARK)
    # Behind "\\" a mark may be escaped, or may not.
    if b"\\" in raw and b"\\\\" not in raw:
        count -= raw.count(b'\\"')
    return count


def _marks_of(value: dict[str, Any]) -> int:
    """Return how many quotation marks the JSON of a decoded object has at least."""
    texts = 0
    waiting: list[Any] = [value]
    for node in waiting:
        parts = node
        if type(node) is dict:
            texts += len(node)
            parts = node.values()
        for part in parts:
            kind = type(part)
            if kind is str:
                texts += 1
            elif kind is dict or kind is list:
                waiting.append(part)  # the loop goes on with it
    return 2 * texts


def refuse_repeated_names(raw: bytes, value: dict[str, Any]) -> None:
    """Raise InvalidEvent if an object of valid JSON, at any depth, names a member more than once.

    ``value``: what was decoded.
    """
    # With as many colons as it has members, none has come twice. Dates and addresses have more.
    if raw.count(b":") == len(value):
        return
    marks = _marks_of(value)
    if raw.count(_MARK) == marks or quotation_marks(raw) == marks:
        return
    try:
        json.loads(raw.decode(), object_pairs_hook=_unique, parse_int=str, parse_float=str)
    except RecursionError:
        raise InvalidEvent(
            "invalid_event", "the JSON is nested too deeply; an event is a flat object"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        for name, _ in pairs:
            if name not in names:
                raise InvalidEvent(
                    "invalid_event",
                    f"the JSON names {quoted(name)} more than once in an object: "
                    "nobody can tell which one counts",
                    name,
                )
            names.discard(name)
