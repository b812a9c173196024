"""Hooks of MkDocs: pages that stand outside of ``docs``, links into the sources, GitHub's anchors.

The pages are written for a reader of the repository. So README and the like become pages of the
site, a link to another page leads there, and one to a source file is its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: Pages outside of ``docs``, by their place from the project's root.
OUTSIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")
#: Behind the language of a block stands how the tests take it.
_TAG = re.compile(r"^(```\w+) .*")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:]+)((?:#[^)]*)?)\)")


def on_config(config: Any) -> Any:
    """Name headings as GitHub does, since the pages' links are written for it."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = _slug
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside."""
    for name in OUTSIDE:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_linked(text, name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page of ``docs``."""
    name = page.file.src_uri
    return markdown if name in OUTSIDE else _linked(markdown, f"docs/{name}")


def _linked(text: str, page: str) -> str:
    """Return a text of a page, by its place from the root, with links as the site has them."""
    here = page.removeprefix("docs/")

    def turned(found: re.Match[str]) -> str:
        words, link, anchor = found.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
        if target in OUTSIDE or target.startswith("docs/"):
            there = posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(here) or ".")
            return f"[{words}]({there}{anchor})"
        if not (ROOT / target).exists():
            return found[0]  # the strict build tells
        return words

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        _TAG.sub(r"\1", part) if part.startswith("```") else _LINK.sub(turned, part)
        for part in parts
    )


def _slug(heading: str, separator: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)
