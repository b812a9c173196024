"""A mutant: one deliberate break of the program, as exact text, and the tests that
should catch it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

CORE = "tests/unit/core/test_pipeline_properties.py"
SIMULATION = "tests/mutants/few_seeds.py"


class Edit(NamedTuple):
    """In ``file`` under consumer/, ``old`` becomes ``new``; it must stand there exactly once."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A deliberate break.

    ``breaks``: what is broken, for people. ``tests``: what is run, in this order, until it is
    caught. ``promise``: the name of what is broken, where that is promised; one of the tests is
    marked with it.
    """

    breaks: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...] = (CORE, SIMULATION)
    promise: str = ""


class StaleMutantError(Exception):
    """The text that a mutant changes is not there, or not once only: the table must follow."""


def mutated(mutant: Mutant, root: Path) -> dict[Path, str]:
    """Return the changed files under ``root``, with their new text; raise StaleMutantError."""
    changed: dict[Path, str] = {}
    for edit in mutant.edits:
        path = root / "consumer" / edit.file
        text = changed.get(path) or path.read_text()
        found = text.count(edit.old)
        if found != 1:
            raise StaleMutantError(
                f"{mutant.breaks}: found {found} times in {edit.file}, not once:\n{edit.old}"
            )
        changed[path] = text.replace(edit.old, edit.new)
    return changed
