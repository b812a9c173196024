"""The settled map between versions of the program: an upgrade reads what was, a downgrade what is.

``earlier_maps.json`` holds maps as they were written by the code of each format when it was new
(commits 3c299b3, c50fdd0, e4978b0), and which of these programs refused which text. A text that was
read gave its runs, each time; one that is refused is as good as none: rows are sent again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.core.offsets.settled_map import (
    NO_EPOCH,
    NOWHERE,
    Began,
    Origin,
    decode,
    encode,
    origin_of,
)

RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("earlier_maps.json").read_text()
)
_BEGAN = Began(1764000000000, 12)
#: The origin with which the maps of each format were written, the oldest format first.
ORIGINS = {
    "v1": NOWHERE,
    "v2": Origin("Zm9vYmFyYmF6cXV4MTIzNA", "1f2e3d4c", _BEGAN),
    "v2 with epoch": Origin("Zm9vYmFyYmF6cXV4MTIzNA", "1f2e3d4c", _BEGAN, 5),
}


def _name(found: dict[str, Any]) -> str:
    return f"{found['format']}, {len(found['runs'])} runs from {found['base']}"


@pytest.mark.parametrize("found", RECORDED, ids=_name)
def test_after_an_upgrade_what_was_settled_is_settled(found: dict[str, Any]) -> None:
    read = decode(found["text"], found["partition"], found["base"])
    assert [list(run) for run in read.beyond(0)] == found["runs"]
    assert origin_of(found["text"]) == (ORIGINS[found["format"]] if found["text"] else NOWHERE)


@pytest.mark.parametrize("found", RECORDED, ids=_name)
def test_after_a_downgrade_the_earlier_program_finds_a_text_that_it_was_shown(
    found: dict[str, Any],
) -> None:
    """Today's text is the recorded one, so what was recorded of the earlier readers holds."""
    runs = [(start, end) for start, end in found["runs"]]
    origin = ORIGINS[found["format"]]
    text = encode(found["partition"], found["base"], runs, 4000, origin)
    assert text == found["text"]
    if text.startswith("v2"):
        assert found["refused_by"] == ["v1"], "the first program knew no origin"
    else:
        assert found["refused_by"] == []


def test_every_format_is_recorded_with_and_without_an_epoch() -> None:
    assert {found["format"] for found in RECORDED} == ORIGINS.keys()
    assert ORIGINS["v2"].epoch == NO_EPOCH
