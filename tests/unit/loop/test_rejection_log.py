"""Telling dead letters in the log: where they go, how many, and where the first of them is."""

from __future__ import annotations

import logging

from consumer.core.effects import DeadLetter
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.partition import Partition
from consumer.loop.rejection_log import EVERY_SECONDS, RejectionLog


class Told(logging.Handler):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.log = logging.Logger("letters", logging.INFO)
        self.log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def letter(partition: int, offset: int, reason: str = "unknown_key") -> DeadLetter:
    record = Record(Partition("scm.events", partition, 0, 0), offset, None, 10)
    return DeadLetter(
        Row(record, "extended_id", "CODE1", {}, (), 0), Rejection(reason, "not known")
    )


def test_a_line_tells_the_topic_how_many_and_the_place_of_the_first_since_the_line_before() -> None:
    told, now = Told(), [100.0]
    letters = RejectionLog(
        told.log, lambda: now[0], "to the dead-letter topic scm.events.dlq", show_keys=False
    )
    letters.add(letter(2, 1234))
    letters.summarize_now_and_then()
    assert told.lines == [
        "rows to the dead-letter topic scm.events.dlq: unknown_key 1, "
        "first from scm.events[2] at 1234; mostly: unknown_key: not known",
    ]
    for offset in (7, 8, 9):
        letters.add(letter(1, offset, "key_blank" if offset == 7 else "unknown_key"))
        letters.summarize_now_and_then()
    assert len(told.lines) == 1, "not a line a letter"
    now[0] += EVERY_SECONDS
    letters.summarize_now_and_then()
    assert told.lines[1:] == [
        "rows to the dead-letter topic scm.events.dlq: unknown_key 2, key_blank 1, "
        "first from scm.events[1] at 7; mostly: unknown_key: not known; key_blank: not known",
    ]
    letters.summarize()
    assert len(told.lines) == 2, "all is told"
    assert "CODE1" not in "".join(told.lines)


def test_the_commonest_message_of_a_reason_is_told_and_never_a_code() -> None:
    told = Told()
    letters = RejectionLog(told.log, lambda: 100.0, "to the topic", show_keys=False)
    for message in (
        "Invalid product SKU-1 of CODE1",
        "no such code",
        "Invalid product SKU-2 of CODE1",
    ):
        found = letter(0, 5, "rejected_by_api")
        why = Rejection("rejected_by_api", message, "product", "upload", 400)
        letters.add(DeadLetter(found.row, why))
    letters.summarize()
    assert told.lines == [
        "rows to the topic: rejected_by_api 3, first from scm.events[0] at 5; "
        "mostly: rejected_by_api: Invalid product SKU-1 of (key)"
    ]
