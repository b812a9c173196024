"""The simulated line shows all that the demo promises to show, the same for the same seed."""

from __future__ import annotations

import random
from collections import Counter

from consumer.demo import factory, line
from consumer.demo.evidence import FactoryWorld, TopicRecord
from consumer.demo.mistakes import mistakes
from consumer.demo.replay import replay

REASONS = {
    "undecodable", "invalid_event", "key_missing", "key_blank", "value_too_long", "forbidden_field",
    "invalid_value", "key_conflict", "no_fields", "unknown_key", "rejected_by_api",
}  # fmt: skip


def shift(seed: int) -> tuple[FactoryWorld, list[line.Message], list[line.Message]]:
    rng = random.Random(seed)
    plant = factory.build(rng, cases=20, per_case=10, loose=100)
    world = plant.world()
    formats = line.Formats(world.schema)
    return world, line.shift(plant, formats, rng), mistakes(plant, formats, rng)


def as_records(messages: list[line.Message]) -> list[TopicRecord]:
    return [
        TopicRecord("t", 0, offset, None, message.value) for offset, message in enumerate(messages)
    ]


def test_one_seed_gives_one_shift_and_another_seed_another() -> None:
    assert shift(7)[1:] == shift(7)[1:]
    assert shift(7)[1:] != shift(8)[1:]


def test_the_good_events_are_all_good_and_update_earlier_ones() -> None:
    world, good, _ = shift(7)
    expected = replay(world, as_records(good))
    assert expected.letters == []
    assert expected.skipped > 0
    assert (
        sum(len(rows) > 1 for key, rows in expected.updates.items() if key[0] == "extended_id")
        > 100
    )
    assert sum(len(rows) > 1 for key, rows in expected.updates.items() if key[0] == "case_code") > 0
    assert {key[0] for key in expected.updates} == {"extended_id", "case_code", "serial_number"}


def test_every_mistake_is_made_and_every_reason_occurs() -> None:
    world, _, bad = shift(7)
    expected = replay(world, as_records(bad))
    assert len(expected.letters) == len(bad)
    assert {letter.reason for letter in expected.letters} == REASONS


def test_all_three_formats_are_mixed() -> None:
    _, good, _ = shift(7)
    kinds = Counter(
        "avro"
        if not message.value.startswith(b"{")
        else "envelope"
        if b"scm_data" in message.value
        else "flat"
        for message in good
        if message.value is not None
    )
    assert min(kinds["avro"], kinds["envelope"], kinds["flat"]) > 50


def test_the_fields_of_cases_and_of_codes_are_disjoint() -> None:
    """The demo needs no order between an update by case and one of a code in it: there is none."""
    world, good, _ = shift(7)
    fields: dict[str, set[str]] = {}
    for (data_key, _), rows in replay(world, as_records(good)).updates.items():
        fields.setdefault(data_key, set()).update(*rows)
    assert fields["extended_id"].isdisjoint(fields["case_code"] | {"case_code", "serial_number"})
