"""``dlq show``: all that is known of one letter, and what became of its code since."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from consumer.adapters.kafka.scan import Scan
from consumer.config.settings import Settings
from consumer.core.model import Row
from consumer.dead_letters.filters import Filter
from consumer.dead_letters.gathering import Progress, gather, letter_of, partitions
from consumer.dead_letters.letter import Letter, Marker, Place
from consumer.dead_letters.listing import members
from consumer.dead_letters.store import Listed
from consumer.dead_letters.texts import printable, time_text
from consumer.decoding import RowReader
from consumer.errors import UserError

#: Characters of a value that are shown to people; ``--json`` has all of it.
_VALUE, _TEXT = 4000, 500
_INDENT = "  "


class ReadRow(msgspec.Struct, frozen=True):
    """A row as today's settings make it of the record. The names are those of ``--json``."""

    data_key: str | None
    key_value: str | None
    fields: dict[str, str]
    rejected: str | None  #: why it would be rejected today; None: it would not


class Shown(msgspec.Struct, frozen=True):
    """One letter with its state, and its record as it is read today."""

    letter: Letter
    listed: Listed
    rows: list[ReadRow] | None  #: None: the schema registry does not give its schema
    event_at: int | None  #: the event's time in Kafka, if it is still in its topic


def find(scan: Scan, settings: Settings, place: Place, progress: Progress) -> Shown:
    """Return the letter at a place; raise UserError, saying what is there instead."""
    topic = settings.dead_letter.topic
    if place.topic != topic:
        raise UserError(
            f"{place}: {place.topic} is not the dead-letter topic, which is {topic} "
            "(dead_letter.topic); letters of an event are listed by "
            f"scm-consumer dlq list --source {place.topic}:{place.partition}"
        )
    letter = _letter(scan, topic, place)
    # Its own time alone: nothing older is of interest, and what became of it is newer.
    since = letter.at / 1000 if letter.at > 0 else None
    wanted = Filter(since=since, until=None if since is None else (letter.at + 1) / 1000)
    store = gather(scan, topic, settings.kafka.topics, wanted, progress)
    try:
        listed = next((found for found in store.listed() if found.letter == place), None)
    finally:
        store.close()
    if listed is None:
        raise UserError(f"{place}: it was removed while it was looked at; look again")
    event_at = None if letter.source is None else _time_of(scan, letter.source)
    return Shown(letter, listed, _rows(scan, settings, place), event_at)


def as_json(shown: Shown, outcomes: list[dict[str, Any]]) -> bytes:
    """Return the JSON object of a letter; ``outcomes``: of ``where``, since its event."""
    letter = shown.letter
    more = {
        "stage": letter.stage,
        "http_status": letter.http_status,
        "attempts": letter.attempts,
        "event_id": letter.event_id,
        "consumer": letter.consumer,
        "replay_of": None if letter.replay_of is None else letter.replay_of._asdict(),
        "replays": letter.replays,
        "row": letter.item,
        "rows_today": shown.rows,
        "key": _text_or_base64(letter.key),
        "value": _text_or_base64(letter.value),
        "headers": [[name, _text_or_base64(raw)] for name, raw in letter.headers],
        "since": outcomes,
    }
    return msgspec.json.encode(members(shown.listed) | more)


def lines(shown: Shown) -> Iterator[str]:
    """Yield what is known of a letter, for people; what became of its code is not in it."""
    letter, listed = shown.letter, shown.listed
    yield f"{letter.place}  {time_text(letter.at)}"
    yield ""
    for name, text in _summary(letter, listed, shown.event_at):
        if text:
            yield f"{name:<12} {printable(text, _TEXT)}"
    yield ""
    yield "row as it was sent, or would have been"
    yield from _fields(letter.item) if letter.item else [f"{_INDENT}not known"]
    yield ""
    yield "record, as today's settings read it"
    yield from _rows_read(shown.rows)
    yield f"{_INDENT}key    {_shown(letter.key)}"
    yield f"{_INDENT}value  {_shown(letter.value)}"
    yield ""
    yield "headers"
    width = max((len(name) for name, _ in letter.headers), default=0)
    for name, raw in letter.headers:
        yield f"{_INDENT}{printable(name, _TEXT):<{width}}  {_shown(raw)}"


def _letter(scan: Scan, topic: str, place: Place) -> Letter:
    key = (topic, place.partition)
    keys = partitions(scan, topic)
    if key not in keys:
        raise UserError(f"{place}: {topic} has partitions 0 to {len(keys) - 1}")
    low, high = scan.bounds([key])[key]
    if place.offset < low:
        raise UserError(
            f"{place}: retention has removed it; the partition's first record is at {low}"
        )
    if place.offset >= high:
        raise UserError(f"{place}: it is not there yet; the partition ends before {high}")
    for message in scan.between({key: place.offset}, {key: place.offset + 1}):
        found = letter_of(message)
        if isinstance(found, Letter):
            return found
        if isinstance(found, Marker):
            raise UserError(
                f"{place}: no letter, but a marker of dlq resolve: it resolves "
                f"{_ranges(found)}, because: {printable(found.because, _TEXT)}"
            )
        raise UserError(f"{place}: no letter, but a marker that cannot be read")
    raise UserError(f"{place}: there is no record at this offset")


def _ranges(marker: Marker) -> str:
    parts = [str(low) if low == high else f"{low}-{high}" for low, high in marker.ranges]
    return f"{marker.topic}[{marker.partition}]@{','.join(parts)}"


def _time_of(scan: Scan, source: Place) -> int | None:
    """Return a record's time, milliseconds since the epoch; None if it is gone, or has none."""
    key = (source.topic, source.partition)
    if key not in scan.partitions([source.topic], missing_ok=True):
        return None
    low, high = scan.bounds([key])[key]
    if not low <= source.offset < high:
        return None
    for message in scan.between({key: source.offset}, {key: source.offset + 1}):
        at = message.timestamp()[1]
        return at if at > 0 else None
    return None


def _rows(scan: Scan, settings: Settings, place: Place) -> list[ReadRow] | None:
    key = (place.topic, place.partition)
    reader = RowReader(settings)
    try:
        for message in scan.between({key: place.offset}, {key: place.offset + 1}):
            if message.value() is None:
                return []
            rows = reader.rows(message)
            return None if rows is None else [_read_row(row) for row in rows]
    finally:
        reader.close()
    return []


def _read_row(row: Row) -> ReadRow:
    fields = {name: text for name, text in row.item.items() if name != row.data_key}
    why = row.rejection
    rejected = None if why is None else f"{why.reason}: {why.message}"
    return ReadRow(row.data_key, row.value, fields, rejected)


def _rows_read(rows: list[ReadRow] | None) -> Iterator[str]:
    if rows is None:
        yield f"{_INDENT}the schema registry does not give its schema"
    for row in rows or ():
        if row.key_value is not None:
            code = printable(f"{row.data_key}={row.key_value}", _TEXT)
            fields = " ".join(f"{name}={value!r}" for name, value in row.fields.items())
            yield f"{_INDENT}{code}  {printable(fields, _TEXT)}"
        if row.rejected is not None:
            yield f"{_INDENT}would be rejected: {printable(row.rejected, _TEXT)}"
    if rows is not None and not rows:
        yield f"{_INDENT}it makes no row"


def _summary(letter: Letter, listed: Listed, event_at: int | None) -> Iterator[tuple[str, str]]:
    state = listed.state
    if listed.replayed_to is not None:
        state += f", to {listed.replayed_to} at {time_text(listed.replayed_at or 0)}"
    if listed.came_back is not None:
        state += f", came back as {listed.came_back}"
    if listed.state == "resolved":
        state += f", because: {listed.because}"
    yield "state", state
    yield "reason", letter.reason + (f", at {letter.stage}" if letter.stage else "")
    yield "message", letter.message
    yield "field", letter.field or ""
    yield "code", "" if letter.key_value is None else f"{letter.data_key}={letter.key_value}"
    when = "not in its topic any more" if event_at is None else time_text(event_at)
    yield "event", "not known" if letter.source is None else f"{letter.source}, {when}"
    yield "event id", letter.event_id or ""
    yield "HTTP status", "" if letter.http_status is None else str(letter.http_status)
    yield "attempts", "" if letter.attempts is None else str(letter.attempts)
    again = (
        "" if letter.replay_of is None else f"{letter.replays} times; before it {letter.replay_of}"
    )
    yield "replayed", again
    yield "written by", f"scm-consumer {letter.consumer}" if letter.consumer else letter.reason


def _fields(item: dict[str, str]) -> list[str]:
    width = max(map(len, item))
    return [
        f"{_INDENT}{printable(name, _TEXT):<{width}}  {printable(text, _TEXT)}"
        for name, text in item.items()
    ]


def _shown(raw: bytes | None) -> str:
    if raw is None:
        return "(none)"
    try:
        return printable(raw.decode(), _VALUE)
    except UnicodeDecodeError:
        return f"({len(raw):,} bytes) {raw[:100].hex(' ')}{' …' if len(raw) > 100 else ''}"


def _text_or_base64(raw: bytes | None) -> Any:
    """Return bytes as JSON can hold them: text where they are UTF-8, else named base64."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}
