"""docs/dead-letters.md: its headers and reasons are those in the code."""

from __future__ import annotations

import re

from consumer.adapters.kafka.dead_letter import headers_of
from consumer.core.effects import DeadLetter
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.partition import Partition
from consumer.ops.metric import REASONS
from tests.docs.blocks import ROOT


def _first_cells(heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading."""
    page = (ROOT / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    return [name for cell in cells[1:] for name in re.findall(r"`([^`]+)`", cell)]


def test_the_page_names_every_header_that_is_added() -> None:
    record = Record(Partition("t", 0, 0, None), 0, None, 1)
    row = Row(record, "extended_id", "A", {"extended_id": "A"}, (), 1, attempts=1)
    why = Rejection("rejected_by_api", "no", "line", "upload", 400)
    added = [name for name, _ in headers_of(DeadLetter(row, why), [], "0")]
    assert sorted(_first_cells("What a dead letter holds")) == sorted(added)


def test_the_page_says_what_to_do_about_every_reason() -> None:
    assert sorted(_first_cells("The reasons")) == sorted(REASONS)
