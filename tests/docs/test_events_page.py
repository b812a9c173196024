"""docs/events.md and docs/epcis.md: every example event makes the rows shown, in every format."""

from __future__ import annotations

import itertools
import json
import tomllib
from typing import Any

import pytest

from consumer.config.settings import Settings
from consumer.core.model import InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker, refused_row
from consumer.formats import EpcisRules, decoder
from consumer.formats.encode import encoder
from tests.docs.blocks import Block, blocks
from tests.support.epcis_xml import to_page

PAGES = ("docs/events.md", "docs/epcis.md")
BLOCKS = [block for page in PAGES for block in blocks(page)]
#: Every example with the rows below it: one or several events, one after the other, that make the
#: same.
SHOWN = [
    (event, next(block for block in BLOCKS[place:] if not block.tag.startswith("event")))
    for place, event in enumerate(BLOCKS)
    if event.tag.startswith("event")
]
REFUSED = [block for block in BLOCKS if block.tag.startswith("refused ")]
#: The settings by which an example is read that shows some: those in front of it.
SETTINGS = {
    event: tomllib.loads(settings.text)
    for settings, event in itertools.pairwise(BLOCKS)
    if settings.tag == "settings" and event.tag.startswith("event")
}


def _name(block: Block) -> str:
    return f"{block.page}:{block.line}"


def _rows(raw: bytes, form: str = "auto", told: dict[str, Any] | None = None) -> list[Row]:
    settings = Settings.model_validate(told or {})
    events = settings.events
    rules = EpcisRules(events.logistic_units, **settings.epcis.model_dump())
    maker = RowMaker("extended_id", logistic_units=events.logistic_units)
    record = Record(Partition("t", 0, 0, None), 0, None, len(raw))
    try:
        return maker.rows(decoder(form, rules=rules)(raw), record)
    except InvalidEvent as bad:
        return [refused_row(record, bad)]


@pytest.mark.parametrize(("event", "rows"), SHOWN, ids=[_name(event) for event, _ in SHOWN])
def test_an_example_event_makes_the_rows_shown_below_it(event: Block, rows: Block) -> None:
    """It does so by the format that is named on its first line, if any, as by ``auto``."""
    assert rows.tag == "rows", f"{_name(rows)}: no rows below the event"
    for form in {"auto", *event.tag.split()[1:]}:
        made = _rows(event.text.encode(), form, SETTINGS.get(event))
        assert [row.rejection for row in made] == [None] * len(made)
        assert [row.item for row in made] == json.loads(rows.text)


ENVELOPES = [
    (event, rows)
    for event, rows in SHOWN
    if event.language == "json" and "scm_data" in json.loads(event.text)
]
XML = [(event, BLOCKS[BLOCKS.index(event) - 1]) for event, _ in SHOWN if event.language == "xml"]


@pytest.mark.parametrize(("event", "rows"), ENVELOPES, ids=[_name(event) for event, _ in ENVELOPES])
def test_an_example_envelope_is_the_same_event_in_avro(event: Block, rows: Block) -> None:
    members = json.loads(event.text)
    shown = json.loads(rows.text)
    for item in shown:
        for name, text in item.items():
            if type(members["scm_data"].get(name)) is float:
                # an Avro double has no other digits than it needs
                item[name] = text.removesuffix(".0")
    assert [row.item for row in _rows(encoder("avro")(members), "avro")] == shown


@pytest.mark.parametrize(("event", "other"), XML, ids=[_name(event) for event, _ in XML])
def test_xml_stands_behind_the_same_event_in_json(event: Block, other: Block) -> None:
    assert (other.language, other.tag) == ("json", event.tag)
    members = json.loads(other.text)
    assert event.text == f"{to_page(members)}\n"


@pytest.mark.parametrize("block", REFUSED, ids=[f"{_name(block)} {block.tag}" for block in REFUSED])
def test_an_example_of_a_refused_event_is_refused_for_that_reason(block: Block) -> None:
    (row,) = _rows(block.text.encode())
    assert row.rejection is not None
    assert f"refused {row.rejection.reason}" == block.tag


def test_rules_that_are_shown_as_defaults_are() -> None:
    shown = [tomllib.loads(block.text)["epcis"] for block in BLOCKS if block.tag == "default"]
    defaults = Settings().epcis.model_dump()
    assert {name: tuple(value) for table in shown for name, value in table.items()} == {
        name: defaults[name] for name in ("codes", "steps")
    }


def test_the_pages_have_examples() -> None:
    assert len(SHOWN) >= 35
    assert len(REFUSED) >= 7
    assert len(SETTINGS) == 2
    assert len(XML) >= 14
