"""Rejections of the last fifteen minutes: bounded, by reason and message, without codes."""

from __future__ import annotations

import pytest

from consumer.core.counters import OTHER
from consumer.core.effects import DeadLetter
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.validation import key_conflict
from consumer.loop.recent_rejections import (
    HIDDEN_VALUE,
    MAX_LATEST,
    MAX_MESSAGE,
    MAX_MESSAGES,
    SPAN_SECONDS,
    WINDOW_SECONDS,
    RecentRejections,
    public_message,
)


def row(value: str | None = "CODE1", offset: int = 0, **fields: str) -> Row:
    record = Record(Partition("events", 3, 0, 0), offset, None, 10)
    item = {"extended_id": value or "", **fields}
    return Row(record, "extended_id", value, item, tuple(item), 0, joins=(("carton", "BOX7"),))


def by_api(message: str, reason: str = "rejected_by_api") -> Rejection:
    return Rejection(reason, message, "product", "upload", 400)


class Recent:
    def __init__(self) -> None:
        self.now = 5000.0
        self.recent = RecentRejections(lambda: self.now)

    def reject(self, why: Rejection, offset: int = 0) -> None:
        found = row(offset=offset)
        self.recent.add(DeadLetter(found, why), public_message(found, why))


def test_they_count_by_reason_for_fifteen_minutes() -> None:
    told = Recent()
    told.reject(by_api("bad"))
    told.now += 600
    told.reject(by_api("bad"))
    told.reject(by_api("gone", "unknown_key"))
    assert told.recent.by_reason == {"rejected_by_api": 2, "unknown_key": 1}
    told.now += WINDOW_SECONDS - 600 + SPAN_SECONDS
    assert told.recent.by_reason == {"rejected_by_api": 1, "unknown_key": 1}
    told.now += WINDOW_SECONDS
    assert told.recent.by_reason == {}
    assert told.recent.messages == []
    assert told.recent.latest == []


def test_the_commonest_message_comes_first_and_numbers_do_not_tell_messages_apart() -> None:
    told = Recent()
    told.reject(by_api("rare"))
    for line in range(1, 4):
        told.reject(by_api(f"line {line}: Invalid product"))
        told.now += SPAN_SECONDS
    assert told.recent.messages == [
        ("rejected_by_api", "line 1: Invalid product", 3),
        ("rejected_by_api", "rare", 1),
    ]


def test_the_latest_are_kept_newest_first_with_their_place() -> None:
    told = Recent()
    for offset in range(MAX_LATEST + 5):
        told.reject(by_api("bad"), offset)
    latest = told.recent.latest
    assert len(latest) == MAX_LATEST
    assert [found.where for found in latest[:2]] == ["events[3]@14", "events[3]@13"]
    assert (latest[0].field, latest[0].http_status, latest[0].at) == ("product", 400, told.now)


def test_however_many_messages_there_are_memory_is_bounded() -> None:
    told = Recent()
    for number in range(10 * MAX_MESSAGES):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        told.reject(by_api(letters * 300))
        told.now += 1
    found = told.recent.messages
    spans = 10 * MAX_MESSAGES / SPAN_SECONDS
    assert len(found) <= (MAX_MESSAGES + 1) * (spans + 1)
    assert found[0][:2] == ("rejected_by_api", OTHER)
    assert all(len(message) <= MAX_MESSAGE for _, message, _ in found)
    assert sum(count for _, _, count in found) == 10 * MAX_MESSAGES


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("CODE1: no such code", "(key): no such code"),
        ("code CODE12 differs from CODE1", "code CODE12 differs from (key)"),
        ("the carton BOX7 is closed", "the carton (key) is closed"),
        ("two\nlines\u2028of text", "two lines of text"),
    ],
)
def test_a_message_of_the_api_is_shown_without_the_key_and_the_units(
    message: str, shown: str
) -> None:
    assert public_message(row(), by_api(message)) == shown


def test_what_validation_quotes_is_hidden_but_for_names_of_fields() -> None:
    why = key_conflict("extended_id", "OTHERCODE")
    text = public_message(row(), why)
    assert "OTHERCODE" not in text
    assert text.startswith(f'the field "extended_id" is {HIDDEN_VALUE}')


def test_a_quoted_value_with_quotation_marks_in_it_shows_nothing_of_itself() -> None:
    text = public_message(row(), key_conflict("extended_id", 'OTHER"CODE'))
    assert "OTHER" not in text
    assert "CODE" not in text


def test_a_record_that_cannot_be_read_shows_nothing_of_what_it_holds() -> None:
    bare = Row(row().record, None, None, {}, (), 0)
    why = Rejection("undecodable", 'the word "HGTDQTD" at 7 is no JSON', None, "decode")
    assert public_message(bare, why) == f"the word {HIDDEN_VALUE} at 7 is no JSON"
