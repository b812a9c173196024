"""Records that make many rows.

What is one row, what they weigh, and how much of them is taken in at once.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.model import Event, EventBatch, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import MAX_ROWS, RowMaker
from consumer.formats import Schemas, decoder
from consumer.loop.intake import Intake
from tests.unit.builders import accepted, answered, values
from tests.unit.epcis import object_event, rules
from tests.unit.runner_fakes import Message, World

MAKER = RowMaker("extended_id", logistic_units=("case_code", "pallet_code"))


def event(key: str, data_key: str = "extended_id", **fields: Any) -> Event:
    return Event(fields, data_key, key)


def rows_of(*parts: Event | InvalidEvent) -> list[Row]:
    return MAKER.rows(
        EventBatch({}, parts=parts), Record(Partition("events", 0, 0, None), 0, None, 1_000_000)
    )


def kept(*parts: Event) -> list[int]:
    """Which of the parts are rows; told by the place of the first that is like it, from behind."""
    rows, places = rows_of(*parts), []
    for place, part in enumerate(parts):
        if rows and (rows[0].data_key, rows[0].value) == (part.data_key, part.key_value):
            (alone,) = rows_of(part)
            if alone.item == rows[0].item:
                places.append(place)
                rows.pop(0)
    assert not rows
    return places


# -- repeats -------------------------------------------------------------------------------------

A, B = event("A", a="1"), event("B", a="1")
PACKED, CASE, OTHER = (
    event("A", case_code="C"),
    event("C", "case_code", a="1"),
    event("B", case_code="C"),
)


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        ((A, A, B, A), [0, 2]),
        ((A, event("A", a="2"), A), [0, 1, 2]),
        ((A, event("A", "serial_number", a="1"), A), [0, 1, 2]),
        ((A, event("A", a=1)), [0]),
        ((PACKED, PACKED, OTHER, PACKED), [0, 2]),
        ((PACKED, CASE, PACKED), [0, 1, 2]),
        ((CASE, CASE), [0]),
        ((CASE, PACKED, CASE), [0, 1, 2]),
        ((CASE, A, CASE), [0, 1, 2]),
        ((A, CASE, A), [0, 1, 2]),
        ((CASE, event("D", "case_code", a="1"), CASE), [0, 1, 2]),
        ((PACKED, event("A", case_code=""), PACKED), [0, 1, 2]),
    ],
)
def test_what_is_said_twice_is_one_row_unless_something_else_was_said_in_between(
    parts: tuple[Event, ...], rows: list[int]
) -> None:
    assert kept(*parts) == rows


keys = st.sampled_from("AB")
some = st.one_of(
    st.builds(lambda key, value: event(key, a=value), keys, st.sampled_from("12")),
    st.builds(
        lambda key, unit: event(key, case_code=unit, a="0"), keys, st.sampled_from(("", "C", "D"))
    ),
    st.builds(
        lambda key, value: event(key, "case_code", a=value),
        st.sampled_from("CD"),
        st.sampled_from("12"),
    ),
    st.builds(lambda key, value: event(key, "serial_number", a=value), keys, st.sampled_from("12")),
)


@given(st.lists(some, max_size=12))
def test_leaving_repeats_out_changes_nothing_at_the_api(parts: list[Event]) -> None:
    def after(rows: list[Row]) -> dict[str, dict[str, str]]:
        codes: dict[str, dict[str, str]] = {"A": {}, "B": {}}
        for row in rows:
            data_key, value = str(row.data_key), str(row.value)
            for name, code in codes.items():
                if (
                    name == value
                    if data_key in ("extended_id", "serial_number")
                    else code.get(data_key) == value
                ):
                    code |= {field: text for field, text in row.item.items() if field != data_key}
        return codes

    alone = [row for part in parts for row in rows_of(part)]
    assert after(rows_of(*parts)) == after(alone)


def test_refusals_are_never_one() -> None:
    bad = InvalidEvent("invalid_event", "no")
    rows = rows_of(bad, bad, event("A"), event("A"))
    assert [row.rejection and row.rejection.reason for row in rows] == [
        "invalid_event",
        "invalid_event",
        "no_fields",
    ]


def test_a_value_that_makes_one_event_invalid_costs_the_others_nothing() -> None:
    first, second = rows_of(event("A", a=[1]), B)
    assert first.rejection is not None
    assert (first.rejection.reason, first.value, second.item) == (
        "invalid_event",
        None,
        {"extended_id": "B", "a": "1"},
    )


def test_a_value_that_all_parts_of_an_event_share_and_that_cannot_be_sent_refuses_it_once() -> None:
    event = EventBatch(
        {"a": [1]},
        parts=(Event({"a": [1]}, "extended_id", "A"), Event({"a": [1]}, "extended_id", "B")),
    )
    (row,) = MAKER.rows(event, Record(Partition("events", 0, 0, None), 0, None, 1))
    assert row.rejection is not None
    assert (row.rejection.reason, row.value) == ("invalid_event", None)


def test_a_row_weighs_what_it_takes_in_a_request_and_not_what_its_record_does() -> None:
    for row in rows_of(A, event("C" * 500, "case_code", remark="x" * 50)):
        assert abs(row.size - len(json.dumps(row.item, separators=(",", ":")))) <= 2


def test_over_the_limit_none_is_made() -> None:
    parts = [event(f"K{number}", a="1") for number in range(MAX_ROWS + 1)]
    assert len(rows_of(*parts[1:])) == MAX_ROWS
    with pytest.raises(InvalidEvent, match="10,000 rows"):
        rows_of(*parts)


# -- room ----------------------------------------------------------------------------------------


def several(offset: int, *keys: str, step: str = "shipping") -> Message:
    return Message(offset, json.dumps(object_event(*keys, bizStep=step)).encode())


def codes(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:08d}" for number in range(count)]


def site(
    schemas: Schemas | None = None, asked: list[int | str] | None = None, **options: Any
) -> World:
    read = decoder("auto", schemas, rules(steps=("shipping = ship_date: {date}", "storing =")))
    return World(intake=Intake(read, MAKER, None if asked is None else asked.append), **options)


def test_of_many_records_with_many_rows_only_what_there_is_room_for_is_made_at_once() -> None:
    world = site(max_unsettled_rows=12, max_rows=10)
    for number in range(3):
        partition = world.partition(number)
        world.source.logs[partition] = [
            several(at, *codes(f"P{number}R{at}", 40)) for at in range(10)
        ]
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, world.pipeline.unsettled)
        return all(partition.committed == 10 for partition in world.source.logs)

    world.start()
    world.turn_until(done, 600)
    assert len(set(world.sent_values())) == 3 * 10 * 40
    assert most <= 12 + 40 + 12, (
        "a record is taken in whole, and those behind it count as one row each"
    )
    assert world.pipeline.flow.rows == world.pipeline.flow.size == 0


def test_what_waits_for_room_never_waits_for_itself() -> None:
    world = site(max_unsettled_rows=6, max_rows=100)
    world.latency = 1.9
    partition = world.partition(0)
    world.source.logs[partition] = [several(at, *codes(f"R{at}", 20)) for at in range(40)]
    world.start()
    world.turn_until(lambda: partition.committed == 40, 600)
    assert len(set(world.sent_values())) == 40 * 20


@pytest.mark.promise("I8")
def test_what_waits_for_room_waits_for_stuck_rows_and_not_for_itself() -> None:
    """I8: rows that cannot go, and the records that wait for room, are more than the bound
    together.
    """
    world = site(max_unsettled_rows=6, max_rows=1, concurrency=8)
    stuck = set(codes("R0", 20)[:4])
    world.api = lambda attempt: None if stuck & set(values(attempt)) else accepted(attempt)
    partition = world.partition(0)
    world.source.logs[partition] = [
        several(0, *codes("R0", 20)),
        *[several(at, *codes(f"R{at}", 1)) for at in range(1, 9)],
    ]
    world.start()
    world.turn_for(60)
    assert set(codes("R1", 1)) & set(world.sent_values()), (
        "I8: what waits for room waits for itself"
    )


def test_what_waited_for_its_schema_in_many_partitions_never_waits_for_its_own_room() -> None:
    """Each of these records counts as a row, and there are as many as the bound allows rows."""
    asked: list[int | str] = []
    schemas = Schemas(lambda: 0.0)
    world = site(schemas, asked, max_unsettled_rows=6, max_rows=100)
    partitions = [world.partition(number) for number in range(8)]
    for number, partition in enumerate(partitions):
        world.source.logs[partition] = [
            Message(
                at,
                b"\x00\x00\x00\x00\x07"
                + (several(at, *codes(f"P{number}R{at}", 20)).value() or b""),
            )
            for at in range(3)
        ]
    world.start()
    world.turn_for(3)
    assert world.pipeline.unsettled >= 6, "no room is left"
    schemas.learn(7, "JSON", "{}")
    world.runner.on_schema_looked_up(7)
    world.turn_until(lambda: all(partition.committed == 3 for partition in partitions), 600)


def test_what_waits_for_room_is_unsettled_and_goes_with_its_partition() -> None:
    world = site(max_unsettled_rows=10)
    world.api = lambda _: None
    partition = world.partition(0)
    world.source.logs[partition] = [several(at, *codes(f"R{at}", 20)) for at in range(5)]
    world.start()
    world.turn_for(1)
    partition.position = 9  # the client's end-of-partition event
    assert (partition.committable_offset, partition.ledger.unsettled) == (0, 5)
    assert partition not in world.source.held, "reading has stopped as a whole"
    assert world.pipeline.unsettled == 20 + 4
    world.runner.on_revoked([partition], lost=True)
    assert world.pipeline.flow.rows == world.pipeline.flow.size == 0
    assert partition.ledger.released == 5


def test_records_of_one_row_behind_one_of_many_keep_their_order() -> None:
    world = site(max_unsettled_rows=4, max_rows=1)
    partition = world.partition(0)
    flat = b'{"extended_id":"R-00000001","ship_date":"2027-01-01"}'
    world.source.logs[partition] = [
        several(0, *codes("R", 9)),
        Message(1, flat),
        Message(2, None),
        several(3, *codes("R", 9)),
    ]
    world.start()
    world.turn_until(lambda: partition.committed == 4)
    sent = [
        item["ship_date"]
        for attempt in world.sent
        for item in attempt.items
        if item["extended_id"] == "R-00000001"
    ]
    assert sent == ["2026-11-23", "2027-01-01", "2026-11-23"]
    assert partition.ledger.as_dict() == {
        "consumed": 4, "accepted": 3, "rejected": 0, "skipped": 1, "released": 0, "unsettled": 0,
    }  # fmt: skip


def test_a_record_that_sets_nothing_is_skipped_also_when_it_waited_for_its_schema() -> None:
    asked: list[int | str] = []
    schemas = Schemas(lambda: 0.0)
    world = site(schemas, asked, max_unsettled_rows=10)
    partition = world.partition(0)
    nothing = several(1, "ABCDEFGH", step="storing").value() or b""
    world.source.logs[partition] = [
        several(0, "ABCDEFGH", step="storing"),
        Message(1, b"\x00\x00\x00\x00\x07" + nothing),
        several(2, *codes("R", 15)),
        several(3, "ABCDEFGH", step="storing"),
    ]
    world.start()
    world.turn_until(lambda: asked == [7])
    world.turn_for(1)
    assert partition in world.source.held
    assert (partition.ledger.skipped, partition.ledger.unsettled) == (1, 3)
    schemas.learn(7, "JSON", "{}")
    world.runner.on_schema_looked_up(7)
    assert partition not in world.source.held
    world.turn_until(lambda: partition.committed == 4)
    assert partition.ledger.as_dict() == {
        "consumed": 4, "accepted": 1, "rejected": 0, "skipped": 3, "released": 0, "unsettled": 0,
    }  # fmt: skip
    assert world.pipeline.flow.rows == world.pipeline.flow.size == 0


def test_a_record_is_settled_when_all_its_rows_are_and_each_rejected_row_has_a_letter() -> None:
    world = site()
    world.acknowledges = False
    bad = {"R-00000001", "R-00000003"}

    def api(attempt: Any) -> Any:
        named = [
            {"message": "no", "field": "x", "key_value": v["extended_id"]}
            for v in attempt.items
            if v["extended_id"] in bad
        ]
        return answered(400, {"errors": named}) if named else accepted(attempt)

    world.api = api
    partition = world.partition(0)
    world.source.logs[partition] = [several(0, *codes("R", 5), "?"), several(1, *codes("S", 5))]
    world.start()
    world.turn_until(lambda: len(world.dead_letters) == 1)
    world.turn_for(1)
    assert [letter.row.value for letter in world.dead_letters] == [None], (
        "an event with a name that means nothing is refused whole"
    )
    world.source.logs[partition] = [several(2, *codes("R", 5))]
    world.turn_until(lambda: len(world.dead_letters) == 3)
    assert {letter.row.value for letter in world.dead_letters[1:]} == bad
    world.turn_for(1)
    assert partition.ledger.unsettled == 2
    world.results.put([letter.row for letter in world.dead_letters[:2]])
    world.turn_for(1)
    assert partition.ledger.unsettled == 1
    assert partition.committable_offset == 2
    world.results.put([world.dead_letters[2].row])
    world.turn_until(lambda: partition.committed == 3)
    assert (partition.ledger.accepted, partition.ledger.rejected) == (1, 2)
