"""Following a code: its events, and what the group, the dead-letter topic and the receipts say of each."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import orjson
from confluent_kafka import Message

from consumer.config.settings import Settings
from consumer.core.model import Row
from consumer.core.offsets import Partition
from consumer.core.rows import RowMaker
from consumer.formats import EpcisRules, Schemas, decoder
from consumer.intake import Intake
from consumer.kafka.scan import Scan, Settled
from consumer.schema_registry import Found, Registry, connect

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
    """One row of the code, and what became of it. The field names are those of ``--json``."""

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

    def __init__(self, settings: Settings, scan: Scan, key: str, progress: Callable[[int], None]) -> None:
        self._settings = settings
        self._scan = scan
        self._key = key
        self._bytes = key.encode("utf-8", "surrogateescape")
        self._progress = progress
        self.searched = 0  #: records of the topics that were looked at

    def fates(self, since: float | None) -> Iterator[Fate]:
        """Everything that is known of the code since a time (Unix seconds), about in the order of the events."""
        settings = self._settings
        keys = self._scan.partitions(settings.kafka.topics)
        found = list(self._events(keys, since))
        settled = self._scan.settled(keys)
        # After what is settled: a row's letter or receipt is there before the row is settled.
        told = self._told(settings.dead_letter.topic, since, _letter)
        if settings.receipts.topic:
            for place, more in self._told(settings.receipts.topic, since, _receipt).items():
                told.setdefault(place, []).extend(more)
        found.sort(key=lambda pair: pair[0].timestamp()[1])
        for message, row in found:
            place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
            yield self._fate(message, row, told.get(place, []), settled[place[:2]])
        seen = {(message.topic(), message.partition(), message.offset()) for message, _ in found}
        for place in told.keys() - seen:
            for entry in told[place]:
                yield self._gone(place, entry)

    def _fate(self, message: Message, row: Row | Unread, told: list[Told], settled: Settled) -> Fate:
        offset = message.offset() or 0
        data_key = None if isinstance(row, Unread) else row.data_key
        mine = _of_row(row, told)
        if mine is not None:
            fate, more = mine.fate, mine.told
        elif row is Unread.NOTHING_SET:
            fate, more = "skipped", "by the rules there is nothing to set"
        elif offset not in settled:
            where = "nothing is committed yet" if settled.committed is None else f"committed: {settled.committed}"
            fate, more = "unsettled", where
        elif isinstance(row, Unread):
            fate, more = "unknown", "settled; the schema registry does not give its schema, so it cannot be read here"
        elif row.rejection is not None:
            fate, more = "dead_lettered", f"its letter is not in the topic any more; {row.rejection.message}"
        elif self._settings.receipts.topic:
            fate, more = "unknown", "settled; accepted or not: there is no receipt, perhaps from before there were any"
        else:
            fate, more = "unknown", "settled; accepted or not: unknown without receipts.topic"
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
            fields=None if isinstance(row, Unread) or row.value is None else _fields(row),
        )

    def _gone(self, place: Place, entry: Told) -> Fate:
        """What is told of an event that is not in its topic any more, or is older than what was asked for."""
        where_from = f"{place[0]}-{place[1]}-{place[2]}"
        return Fate(entry.fate, entry.told, "", *place, entry.data_key, self._key, where_from, None)

    # -- events ----------------------------------------------------------------------------------------------------

    def _events(self, keys: Sequence[tuple[str, int]], since: float | None) -> Iterator[tuple[Message, Row | Unread]]:
        """The rows of the code; for a record that names it and makes no row of it, why: a refused row, or Unread."""
        reader = _Reader(self._settings)
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
                    yield message, Unread.NO_SCHEMA if rows is None else Unread.NOTHING_SET
                for row in rows or ():
                    if row.value == self._key or (row.value is None and self._bytes in raw):
                        yield message, row
        finally:
            reader.close()

    def _may_hold(self, raw: bytes) -> bool:
        """Whether to decode a record at all: JSON may write a key with escapes, EPCIS inside a longer name."""
        return self._bytes in raw or any(sign in raw for sign in _MAY_BE_WRITTEN_OTHERWISE)

    # -- what our own topics say -------------------------------------------------------------------------------------

    def _told(
        self, topic: str, since: float | None, read: Callable[[Message, str], tuple[Place, Told] | None]
    ) -> dict[Place, list[Told]]:
        told: dict[Place, list[Told]] = {}
        for message in self._scan.records(self._scan.partitions([topic], missing_ok=True), since):
            entry = read(message, self._key)
            if entry is not None:
                told.setdefault(entry[0], []).append(entry[1])
        return told


class _Reader:
    """From a record to its rows, as the consumer reads it; it waits for schemas."""

    def __init__(self, settings: Settings) -> None:
        events, registry = settings.events, settings.schema_registry
        self._schemas = Schemas(time.monotonic) if registry.url else None
        self._answers: queue.SimpleQueue[tuple[int, Found | str]] = queue.SimpleQueue()
        self._registry: Registry | None = None
        if registry.url:
            client = connect(registry.url, registry.user, registry.password.get_secret_value())
            self._registry = Registry(client, registry.url, lambda number, answer: self._answers.put((number, answer)))
        maker = RowMaker(events.data_key, date_fields=events.date_fields, logistic_units=events.logistic_units)
        ask = None if self._registry is None else self._registry.ask
        rules = EpcisRules(events.logistic_units, **settings.epcis.model_dump())
        self._intake = Intake(decoder(events.format, self._schemas, rules), maker, ask)

    def rows(self, message: Message) -> list[Row] | None:
        """Its rows; None if it cannot be read without a schema that the registry does not give."""
        partition = Partition(message.topic() or "", message.partition() or 0, message.offset() or 0, None)
        _, rows, _ = self._intake.take(partition, [message], 0.0)
        while partition in self._intake.waiting:
            try:
                number, answer = self._answers.get(timeout=SCHEMA_SECONDS)
            except queue.Empty:
                self._intake.forget([partition])
                return None
            assert self._schemas is not None
            if isinstance(answer, Found):
                self._schemas.learn(number, *answer)
            else:
                self._schemas.refuse(number, answer)
            self._intake.answered(number)
            rows = self._intake.retry(partition, 0.0)[1]
        return rows

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()


def _fields(row: Row) -> dict[str, str]:
    return {name: text for name, text in row.item.items() if name != row.data_key}


def _of_row(row: Row | Unread, told: list[Told]) -> Told | None:
    """What is told of this row, last where several things are; None: nothing, or not certainly of it.

    A record can hold several rows, of one code even: that one of them was rejected says nothing of the others.
    """
    if isinstance(row, Unread):
        mine = told
    elif row.value is None:
        mine = [entry for entry in told if entry.data_key is None]
    else:
        of_key = [entry for entry in told if entry.data_key == row.data_key]
        mine = [entry for entry in of_key if entry.item == row.item] or [e for e in of_key if e.item is None]
        if not mine and row.record.open == 1:  # it was read by other rules then
            mine = told
    return max(mine, key=lambda entry: entry.at, default=None)


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
        "dead_lettered", f"{told} ({_time(message)})", headers.get("scm.data_key"), item, message.timestamp()[1]
    )


def _receipt(message: Message, key: str) -> tuple[Place, Told] | None:
    if key.encode("utf-8", "surrogateescape") not in (message.key() or b""):
        return None
    try:
        content: dict[str, Any] = orjson.loads(message.value() or b"")
    except orjson.JSONDecodeError:
        return None
    place = _place(content.get("topic"), content, "")
    if place is None or content.get("key_value") != key:
        return None
    how = f"task {content['task_id']}" if "task_id" in content else f"HTTP {content.get('http_status')}"
    unconfirmed = ", not confirmed by the answer" if content.get("unconfirmed") else ""
    data_key, fields = content.get("data_key"), content.get("fields")
    item = {data_key: key, **fields} if isinstance(data_key, str) and isinstance(fields, dict) else None
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
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
