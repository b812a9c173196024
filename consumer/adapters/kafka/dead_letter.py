"""Write dead letters: rejected rows, each with its original record and the reason."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Message

from consumer.adapters.kafka.retrying_producer import (
    Headers,
    PendingWrite,
    Produced,
    RetryingProducer,
)
from consumer.core.effects import DeadLetter
from consumer.core.model import Stage

#: Characters of the message of a dead letter that was refused for its size.
SHORT_MESSAGE = 100
#: And any other of its headers: a key, or a field's name, may be as long as the record, which is in
#: the letter anyway.
SHORT_VALUE = 1000


def headers_of(
    letter: DeadLetter, original: Headers, version: str, *, short: bool = False
) -> Headers:
    """Return the headers of a dead letter: the record's own, then ours, which replace earlier ones.

    ``short``: without ``scm.row``, with a cut message and no long values, for a letter that was too
    large.
    """
    row, why = letter.row, letter.rejection
    record = row.record
    partition = record.partition
    message = why.message[:SHORT_MESSAGE] if short else why.message
    item = row.item or None
    added: dict[str, object] = {
        "__connect.errors.topic": partition.topic,
        "__connect.errors.partition": partition.number,
        "__connect.errors.offset": record.offset,
        "__connect.errors.stage": why.stage,
        "__connect.errors.exception.message": message,
        "scm.reason": why.reason,
        "scm.message": message,
        "scm.field": why.field,
        "scm.data_key": row.data_key,
        "scm.key_value": row.value,
        "scm.row": None if short or item is None else json.dumps(item, ensure_ascii=False),
        "scm.http_status": why.http_status,
        "scm.attempts": row.attempts or None,
        "scm.event_id": record.event_id or f"{partition.topic}-{partition.number}-{record.offset}",
        "scm.consumer": version,
    }
    own = [(name, value) for name, value in original if name not in added]
    most = SHORT_VALUE if short else None
    return own + [
        (n, str(v)[:most].encode("utf-8", "replace")) for n, v in added.items() if v is not None
    ]


class DeadLetters(RetryingProducer[DeadLetter]):
    """Writes dead letters; ``version``: of this program, as they tell (I1)."""

    what = "dead letters"
    setting = "dead_letter.topic"

    def __init__(self, *arguments: Any, version: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._version = version

    def send(self, letter: DeadLetter) -> None:
        """Hand in a dead letter; never wait."""
        self._hand_in([PendingWrite(letter.row, letter)])

    def _produced(self, pending: PendingWrite[DeadLetter]) -> Produced | None:
        row = pending.row
        raw = row.record.raw
        if row.stage != Stage.DEAD_LETTER or raw is None:
            return None
        headers = headers_of(
            pending.content, self._own_headers(raw), self._version, short=pending.short
        )
        key = raw.key()
        code = key or b"" if row.value is None else f"{row.data_key}={row.value}".encode()
        return Produced(raw.value(), key, headers, code)

    def _own_headers(self, raw: Message) -> Headers:
        try:
            return list(raw.headers() or [])  # type: ignore[arg-type]  # a list, whatever its stub says
        except (SystemError, UnicodeDecodeError, ValueError):
            # A header's name that is not UTF-8: the client cannot give any of them.
            self._throttled.log_once(
                "headers", "a dead letter goes without its record's headers: they cannot be read"
            )
            return []
