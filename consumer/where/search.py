"""Following a code: its events, and what the group, the dead-letter topic and the receipts say of
each.

A fate is told where somebody wrote it down: a letter, a receipt, the group's commit. Today's
settings tell how an event would be read now, and not how it was read then; so what they say is told
apart, and is never a fate of its own.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import orjson
from confluent_kafka import Message

from consumer.adapters.kafka.scan import Scan, Settled
from consumer.config.settings import Settings
from consumer.core.model import Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.decoding import event_decoding
from consumer.loop.intake import Intake

#: How long the registry may take for a schema.
SCHEMA_SECONDS = 15.0

#: In JSON with escapes, and in EPCIS, a key may stand in another way than it is sent.
_MAY_BE_WRITTEN_OTHERWISE = (b"\\", b"epc", b"EPC", b"parentID")

#: A record: topic, partition, offset.
Place = tuple[str, int, int]


class Unread(Enum):
    """Why there is no row of a record."""

    NO_SCHEMA = "no schema"  #: the registry does not give it
    NOTHING_SET = "nothing set"  #: by the rules


class Fate(msgspec.Struct, frozen=True):
    """One row of the code, and what became of it. The field names are those of ``--json``.

    ``data_key`` and ``fields`` are those of its letter or receipt, if there is one, else as they
    would be read today.
    """

    fate: str  #: unsettled, accepted, dead_lettered, skipped, unknown
    told: str  #: more, for people
    at: str  #: the event's time in Kafka, RFC 3339
    topic: str
    partition: int
    offset: int
    data_key: str | None
    key_value: str
    event_id: str
    fields: dict[str, str] | None  #: None: they could not be read


class Told(NamedTuple):
    """What a topic of our own says of a row."""

    fate: str
    told: str
    data_key: str | None  #: None: the record, or a part of it, could not be made a row
    item: dict[str, str] | None  #: the row as it was sent; None: not told
    at: int  #: when that was written, milliseconds since the epoch


class Search:
    """One code's way; ``progress`` is told how many records were looked at so far."""

    def __init__(
        self, settings: Settings, scan: Scan, key: str, progress: Callable[[int], None]
    ) -> None:
        self._settings = settings
        self._scan = scan
        self._key = key
        self._bytes = key.encode("utf-8", "surrogateescape")
        self._progress = progress
        self.searched = 0  #: records of the topics that were looked at
        self._receipts_from: dict[
            tuple[str, int], int
        ] = {}  # the lowest offset of a partition that has a receipt
        self._to_skip: set[tuple[str, int]] = (
            set()
        )  # partitions with an event that sets nothing by today's rules

    def fates(self, since: float | None) -> Iterator[Fate]:
        """Everything that is known of the code since a time (Unix seconds), about in the order of
        the events.
        """
        settings = self._settings
        keys = self._scan.partitions(settings.kafka.topics)
        found = list(self._events(keys, since))
        settled = self._scan.settled(keys)
        # After what is settled: a row's letter or receipt is there before the row is settled.
        told = self._told(settings.dead_letter.topic, since, _letter)
        if settings.receipts.topic:
            for place, more in self._told(settings.receipts.topic, since, self._receipt).items():
                told.setdefault(place, []).extend(more)
        found.sort(key=lambda pair: pair[0].timestamp()[1])
        left = {place: list(entries) for place, entries in told.items()}
        last: dict[Place, tuple[Message, Row | Unread]] = {}
        for message, row in found:
            place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
            mine = _of_row(row, told.get(place, []))
            yield self._fate(message, row, mine, settled[place[:2]])
            left[place] = [entry for entry in left.get(place, []) if entry not in mine]
            last[place] = (message, row)
        for place, entries in left.items():
            # Of events that are not in their topic any more, are older than what was asked for, or
            # were read by other rules then: of each row the latest.
            of_rows = {
                (entry.data_key, str(entry.item)): entry
                for entry in sorted(entries, key=lambda e: e.at)
            }
            for entry in of_rows.values():
                yield (
                    self._fate(*last[place], [entry], settled[place[:2]])
                    if place in last
                    else self._gone(place, entry)
                )

    def _fate(
        self, message: Message, row: Row | Unread, mine: list[Told], settled: Settled
    ) -> Fate:
        offset = message.offset() or 0
        entry = max(mine, key=lambda entry: entry.at, default=None)
        data_key = None if isinstance(row, Unread) else row.data_key
        fields = (
            None if isinstance(row, Unread) or row.value is None else _fields(data_key, row.item)
        )
        if entry is not None:
            fate, more = entry.fate, entry.told
            data_key = entry.data_key or data_key
            fields = fields if entry.item is None else _fields(entry.data_key, entry.item)
        else:
            fate, more = self._without_entry(message, row, settled)
        where_from = f"{message.topic()}-{message.partition()}-{offset}"
        return Fate(
            fate=fate,
            told=more,
            at=_time(message),
            topic=message.topic() or "",
            partition=message.partition() or 0,
            offset=offset,
            data_key=data_key,
            key_value=self._key,
            event_id=(None if isinstance(row, Unread) else row.record.event_id) or where_from,
            fields=fields,
        )

    def _without_entry(
        self, message: Message, row: Row | Unread, settled: Settled
    ) -> tuple[str, str]:
        """The fate of a row without a letter or a receipt, and what is known of it."""
        offset = message.offset() or 0
        today = ""
        if row is Unread.NO_SCHEMA:
            today = "; it cannot be read here: the schema registry does not give its schema"
        elif row is Unread.NOTHING_SET:
            today = "; by today's rules it sets nothing, and would be skipped"
        elif isinstance(row, Row) and row.rejection is not None:
            today = f"; by today's rules it would be rejected: {row.rejection.reason}: {row.rejection.message}"
        if offset not in settled:
            known = (
                "nothing is committed yet"
                if settled.committed is None
                else f"committed: {settled.committed}"
            )
            return "unsettled", known + today
        how = (
            "the group has committed"
            if offset < (settled.committed or 0)
            else "named by the settled map at"
        )
        known = f"settled ({how} {settled.committed})"
        first = self._receipts_from.get((message.topic() or "", message.partition() or 0))
        if row is Unread.NOTHING_SET and first is not None and first <= offset:
            # Receipts were kept when this partition came here, so there would be one if anything
            # had been accepted.
            return "skipped", f"{known}, without a letter or a receipt{today}"
        if self._settings.receipts.topic:
            known += "; accepted or not: unknown, there is no receipt, perhaps from before there were any"
        else:
            known += "; accepted or not: unknown without receipts.topic"
        return "unknown", known + today

    def _gone(self, place: Place, entry: Told) -> Fate:
        """What is told of an event that is not in its topic any more, or is older than what was
        asked for.
        """
        where_from = f"{place[0]}-{place[1]}-{place[2]}"
        return Fate(entry.fate, entry.told, "", *place, entry.data_key, self._key, where_from, None)

    # -- events ----------------------------------------------------------------------------------

    def _events(
        self, keys: Sequence[tuple[str, int]], since: float | None
    ) -> Iterator[tuple[Message, Row | Unread]]:
        """The rows of the code.

        For a record that names it and makes no row of it, why: a refused row, or Unread.
        """
        reader = _RowReader(self._settings)
        try:
            for message in self._scan.records(keys, since):
                self.searched += 1
                if self.searched % 10_000 == 0:
                    self._progress(self.searched)
                raw = message.value()
                if raw is None or not self._may_hold(raw):
                    continue
                rows = reader.rows(message)
                if not rows and self._bytes in raw:
                    if rows is not None:
                        self._to_skip.add((message.topic() or "", message.partition() or 0))
                    yield message, Unread.NO_SCHEMA if rows is None else Unread.NOTHING_SET
                for row in rows or ():
                    if row.value == self._key or (row.value is None and self._bytes in raw):
                        yield message, row
        finally:
            reader.close()

    def _may_hold(self, raw: bytes) -> bool:
        """Whether to decode a record at all.

        JSON may write a key with escapes, EPCIS inside a longer name.
        """
        return self._bytes in raw or any(sign in raw for sign in _MAY_BE_WRITTEN_OTHERWISE)

    # -- what our own topics say -----------------------------------------------------------------

    def _told(
        self,
        topic: str,
        since: float | None,
        read: Callable[[Message, str], tuple[Place, Told] | None],
    ) -> dict[Place, list[Told]]:
        told: dict[Place, list[Told]] = {}
        for message in self._scan.records(self._scan.partitions([topic], missing_ok=True), since):
            entry = read(message, self._key)
            if entry is not None:
                told.setdefault(entry[0], []).append(entry[1])
        return told

    def _receipt(self, message: Message, key: str) -> tuple[Place, Told] | None:
        """What a receipt of this code tells.

        Of any code, that receipts were kept then, if that is to be known.
        """
        mine = self._bytes in (message.key() or b"")
        if not mine and not self._to_skip:
            return None
        try:
            content: Any = orjson.loads(message.value() or b"")
        except orjson.JSONDecodeError:
            return None
        place = _place(content.get("topic"), content, "") if isinstance(content, dict) else None
        if place is None:
            return None
        partition, offset = place[:2], place[2]
        if partition in self._to_skip:
            self._receipts_from[partition] = min(offset, self._receipts_from.get(partition, offset))
        return (
            _receipt(content, place, message, key)
            if mine and content.get("key_value") == key
            else None
        )


class _RowReader:
    """From a record to its rows, as the consumer reads it; it waits for schemas."""

    def __init__(self, settings: Settings) -> None:
        events = settings.events
        self._looked_up: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        decode, self._lookup = event_decoding(
            settings, self._looked_up.put, lambda schema_id: self._intake.on_looked_up(schema_id)
        )
        maker = RowMaker(
            events.data_key, date_fields=events.date_fields, logistic_units=events.logistic_units
        )
        self._intake = Intake(decode, maker, None if self._lookup is None else self._lookup.ask)

    def rows(self, message: Message) -> list[Row] | None:
        """Its rows; None if it cannot be read without a schema that the registry does not give."""
        partition = Partition(
            message.topic() or "", message.partition() or 0, message.offset() or 0, None
        )
        _, rows, _ = self._intake.take(partition, [message], 0.0)
        while partition in self._intake.waiting:
            try:
                take_in = self._looked_up.get(timeout=SCHEMA_SECONDS)
            except queue.Empty:
                self._intake.forget([partition])
                return None
            take_in()
            rows = self._intake.retry(partition, 0.0)[1]
        return rows

    def close(self) -> None:
        """Look no schema up any more."""
        if self._lookup is not None:
            self._lookup.close()


def _fields(data_key: str | None, item: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in item.items() if name != data_key}


def _of_row(row: Row | Unread, told: list[Told]) -> list[Told]:
    """What is told of this row; none: nothing, or not certainly of it.

    A record can hold several rows, of one code even: that one of them was rejected says nothing of
    the others.
    """
    if isinstance(row, Unread):
        return told
    if row.value is None:
        mine = [entry for entry in told if entry.data_key is None]
    else:
        of_key = [entry for entry in told if entry.data_key == row.data_key]
        mine = [entry for entry in of_key if entry.item == row.item] or [
            e for e in of_key if e.item is None
        ]
    return (
        told if not mine and row.record.open == 1 else mine
    )  # else it was read by other rules then


def _letter(message: Message, key: str) -> tuple[Place, Told] | None:
    found: Any = message.headers() or []  # pairs, whatever its stub says
    headers = {str(name): (value or b"").decode("utf-8", "replace") for name, value in found}
    place = _place(headers.get("__connect.errors.topic"), headers, "__connect.errors.")
    named = headers.get("scm.key_value")
    if place is None or named not in (None, key):
        return None
    if named is None and key.encode("utf-8", "surrogateescape") not in (message.value() or b""):
        return None  # of a record that could not be read, and is not about this code
    told = f"{headers.get('scm.reason', '?')}: {headers.get('scm.message', '')}"
    try:
        item = orjson.loads(headers.get("scm.row", "null"))
    except orjson.JSONDecodeError:
        item = None
    return place, Told(
        "dead_lettered",
        f"{told} ({_time(message)})",
        headers.get("scm.data_key"),
        item,
        message.timestamp()[1],
    )


def _receipt(
    content: dict[str, Any], place: Place, message: Message, key: str
) -> tuple[Place, Told]:
    how = (
        f"task {content['task_id']}"
        if "task_id" in content
        else f"HTTP {content.get('http_status')}"
    )
    unconfirmed = ", not confirmed by the answer" if content.get("unconfirmed") else ""
    data_key, fields = content.get("data_key"), content.get("fields")
    item = (
        {data_key: key, **fields}
        if isinstance(data_key, str) and isinstance(fields, dict)
        else None
    )
    told = f"{content.get('accepted_at')}, {how}{unconfirmed}"
    return place, Told("accepted", told, data_key, item, message.timestamp()[1])


def _place(topic: Any, told: dict[str, Any], prefix: str) -> Place | None:
    try:
        return str(topic), int(told[f"{prefix}partition"]), int(told[f"{prefix}offset"])
    except (KeyError, ValueError, TypeError):
        return None


def _time(message: Message) -> str:
    milliseconds = message.timestamp()[1]
    if milliseconds <= 0:
        return "no time"
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
