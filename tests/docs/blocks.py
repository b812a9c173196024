"""The fenced blocks of a Markdown page: what the docs claim, in a form that a test can run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: (?P<tag>[^\n]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block: its language, what else stands on the fence's line, and the text."""

    page: str
    line: int
    language: str
    tag: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, by its path from the project's root."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["tag"] or "",
            found["text"],
        )
        for found in _BLOCK.finditer(text)
    ]


def pages() -> list[str]:
    """Return every Markdown page of the project that a user, or who works on it, reads."""
    found = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        ROOT / "benchmarks" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    return [str(path.relative_to(ROOT)) for path in found]
