"""docs/events.md: its table of special fields is the one in the code."""

from __future__ import annotations

from consumer.core.rows.special_fields import SPECIAL_FIELDS
from tests.docs.blocks import ROOT


def test_the_page_shows_the_table_of_special_fields() -> None:
    """Written by hand into the page from what a failure shows."""
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    section = page.partition("\n## Special fields\n")[2].partition("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert shown == [
        f"| {'fields in ' * field.setting}`{field.name}` | {field.meaning} | "
        f"{field.rule.allowed if field.rule else 'any text of at most 50 characters'} | "
        f"{field.source} |"
        for field in SPECIAL_FIELDS
    ]
