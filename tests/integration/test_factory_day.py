"""A short factory day; the whole one, 20,000 items in every format and mode, is ``make day``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factory.run import run_day
from tests.support.kafka_witness import Kafka

pytestmark = pytest.mark.promise("I1", "I9")

ITEMS = 600
#: Every format, and with each of them at least one mode in which units go by tasks. Flat events
#: take five runs a day.
COMBINATIONS = [
    ("avro", "sync"),
    ("avro", "async"),
    ("json", "async"),
    ("json", "auto"),
    ("epcis", "sync"),
    ("epcis", "async"),
    ("epcis", "auto"),
    ("epcis-xml", "auto"),
    ("scan", "auto"),
    ("flat", "auto"),
]


@pytest.mark.parametrize(("form", "mode"), COMBINATIONS)
def test_the_api_ends_as_a_replay_of_the_day_does(
    kafka: Kafka, tmp_path: Path, form: str, mode: str
) -> None:
    told = run_day(kafka, tmp_path, ITEMS, form, mode)
    assert told.findings == []
    assert told.applied >= told.rows > 2 * ITEMS
    assert (told.tasks > 0) == (mode != "sync")
