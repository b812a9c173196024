"""Judge one code (reconcile): what it should hold against what the API holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from consumer.reconcile.expectation import Change, Expected

#: What a field of the API's document holds; several where a field has several columns.
Held = Mapping[str, tuple[str, ...]]


class Kind(Enum):
    """The findings on a code, the gravest first."""

    MISSING = "missing"  #: the API has no such code
    DIFFERENT = "different"
    DISCARDED = "discarded"  #: the campaign does not have the field
    UNDECIDED = "undecided"
    EQUAL = "equal"
    ABSENT = "absent"  #: of a field: the document has no column for it; not known yet why


class Difference(NamedTuple):
    """One field of a code that is not as the events say; or the code, if ``field`` is empty."""

    data_key: str
    key_value: str
    kind: Kind
    field: str
    expected: str
    held: str
    cause: str  #: of ``different``: ``stale`` or ``foreign``; else why, for people
    change: Change


STALE, FOREIGN = "stale", "foreign"

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
#: What follows the date where a day is told as a moment.
_MIDNIGHT = re.compile(r"[T ]00:00(:00(\.0+)?)?(Z|[+-]00:?00)?", re.ASCII)
_STATUS_WORDS = {
    "inactive": "0",
    "deactivated": "0",
    "false": "0",
    "not_active": "0",
    "active": "1",
    "activated": "1",
    "true": "1",
    "blacklisted": "2",
    "blacklist": "2",
}


def differences(
    data_key: str, key_value: str, expected: Mapping[str, Expected], held: Held
) -> Iterator[Difference]:
    """Yield what differs of a code; ``absent`` what should be in a field that has no column."""
    for name, want in expected.items():
        values = held.get(name)
        if values is None:
            if want.value and want.certain and not want.open:
                absent = Kind.ABSENT
                yield Difference(data_key, key_value, absent, name, want.value, "", "", want.change)
            continue
        if any(same(name, want.value, value) for value in values):
            continue
        shown = next((value for value in values if value), "")
        kind, cause = _why(name, want, values, row_is_lost=_row_is_lost(want, expected, held))
        yield Difference(data_key, key_value, kind, name, want.value, shown, cause, want.change)


def _row_is_lost(want: Expected, expected: Mapping[str, Expected], held: Held) -> bool:
    """Return whether nothing else is held either of what the same row has set."""
    return not any(
        same(name, other.value, value)
        for name, other in expected.items()
        if other.change is want.change and other is not want
        for value in held.get(name, ())
    )


def _why(
    name: str, want: Expected, values: tuple[str, ...], *, row_is_lost: bool
) -> tuple[Kind, str]:
    if want.open:
        return Kind.UNDECIDED, "an event of it was not uploaded, or is younger than the document"
    if not want.certain:
        return Kind.UNDECIDED, "events that are gone from the topic may have set it"
    if not any(values) or any(same(name, old, held) for old in want.older for held in values):
        return Kind.DIFFERENT, STALE
    # Codes are inactive when they are made (guide, "Activate Codes"): as if nothing had been set.
    if name == "activation_status" and row_is_lost and same(name, "0", values[0]):
        return Kind.DIFFERENT, STALE
    return Kind.DIFFERENT, FOREIGN


def same(name: str, expected: str, held: str) -> bool:
    """Return whether the API holds this value: some fields are written in several ways."""
    if expected == held:
        return True
    if name == "activation_status":
        word = held.strip().lower().replace(" ", "_")
        word = word.removesuffix(".0")
        return _STATUS_WORDS.get(word, word) == expected
    if name == "blacklist_reason":
        return (held.strip().removesuffix(".0") or "0") == (expected or "0")
    if _DATE.fullmatch(expected) and held.startswith(expected):
        return _MIDNIGHT.fullmatch(held[len(expected) :]) is not None
    return False
