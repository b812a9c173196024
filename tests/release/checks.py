"""Find what forbids to publish a version."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from consumer import __version__
from tests.deploy.compose import ROOT

#: Where the version stands beside ``consumer/__init__.py``, which is the one that counts.
PLACES = {
    "deploy/Dockerfile": r'image\.version="([^"]+)"',
    "deploy/chart/Chart.yaml": r"^version: (\S+)$",
}


def other_versions() -> Iterator[str]:
    """Yield what is wrong with the version, a line each."""
    for name, pattern in PLACES.items():
        found = re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        if found != [__version__]:
            yield f"{name}: the version is {', '.join(found)}, and not {__version__}"


def not_ready() -> Iterator[str]:
    """Yield what forbids to publish now, a line each."""
    yield from other_versions()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(
        rf"^## {re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE
    ):
        yield f"CHANGELOG.md: no section `## {__version__} (YYYY-MM-DD)`"
    if changed := _git("status", "--porcelain"):
        yield f"not committed: {', '.join(line[3:] for line in changed.splitlines())}"
    if f"v{__version__}" not in _git("tag", "--points-at", "HEAD").splitlines():
        yield f"no tag: git tag -a v{__version__}"


def commit() -> str:
    """Return the commit that is built."""
    return _git("rev-parse", "HEAD").strip()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout
