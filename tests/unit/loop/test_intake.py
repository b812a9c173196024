"""From messages to records and rows, and the records that wait for a schema."""

from __future__ import annotations

import pytest

from consumer.core.model import Record, Row
from consumer.core.offsets.commits import due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import NO_EPOCH, Origin, SettledMap, origin_of
from consumer.core.rows.maker import RowMaker
from consumer.formats import Schemas, decoder
from consumer.loop.intake import HEADER_BYTES, RECORD_BYTES, UNREADABLE_HEADERS, Intake
from tests.unit.runner_fakes import Message


def framed(offset: int, schema_id: int, key: str) -> Message:
    return Message(
        offset,
        b"\x00" + schema_id.to_bytes(4, "big") + b'{"extended_id":"%s","a":"1"}' % key.encode(),
    )


def plain(offset: int, key: str) -> Message:
    return Message(offset, b'{"extended_id":"%s","a":"1"}' % key.encode())


class Bench:
    """An intake whose schemas are taught by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.schemas = Schemas(lambda: self.now)
        self.asked: list[int | str] = []
        self.intake = Intake(
            decoder("auto", self.schemas), RowMaker("extended_id"), self.asked.append
        )
        self.partition = Partition("events", 0, 0, 0)

    def take(self, *messages: Message) -> tuple[list[Record], list[Row], int]:
        return self.intake.take(self.partition, messages, self.now)

    def learn(self, schema_id: int) -> tuple[int, list[str | None]]:
        """A schema is found: how many more records are decoded, and their keys."""
        self.schemas.learn(schema_id, "JSON", "{}")
        self.intake.on_looked_up(schema_id)
        return self.retry()

    def retry(self) -> tuple[int, list[str | None]]:
        records, rows = self.intake.retry(self.partition, self.now)
        return len(records), [row.value for row in rows]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.promise("I5")
def test_records_carry_what_a_dead_letter_and_the_memory_bound_need(bench: Bench) -> None:
    good, bad, none = plain(5, "A"), Message(7, b"{"), Message(9, None)
    records, rows, position = bench.take(good, bad, none)
    assert position == 10
    assert len(records) == 3, "I5: what was read is not counted"
    assert [(r.offset, r.raw, r.size - r.beside, r.open) for r in records] == [
        (5, good, len(good.value() or b""), 1),
        (7, bad, 1, 1),
        (9, None, 0, 0),
    ]
    assert [row.record for row in rows] == records[:2]
    assert rows[1].rejection is not None
    assert (rows[1].rejection.reason, rows[1].rejection.stage) == ("undecodable", "decode")
    assert not bench.intake.waiting


class Heavy(Message):
    """A record of which hardly anything is value."""

    def __init__(
        self, offset: int, value: bytes, headers: list[tuple[str, bytes | None]] | None
    ) -> None:
        super().__init__(offset, value)
        self._headers = headers

    def key(self) -> bytes:
        return b"k" * 1000

    def headers(self) -> list[tuple[str, bytes | None]]:
        if self._headers is None:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "as the client raises it")
        return self._headers


@pytest.mark.promise("I6")
@pytest.mark.parametrize("waiting", [False, True])
def test_what_is_kept_of_a_record_is_counted_and_not_its_value_alone(
    bench: Bench, waiting: bool
) -> None:
    """I6: keys and headers, whether its rows are made or wait for a schema."""
    text = b'{"extended_id":"A","line":"L1"}'
    value = b"\x00\x00\x00\x00\x07" + text if waiting else text
    headers: list[tuple[str, bytes | None]] = [("h" * 50, b"v" * 450), ("none", None)]
    (record,), rows, _ = bench.take(Heavy(0, value, headers))
    assert bool(rows) is not waiting
    expected = 2 * len(value) + 1000 + 500 + 4 + 2 * HEADER_BYTES + RECORD_BYTES
    assert record.size == expected, "I6: what is kept of a record is not counted"
    if rows:
        assert rows[0].size == len(value), "what a row takes in a request is its value's"


@pytest.mark.promise("I6")
def test_headers_that_the_client_cannot_give_are_counted_as_large(bench: Bench) -> None:
    (record,), _, _ = bench.take(Heavy(0, b"{}", None))
    assert record.size >= UNREADABLE_HEADERS, "I6: what is kept of a record is not counted"


@pytest.mark.promise("I1", "I5", "I7")
def test_what_was_settled_before_is_a_record_without_rows_and_nothing_else_is(bench: Bench) -> None:
    bench.partition.already_settled = SettledMap([(3, 5), (7, 8)])
    records, rows, position = bench.take(*(plain(offset, f"K{offset}") for offset in range(10)))
    assert position == 10
    assert [record.offset for record in records] == list(range(10)), (
        "I5: what was read is not counted"
    )
    sent = [row.value for row in rows]
    assert not {"K3", "K4", "K7"} & set(sent), "I7: what the settled map names is sent again"
    assert sent == [f"K{offset}" for offset in (0, 1, 2, 5, 6, 8, 9)], (
        "I1: what the map does not name is skipped"
    )
    assert [record.open for record in records] == [1, 1, 1, 0, 0, 1, 1, 0, 1, 1]


def led(offset: int, epoch: int | None) -> Message:
    return Message(offset, b'{"extended_id":"K%d","a":"1"}' % offset, epoch)


@pytest.mark.promise("I1")
@pytest.mark.parametrize("later_from", [2, 4])
def test_what_a_later_leader_has_written_is_not_what_the_map_names(
    bench: Bench, later_from: int
) -> None:
    """A copy that lagged took over.

    Others stand at the offsets, though the log is as long again.
    """
    bench.partition.already_settled = SettledMap([(3, 5), (7, 8)])
    bench.partition.origin = Origin(epoch=6)
    _, rows, _ = bench.take(
        *(led(offset, 7 if offset >= later_from else 6) for offset in range(10))
    )
    sent = [row.value for row in rows]
    skipped = [f"K{offset}" for offset in (3, 4, 7) if offset < later_from]
    assert sent == [f"K{offset}" for offset in range(10) if f"K{offset}" not in skipped], (
        "I1: a record is skipped"
    )
    (commit,) = due_commits([bench.partition])
    assert origin_of(commit.metadata).epoch == 7, (
        "I1: the next owner skips what the map does not name"
    )


@pytest.mark.promise("I7")
@pytest.mark.parametrize(("named", "epoch"), [(6, 6), (6, 5), (6, None), (NO_EPOCH, 6)])
def test_what_no_later_leader_has_written_is_skipped_as_the_map_says(
    bench: Bench, named: int, epoch: int | None
) -> None:
    bench.partition.already_settled = SettledMap([(3, 5)])
    bench.partition.origin = Origin(epoch=named)
    _, rows, _ = bench.take(*(led(offset, epoch) for offset in range(6)))
    assert [row.value for row in rows] == ["K0", "K1", "K2", "K5"], (
        "I7: what the settled map names is sent again"
    )
    assert bench.partition.origin.epoch == max(named, epoch or NO_EPOCH)


def test_no_messages_change_no_position(bench: Bench) -> None:
    bench.partition.position = 12
    assert bench.take() == ([], [], 12)


@pytest.mark.promise("I7")
def test_what_was_settled_before_is_skipped_though_the_end_was_told_with_it(bench: Bench) -> None:
    """I7: the client tells of a partition's end in the same poll as of its last records, before
    they are taken in.
    """
    bench.partition.already_settled = SettledMap([(1, 3)])
    bench.partition.position = 4
    records, rows, position = bench.take(*(plain(offset, f"C{offset}") for offset in range(4)))
    assert [record.offset for record in records] == [0, 1, 2, 3]
    assert [row.value for row in rows] == ["C0", "C3"]
    assert position == 4


def test_from_the_first_unknown_schema_on_records_wait_and_tombstones_do_not(bench: Bench) -> None:
    records, rows, position = bench.take(
        plain(0, "A"), framed(1, 7, "B"), Message(2, None), plain(3, "C")
    )
    assert position == 4
    assert [(record.offset, record.open) for record in records] == [(0, 1), (1, 1), (2, 0), (3, 1)]
    assert [row.value for row in rows] == ["A"]
    assert bench.asked == [7]
    assert bench.learn(7) == (2, ["B", "C"])
    assert not bench.intake.waiting


@pytest.mark.promise("I2")
def test_what_is_read_while_waiting_is_kept_behind(bench: Bench) -> None:
    bench.take(framed(0, 7, "A"))
    _, rows, _ = bench.take(plain(1, "B"), framed(2, 7, "C"))
    assert not rows, "I2: a record passes an earlier one that waits for its schema"
    assert bench.learn(7) == (3, ["A", "B", "C"])


def test_order_is_kept_over_several_unknown_schemas(bench: Bench) -> None:
    bench.take(
        framed(0, 7, "A"), framed(1, 8, "B"), plain(2, "C"), framed(3, 7, "D"), framed(4, 9, "E")
    )
    assert bench.asked == [7]
    assert bench.learn(7) == (1, ["A"])
    assert bench.asked == [7, 8]
    assert bench.learn(8) == (3, ["B", "C", "D"])
    assert bench.asked == [7, 8, 9]
    assert bench.intake.waiting[bench.partition].schema_id == 9
    assert bench.learn(9) == (1, ["E"])


def test_schema_is_asked_for_once_however_many_wait_for_it(bench: Bench) -> None:
    others = [Partition("events", number, 0, 0) for number in (1, 2)]
    for partition in others:
        bench.intake.take(partition, [framed(0, 7, "A")], bench.now)
    bench.take(framed(0, 7, "A"), framed(1, 7, "B"))
    assert bench.asked == [7]
    assert bench.retry() == (0, [])
    assert bench.asked == [7]


def test_answer_for_another_schema_changes_nothing(bench: Bench) -> None:
    bench.take(framed(0, 7, "A"))
    bench.now += 10
    assert bench.learn(8) == (0, [])
    assert (bench.asked, bench.intake.waiting[bench.partition].since) == ([7], 100.0)


def test_schema_that_is_not_there_rejects_its_records_only(bench: Bench) -> None:
    bench.take(framed(0, 7, "A"), plain(1, "B"))
    bench.schemas.refuse(7, "schema 7 is not there")
    bench.intake.on_looked_up(7)
    records, (bad, good) = bench.intake.retry(bench.partition, bench.now)
    assert len(records) == 2
    assert bad.rejection is not None
    assert (bad.rejection.reason, bad.rejection.message) == ("undecodable", "schema 7 is not there")
    assert bad.rejection.stage == "decode"
    assert (good.value, good.rejection) == ("B", None)


def test_schema_that_is_forgotten_while_its_records_wait_is_asked_for_anew(bench: Bench) -> None:
    bench.take(framed(0, 7, "A"))
    bench.schemas.refuse(7, "schema 7 is not there")
    bench.intake.on_looked_up(7)
    bench.now += 60
    assert bench.retry() == (0, [])
    assert bench.asked == [7, 7]


def test_rows_of_a_waiting_record_are_counted_when_they_are_made(bench: Bench) -> None:
    value = (
        b'{"key_value":"C","data_key":"case_code","scm_data":{"a":"1"},'
        b'"also_update":{"data_key":"serial_number","key_value":"S"}}'
    )
    records, _, _ = bench.take(Message(0, b"\x00\x00\x00\x00\x07" + value))
    assert records[0].open == 1
    assert bench.learn(7) == (1, ["C", "S"])
    assert records[0].open == 2


def test_partition_that_goes_is_forgotten(bench: Bench) -> None:
    bench.take(framed(0, 7, "A"))
    bench.intake.forget([bench.partition, Partition("events", 5, 0, 0)])
    assert not bench.intake.waiting


def test_a_record_that_waited_for_room_waits_for_a_schema_that_another_partition_asked_for(
    bench: Bench,
) -> None:
    bench.take(framed(0, 7, "A"))
    other = Partition("events", 1, 0, 0)
    bench.intake.take(other, [framed(0, 7, "B")], bench.now, room=0)
    assert bench.intake.retry(other, bench.now) == ([], [])
    assert bench.asked == [7]
    assert bench.intake.waiting[other].schema_id == 7, "it is read on, and tried at every turn"
    assert bench.intake.short_of_room() == []


def test_schema_id_in_a_header_counts_before_the_value_now_and_when_its_schema_is_known(
    bench: Bench,
) -> None:
    raw = plain(5, "A")
    headers: list[tuple[str, bytes | None]] = [
        ("__value_schema_id", b"?"),
        ("x", b"1"),
        ("__value_schema_id", b"\0\0\0\0\x07"),
    ]
    first = Heavy(5, raw.value() or b"", headers)
    _, rows, _ = bench.take(first, plain(6, "B"))
    assert (rows, bench.asked) == ([], [7])
    assert bench.learn(7) == (2, ["A", "B"])
    _, rows, _ = bench.take(Heavy(7, raw.value() or b"", headers))
    assert [row.value for row in rows] == ["A"]


def test_header_that_names_no_schema_makes_the_record_undecodable(bench: Bench) -> None:
    _, (row,), _ = bench.take(Heavy(5, b"\x02K", [("__value_schema_id", b"?")]))
    assert row.rejection is not None
    assert (row.rejection.reason, row.rejection.stage) == ("undecodable", "decode")
    assert "__value_schema_id" in row.rejection.message
