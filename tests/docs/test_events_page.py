"""docs/events.md: every example event makes the rows that the page shows."""

from __future__ import annotations

import itertools
import json

import pytest

from consumer.core.model import Record, Row
from consumer.core.offsets import Partition
from consumer.core.rows import RowMaker
from consumer.formats import decoder
from tests.docs.blocks import Block, blocks

BLOCKS = blocks("docs/events.md")
SHOWN = [(event, rows) for event, rows in itertools.pairwise(BLOCKS) if event.tag == "event"]
REFUSED = [block for block in BLOCKS if block.tag.startswith("refused ")]


def _rows(text: str) -> list[Row]:
    maker = RowMaker("extended_id")
    return maker.rows(decoder("auto")(text.encode()), Record(Partition("t", 0, 0, None), 0, None, len(text)))


@pytest.mark.parametrize(("event", "rows"), SHOWN, ids=[f"line {event.line}" for event, _ in SHOWN])
def test_an_example_event_makes_the_rows_shown_below_it(event: Block, rows: Block) -> None:
    assert rows.tag == "rows", f"{rows.page}:{rows.line}: no rows below the event"
    made = _rows(event.text)
    assert [row.rejection for row in made] == [None] * len(made)
    assert [row.item for row in made] == json.loads(rows.text)


@pytest.mark.parametrize("block", REFUSED, ids=[block.tag for block in REFUSED])
def test_an_example_of_a_refused_event_is_refused_for_that_reason(block: Block) -> None:
    (row,) = _rows(block.text)
    assert row.rejection is not None
    assert f"refused {row.rejection.reason}" == block.tag


def test_the_page_has_examples() -> None:
    assert len(SHOWN) >= 8
    assert len(REFUSED) >= 4
