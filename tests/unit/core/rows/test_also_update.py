"""A unit that is itself a code.

One event, two rows, from the record's bytes to the commit (sections 4, 5 and 7).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from consumer.core.effects import Attempt
from consumer.core.model import Row
from consumer.core.offsets.commits import due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import decode
from consumer.core.pipeline import Pipeline
from consumer.core.rows.maker import RowMaker
from consumer.formats import decoder
from consumer.loop.intake import Intake
from tests.unit.builders import Bench, always, answered, error_of, naming, values
from tests.unit.runner_fakes import Message

Members = dict[str, Any]


def packed(item: str, case: str) -> Members:
    return {"extended_id": item, "case_code": case}


def unit(data_key: str, value: str, also: tuple[str, str] | None = None, **fields: Any) -> Members:
    """An update by a unit, or of a code that is one."""
    event: Members = {
        "data_key": data_key,
        "key_value": value,
        "scm_data": fields or {"ship_date": "2026-11-22"},
    }
    return (
        event
        if also is None
        else event | {"also_update": {"data_key": also[0], "key_value": also[1]}}
    )


def labelled(case: str, **fields: Any) -> Members:
    """An update by a case that carries a code of its own."""
    return unit("case_code", case, ("serial_number", case), **fields)


class Line(Bench):
    """A consumer of one partition, fed with records' bytes."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.log: list[Members] = []
        self.reads(self.partition())

    def reads(self, partition: Partition) -> None:
        """Read this partition from its start on."""
        self.now_read = partition
        self.intake = Intake(
            decoder("auto"),
            RowMaker("extended_id", logistic_units=("case_code", "pallet_code")),
            None,
        )
        self._take(partition.position)

    def publish(self, *events: Members) -> None:
        start = len(self.log)
        self.log += events
        self._take(start)

    def _take(self, start: int) -> None:
        messages = [
            Message(n, json.dumps(self.log[n]).encode()) for n in range(start, len(self.log))
        ]
        if messages:
            records, rows, position = self.intake.take(self.now_read, messages, self.now)
            self.pipeline.add_records(self.now_read, records, rows, position, self.now)
            self.tick()

    def dies_and_returns(self) -> None:
        """The process is killed after its last commit, and another one starts from that."""
        commits = due_commits(self.pipeline.partitions)
        offset, metadata = (commits[0].offset, commits[0].metadata) if commits else (0, "")
        self.pipeline = Pipeline(self.rules, random.Random(2).random)
        self.open, self.dead_letters = [], []
        again = Partition("events", 0, offset, offset, decode(metadata, 0, offset), metadata)
        self.pipeline.add_partition(again)
        self.reads(again)

    def attempt(self, data_key: str) -> Attempt:
        """The one open attempt of a data key."""
        (found,) = [attempt for attempt in self.open if attempt.data_key == data_key]
        return found

    def in_flight(self) -> list[tuple[str, str]]:
        """(data key, value) of every row in an open attempt."""
        return [(attempt.data_key, value) for attempt in self.open for value in values(attempt)]

    def order(self) -> list[tuple[str, str]]:
        """(data key, value) of every row sent so far."""
        return [(attempt.data_key, value) for attempt in self.sent for value in values(attempt)]

    @property
    def ledger(self) -> dict[str, int]:
        return self.now_read.ledger.as_dict()

    def dead_lettered(self) -> list[tuple[str | None, str | None, str]]:
        """(data key, value, reason) of every letter so far."""
        rows: list[tuple[Row, str]] = [
            (one.row, one.rejection.reason) for one in self.buried + self.dead_letters
        ]
        return [(row.data_key, row.value, reason) for row, reason in rows]


# -- one event, two rows -------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["case_code", "serial_number"])
def test_the_two_rows_go_in_two_requests_and_the_record_is_settled_when_both_are(
    first: str,
) -> None:
    line = Line()
    line.publish(labelled("C1"))
    assert sorted(line.in_flight()) == [("case_code", "C1"), ("serial_number", "C1")]
    line.accept(line.attempt(first))
    assert (
        line.now_read.committable_offset,
        line.ledger["accepted"],
        line.ledger["unsettled"],
    ) == (0, 0, 1)
    line.accept()
    assert (line.now_read.committable_offset, line.ledger["accepted"]) == (1, 1)
    assert line.pipeline.rows_accepted == {"case_code": 1, "serial_number": 1}
    assert line.settled()


@pytest.mark.promise("I2")
def test_both_keys_are_claimed_at_arrival_and_freed_when_both_rows_are_settled() -> None:
    line = Line()
    line.publish(
        labelled("C1", step="1"),
        unit("serial_number", "C1", step="2"),
        unit("case_code", "C1", step="3"),
    )
    assert len(line.in_flight()) == 2
    case, serial = line.attempt("case_code"), line.attempt("serial_number")
    line.accept(case)
    assert line.open == [serial], (
        "I2: the record may be sent again whole: that would undo a later update of the case"
    )
    line.accept(serial)
    assert line.attempt("case_code").items == [{"case_code": "C1", "step": "3"}]
    assert line.attempt("serial_number").items == [{"serial_number": "C1", "step": "2"}]


@pytest.mark.promise("I9")
def test_a_record_that_is_sent_again_does_not_undo_a_later_update_of_one_of_its_codes() -> None:
    """Its other row was not settled when the process died.

    The later record must not be in the map by then.
    """
    line = Line(concurrency=9)
    line.publish(labelled("C1", note="packed"), unit("serial_number", "C1", note="shipped"))
    case = line.attempt("case_code")
    while line.open != [case]:
        line.accept(line.attempt("serial_number"))
    line.dies_and_returns()
    line.serve(always)
    notes = [
        item["note"]
        for attempt in line.sent
        if attempt.data_key == "serial_number"
        for item in attempt.items
    ]
    assert notes[-1] == "shipped", "I9: a repeat undid a later update"
    assert line.settled()


def test_a_retry_of_the_one_does_not_send_the_other_again() -> None:
    line = Line()
    line.publish(labelled("C1"))
    line.accept(line.attempt("serial_number"))
    line.answer(line.only, answered(503))
    line.pass_time(120, always)
    assert line.order() == [("case_code", "C1"), ("serial_number", "C1"), ("case_code", "C1")]
    assert line.settled()


@pytest.mark.parametrize("data_key", [{}, {"data_key": "extended_id"}])
def test_naming_the_same_code_twice_is_an_invalid_event_that_sends_nothing(
    data_key: Members,
) -> None:
    line = Line()
    event = {**data_key, "key_value": "12", "scm_data": {"a": "1"}}
    line.publish(event | {"also_update": {"data_key": "extended_id", "key_value": "12"}})
    assert line.dead_lettered() == [(None, None, "invalid_event")]
    assert line.dead_letters[0].rejection.field == "also_update"
    line.acknowledge()
    assert line.sent == []
    assert line.settled()


# -- dead letters --------------------------------------------------------------------------------


def test_a_field_that_is_refused_rejects_both_rows_with_a_letter_each_and_the_record_once() -> None:
    line = Line()
    line.publish(labelled("C1", activation_status=7))
    assert line.dead_lettered() == [
        ("case_code", "C1", "invalid_value"),
        ("serial_number", "C1", "invalid_value"),
    ]
    first, second = line.dead_letters
    line.pipeline.on_acknowledged([first.row], line.now)
    assert line.now_read.committable_offset == 0
    line.pipeline.on_acknowledged([second.row], line.now)
    assert (line.now_read.committable_offset, line.ledger["rejected"]) == (1, 1)
    assert line.pipeline.rows_rejected["invalid_value"] == 2
    assert line.sent == []


def test_a_key_that_is_blank_rejects_its_own_row_only() -> None:
    line = Line()
    line.publish(unit("case_code", "C1", ("serial_number", " ")))
    assert line.dead_lettered() == [("serial_number", " ", "key_blank")]
    assert line.in_flight() == [("case_code", "C1")]


@pytest.mark.parametrize("letter_first", [True, False])
def test_one_rejected_row_is_one_dead_letter_and_the_record_waits_for_it_and_the_other_row(
    letter_first: bool,
) -> None:
    line = Line()
    line.publish(labelled("C1"))
    line.answer(line.attempt("serial_number"), naming(error_of("C1", field="serial_number")))
    assert line.dead_lettered() == [("serial_number", "C1", "unknown_key")]
    steps: list[Callable[[], None]] = [line.acknowledge, line.accept]
    for step in steps if letter_first else reversed(steps):
        assert line.now_read.committable_offset == 0
        step()
    assert (line.now_read.committable_offset, line.ledger["rejected"], line.ledger["accepted"]) == (
        1,
        1,
        0,
    )
    assert line.pipeline.rows_accepted == {"case_code": 1}
    assert line.settled()


# -- crashes and revocations ---------------------------------------------------------------------


def test_after_a_crash_both_rows_are_sent_again_unless_the_record_was_settled() -> None:
    line = Line(max_rows=1, concurrency=9)
    line.publish(unit("extended_id", "STUCK"), labelled("C1"), labelled("C2"))
    done = [("case_code", "C1"), ("serial_number", "C1"), ("case_code", "C2")]
    for attempt in list(line.open):
        if (attempt.data_key, *values(attempt)) in done:
            line.accept(attempt)
    assert line.in_flight() == [("extended_id", "STUCK"), ("serial_number", "C2")]
    line.dies_and_returns()
    assert line.in_flight() == [
        ("extended_id", "STUCK"),
        ("case_code", "C2"),
        ("serial_number", "C2"),
    ]
    line.serve(always)
    assert (line.now_read.committable_offset, line.ledger["skipped"], line.ledger["accepted"]) == (
        3,
        1,
        2,
    )


def test_a_crash_before_a_letter_is_acknowledged_sends_the_other_row_again_too() -> None:
    line = Line()
    line.publish(labelled("C1"))
    line.answer(line.attempt("serial_number"), naming(error_of("C1", field="serial_number")))
    line.accept()
    line.dies_and_returns()
    assert sorted(line.in_flight()) == [("case_code", "C1"), ("serial_number", "C1")]


def test_a_revocation_between_the_two_rows_releases_the_record_and_its_return_sends_both() -> None:
    line = Line()
    line.publish(packed("A", "C1"), unit("serial_number", "C1", ("case_code", "C1")))
    serial = line.attempt("serial_number")
    assert line.in_flight() == [("extended_id", "A"), ("serial_number", "C1")], (
        "the case waits for its child"
    )
    line.accept(serial)
    line.pipeline.remove_partitions([line.now_read], line.now)
    assert line.ledger["released"] == 2
    (packing,) = line.open
    again = Partition("events", 0, 0, 0)
    line.pipeline.add_partition(again)
    line.reads(again)
    assert line.in_flight()[1:] == [("serial_number", "C1")], (
        "the rest waits for the packing that is in flight still"
    )
    line.accept(packing)
    line.serve(always)
    assert line.order()[2:] == [("serial_number", "C1"), ("extended_id", "A"), ("case_code", "C1")]
    assert line.ledger["accepted"] == 2
    assert line.settled()


# -- order with what is packed into the unit -----------------------------------------------------


@pytest.mark.promise("I2")
def test_a_unit_s_update_goes_after_what_was_packed_into_it_and_before_what_is_packed_later() -> (
    None
):
    line = Line(max_rows=1, concurrency=9)
    event = unit("serial_number", "C1", ("case_code", "C1"))
    line.publish(packed("A", "C1"), packed("B", "C1"), event, packed("C", "C1"))
    assert line.in_flight() == [("extended_id", "A"), ("extended_id", "B"), ("serial_number", "C1")]
    for _ in range(2):
        line.accept(line.open[0])
    assert line.in_flight() == [("serial_number", "C1"), ("case_code", "C1")]
    line.accept(line.attempt("case_code"))
    assert line.in_flight() == [("serial_number", "C1")], (
        "I2: a repeat of the record would reach what is packed later"
    )
    line.accept()
    assert line.in_flight() == [("extended_id", "C")]


def test_both_rows_of_a_case_join_its_pallet_and_shipping_waits_for_both() -> None:
    line = Line()
    line.publish(labelled("C1", pallet_code="p1"), unit("pallet_code", "p1"))
    assert sorted(line.in_flight()) == [("case_code", "C1"), ("serial_number", "C1")]
    line.accept(line.attempt("case_code"))
    assert line.in_flight() == [("serial_number", "C1")]
    line.accept()
    assert line.in_flight() == [("pallet_code", "p1")]


def test_items_into_cases_onto_a_pallet_and_shipped_go_in_that_order_in_any_windows() -> None:
    line = Line(max_rows=3, concurrency=2)
    cases = ("C1", "C2", "C3")
    events = [packed(f"{case}-{number}", case) for number in range(4) for case in cases]
    events += [labelled("C1", pallet_code="p1"), unit("case_code", "C2", pallet_code="p1")]
    events += [labelled("C3", pallet_code="p1"), unit("pallet_code", "p1", ("serial_number", "p1"))]
    line.publish(*events)
    line.serve(always)
    assert line.settled()
    place = {key: number for number, key in enumerate(line.order())}
    assert len(place) == len(line.order()) == 12 + 5 + 2, "each row once"
    for case in cases:
        assert place["case_code", case] > max(
            place["extended_id", f"{case}-{number}"] for number in range(4)
        )
    on_pallet = [("case_code", case) for case in cases] + [
        ("serial_number", case) for case in ("C1", "C3")
    ]
    assert place["pallet_code", "p1"] > max(place[key] for key in on_pallet)


@pytest.mark.parametrize(
    ("event", "order"),
    [
        (
            unit("case_code", "C1", ("pallet_code", "p1"), pallet_code="p1", lot="L"),
            [("case_code", "C1"), ("pallet_code", "p1")],
        ),
        (
            unit("pallet_code", "p1", ("case_code", "C1"), pallet_code="p1", lot="L"),
            [("pallet_code", "p1"), ("case_code", "C1")],
        ),
    ],
)
def test_rows_of_one_event_that_join_each_others_unit_go_one_after_the_other(
    event: Members, order: list[tuple[str, str]]
) -> None:
    line = Line()
    line.publish(event, packed("A", "C1"), unit("pallet_code", "p1", lot="M"))
    assert line.in_flight() == order[:1]
    line.serve(always)
    assert [key for key in line.order() if key in order] == [*order, ("pallet_code", "p1")]
    assert line.settled()


def test_two_such_units_named_crosswise_never_wait_for_each_other() -> None:
    """Claims of a record are queued at once, so there is one order for all."""
    line = Line(concurrency=9)
    one = unit("case_code", "C1", ("serial_number", "S1"), step="1")
    other = unit("serial_number", "S1", ("case_code", "C1"), step="2")
    line.publish(one, other, one)
    line.serve(always)
    for data_key in ("case_code", "serial_number"):
        steps = [
            item["step"]
            for attempt in line.sent
            if attempt.data_key == data_key
            for item in attempt.items
        ]
        assert steps == ["1", "2", "1"]
    assert line.settled()
