"""Write receipts: a record for each row that the API accepted, in a topic of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from consumer.adapters.kafka.retrying_producer import PendingWrite, Produced, RetryingProducer
from consumer.core.effects import Receipt
from consumer.core.model import Row, Stage


class Accepted(NamedTuple):
    """The content of a receipt besides the row."""

    receipt: Receipt
    at: datetime
    unconfirmed: bool


def content_of(row: Row, accepted: Accepted) -> dict[str, Any]:
    """Return a receipt: what was sent, when it was accepted, and what the response told.

    The time is by this machine's clock.
    """
    record, receipt = row.record, accepted.receipt
    partition = record.partition
    document: dict[str, Any] = {
        "event_id": record.event_id or f"{partition.topic}-{partition.number}-{record.offset}",
        "topic": partition.topic,
        "partition": partition.number,
        "offset": record.offset,
        "data_key": row.data_key,
        "key_value": row.value,
        "fields": {name: value for name, value in row.item.items() if name != row.data_key},
        "accepted_at": accepted.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "unconfirmed": accepted.unconfirmed,
    }
    document |= {"task_id": receipt.task_id} if receipt.task_id else {"http_status": 200}
    if id(row) in receipt.unlisted:
        document["fields_not_confirmed"] = receipt.unlisted[id(row)]
    if receipt.affected is not None:
        document |= {"codes_affected": receipt.affected, "request_rows": len(receipt.rows)}
    return document


class Receipts(RetryingProducer[Accepted]):
    """Writes receipts; ``clock`` tells the time."""

    what = "receipts"
    setting = "receipts.topic"

    def __init__(self, *arguments: Any, clock: Callable[[], float], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._clock = clock

    def send(self, receipt: Receipt) -> None:
        """Hand in the receipts of a request's rows; never waits."""
        at = datetime.fromtimestamp(self._clock(), UTC)
        unconfirmed = {id(row) for row in receipt.unconfirmed}
        self._hand_in(
            [
                PendingWrite(row, Accepted(receipt, at, id(row) in unconfirmed))
                for row in receipt.rows
            ]
        )

    def _produced(self, pending: PendingWrite[Accepted]) -> Produced | None:
        row = pending.row
        if row.stage != Stage.RECEIPT:
            return None
        key = f"{row.data_key}={row.value}".encode()
        return Produced(orjson.dumps(content_of(row, pending.content)), key, [], key)
