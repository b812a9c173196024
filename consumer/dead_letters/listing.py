"""Letters as ``dlq list`` shows them: a line for people, or an object a line for programs."""

from __future__ import annotations

from typing import Any

import orjson

from consumer.dead_letters.letter import Place
from consumer.dead_letters.store import OPEN, RESOLVED, LetterStore, Listed
from consumer.dead_letters.texts import printable, time_text

#: So many characters of a key are shown in its column, and of a message.
_KEY, _MESSAGE = 40, 300

_WIDTHS = """
SELECT MAX(LENGTH(partition || offset)), MAX(LENGTH(reason)), MAX(LENGTH(state)),
  MAX(LENGTH(COALESCE(data_key, '?') || '=' || COALESCE(key_value, '?'))),
  MAX(LENGTH(topic || source_partition || source_offset)) FROM letters
"""


class Lines:
    """Makes a line of each letter, its columns as wide as the widest letter of a store needs."""

    def __init__(self, store: LetterStore, topic: str) -> None:
        (found,) = store.query(_WIDTHS)
        place, reason, state, key, source = (width or 0 for width in found)
        # What stands around the numbers of a place: [ ] and @.
        self._widths = (len(topic) + place + 3, state, reason, min(key, _KEY), source + 3)

    def line(self, letter: Listed) -> str:
        """Return the line of a letter: when, where, state, reason, key, source, message."""
        code = f"{letter.data_key or '?'}={letter.key_value or '?'}"
        columns = (
            str(letter.letter),
            letter.state,
            letter.reason,
            "-" if letter.data_key is None and letter.key_value is None else code,
            "-" if letter.source is None else str(letter.source),
        )
        shown = (
            printable(text, max(width, 1)).ljust(width)
            for text, width in zip(columns, self._widths, strict=True)
        )
        said = printable(letter.message, _MESSAGE)
        return "  ".join((time_text(letter.at), *shown, said + _since(letter))).rstrip()


def as_json(letter: Listed) -> bytes:
    """Return the JSON object of a letter, without an end of line."""
    return orjson.dumps(members(letter))


def members(letter: Listed) -> dict[str, Any]:
    """Return the members of a letter's JSON object."""
    return {
        "letter": place_members(letter.letter),
        "source": place_members(letter.source),
        "at": None if letter.at <= 0 else time_text(letter.at),
        "reason": letter.reason,
        "message": letter.message,
        "field": letter.field,
        "data_key": letter.data_key,
        "key_value": letter.key_value,
        "state": letter.state,
        "because": letter.because if letter.state == RESOLVED else None,
        "replayed_to": place_members(letter.replayed_to),
        "replayed_at": None if letter.replayed_at is None else time_text(letter.replayed_at),
        "came_back": place_members(letter.came_back),
    }


def place_members(place: Place | None) -> dict[str, Any] | None:
    """Return a place as JSON has it."""
    return None if place is None else place._asdict()


def _since(letter: Listed) -> str:
    """Return what became of a letter, to stand behind its message."""
    if letter.state == OPEN:
        return ""
    if letter.state == RESOLVED:
        return f"  (resolved: {printable(letter.because or 'nobody said why', _MESSAGE)})"
    told = []
    if letter.replayed_to is not None:
        told.append(f"replayed to {letter.replayed_to} at {time_text(letter.replayed_at or 0)}")
    if letter.came_back is not None:
        told.append(f"came back as {letter.came_back}")
    return f"  ({', '.join(told)})" if told else "  (its copy is gone from its topic by now)"
