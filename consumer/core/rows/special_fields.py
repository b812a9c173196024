"""A table of the fields that mean something to the API: what each does, may hold, and who says so.

Every other field is the campaign's own: any text of at most ``MAX_VALUE`` characters. The page on
events shows this table, and a test holds the page to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from consumer.core.model import Rejection
from consumer.core.rows.validation import MAX_VALUE, is_date, quoted


class FieldRule(NamedTuple):
    """The values that one field may hold; ``allowed`` says so in messages."""

    reason: str
    passes: Callable[[str], bool]
    allowed: str


class SpecialField(NamedTuple):
    """A field, or a kind of fields that a setting names, and its rule; None: any text will do."""

    name: str
    meaning: str
    rule: FieldRule | None
    source: str  #: the section of the guide on special fields, unless another one is named
    setting: bool = False  #: ``name`` is the setting that lists such fields


_STATUS = FieldRule(
    "invalid_value", frozenset("012").__contains__, "0 (inactive), 1 (active) or 2 (blacklisted)"
)
_DAY = FieldRule(
    "invalid_value",
    lambda text: not text or is_date(text),
    "a real date as YYYY-MM-DD, or empty text",
)

#: Empty text erases a field at the API, and is refused only where there is nothing to erase.
SPECIAL_FIELDS = (
    SpecialField(
        "product",
        "assigns the code to a product; one of another campaign moves the code to that campaign",
        FieldRule("invalid_value", bool, "the ID or SKU of a product; it cannot be empty"),
        "Assign Products",
    ),
    SpecialField(
        "activation_status",
        "activates, deactivates or blacklists the code",
        _STATUS,
        "Activate Codes",
    ),
    SpecialField(
        "status",
        "the older name of activation_status; beside it, it is dropped unchecked, as the API would"
        " override it",
        _STATUS,
        "Activate Codes",
    ),
    SpecialField(
        "blacklist_reason",
        "why a code is blacklisted; goes with activation_status 2",
        FieldRule(
            "invalid_value",
            frozenset(["", *map(str, range(11))]).__contains__,
            "a whole number from 0 to 10, or empty text",
        ),
        "not in the guides: the API's own list of reasons",
    ),
    SpecialField(
        "intended_market",
        "an ISO-2 country code or the key of a region; scans elsewhere raise an alert. Regions are"
        " the brand's own, and codes are seen in upper and lower case, so it is sent as it came",
        None,
        "System Alerts",
    ),
    SpecialField("after_sell_by", "scans after this day raise an alert", _DAY, "System Alerts"),
    SpecialField(
        "date_consumed",
        "is set by the system when a code is consumed",
        FieldRule(
            "forbidden_field",
            lambda _: False,
            "nothing: Scantrust sets it when a code is consumed; leave the field out",
        ),
        "System Alerts",
    ),
    SpecialField(
        "events.logistic_units",
        "puts the code into the unit; updates by that unit then reach it, and keep their order with"
        " this row",
        None,
        "Assign Logistic Units",
        setting=True,
    ),
    SpecialField(
        "events.date_fields",
        "a campaign's field of type Date; of a timestamp the date at its own offset is sent",
        _DAY,
        "Upload SCM Data (SYNC), Date Format",
        setting=True,
    ),
)

#: The rules by name, of those fields whose name is the API's.
FIELD_RULES = {
    field.name: field.rule
    for field in SPECIAL_FIELDS
    if field.rule is not None and not field.setting
}


def field_rules(date_fields: Collection[str]) -> dict[str, FieldRule]:
    """Return the rules by field name, with those of the date fields; special fields keep theirs."""
    return dict.fromkeys(date_fields, _DAY) | FIELD_RULES


def field_problem(rule: FieldRule | None, name: str, text: str) -> Rejection | None:
    """Return what is wrong with a field's value; ``rule``: the field's own, if it has one."""
    if len(text) > MAX_VALUE:
        message = f"{quoted(name)} has {len(text)} characters, at most {MAX_VALUE} are allowed"
        return Rejection("value_too_long", f"{message}: {quoted(text)}", name)
    if rule is not None and not rule.passes(text):
        return Rejection(
            rule.reason, f"{quoted(name)} is {quoted(text)}; allowed: {rule.allowed}", name
        )
    return None
