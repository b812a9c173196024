"""Receipts: an accepted row is settled when its receipt is acknowledged (contract, section 10)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.adapters.kafka.receipts import Accepted, content_of
from consumer.core.effects import Effects, Receipt
from consumer.core.model import Row, Stage
from consumer.core.offsets.partition import Partition
from tests.unit.builders import Bench, accepted, answered, error_of, naming, values


class ReceiptBench(Bench):
    """A bench that keeps the receipts that are to be written."""

    def __init__(self) -> None:
        super().__init__(receipts=True)
        self.receipts: list[Receipt] = []

    def tick(self) -> Effects:
        effects = super().tick()
        self.receipts += effects.receipts
        return effects

    def receive(self) -> list[Row]:
        """Every receipt so far is acknowledged."""
        rows = [row for receipt in self.receipts for row in receipt.rows]
        self.receipts.clear()
        self.pipeline.on_acknowledged(rows, self.now)
        self.tick()
        return rows


def bench_with_accepted(*keys: str) -> tuple[ReceiptBench, Partition]:
    bench = ReceiptBench()
    partition = bench.partition()
    bench.read(partition, *keys)
    bench.accept()
    return bench, partition


@pytest.mark.promise("I3")
def test_an_accepted_row_is_settled_when_its_receipt_is_acknowledged_and_not_before() -> None:
    bench, partition = bench_with_accepted("A", "B")
    assert partition.committable_offset == 0, "I3: settled before its receipt is acknowledged"
    assert (
        partition.committable_offset,
        bench.pipeline.receipts_pending,
        bench.pipeline.dead_letters_pending,
    ) == (
        0,
        2,
        0,
    )
    assert bench.pipeline.unacknowledged
    bench.receive()
    assert bench.settled()
    assert (partition.committable_offset, partition.ledger.accepted, partition.ledger.rejected) == (
        2,
        2,
        0,
    )
    assert not bench.pipeline.unacknowledged


def test_a_later_row_of_the_code_waits_for_the_receipt() -> None:
    bench, partition = bench_with_accepted("A")
    bench.read(partition, "A", "C")
    assert values(bench.only) == ["C"]
    bench.accept()
    bench.receive()
    assert values(bench.only) == ["A"]


def test_a_rejected_row_has_a_dead_letter_and_no_receipt() -> None:
    bench = ReceiptBench()
    partition = bench.partition()
    bench.read(partition, "A", "B")
    bench.answer(bench.only, naming(error_of("A")))
    bench.accept()
    assert [str(row.value) for row in bench.receive()] == ["B"]
    bench.acknowledge()
    assert (partition.ledger.accepted, partition.ledger.rejected) == (1, 1)


@pytest.mark.promise("I5")
def test_a_revoked_partition_is_busy_until_its_receipts_are_there_and_releases_the_rest() -> None:
    bench, partition = bench_with_accepted("A")
    bench.pipeline.withdraw([partition], bench.now)
    assert bench.pipeline.busy([partition])
    (receipt,) = bench.receipts
    bench.pipeline.remove_partitions([partition], bench.now)
    assert partition.ledger.as_dict()["released"] == 1
    assert receipt.rows[0].stage == Stage.DONE, "it is not written any more"
    bench.pipeline.on_acknowledged(receipt.rows, bench.now)
    assert partition.ledger.as_dict()["accepted"] == 0, (
        "I5: a late receipt settles what was released"
    )


def test_unconfirmed_rows_say_so() -> None:
    bench = ReceiptBench()
    bench.read(bench.partition(), "A", "B")
    bench.answer(bench.only, accepted(bench.only, without=["B"]))
    bench.pass_time(5)
    bench.answer(bench.only, answered(200, {"items": {}, "codes_affected": 0}))
    told = {
        str(row.value): row in receipt.unconfirmed
        for receipt in bench.receipts
        for row in receipt.rows
    }
    assert told == {"A": False, "B": True}


def test_a_receipt_tells_what_was_sent_and_what_the_answer_said() -> None:
    bench, _ = bench_with_accepted("A")
    (receipt,) = bench.receipts
    at = datetime(2026, 11, 26, 12, 0, 0, 5000, tzinfo=UTC)
    told = content_of(receipt.rows[0], Accepted(receipt, at, False))
    assert told == {
        "event_id": "events-0-0",
        "topic": "events",
        "partition": 0,
        "offset": 0,
        "data_key": "extended_id",
        "key_value": "A",
        "fields": {"note": "x"},
        "accepted_at": "2026-11-26T12:00:00.005Z",
        "unconfirmed": False,
        "http_status": 200,
        "codes_affected": 1,
        "request_rows": 1,
    }


def test_a_receipt_tells_which_fields_the_answer_did_not_list() -> None:
    bench = ReceiptBench()
    bench.read(bench.partition(), "A", "B", note="x", color="red")
    listed = {"items": {"A": ["note", "color"], "B": ["note"]}, "codes_affected": 2}
    bench.answer(bench.only, answered(200, listed))
    (receipt,) = bench.receipts
    told = [content_of(row, Accepted(receipt, datetime.now(UTC), False)) for row in receipt.rows]
    assert ["fields_not_confirmed" in content for content in told] == [False, True]
    assert told[1]["fields_not_confirmed"] == ["color"]


def test_a_receipt_of_a_task_names_the_task() -> None:
    bench = ReceiptBench()
    bench.read(bench.partition(), "C1", key="case_code", by_task=True)
    bench.answer(bench.only, answered(200, {"task_id": "t-7"}))
    bench.pass_time(1)
    bench.tell(answered(200, {"state": "complete", "codes_affected": 12}))
    (receipt,) = bench.receipts
    told = content_of(receipt.rows[0], Accepted(receipt, datetime.now(UTC), False))
    assert (told["task_id"], told["codes_affected"], "http_status" in told) == ("t-7", 12, False)
