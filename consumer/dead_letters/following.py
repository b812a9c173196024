"""Read the topics of events for the verdicts of a replay, and again what was appended since.

Which records must be read is said by ``verdicts.Verdicts``; here they are read. Receipts come
first. The position in each partition is kept, so that ``catch_up`` reads only what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from confluent_kafka import Message

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.scan import Scan, Settled
from consumer.config.settings import Settings
from consumer.dead_letters.gathering import TELL_EVERY, Progress, headers_of, place_of
from consumer.dead_letters.letter import REPLAY_OF, Place
from consumer.dead_letters.memory import give_back
from consumer.dead_letters.verdicts import Receipt, Seen, Verdicts
from consumer.decoding import RowReader

#: A receipt may be older than its event by two clocks that differ, seconds.
CLOCKS_DIFFER = 3600.0


class Events:
    """The topics of events, followed from where the verdicts need them to their ends.

    ``settled``: what the group had settled before the dead letters were read.
    """

    def __init__(
        self,
        scan: Scan,
        settings: Settings,
        settled: Mapping[PartitionId, Settled],
        progress: Progress,
    ) -> None:
        self._scan = scan
        self._settings = settings
        self._settled = settled
        self._progress = progress
        self._reader = RowReader(settings)
        self._positions: dict[PartitionId, int] = {}
        self.count = 0  #: records that were read

    @property
    def partition_counts(self) -> dict[str, int]:
        """Return how many partitions each topic has."""
        counts: dict[str, int] = {}
        for topic, _ in self._settled:
            counts[topic] = counts.get(topic, 0) + 1
        return counts

    def read(self, verdicts: Verdicts) -> None:
        """Tell the verdicts of all receipts and events that they need."""
        keys = list(self._settled)
        begins = {key: start for key, start in verdicts.starts().items() if key in self._settled}
        bounds = self._scan.bounds(keys)
        if self._settings.receipts.topic:
            self._read_receipts(verdicts, begins, bounds)
        ends = {key: high for key, (_, high) in bounds.items()}
        self._see(verdicts, {key: max(begins[key], bounds[key][0]) for key in begins}, ends)
        others = [key for key in keys if key not in begins]
        self._see(verdicts, self._starts_of_others(verdicts, others, bounds), ends)

    def catch_up(self, verdicts: Verdicts) -> int:
        """Tell the verdicts of what was appended since; return how many records that were."""
        before = self.count
        ends = {key: high for key, (_, high) in self._scan.bounds(list(self._positions)).items()}
        begins = {key: at for key, at in self._positions.items() if at < ends[key]}
        self._see(verdicts, begins, ends)
        return self.count - before

    def written(self, place: Place) -> None:
        """Take in that a copy was written there: if nothing came before it, it is not read."""
        key = (place.topic, place.partition)
        if self._positions.get(key) == place.offset:
            self._positions[key] = place.offset + 1

    def close(self) -> None:
        """Look no schema up any more."""
        self._reader.close()

    def _see(
        self,
        verdicts: Verdicts,
        begins: Mapping[PartitionId, int],
        ends: Mapping[PartitionId, int],
    ) -> None:
        for message in self._scan.between(begins, ends):
            verdicts.see(self._seen(message))
            self.count += 1
            if self.count % TELL_EVERY == 0:
                self._progress("events", self.count)
                give_back()
        for key in begins:
            self._positions[key] = max(ends[key], self._positions.get(key, 0))

    def _seen(self, message: Message) -> Seen:
        place = place_of(message)
        key, value = message.key(), message.value()
        rows = () if value is None else self._reader.rows(message)
        settled = place.offset in self._settled[place[:2]]
        return Seen(place, message.timestamp()[1], key, value, rows, settled, _replay_of(message))

    def _starts_of_others(
        self,
        verdicts: Verdicts,
        others: list[PartitionId],
        bounds: Mapping[PartitionId, tuple[int, int]],
    ) -> dict[PartitionId, int]:
        """Return where to begin in partitions that no letter comes from."""
        oldest = verdicts.oldest_time()
        if oldest is None:
            return {key: bounds[key][0] for key in others}
        since = self._scan.offsets_since(others, oldest / 1000)
        begins = {}
        for key in others:
            low, high = bounds[key]
            committed = self._settled[key].committed
            unsettled = low if committed is None else committed
            begins[key] = max(low, min(since.get(key, high), unsettled))
        return begins

    # -- receipts --------------------------------------------------------------------------------

    def _read_receipts(
        self,
        verdicts: Verdicts,
        begins: Mapping[PartitionId, int],
        bounds: Mapping[PartitionId, tuple[int, int]],
    ) -> None:
        """Tell the verdicts of the receipts since the oldest letter's record.

        If such a record is gone, of all receipts: then they must tell what the events do not.
        """
        topic = self._settings.receipts.topic
        keys = self._scan.partitions([topic], missing_ok=True)
        since = self._oldest_record(begins, bounds)
        there = sum(high for _, high in self._scan.bounds(keys).values())
        first: dict[PartitionId, int] = {}
        count = 0
        for message in self._scan.records(keys, since):
            count += 1
            if count % TELL_EVERY == 0:
                self._progress(topic, count)
                give_back()
            receipt = _receipt(message)
            if receipt is None:
                continue
            verdicts.see_receipt(receipt)
            source = receipt.source
            first[source[:2]] = min(source.offset, first.get(source[:2], source.offset))
        # Only if nothing was removed: not by retention, and not by compaction.
        if since is None and count >= there:
            verdicts.receipts_from = first

    def _oldest_record(
        self,
        begins: Mapping[PartitionId, int],
        bounds: Mapping[PartitionId, tuple[int, int]],
    ) -> float | None:
        """Return about when the oldest letter's record was written; None: one is gone."""
        times = []
        for key, start in begins.items():
            if not bounds[key][0] <= start < bounds[key][1]:
                return None
            at = next(
                (m.timestamp()[1] for m in self._scan.between({key: start}, {key: start + 1})), -1
            )
            if at <= 0:
                return None
            times.append(at / 1000)
        return min(times) - CLOCKS_DIFFER if times else None


def _replay_of(message: Message) -> Place | None:
    for name, raw in headers_of(message):
        if name == REPLAY_OF and raw is not None:
            return Place.parse(raw.decode("utf-8", "replace"))
    return None


def _receipt(message: Message) -> Receipt | None:
    """Return what a receipt says; None if it is none."""
    try:
        content: Any = orjson.loads(message.value() or b"")
        source = Place(str(content["topic"]), int(content["partition"]), int(content["offset"]))
        data_key, value, fields = content["data_key"], content["key_value"], content["fields"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    whole = isinstance(data_key, str) and isinstance(value, str) and isinstance(fields, dict)
    return Receipt(source, data_key, value, fields) if whole else None
