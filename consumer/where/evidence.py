"""Read what the program's own topics say of a code's rows: dead letters and receipts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

#: A record: topic, partition, offset.
Place = tuple[str, int, int]


class RowEvidence(NamedTuple):
    """One dead letter or receipt of a row."""

    fate: str  #: accepted or dead_lettered
    details: str  #: for people
    data_key: str | None  #: None: the record, or a part of it, could not be made a row
    item: dict[str, str] | None  #: the row as it was sent; None: not known
    at: int  #: when the evidence was written, milliseconds since the epoch


def place_of(message: Message) -> Place:
    """Return where a record is."""
    return message.topic() or "", message.partition() or 0, message.offset() or 0


def dead_letter_evidence(message: Message, key: str) -> tuple[Place, RowEvidence] | None:
    """Return the record that a dead letter is about and its evidence; None if of another code."""
    found: Any = message.headers() or []  # pairs, whatever its stub says
    headers = {str(name): (value or b"").decode("utf-8", "replace") for name, value in found}
    place = named_place(headers.get("__connect.errors.topic"), headers, "__connect.errors.")
    named = headers.get("scm.key_value")
    if place is None or named not in (None, key):
        return None
    if named is None and key.encode("utf-8", "surrogateescape") not in (message.value() or b""):
        return None  # of a record that could not be read, and is not about this code
    details = f"{headers.get('scm.reason', '?')}: {headers.get('scm.message', '')}"
    try:
        item = orjson.loads(headers.get("scm.row", "null"))
    except orjson.JSONDecodeError:
        item = None
    return place, RowEvidence(
        "dead_lettered",
        f"{details} ({time_text(message)})",
        headers.get("scm.data_key"),
        item,
        message.timestamp()[1],
    )


def receipt_evidence(content: dict[str, Any], message: Message, key: str) -> RowEvidence:
    """Return the evidence of a receipt of this code; ``content``: its value."""
    how = (
        f"task {content['task_id']}"
        if "task_id" in content
        else f"HTTP {content.get('http_status')}"
    )
    unconfirmed = ", not confirmed by the response" if content.get("unconfirmed") else ""
    data_key, fields = content.get("data_key"), content.get("fields")
    item = (
        {data_key: key, **fields}
        if isinstance(data_key, str) and isinstance(fields, dict)
        else None
    )
    details = f"{content.get('accepted_at')}, {how}{unconfirmed}"
    return RowEvidence("accepted", details, data_key, item, message.timestamp()[1])


def named_place(topic: Any, members: dict[str, Any], prefix: str) -> Place | None:
    """Return the record that headers or a receipt name; None if they name none."""
    try:
        return str(topic), int(members[f"{prefix}partition"]), int(members[f"{prefix}offset"])
    except (KeyError, ValueError, TypeError):
        return None


def time_text(message: Message) -> str:
    """Return a record's time in Kafka, RFC 3339 in UTC."""
    milliseconds = message.timestamp()[1]
    if milliseconds <= 0:
        return "no time"
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
