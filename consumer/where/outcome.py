"""Judge what became of a row: by its evidence, else by what the group has committed."""

from __future__ import annotations

from enum import Enum

import msgspec
from confluent_kafka import Message

from consumer.adapters.kafka.scan import Settled
from consumer.core.model import Row
from consumer.where.evidence import Place, RowEvidence, place_of, time_text


class Unread(Enum):
    """Why there is no row of a record."""

    NO_SCHEMA = "no schema"  #: the registry does not give it
    NOTHING_SET = "nothing set"  #: by the rules


class RowOutcome(msgspec.Struct, frozen=True):
    """One row of the code, and its fate. The field names are those of ``--json``.

    ``data_key`` and ``fields`` are those of its dead letter or receipt, if there is one, else as
    they would be read today.
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


class OutcomeJudge:
    """Judges the rows of one code. ``receipts``: whether a receipts topic is configured."""

    def __init__(self, key: str, *, receipts: bool) -> None:
        self._key = key
        self._receipts = receipts
        #: the lowest offset of a partition that has a receipt
        self.receipts_from: dict[tuple[str, int], int] = {}

    def outcome(
        self, message: Message, row: Row | Unread, mine: list[RowEvidence], settled: Settled
    ) -> RowOutcome:
        """Return the outcome of a row with the evidence that is its own."""
        topic, partition, offset = place_of(message)
        entry = max(mine, key=lambda entry: entry.at, default=None)
        data_key = None if isinstance(row, Unread) else row.data_key
        fields = (
            None if isinstance(row, Unread) or row.value is None else _fields(data_key, row.item)
        )
        if entry is not None:
            fate, details = entry.fate, entry.details
            data_key = entry.data_key or data_key
            fields = fields if entry.item is None else _fields(entry.data_key, entry.item)
        else:
            fate, details = self._without_evidence(message, row, settled)
        event_id = None if isinstance(row, Unread) else row.record.event_id
        return RowOutcome(
            fate=fate,
            told=details,
            at=time_text(message),
            topic=topic,
            partition=partition,
            offset=offset,
            data_key=data_key,
            key_value=self._key,
            event_id=event_id or f"{topic}-{partition}-{offset}",
            fields=fields,
        )

    def _without_evidence(
        self, message: Message, row: Row | Unread, settled: Settled
    ) -> tuple[str, str]:
        """Return the fate of a row without a dead letter or a receipt, and what is known of it."""
        topic, partition, offset = place_of(message)
        today = ""
        if row is Unread.NO_SCHEMA:
            today = "; it cannot be read here: the schema registry does not give its schema"
        elif row is Unread.NOTHING_SET:
            today = "; by today's rules it sets nothing, and would be skipped"
        elif isinstance(row, Row) and row.rejection is not None:
            today = (
                "; by today's rules it would be rejected: "
                f"{row.rejection.reason}: {row.rejection.message}"
            )
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
        first = self.receipts_from.get((topic, partition))
        if row is Unread.NOTHING_SET and first is not None and first <= offset:
            # Receipts were kept when the group read this, so there would be one if anything had
            # been accepted.
            return "skipped", f"{known}, without a dead letter or a receipt{today}"
        if self._receipts:
            known += (
                "; accepted or not: unknown, there is no receipt, "
                "perhaps from before there were any"
            )
        else:
            known += "; accepted or not: unknown without receipts.topic"
        return "unknown", known + today

    def outcome_of_gone(self, place: Place, entry: RowEvidence) -> RowOutcome:
        """Return the outcome of an event that is gone from its topic, or older than ``since``."""
        return RowOutcome(
            fate=entry.fate,
            told=entry.details,
            at="",
            topic=place[0],
            partition=place[1],
            offset=place[2],
            data_key=entry.data_key,
            key_value=self._key,
            event_id=f"{place[0]}-{place[1]}-{place[2]}",
            fields=None,
        )


def evidence_of_row(row: Row | Unread, evidence: list[RowEvidence]) -> list[RowEvidence]:
    """Return the evidence that is certainly of this row, of all that there is of its record.

    A record can hold several rows, of one code even: that one of them was rejected says nothing of
    the others.
    """
    if isinstance(row, Unread):
        return evidence
    if row.value is None:
        mine = [entry for entry in evidence if entry.data_key is None]
    else:
        of_key = [entry for entry in evidence if entry.data_key == row.data_key]
        mine = [entry for entry in of_key if entry.item == row.item] or [
            entry for entry in of_key if entry.item is None
        ]
    if not mine and row.record.open == 1:
        return evidence  # of the record's only row, which was read by other rules then
    return mine


def _fields(data_key: str | None, item: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in item.items() if name != data_key}
