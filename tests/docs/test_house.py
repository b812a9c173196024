"""The pages of the house: lines that fit, a README that is read to its end, and no page astray."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, pages

#: Columns that a line of prose may have.
WIDTH = 100
README_LINES, README_WORDS = 120, 900
#: Written from code, by ``make docs`` and ``make mutants``.
GENERATED = {"docs/configuration.md", "docs/metrics.md", "docs/mutants.md", "docs/promises.md"}
#: Folders that hold no page of the project.
_ELSEWHERE = {"node_modules", "build", "dist"}
_FENCE = re.compile(r" *(```+|~~~+)(?P<language>\w*)")
#: Languages in which a line can be broken wherever it is too wide.
_BREAKABLE = {"json", "xml"}
#: An address, or the target of a link, cannot be broken.
_UNBREAKABLE = re.compile(r"\]\([^)\s]+\)|<?https?://\S+")


def every_page() -> list[Path]:
    """Return all Markdown of the repository that is written by hand."""
    found = (path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.md")))
    return [path for path in found if not _strange(path) and path.as_posix() not in GENERATED]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield a text's lines with their numbers, without tables, and without blocks of code.

    Events in JSON and XML are read as prose is, and stay.
    """
    fence, language = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        marks = _FENCE.match(line)
        if fence:
            if marks and marks[1].startswith(fence) and line.strip() == marks[1]:
                fence = ""
            elif language in _BREAKABLE:
                yield number, line
        elif marks:
            fence, language = marks[1], marks["language"]
        elif not line.startswith("|"):
            yield number, line


def too_wide(line: str) -> bool:
    """Return whether a line could be broken, and is not; a link or an address does not count."""
    return len(line) > WIDTH and len(_UNBREAKABLE.sub("", line)) > WIDTH


def _strange(path: Path) -> bool:
    return any(part in _ELSEWHERE or part.startswith(".") for part in path.parts[:-1]) and (
        path.parts[0] != ".github"
    )


@pytest.mark.parametrize("page", every_page(), ids=str)
def test_no_line_of_prose_is_wider_than_a_window(page: Path) -> None:
    lines = prose((ROOT / page).read_text(encoding="utf-8"))
    wide = [f"{page}:{number} has {len(line)} columns" for number, line in lines if too_wide(line)]
    assert not wide, f"at most {WIDTH} columns:\n" + "\n".join(wide)


def test_the_look_at_lines_passes_over_what_cannot_be_broken_and_nothing_else() -> None:
    words = "word " * 25
    text = f"{words}\n| {words} |\n```sh\n{words}\n```\n{words}\n```json\n{words}\n```\n"
    assert [number for number, line in prose(text) if too_wide(line)] == [1, 6, 8]
    assert not too_wide(f"[a page](docs/{'long' * 30}.md) and a word")
    assert not too_wide(f"See https://example.com/{'long' * 30}")
    assert too_wide(f"{words} https://example.com")


def test_docstrings_say_what_to_do_or_name_a_thing() -> None:
    asking = re.compile(r'^\s*"""(?:What|Whether|How)\b', re.MULTILINE)
    sources = [
        path for room in ("consumer", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")
    ]
    assert sources
    assert [str(path) for path in sources if asking.search(path.read_text(encoding="utf-8"))] == []


def test_the_readme_is_read_to_its_end() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {page for page in pages() if page != "README.md"} <= linked
