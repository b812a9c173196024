"""docs/scans.md: every scan shown becomes what stands beside it."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from consumer.config.scan_checks import check_scan
from consumer.config.settings import Settings
from consumer.core.model import InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.formats import Origin, ScanDecoder, ScanRules
from tests.docs.blocks import ROOT, blocks

PAGE = "docs/scans.md"
SETTINGS = [Settings.model_validate(tomllib.loads(block.text)) for block in blocks(PAGE)]
SENT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
ORIGIN = Origin("scans.line7", int(SENT.timestamp() * 1000))
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|[rn])")


class Shown(NamedTuple):
    """A line of a table: a scan, and what it becomes."""

    scan: bytes
    becomes: str
    settings: Settings


def _scan(cell: str) -> str:
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), cell)


def _tables() -> list[Shown]:
    """Return the scans of all tables; inside JSON an escape is JSON's own."""
    shown: list[Shown] = []
    example = -1
    for line in (ROOT / PAGE).read_text(encoding="utf-8").splitlines():
        example += line == "```toml scans"
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| `") and len(cells) == 2 and cells[1].startswith("`{"):
            scan = cells[0].strip("`")
            text = scan if scan.startswith("{") else _scan(scan)
            shown.append(Shown(text.encode(), cells[1].strip("`"), SETTINGS[example]))
        elif line.startswith("| ") and len(cells) == 3 and cells[1].startswith("`"):
            shown.append(Shown(_scan(cells[1].strip("`")).encode(), cells[2], SETTINGS[0]))
    return shown


SHOWN = _tables()


def _row(shown: Shown) -> Row:
    settings = shown.settings
    decode = ScanDecoder(ScanRules(settings.events.data_key, **settings.scan.model_dump()))
    record = Record(Partition("t", 0, 0, None), 0, None, len(shown.scan))
    (row,) = RowMaker(settings.events.data_key).rows(decode(shown.scan, ORIGIN), record)
    assert row.rejection is None
    return row


@pytest.mark.parametrize("shown", SHOWN, ids=range(len(SHOWN)))
def test_a_scan_becomes_what_stands_beside_it(shown: Shown) -> None:
    if shown.becomes.startswith("refused: "):
        with pytest.raises(InvalidEvent, match=re.escape(shown.becomes[len("refused: ") :])):
            _row(shown)
    elif shown.becomes.startswith("{"):
        wanted: dict[str, Any] = json.loads(shown.becomes)
        assert _row(shown).item == wanted
    else:
        assert _row(shown).value == shown.becomes


def test_the_settings_shown_have_no_mistake_and_the_page_has_scans() -> None:
    assert [list(check_scan(settings)) for settings in SETTINGS] == [[], []]
    assert len(SHOWN) >= 30
