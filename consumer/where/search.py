"""Follow a code: join its events with dead letters, receipts and the group's committed offsets.

A fate is stated only on evidence: a dead letter, a receipt, the group's commit. Today's settings
tell how an event would be read now, not how it was read then. So what they say stands beside the
fate, and is never a fate of its own.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from confluent_kafka import Message

from consumer.adapters.kafka.scan import Scan
from consumer.config.settings import Settings
from consumer.core.model import Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.decoding import event_decoding
from consumer.loop.intake import Intake
from consumer.where.evidence import (
    Place,
    RowEvidence,
    dead_letter_evidence,
    named_place,
    place_of,
    receipt_evidence,
)
from consumer.where.outcome import OutcomeJudge, RowOutcome, Unread, evidence_of_row

#: How long the registry may take for a schema.
SCHEMA_SECONDS = 15.0

#: In JSON with escapes, and in EPCIS, a key may be spelled in another way than it is sent.
_MAY_BE_WRITTEN_OTHERWISE = (b"\\", b"epc", b"EPC", b"parentID")


class CodeSearch:
    """A search for one code. ``progress``: called with the number of records searched so far."""

    def __init__(
        self, settings: Settings, scan: Scan, key: str, progress: Callable[[int], None]
    ) -> None:
        self._settings = settings
        self._scan = scan
        self._key = key
        self._bytes = key.encode("utf-8", "surrogateescape")
        self._progress = progress
        self.searched = 0  #: records of the events topics that were read
        self._judge = OutcomeJudge(key, receipts=bool(settings.receipts.topic))
        # partitions with an event that sets nothing by today's rules
        self._to_skip: set[tuple[str, int]] = set()

    def outcomes(self, since: float | None) -> Iterator[RowOutcome]:
        """Yield all that is known of the code since a time (Unix seconds).

        About in the order of the events; what only evidence is left of comes last.
        """
        settings = self._settings
        keys = self._scan.partitions(settings.kafka.topics)
        found = list(self._events(keys, since))
        settled = self._scan.settled(keys)
        # Read after the offsets: a row's dead letter or receipt is there before it is settled.
        evidence = self._evidence(settings.dead_letter.topic, since, dead_letter_evidence)
        if settings.receipts.topic:
            receipts = self._evidence(settings.receipts.topic, since, self._receipt)
            for place, more in receipts.items():
                evidence.setdefault(place, []).extend(more)
        found.sort(key=lambda pair: pair[0].timestamp()[1])
        left = {place: list(entries) for place, entries in evidence.items()}
        last: dict[Place, tuple[Message, Row | Unread]] = {}
        for message, row in found:
            place = place_of(message)
            mine = evidence_of_row(row, evidence.get(place, []))
            yield self._judge.outcome(message, row, mine, settled[place[:2]])
            left[place] = [entry for entry in left.get(place, []) if entry not in mine]
            last[place] = (message, row)
        for place, entries in left.items():
            # Evidence of events that are not in their topic any more, are older than ``since``, or
            # were read by other rules then: of each row the latest.
            of_rows = {
                (entry.data_key, str(entry.item)): entry
                for entry in sorted(entries, key=lambda e: e.at)
            }
            for entry in of_rows.values():
                if place in last:
                    yield self._judge.outcome(*last[place], [entry], settled[place[:2]])
                else:
                    yield self._judge.outcome_of_gone(place, entry)

    # -- events ----------------------------------------------------------------------------------

    def _events(
        self, keys: Sequence[tuple[str, int]], since: float | None
    ) -> Iterator[tuple[Message, Row | Unread]]:
        """Yield the rows of the code; for a record that only names it, a refused row or Unread."""
        reader = RowReader(self._settings)
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
        """Return whether a record is worth decoding.

        JSON may write a key with escapes, EPCIS inside a longer name.
        """
        return self._bytes in raw or any(sign in raw for sign in _MAY_BE_WRITTEN_OTHERWISE)

    # -- evidence --------------------------------------------------------------------------------

    def _evidence(
        self,
        topic: str,
        since: float | None,
        read: Callable[[Message, str], tuple[Place, RowEvidence] | None],
    ) -> dict[Place, list[RowEvidence]]:
        evidence: dict[Place, list[RowEvidence]] = {}
        for message in self._scan.records(self._scan.partitions([topic], missing_ok=True), since):
            entry = read(message, self._key)
            if entry is not None:
                evidence.setdefault(entry[0], []).append(entry[1])
        return evidence

    def _receipt(self, message: Message, key: str) -> tuple[Place, RowEvidence] | None:
        """Return a receipt's evidence if it is of this code.

        A receipt of any code shows since when receipts were kept; that is noted where it matters.
        """
        mine = self._bytes in (message.key() or b"")
        if not mine and not self._to_skip:
            return None
        try:
            content: Any = orjson.loads(message.value() or b"")
        except orjson.JSONDecodeError:
            return None
        if not isinstance(content, dict):
            return None
        place = named_place(content.get("topic"), content, "")
        if place is None:
            return None
        partition, offset = place[:2], place[2]
        if partition in self._to_skip:
            first = self._judge.receipts_from
            first[partition] = min(offset, first.get(partition, offset))
        if not mine or content.get("key_value") != key:
            return None
        return place, receipt_evidence(content, message, key)


class RowReader:
    """Make the rows of a record as the consumer would; wait for schemas."""

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
        """Return its rows; None if the registry does not give a schema that it takes."""
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
