"""The wanted outcome of each record, by the events page: a second reading of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from tests.chaos.evidence import Record
from tests.chaos.load import NUMBER, UNIT, UNIT_NUMBER

UNKNOWN = "UNKNOWN"

Place = tuple[int, int]  #: partition and offset
Key = tuple[str, str]  #: data key and key value


class Row(NamedTuple):
    """A row that a record asks for: what is to be applied, or why it is dead-lettered."""

    data_key: str
    key_value: str
    fields: Mapping[str, str]
    reason: str = ""


class Wanted(NamedTuple):
    """The wanted outcome of a record.

    Its rows, or a dead letter with this reason; neither: skipped by rule.
    """

    number: str = ""
    rows: tuple[Row, ...] = ()
    reason: str = ""


def wanted(record: Record) -> Wanted:
    """Return what is to become of a record, by the events page."""
    if record.value is None:
        return Wanted()
    try:
        event = json.loads(record.value)
    except ValueError:
        return Wanted(reason="undecodable")
    if "epcisBody" in event:
        (event,) = event["epcisBody"]["eventList"]
        fields = {NUMBER: event[NUMBER]}
        if "parentID" in event:
            fields[UNIT] = event["parentID"]
        codes = event.get("epcList") or event["childEPCs"]
        return Wanted(event[NUMBER], tuple(_row("extended_id", code, fields) for code in codes))
    if "scm_data" in event:
        fields = event["scm_data"]
        rows = [_row(event["data_key"], event["key_value"], fields)]
        if also := event.get("also_update"):
            rows.append(_row(also["data_key"], also["key_value"], fields))
        return Wanted(fields[UNIT_NUMBER], tuple(rows))
    key = event.pop("extended_id")
    number = event.get(NUMBER) or event[UNIT_NUMBER]
    return Wanted(number, (_row("extended_id", key, event),))


def _row(data_key: str, key_value: str, fields: Mapping[str, str]) -> Row:
    reason = (
        "unknown_key"
        if key_value.startswith(UNKNOWN)
        else "invalid_value"
        if "activation_status" in fields
        else ""
    )
    return Row(data_key, key_value, fields, reason)


def deserved(reason: str) -> tuple[str, ...]:
    """Return the reasons with which it may be dead-lettered.

    A 400 that names no row does not tell of an unknown key.
    """
    return (reason, "rejected_by_api") if reason == "unknown_key" else (reason,)


def sent_of(row: Row) -> dict[str, str]:
    """Return the fields of a row as they are sent."""
    return {name: value for name, value in row.fields.items() if value is not None}
