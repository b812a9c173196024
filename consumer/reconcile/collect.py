"""Read the topics into ``Changes``: every row of every event, as the consumer would send it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Message

from consumer.adapters.kafka.scan import Scan, Settled
from consumer.config.settings import Settings
from consumer.core.model import Row
from consumer.decoding import RowReader
from consumer.reconcile.changes import Changes, NewChange

#: Letters that are handed over at once.
LETTERS = 1_000

#: A partition's name.
PartitionId = tuple[str, int]


class Window(NamedTuple):
    """The events that count: since a time, and uploaded before another; Unix seconds."""

    since: float | None
    asked_at: float  #: what is younger may not be in the document


class Collected(NamedTuple):
    """The extent of what was read."""

    records: int
    partitions: list[PartitionId]  #: by their number in the changes


class Collector:
    """Reads the topics once. ``progress``: called with the number of records so far."""

    def __init__(
        self,
        settings: Settings,
        scan: Scan,
        changes: Changes,
        window: Window,
        progress: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._scan = scan
        self._changes = changes
        self._window = window
        self._progress = progress

    def collect(self, settled: Mapping[PartitionId, Settled]) -> Collected:
        """Read all events, then all dead letters.

        ``settled``: by the group's commits from before the API was asked.
        """
        keys = sorted(settled)
        numbers = {key: number for number, key in enumerate(keys)}
        count = 0
        compacted = self._scan.compacted({topic for topic, _ in keys})
        reader = RowReader(self._settings)
        latest = dict.fromkeys(numbers.values(), 0)
        next_offset: dict[int, int] = {}
        asked_ms = int(self._window.asked_at * 1000)
        try:
            for message in self._scan.records(keys, self._window.since):
                count += 1
                if count % 10_000 == 0:
                    self._progress(count)
                key = (message.topic() or "", message.partition() or 0)
                number, offset = numbers[key], message.offset() or 0
                time = message.timestamp()[1]
                if number not in next_offset:
                    if offset > 0:
                        # What was before it is gone, or not read; it was about as old, or older.
                        self._changes.blind_until[number] = time
                elif key[0] in compacted and offset > next_offset[number]:
                    self._changes.last_gap[number] = offset
                next_offset[number] = offset + 1
                # Within a partition the order is its own, whatever the clocks of publishers say.
                latest[number] = max(latest[number], time)
                is_settled = offset in settled[key] and time <= asked_ms
                self._add(message, reader, (latest[number], number, offset), settled=is_settled)
        finally:
            reader.close()
        self._look_at_unread({k: n for k, n in numbers.items() if n not in next_offset}, asked_ms)
        self._add_letters(numbers)
        self._changes.finish()
        return Collected(count, keys)

    def _look_at_unread(self, unread: Mapping[PartitionId, int], asked_ms: int) -> None:
        """Take in what partitions without any event that was read may have had.

        Of one that is empty now nobody knows how young its events were when they went.
        """
        since = self._window.since
        for key, (begin, end) in self._scan.bounds(list(unread)).items():
            if begin == end > 0:
                self._changes.blind_until[unread[key]] = asked_ms
            elif end > 0 and since is not None:
                self._changes.blind_until[unread[key]] = int(since * 1000)

    def _add(
        self, message: Message, reader: RowReader, at: tuple[int, int, int], *, settled: bool
    ) -> None:
        if message.value() is None:
            return
        for index, row in enumerate(reader.rows(message) or ()):
            if row.rejection is not None or row.data_key is None or row.value is None:
                continue
            event_id = row.record.event_id or ""
            fields = _stored(row)
            self._changes.add(
                NewChange(row.data_key, row.value, (*at, index), fields, event_id, settled=settled)
            )

    def _add_letters(self, numbers: Mapping[PartitionId, int]) -> None:
        topic = self._settings.dead_letter.topic
        batch: list[tuple[int, int, str | None, str | None]] = []
        for letter in _letters(self._scan, topic, numbers):
            batch.append(letter)
            if len(batch) >= LETTERS:
                self._changes.add_letters(batch)
                batch.clear()
        self._changes.add_letters(batch)


def _stored(row: Row) -> dict[str, str]:
    """Return what a row sets, as the API stores it: ``status`` is an older name."""
    fields = {name: value for name, value in row.item.items() if name != row.data_key}
    if "status" in fields:
        status = fields.pop("status")
        fields.setdefault("activation_status", status)
    return fields


def _letters(
    scan: Scan, topic: str, numbers: Mapping[PartitionId, int]
) -> Iterator[tuple[int, int, str | None, str | None]]:
    keys: Sequence[PartitionId] = scan.partitions([topic], missing_ok=True)
    for message in scan.records(keys, None):
        found: Any = message.headers() or []  # pairs, whatever its stub says
        headers = {str(name): (value or b"").decode("utf-8", "replace") for name, value in found}
        try:
            place = (
                headers["__connect.errors.topic"],
                int(headers["__connect.errors.partition"]),
            )
            offset = int(headers["__connect.errors.offset"])
        except (KeyError, ValueError):
            continue  # no letter of this program: a marker, or a foreign record
        if place in numbers:
            yield numbers[place], offset, headers.get("scm.data_key"), headers.get("scm.key_value")
