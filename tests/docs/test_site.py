"""The site: every page has one place in it, and it builds without a warning (make docs-site)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.docs.blocks import ROOT, pages

MKDOCS = ROOT / ".cache" / "docs" / "bin" / "mkdocs"


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for inner in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(inner)


def test_every_page_has_one_place_in_the_site() -> None:
    nav = YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = list(_named(nav))
    assert len(set(named)) == len(named)
    assert set(named) == {page.removeprefix("docs/") for page in pages()}
    assert [next(iter(part)) for part in nav][1:] == [
        "Tutorial", "How to", "Reference", "Explanation",
    ]  # fmt: skip


def test_the_site_builds_without_a_warning_and_shows_code_as_code(tmp_path: Path) -> None:
    if not MKDOCS.exists():
        pytest.skip("mkdocs is missing: `make docs-site` brings it")
    done = subprocess.run(
        [MKDOCS, "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in pages():
        name = page.removeprefix("docs/").replace("README.md", "index.html")
        text = (tmp_path / name.replace(".md", ".html")).read_text()
        assert "```" not in text, f"{page}: a block is not seen as one"
